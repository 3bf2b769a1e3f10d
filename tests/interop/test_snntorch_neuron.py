"""The protocol of snnTorch's neurons, with snnTorch or without: whose hands mem is in, and whether it is reset yet."""

import pytest
import torch

from ternary_spike import BinaryLIF, TernaryLIF, make_neuron
from ternary_spike.interop import SnnTorchNeuron
from ternary_spike.neurons.soft_reset import SoftResetLIF
from tests.helpers.hosted import BATCH, FEATURES, MADE, current, same, with_gradients

WITH_A_TENSOR = [name for name in MADE if name != "if"]
LATE = [name for name in WITH_A_TENSOR if name != "mt_snn"]


def over_time(lif: SnnTorchNeuron, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Spikes and mem of every timestep."""
    mem, found = lif.reset_mem(), []
    for now in x:
        spk, mem = lif(now, mem)
        found.append((spk, mem))
    return tuple(torch.stack(each) for each in zip(*found, strict=True))


@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("kind", [BinaryLIF, TernaryLIF, SoftResetLIF])
@pytest.mark.parametrize("reset_delay", [False, True])
def test_spikes_and_gradients_are_the_bare_neurons(kind, reset_delay, detach_reset):
    neuron = kind(0.5, 0.5, "triangle", 0.5, detach_reset)
    lif = SnnTorchNeuron(neuron, reset_delay=reset_delay)
    ours = with_gradients(lambda x: over_time(lif, x)[0], current(), lif)
    assert same(ours, with_gradients(neuron, current(), neuron))


@pytest.mark.parametrize("name", LATE)
def test_mem_is_the_membrane_before_the_reset_or_after_it(name):
    neuron, x = MADE[name](), current()
    before, after, v = [], [], None
    for now in x:
        u, _, v = neuron.update(now, v)
        before.append(u)
        after.append(v)
    spikes, late = over_time(SnnTorchNeuron(neuron), x)
    assert torch.allclose(late, torch.stack(before)) and torch.equal(spikes, neuron(x))
    assert torch.equal(late.abs() >= neuron.threshold, spikes != 0) or name in ("binary", "soft")
    _, kept = over_time(SnnTorchNeuron(neuron, reset_delay=False), x)
    assert torch.allclose(kept, torch.stack(after)) and not torch.allclose(kept, late)


@pytest.mark.parametrize("reset_delay", [False, True])
def test_a_hidden_mem_is_kept_across_calls_until_it_is_reset(reset_delay):
    x = current()
    spikes, mems = over_time(SnnTorchNeuron(TernaryLIF(), reset_delay=reset_delay), x)
    lif = SnnTorchNeuron(TernaryLIF(), init_hidden=True, reset_delay=reset_delay)
    assert torch.equal(torch.stack([lif(now) for now in x]), spikes)
    assert torch.equal(lif.mem, mems[-1]) and not torch.equal(lif(x[0]), spikes[0])
    lif.reset_mem()
    lif.output = True
    spk, mem = lif(x[0])
    assert torch.equal(spk, spikes[0]) and torch.equal(mem, mems[0])
    with pytest.raises(TypeError, match="init_hidden"):
        lif(x[0], mem)
    assert not lif.state_dict()


@pytest.mark.parametrize("reset_delay", [False, True])
def test_mem_can_be_detached_in_place_and_is_never_the_input(reset_delay):
    x = current().requires_grad_()
    now = 1 * x[0]
    lif = SnnTorchNeuron(TernaryLIF(), reset_delay=reset_delay)
    _, mem = lif(now)
    mem.detach_()
    assert now.requires_grad
    spk, _ = lif(x[1], mem)
    (grad,) = torch.autograd.grad(spk.sum(), x)
    assert not grad[0].any() and grad[1].any()


def test_another_batch_size_is_one_clear_error_unless_mem_is_at_rest():
    lif, hidden = SnnTorchNeuron(TernaryLIF()), SnnTorchNeuron(TernaryLIF(), init_hidden=True)
    first, second = current()[0], current(batch=3)[0]
    _, mem = lif(first)
    with pytest.raises(ValueError, match="begin another batch with mem=None"):
        lif(second, mem)
    hidden(first)
    with pytest.raises(ValueError, match=r"begin another batch with utils\.reset\(net\)"):
        hidden(second)
    hidden.reset_mem()
    rested = lif(second, torch.zeros(BATCH, FEATURES))[0]
    assert torch.equal(hidden(second), rested) and torch.equal(rested, lif(second)[0])


def test_half_precision_is_integrated_in_single():
    x = current(dtype=torch.float32).bfloat16()
    spikes, mem = over_time(SnnTorchNeuron(TernaryLIF()), x)
    assert spikes.dtype == torch.bfloat16 and mem.dtype == torch.float32
    assert torch.equal(spikes, TernaryLIF()(x))


def test_the_observer_is_told():
    seen = []
    lif = SnnTorchNeuron(TernaryLIF())
    lif.neuron.observer = lambda u, b: seen.append((u, b))
    spk, mem = lif(current()[0])
    ((u, b),) = seen
    assert torch.equal(u[0], mem) and torch.equal(b[0], spk)


def test_neurons_whose_state_cannot_be_such_a_mem_are_refused():
    with pytest.raises(ValueError, match="pass reset_delay=False"):
        SnnTorchNeuron(make_neuron("plif", None))
    with pytest.raises(ValueError, match="IntegrateAndFire keeps more than a membrane potential"):
        SnnTorchNeuron(make_neuron("if", None), reset_delay=False)(current()[0])
