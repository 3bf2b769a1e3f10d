"""Our neurons inside of snnTorch's networks: where both are the same, and each place where they are not."""

import math

import pytest
import torch
from torch import nn

from ternary_spike import BinaryLIF, TernaryLIF, TrainableTernaryLIF
from ternary_spike.interop import SnnTorchNeuron
from ternary_spike.membrane.surrogate import derivative
from ternary_spike.neurons.soft_reset import SoftResetLIF
from tests.helpers.hosted import BATCH, FEATURES, T, current, slope_through_reset, slopes, with_gradients
from tests.helpers.rivals import snntorch

pytestmark = pytest.mark.full
WINDOW, THRESHOLD, DECAY = 0.5, 0.75, 0.5
SURROGATES = {"atan": ("atan", 2 / (math.pi * WINDOW)), "sigmoid": ("sigmoid", 1 / WINDOW)}


def leaky(curve: str = "atan", **options) -> nn.Module:
    """Their neuron with the constants above; its reset is the hard one unless options say another."""
    name, steepness = SURROGATES[curve]
    grad = getattr(snntorch("snntorch.surrogate"), name)(steepness)
    given = {"beta": DECAY, "threshold": THRESHOLD, "spike_grad": grad, "reset_mechanism": "zero"} | options
    return snntorch().Leaky(**given)


def ours(kind: type = BinaryLIF, curve: str = "atan", detach: bool = True, **options) -> SnnTorchNeuron:
    """Ours with the same constants."""
    return SnnTorchNeuron(kind(THRESHOLD, DECAY, curve, WINDOW, detach), **options)


def single(seed: int = 0, **options) -> torch.Tensor:
    """Currents in single precision: their spikes have no other."""
    return current(seed, dtype=torch.float32, **options)


def recorded(*layers: nn.Module):
    """Their usual loop: a run that gives the spikes and mem of the last layer, at all timesteps, as one tensor."""
    fc1, lif1, fc2, lif2 = layers

    def run(x: torch.Tensor) -> torch.Tensor:
        mem1, mem2, found = lif1.reset_mem(), lif2.reset_mem(), []
        for now in x:
            spk1, mem1 = lif1(fc1(now), mem1)
            spk2, mem2 = lif2(fc2(spk1), mem2)
            found.append(torch.stack([spk2, mem2]))
        return torch.stack(found)

    return run


def close(a, b) -> bool:
    """Whether two runs gave the same, and the same gradients, in single precision."""
    assert 0 < a[0][:, 0].count_nonzero() < a[0][:, 0].numel() and a[1][0].any(), "nothing to compare"
    assert torch.equal(a[0][:, 0], b[0][:, 0]), "other spikes"
    return all(torch.allclose(x, y, rtol=1e-4, atol=1e-5) for x, y in zip([a[0], *a[1]], [b[0], *b[1]], strict=True))


@pytest.mark.parametrize("curve", SURROGATES)
def test_a_network_of_theirs_gives_the_same_spikes_mem_and_gradients(curve):
    torch.manual_seed(0)
    fc1, fc2 = nn.Linear(FEATURES, 30), nn.Linear(30, 20)
    mine = recorded(fc1, ours(curve=curve), fc2, ours(curve=curve))
    theirs = recorded(fc1, leaky(curve), fc2, leaky(curve))
    x = 3 * single()
    assert close(with_gradients(mine, x, fc1, fc2), with_gradients(theirs, x, fc1, fc2))


def test_an_immediate_reset_gives_the_same_spikes_and_mem():
    x = 2 * single()
    runs = [
        recorded(nn.Identity(), lif, nn.Identity(), lif)(x)
        for lif in (ours(reset_delay=False), leaky(reset_delay=False))
    ]
    assert torch.equal(runs[0][:, 0], runs[1][:, 0]) and torch.allclose(*runs, atol=1e-6)


def test_not_the_same_gradient_through_an_immediate_reset():
    """Theirs cannot be detached then, and flows through silent neurons too."""
    u = torch.linspace(-2, 2, 41)
    s = derivative("atan", u, signed=False, threshold=THRESHOLD, window=WINDOW)
    pairs = {False: ours(detach=False, reset_delay=False), True: leaky(reset_delay=False)}
    for through_silence, lif in pairs.items():
        expected = DECAY * slopes(u, s, THRESHOLD, through_silence)
        assert torch.allclose(slope_through_reset(lif, u), expected, atol=1e-6)
    detached = DECAY * (u < THRESHOLD).float()
    for lif in (leaky(), ours(), ours(reset_delay=False)):
        assert torch.allclose(slope_through_reset(lif, u), detached)


def test_not_the_same_at_the_threshold_itself():
    """Theirs fires above it alone; the next number above as our threshold gives the same."""
    x = torch.full((1, 3), THRESHOLD)
    assert ours()(x)[0].eq(1).all() and leaky()(x)[0].eq(0).all()
    above = torch.nextafter(torch.tensor(THRESHOLD), torch.tensor(math.inf)).item()
    strict = SnnTorchNeuron(BinaryLIF(above, DECAY))
    for now in (x, torch.full((1, 3), above)):
        assert torch.equal(strict(now)[0], leaky()(now)[0])


