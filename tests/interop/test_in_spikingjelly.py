"""Our neurons inside of SpikingJelly's networks: where both are the same, and each place where they are not."""

import math

import pytest
import torch
from torch import nn

from ternary_spike import BinaryLIF, TernaryLIF, TrainableTernaryLIF
from ternary_spike.interop import SpikingJellyNode
from ternary_spike.membrane.surrogate import derivative
from ternary_spike.neurons.soft_reset import SoftResetLIF
from tests.helpers.hosted import BATCH, FEATURES, T, current, same, slope_through_reset, slopes, with_gradients
from tests.helpers.rivals import spikingjelly

pytestmark = pytest.mark.full
WINDOW, THRESHOLD = 0.5, 0.75
SURROGATES = {
    "rectangle": ("Rect", 1 / (2 * WINDOW)),
    "triangle": ("PiecewiseQuadratic", 1 / WINDOW),
    "atan": ("ATan", 2 / (math.pi * WINDOW)),
    "sigmoid": ("Sigmoid", 1 / WINDOW),
}
# ours, theirs and what is theirs alone
KINDS = {
    "binary": (BinaryLIF, "LIFNode", {"v_reset": 0.0}),
    "soft": (SoftResetLIF, "LIFNode", {"v_reset": None}),
    "ternary": (TernaryLIF, "TernaryLIFNode", {"v_reset": 0.0}),
}
# those that reach no further than to the middle between the two thresholds
NARROW = ("rectangle", "triangle")
# not through a hard reset, whose gradient is another one
PAIRS = [
    (kind, curve, detach)
    for kind in KINDS
    for curve in SURROGATES
    for detach in (True, False)
    if (kind != "ternary" or curve in NARROW) and (detach or kind == "soft")
]


def pair(kind: str, curve: str, tau: float = 2.0, detach: bool = True, **options):
    """Our node and theirs with the same constants."""
    make, name, their_own = KINDS[kind]
    surrogate, alpha = SURROGATES[curve]
    ours = make(THRESHOLD, 1 - 1 / tau, curve, WINDOW, detach)
    theirs = getattr(spikingjelly("neuron"), name)(
        **({"tau": tau, "decay_input": False, "v_threshold": THRESHOLD, "detach_reset": detach} | their_own | options),
        surrogate_function=getattr(spikingjelly("surrogate"), surrogate)(alpha),
    )
    return SpikingJellyNode(ours), theirs


def network(first: nn.Module, second: nn.Module, mode: str) -> nn.Sequential:
    """Two linear layers with the nodes behind them, all in one step mode."""
    layer = spikingjelly("layer")
    torch.manual_seed(0)
    net = nn.Sequential(layer.Linear(FEATURES, 30), first, layer.Linear(30, 20), second).double()
    spikingjelly("functional").set_step_mode(net, mode)
    return net


def run_of(net: nn.Sequential, mode: str):
    """The network as a function of a whole sequence, whatever its step mode, from rest."""

    def run(x: torch.Tensor) -> torch.Tensor:
        spikingjelly("functional").reset_net(net)
        return net(x) if mode == "m" else torch.stack([net(now) for now in x])

    return run


