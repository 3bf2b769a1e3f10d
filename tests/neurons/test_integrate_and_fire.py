"""Integrate-and-fire: counts of spikes worked out by hand, what a reset conserves, surrogate gradients."""

import math

import pytest
import torch

from ternary_spike import make_neuron
from ternary_spike.models.known_modules import NotFoldable
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.neurons.integrate_and_fire import IntegrateAndFire
from ternary_spike.reparam import fold

# dyadic numbers: nothing is rounded
CURRENT = [0.5, 1.25, 0.75, 1.25]
COUNTS = {0.375: (8, 9), 0.625: (12, 15), 0.75: (12, 18), 1.75: (24, 24)}  # in 24 timesteps, hard and soft


def run(neuron: IntegrateAndFire, x: list[float]) -> tuple[list[float], list[float]]:
    """u and b of each timestep."""
    told = []
    neuron.observer = lambda u, b: told.append((u.flatten().tolist(), b.flatten().tolist()))
    neuron(torch.tensor(x).view(-1, 1))
    return told[0]


def test_worked_examples_of_both_resets():
    assert run(IntegrateAndFire(1.25, "hard"), CURRENT) == ([0.5, 1.75, 0.75, 2], [0, 1, 0, 1])
    assert run(IntegrateAndFire(1.25, "soft"), CURRENT) == ([0.5, 1.75, 1.25, 1.25], [0, 1, 1, 1])
    assert run(IntegrateAndFire(1.0, "soft"), [1, 1, -2])[1] == [1, 1, 0]  # what fired cannot be taken back