def test_not_the_same_their_default_reset():
    """Their late soft reset takes the threshold off what has leaked already; ours takes it off first."""
    x = torch.tensor([[2.0 * THRESHOLD], [0.0]])
    mine, theirs = ours(SoftResetLIF), leaky(reset_mechanism="subtract")
    second = []
    for lif in (mine, theirs):
        _, mem = lif(x[0])
        second.append(lif(x[1], mem)[1].item())
    assert second == pytest.approx([DECAY * THRESHOLD, DECAY * 2 * THRESHOLD - THRESHOLD])


def test_not_the_same_their_immediate_soft_reset_beyond_twice_the_threshold():
    def spikes(lif: nn.Module, x: torch.Tensor) -> torch.Tensor:
        mem, found = torch.zeros_like(x[0]), []
        for now in x:
            spk, mem = lif(now, mem)
            found.append(spk)
        return torch.stack(found)

    def both(x: torch.Tensor) -> list[torch.Tensor]:
        return [
            spikes(ours(SoftResetLIF, reset_delay=False), x),
            spikes(leaky(reset_mechanism="subtract", reset_delay=False), x),
        ]

    below = single().clamp(max=0.99 * THRESHOLD)  # so that u stays below 2 V_th
    assert torch.equal(*both(below)) and both(below)[0].any()
    assert both(torch.tensor([[4 * THRESHOLD], [0.0]]))[0].flatten().tolist() == [1.0, 1.0]
    assert both(torch.tensor([[4 * THRESHOLD], [0.0]]))[1].flatten().tolist() == [1.0, 0.0]


def test_not_the_same_a_call_without_mem():
    """Theirs goes on from what it saw last, ours starts at rest."""
    x = torch.full((1, 2), 0.8 * THRESHOLD)
    for lif, expected in ((ours(), 0.0), (leaky(), 1.0)):
        lif(x)
        assert lif(x)[0].eq(expected).all()


def test_not_the_same_another_batch_size():
    theirs, mine = leaky(), ours()
    for lif in (theirs, mine):
        _, mem = lif(single()[0])
        if lif is theirs:
            assert torch.equal(lif(single(batch=3)[0], mem)[1], single(batch=3)[0])
        else:
            with pytest.raises(ValueError, match="mem=None"):
                lif(single(batch=3)[0], mem)


def test_a_trained_amplitude_is_their_learned_factor_of_graded_spikes():
    """On currents that are never negative, where a ternary neuron is a binary one."""
    options = {"threshold": THRESHOLD, "decay": DECAY, "surrogate": "atan", "window": WINDOW, "detach_reset": True}
    mine = SnnTorchNeuron(TrainableTernaryLIF(0.7, **options))
    theirs = leaky(graded_spikes_factor=0.7, learn_graded_spikes_factor=True)
    found = []
    for lif, factor in ((mine, mine.neuron.amplitude), (theirs, theirs.graded_spikes_factor)):
        mem, total = lif.reset_mem(), 0.0
        for t, now in enumerate(single().abs()):
            spk, mem = lif(now, mem)
            total = total + (t + 1) * spk.sum()
        found.append((total.item(), torch.autograd.grad(total, factor)[0].item()))
    assert found[0] == pytest.approx(found[1]) and found[0][1] > 0


def test_a_hidden_state_is_reset_and_detached_by_their_functions():
    snn, utils = snntorch(), snntorch("snntorch.utils")
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(FEATURES, 30),
        ours(TernaryLIF, init_hidden=True),
        nn.Linear(30, 20),
        ours(TernaryLIF, init_hidden=True, output=True),
    )
    x = 3 * single()

    def run() -> torch.Tensor:
        utils.reset(net)
        return torch.stack([net(now)[0] for now in x])

    first = run()
    assert first.any() and torch.equal(run(), first)
    assert net[1].mem.requires_grad
    snn.Leaky.detach_hidden()
    assert not net[1].mem.requires_grad and net[1].mem.any()
    assert utils._final_layer_check(net) == 2
    utils.reset(net)
    assert net(3 * single(batch=BATCH - 1)[0])[0].shape == (BATCH - 1, 20), "after a reset any batch size will do"


def test_their_hidden_network_and_ours_give_the_same():
    utils = snntorch("snntorch.utils")
    torch.manual_seed(0)
    fc = nn.Linear(FEATURES, 30)
    nets = [nn.Sequential(fc, lif) for lif in (ours(init_hidden=True), leaky(init_hidden=True))]
    spikes = []
    for net in nets:
        utils.reset(net)
        spikes.append(torch.stack([net(now) for now in 3 * single()]))
    assert torch.equal(*spikes) and spikes[0].any() and len(spikes[0]) == T


def test_their_export_refuses_it_rather_than_to_write_another_neuron():
    pytest.importorskip("nir", reason="nir (bench extra) is absent")
    export = snntorch("snntorch.export_nir")
    with pytest.raises(AttributeError, match="beta"):
        export.export_to_nir(nn.Sequential(nn.Linear(3, 3), ours(TernaryLIF, init_hidden=True)), torch.ones(1, 3))
