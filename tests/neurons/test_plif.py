"""PLIF: worked examples, limits and gradients of a neuron whose time constant is trained."""

import math

import pytest
import torch

from ternary_spike import BinaryLIF, make_neuron
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.neurons.plif import ParametricLIF
from ternary_spike.reparam import fold, verify


def watched(neuron: ParametricLIF, x) -> tuple[torch.Tensor, torch.Tensor]:
    told = []
    neuron.observer = lambda u, b: told.append((u, b))
    neuron(torch.as_tensor(x, dtype=torch.float64))
    return told[0]


def loop(x: torch.Tensor, w: torch.Tensor, detach_reset: bool) -> torch.Tensor:
    """Eqs. 2-6 as a plain loop over time, with the arctan's derivative in the place of the step's."""
    k, v, spikes = 1 / (1 + torch.exp(-w)), torch.zeros_like(x[0]), []
    for current in x:
        h = v + k * (current - v)
        slope = 1 / (1 + (math.pi * (h.detach() - 1)) ** 2)
        s = (h.detach() >= 1).double() + slope * (h - h.detach())
        v = h * (1 - (s.detach() if detach_reset else s))
        spikes.append(s)
    return torch.stack(spikes)


@pytest.mark.parametrize(("detach_reset", "expected"), [(True, 0.655410), (False, 0.533868)])
def test_potentials_spikes_and_gradient_of_three_timesteps(detach_reset, expected):
    neuron = ParametricLIF(detach_reset=detach_reset).double()
    u, b = watched(neuron, [1.5, 1.6, 1.2])
    torch.testing.assert_close(u, torch.tensor([0.75, 1.175, 0.6], dtype=torch.float64), rtol=0, atol=1e-15)
    assert b.tolist() == [0, 1, 0]
    b.sum().backward()
    assert neuron.w.grad.item() == pytest.approx(expected, abs=5e-7)


def test_gradients_of_the_potentials_and_the_surrogate():
    """du/dw of each timestep, and the surrogate at its potential."""
    for t, (of_potential, of_spike) in enumerate([(0.375, 0.618486), (0.4, 0.767898), (0.3, 0.387727)]):
        neuron = ParametricLIF().double()
        u, b = watched(neuron, [1.5, 1.6, 1.2])
        (potential,) = torch.autograd.grad(u[t], neuron.w, retain_graph=True)
        (spike,) = torch.autograd.grad(b[t], neuron.w)
        assert potential.item() == pytest.approx(of_potential, abs=1e-12)
        assert (spike / potential).item() == pytest.approx(of_spike, abs=5e-7)


@pytest.mark.parametrize("detach_reset", [True, False])
def test_gradients_are_those_of_a_plain_loop(detach_reset):
    torch.manual_seed(0)
    x = (2 * torch.randn(5, 4, 6, dtype=torch.float64)).requires_grad_()
    neuron = ParametricLIF(3.0, detach_reset=detach_reset).double()
    weight = torch.randn_like(x)
    found = torch.autograd.grad((neuron(x) * weight).sum(), [x, neuron.w])
    expected = torch.autograd.grad((loop(x, neuron.w, detach_reset) * weight).sum(), [x, neuron.w])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_constant_input_is_approached_and_fires_only_from_the_threshold_on():
    assert watched(ParametricLIF(threshold=10.0).double(), [1.0] * 3)[0].tolist() == [0.5, 0.75, 0.875]
    for time_constant in (1.01, 2.0, 16.0):
        neuron = ParametricLIF(time_constant).double()
        assert watched(neuron, [0.999] * 60)[1].sum() == 0 and watched(neuron, [1.5] * 60)[1].sum() > 0


def test_time_constants_at_the_start():
    assert ParametricLIF().w.shape == () and ParametricLIF().w == 0
    assert ParametricLIF(16.0).w.item() == pytest.approx(-2.708050, abs=5e-7)
    assert ParametricLIF(16.0).w.sigmoid().item() == pytest.approx(0.0625)
    with pytest.raises(ValueError, match=r"time_constant must be above 1 and finite, not 1\.0"):
        ParametricLIF(1.0)


def test_limits_of_the_time_constant():
    neuron, x = ParametricLIF(threshold=10.0).double(), [0.3, -0.2, 0.9]
    with torch.no_grad():
        neuron.w.fill_(40.0)
        torch.testing.assert_close(watched(neuron, x)[0], torch.tensor(x, dtype=torch.float64))  # no memory
        neuron.w.fill_(-40.0)
        assert watched(neuron, x)[0].abs().max() < 1e-15  # no input


def test_with_a_fixed_constant_it_is_that_lif_of_the_decayed_input():
    torch.manual_seed(0)
    x = 2 * torch.randn(5, 100)
    constants = {"surrogate": "atan", "window": 1 / math.pi, "detach_reset": True}
    assert torch.equal(ParametricLIF()(x), BinaryLIF(1.0, 0.5, **constants)(0.5 * x))
    wide = x.double()
    house = BinaryLIF(0.5, 0.25, **constants)  # the paper's neuron: gain 1 instead of k = 3/4
    assert torch.equal(ParametricLIF(4 / 3, 0.5).double()(wide / 0.75), house(wide))


def test_a_network_folds_exactly_once_its_time_constants_differ():
    torch.manual_seed(0)
    model = SpikingResNet("resnet6w4", "plif", 4, in_channels=1, image_size=8, neuron_options={"threshold": 0.3})
    for i, name in enumerate(name for name in model.state_dict() if name.endswith(".w")):
        model.get_parameter(name).data.fill_(0.5 * i - 1)
    folded = fold(model)
    assert verify(model, folded, [torch.randn(8, 1, 8, 8)])["passed"]
    assert len({op.settings["decay"] for op in folded.operations if op.kind == "spikes"}) == 5


def test_it_is_made_by_name():
    assert make_neuron("plif", 4, time_constant=16.0).w.item() < -2.7