@pytest.mark.parametrize(("x", "counts"), COUNTS.items())
def test_rates_of_a_constant_current(x, counts):
    """Hard: one spike in ceil(V_th / x) timesteps, a staircase. Soft: floor(T x / V_th), linear."""
    found = tuple(sum(run(IntegrateAndFire(1.0, reset), [x] * 24)[1]) for reset in ("hard", "soft"))
    assert found == counts
    assert counts == (24 // math.ceil(1 / x), min(24, math.floor(24 * x)))


def test_the_soft_reset_conserves_what_flows_in():
    """V_th sum b = sum x + v[-1] - v[T-1], exactly in dyadic numbers, whatever the signs."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-64, 96, (40, 50), generator=generator) / 32
    neuron = IntegrateAndFire(1.25, "soft", initial_potential=0.5)
    y, kept = neuron(x, return_state=True)
    assert torch.equal(y.sum(0), x.sum(0) + 0.625 - kept.v) and y.unique().tolist() == [0, 1.25]
    hard = IntegrateAndFire(1.25, "hard")
    y, kept = hard(x, return_state=True)
    assert not torch.equal(y.sum(0), x.sum(0) - kept.v)


def test_half_a_threshold_at_the_beginning_rounds():
    counts = [sum(run(IntegrateAndFire(1.0, "soft", initial_potential=v), [0.375] * 4)[1]) for v in (0.0, 0.5)]
    assert counts == [1, 2]  # of 1.5


def test_a_strict_neuron_does_not_fire_at_its_threshold():
    """The published spikes of Hybrid-Train, each one timestep earlier: m = .5, 1, 1.5, 1, ..."""
    strict = IntegrateAndFire(1.0, "soft", strict=True)
    assert run(strict, [0.5] * 7) == ([0.5, 1, 1.5, 1, 1.5, 1, 1.5], [0, 0, 1, 0, 1, 0, 1])
    assert run(strict, [0.625] * 8)[1] == [0, 1, 0, 1, 1, 0, 1, 0]
    assert run(IntegrateAndFire(1.0, "soft"), [0.5] * 7)[1] == [0, 1, 0, 1, 0, 1, 0]


def test_a_spike_of_one_differs_in_its_value_alone():
    x = torch.rand(12, 30, generator=torch.Generator().manual_seed(1))
    of_one, of_threshold = (IntegrateAndFire(0.75, "soft", spike_value=value)(x) for value in ("one", "threshold"))
    assert torch.equal(0.75 * of_one, of_threshold) and of_one.unique().tolist() == [0, 1]


def gradient(neuron: IntegrateAndFire, x: list[float]) -> list[float]:
    """Of each timestep's spike with respect to that timestep's input."""
    x = torch.tensor(x, dtype=torch.float64)
    kept, found = None, []
    for now in x:
        now = now.requires_grad_()
        y, kept = neuron.step(now, None if kept is None else kept.to(torch.float64))
        found.append(torch.autograd.grad(y, now, retain_graph=True)[0].item())
    return found


def test_stdb_depends_on_the_time_since_the_last_spike_and_on_nothing_else():
    """It fires at once and then never again: dt is 1, 10, 50 and 100 in later timesteps."""
    neuron = IntegrateAndFire(2.0, "soft", spike_value="one", surrogate="stdb").double()
    found = gradient(neuron, [2.0] + [0.01] * 100)
    assert found[0] == pytest.approx(1.36e-5 / 2, abs=1e-8)  # never fired: dt = 1000
    for dt, g in ((1, 0.297015), (10, 0.271451), (50, 0.181959), (100, 0.110364)):
        assert found[dt] == pytest.approx(g / 2, abs=1e-6)
    flat = IntegrateAndFire(2.0, "soft", spike_value="one", surrogate="stdb", forgetting=0.0).double()
    assert gradient(flat, [0.3, 5.0, -9.0]) == pytest.approx([0.15] * 3)


def test_the_linear_surrogate_is_a_triangle_around_the_threshold():
    neuron = IntegrateAndFire(2.0, "hard", spike_value="one").double()
    found = [gradient(neuron, [u])[0] for u in (2.0, 3.0, 1.0, 0.0, 4.5)]
    assert found == pytest.approx([0.15, 0.075, 0.075, 0, 0])


def test_no_gradient_flows_through_the_reset():
    for reset in ("hard", "soft"):
        neuron = IntegrateAndFire(1.0, reset, surrogate="stdb", forgetting=0.0).double()
        x = torch.tensor([1.5, 0.25], dtype=torch.float64, requires_grad=True)
        neuron(x.view(2, 1))[1].sum().backward()
        assert x.grad.tolist() == pytest.approx([0.3 if reset == "soft" else 0.0, 0.3])


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"reset": "soft"}, "a soft reset"),
        ({"strict": True}, "a strict comparison"),
        ({"initial_potential": 0.5}, "an initial potential"),
    ],
)
def test_what_a_folded_network_does_not_have_is_refused_with_the_layer(options, what):
    model = SpikingResNet("resnet6w4", "if", 2, in_channels=1, image_size=8, neuron_options=options)
    with pytest.raises(
        NotFoldable, match=f"layer stem1, IntegrateAndFire, has {what}, which a folded network does not"
    ):
        fold(model)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"reset": "none"}, "neuron option reset is 'none', but must be one of hard, soft"),
        ({"threshold": 0.0}, "neuron option threshold is 0.0, but must be a number from 1e-30"),
        ({"spike_value": "two"}, "spike_value is 'two', but must be one of threshold, one"),
    ],
)
def test_options_are_checked(option, message):
    with pytest.raises(ValueError, match=message):
        make_neuron("if", **option)
    with pytest.raises(ValueError, match=f"{next(iter(option))} must be"):
        IntegrateAndFire(**option)


def test_the_amplitude_is_the_threshold_and_is_not_set_by_itself():
    neuron = IntegrateAndFire()
    neuron.threshold.fill_(3.0)
    assert neuron.amplitude == 3 and neuron.folds().dynamics.threshold == 3
    with pytest.raises(AttributeError, match="amplitude of IntegrateAndFire is its threshold"):
        neuron.amplitude = 2.0
