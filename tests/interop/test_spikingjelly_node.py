"""The protocol of SpikingJelly's nodes, with SpikingJelly or without: step mode, reset, detaching, states."""

import pytest
import torch
from torch import nn

from ternary_spike import TernaryLIF, TrainableTernaryLIF
from ternary_spike.interop import SpikingJellyNode
from tests.helpers.hosted import BATCH, FEATURES, MADE, T, current


@pytest.mark.parametrize("name", MADE)
def test_steps_sequences_and_the_bare_neuron_give_the_same_and_state_is_kept_across_calls(name):
    neuron, x = MADE[name](), current(dtype=torch.float32)
    whole = neuron(x)
    assert 0 < whole.count_nonzero() < whole.numel()
    node = SpikingJellyNode(neuron)
    assert node.step_mode == "s" and node.v is None
    assert torch.equal(torch.stack([node(now) for now in x]), whole)
    node.reset()
    node.step_mode = "m"
    assert torch.equal(torch.cat([node(x[:2]), node(x[2:])]), whole)
    node.step_mode = "s"
    assert not torch.equal(node(x[0]), whole[0]), "what came before must count until a reset"
    node.reset()
    assert node.v is None and torch.equal(node(x[0]), whole[0])


def test_a_step_mode_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="step_mode"):
        SpikingJellyNode(TernaryLIF(), step_mode="multi")
    node = SpikingJellyNode(TernaryLIF())
    with pytest.raises(ValueError, match="step_mode"):
        node.step_mode = "M"
    assert node.step_mode == "s"


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("mode", ["s", "m"])
def test_another_batch_size_is_one_clear_error_until_a_reset(name, mode):
    node = SpikingJellyNode(MADE[name](), mode)
    first, second = (current(batch=batch) if mode == "m" else current(batch=batch)[0] for batch in (BATCH, 3))
    node(first)
    with pytest.raises(ValueError, match=r"call functional\.reset_net\(net\) before another batch"):
        node(second)
    node.reset()
    assert node(second).shape == second.shape


def test_detaching_cuts_the_graph_and_keeps_the_values():
    for name in MADE:
        x = current().requires_grad_()
        node = SpikingJellyNode(MADE[name](), "m")
        spikes = node(x[:3])
        expected = MADE[name]()(x)[3:]
        node.detach()
        rest = node(x[3:])
        assert torch.equal(rest, expected), name
        (grad,) = torch.autograd.grad(rest.sum() + 0 * spikes.sum(), x)
        assert not grad[:3].any() and grad[3:].any(), name


def test_what_is_kept_moves_with_the_module():
    for name in MADE:
        node = SpikingJellyNode(MADE[name]())
        node(current(dtype=torch.float32)[0])
        node.double()
        tensors = [node.v] if isinstance(node.v, torch.Tensor) else [v for v in node.v if v is not None]
        assert tensors and all(v.dtype == torch.float64 for v in tensors), name


def test_spikes_keep_the_memory_format():
    x = torch.randn(2, 8, 4, 4).to(memory_format=torch.channels_last)
    node = SpikingJellyNode(TernaryLIF())
    assert all(node(x).is_contiguous(memory_format=torch.channels_last) for _ in range(2))


def test_its_parameters_are_the_neurons_and_its_state_is_none_of_them():
    node = SpikingJellyNode(TrainableTernaryLIF(0.5), "m")
    net = nn.Sequential(nn.Linear(FEATURES, FEATURES), node)
    net(torch.randn(T, BATCH, FEATURES))
    assert set(net.state_dict()) == {"0.weight", "0.bias", "1.neuron.amplitude"}
    other = nn.Sequential(nn.Linear(FEATURES, FEATURES), SpikingJellyNode(TrainableTernaryLIF()))
    other.load_state_dict(net.state_dict())
    assert other[1].neuron.amplitude.item() == 0.5 and other[1].v is None
    assert "step_mode='m'" in repr(net)