@pytest.mark.parametrize("mode", ["s", "m"])
@pytest.mark.parametrize(("kind", "curve", "detach"), PAIRS)
def test_a_network_of_theirs_gives_the_same_spikes_and_gradients(kind, curve, detach, mode):
    nets = [network(*nodes, mode) for nodes in zip(*(pair(kind, curve, detach=detach) for _ in range(2)), strict=True)]
    ours, theirs = (with_gradients(run_of(net, mode), 3 * current(), net) for net in nets)
    assert same(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tau", [4 / 3, 4.0])
def test_decay_is_one_less_the_inverse_of_tau(tau, kind):
    ours, theirs = pair(kind, "triangle", tau)
    assert same(with_gradients(run_of(ours, "s"), current()), with_gradients(run_of(theirs, "s"), current()))


@pytest.mark.parametrize("kind", ["binary", "ternary"])
def test_their_default_takes_the_same_share_of_the_input_as_it_lets_leak(kind):
    ours, theirs = pair(kind, "triangle", 4.0, decay_input=True)
    assert same(
        with_gradients(lambda x: run_of(ours, "s")(x / 4), 4 * current()),
        with_gradients(run_of(theirs, "s"), 4 * current()),
    )


@pytest.mark.parametrize(("name", "kind"), [("IFNode", BinaryLIF), ("TernaryIFNode", TernaryLIF)])
def test_without_a_leak_decay_is_one(name, kind):
    surrogate = spikingjelly("surrogate").PiecewiseQuadratic(1 / WINDOW)
    theirs = getattr(spikingjelly("neuron"), name)(
        v_threshold=THRESHOLD, surrogate_function=surrogate, detach_reset=True
    )
    ours = SpikingJellyNode(kind(THRESHOLD, 1.0, "triangle", WINDOW, detach_reset=True))
    assert same(with_gradients(run_of(ours, "s"), current()), with_gradients(run_of(theirs, "s"), current()))


def test_both_fire_at_the_threshold():
    x = torch.full((1, 3), THRESHOLD)
    for kind in KINDS:
        assert all(node(x).eq(1).all() for node in pair(kind, "sigmoid")), kind


def test_the_membrane_that_both_keep_is_the_one_after_the_reset():
    for kind in KINDS:
        ours, theirs = pair(kind, "triangle")
        for now in current():
            ours(now), theirs(now)
            assert torch.equal(ours.v, theirs.v), kind


def test_not_the_same_gradient_through_a_hard_reset_of_silent_neurons():
    u = torch.linspace(-2, 2, 41, dtype=torch.float64)
    s = derivative("atan", u, signed=False, threshold=THRESHOLD, window=WINDOW)
    for node, through_silence in zip(pair("binary", "atan", detach=False), (False, True), strict=True):
        found = slope_through_reset(lambda x, _, node=node: (node(x), None), u)
        assert torch.allclose(found, slopes(u, s, THRESHOLD, through_silence) / 2)


@pytest.mark.parametrize("curve", ["atan", "sigmoid"])
def test_not_the_same_a_wide_surrogate_at_two_thresholds(curve):
    """Theirs adds up the curves of both thresholds, ours has the nearer one's."""
    ours, theirs = pair("ternary", curve)
    x = current()[0].requires_grad_()
    u = x.detach()
    grads = [torch.autograd.grad(node(x).sum(), x)[0] for node in (ours, theirs)]
    assert not torch.allclose(*grads)
    alone = pair("binary", curve)[1]
    curves = []
    for signed in (u, -u):
        alone.reset()
        signed.requires_grad_()
        curves.append(torch.autograd.grad(alone(signed).sum(), signed)[0])
    assert torch.allclose(grads[1], curves[0] + curves[1])
    assert torch.allclose(grads[0], torch.where(u >= 0, *curves))


def test_not_the_same_another_batch_size():
    """Theirs begins at rest without a word, ours asks for the reset."""
    ours, theirs = pair("ternary", "triangle")
    first, second = current()[0], current(batch=3)[0]
    ours(first), theirs(first)
    rested = pair("ternary", "triangle")[1](second)
    assert torch.equal(theirs(second), rested)
    with pytest.raises(ValueError, match="reset_net"):
        ours(second)
    spikingjelly("functional").reset_net(ours)
    assert torch.equal(ours(second), rested)


def test_not_the_same_in_the_last_bits_unless_tau_is_two():
    x = current(dtype=torch.float32)[:2] / 4
    for tau in (2.0, 3.0):
        ours, theirs = pair("ternary", "triangle", tau)
        for now in x:
            ours(now), theirs(now)
        assert torch.allclose(ours.v, theirs.v, atol=1e-6) and torch.equal(ours.v, theirs.v) == (tau == 2)


def test_not_the_same_at_rest_there_is_no_tensor():
    ours, theirs = pair("ternary", "triangle")
    assert ours.v is None and theirs.v == 0.0


def test_their_functions_know_it():
    base, functional = spikingjelly("base"), spikingjelly("functional")
    net = network(*(SpikingJellyNode(TrainableTernaryLIF(0.5)) for _ in range(2)), "s")
    x = 3 * current()
    whole = run_of(net, "s")(x)
    assert [name for name, _ in base.named_memories(net)] == ["1.v", "3.v"]
    net(x[0].requires_grad_())
    functional.detach_net(net)
    assert not net[1].v.requires_grad and net[1].v.any()
    functional.set_step_mode(net, "m")
    assert {module.step_mode for module in net} == {"m"}
    pure = base.to_functional_forward(net)
    functional.reset_net(net)
    states = tuple(base.extract_memories(net))
    (first,), states = pure((x[:2],), states)
    (rest,), states = pure((x[2:],), states)
    assert torch.equal(torch.cat([first, rest]), whole) and net[1].v is None
    with pytest.raises(ValueError, match="step_mode"):
        functional.set_step_mode(net, "x")


@pytest.mark.parametrize("mode", ["s", "m"])
def test_a_network_of_their_collection_takes_it(mode):
    resnet, functional = spikingjelly("model.spiking_resnet"), spikingjelly("functional")
    net = resnet.spiking_resnet18(spiking_neuron=lambda **_: SpikingJellyNode(TrainableTernaryLIF()), num_classes=4)
    functional.set_step_mode(net, mode)
    x = torch.randn(2, 2, 3, 32, 32)
    scores = net(x) if mode == "m" else torch.stack([net(now) for now in x])
    assert scores.shape == (2, 2, 4)
    scores.sum().backward()
    assert sum(isinstance(module, SpikingJellyNode) for module in net.modules()) == 17
    assert all(m.amplitude.grad is not None for m in net.modules() if isinstance(m, TrainableTernaryLIF))
    functional.reset_net(net)
    assert all(m.v is None for m in net.modules() if isinstance(m, SpikingJellyNode))


def test_a_training_of_theirs_makes_the_loss_smaller():
    layer, functional = spikingjelly("layer"), spikingjelly("functional")
    torch.manual_seed(0)
    net = nn.Sequential(
        layer.Conv2d(1, 8, 3, padding=1), layer.BatchNorm2d(8), SpikingJellyNode(TernaryLIF()), layer.Flatten()
    ).append(layer.Linear(8 * 36, 2))
    functional.set_step_mode(net, "m")
    x = torch.randn(T, 4 * BATCH, 1, 6, 6)
    labels = (x.mean((0, 2, 3, 4)) > 0).long()
    optimiser, losses = torch.optim.Adam(net.parameters(), 0.01), []
    for _ in range(20):
        functional.reset_net(net)
        loss = nn.functional.cross_entropy(net(x).mean(0), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
