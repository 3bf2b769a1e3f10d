"""PLIF: worked examples, limits and gradients of a neuron whose time constant is trained."""

import math

import pytest
import torch

from ternary_spike import BinaryLIF, make_neuron
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.neurons.plif import ParametricLIF
from ternary_spike.reparam import fold, verify
from tests.helpers.rivals import spikingjelly


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


#: ours, and SpikingJelly's of the same shape with its constant; the window
ONE_SHAPE = {
    "atan": ("ATan", 2.0, 1 / math.pi),
    "sigmoid": ("Sigmoid", 4.0, 0.25),
    "triangle": ("PiecewiseQuadratic", 2.0, 0.5),
    "rectangle": ("Rect", 1.0, 0.5),
}


def pair(surrogate: str, time_constant: float = 2.0, detach_reset: bool = True, **options):
    """A layer of ours and SpikingJelly's ParametricLIFNode, whose defaults are the sigmoid and no detached reset."""
    name, alpha, window = ONE_SHAPE[surrogate]
    ours = ParametricLIF(time_constant, surrogate=surrogate, window=window, detach_reset=detach_reset)
    theirs = spikingjelly("neuron").ParametricLIFNode(
        time_constant,
        surrogate_function=getattr(spikingjelly("surrogate"), name)(alpha),
        detach_reset=detach_reset,
        step_mode="m",
        **options,
    )
    return ours.double(), theirs.double()


@pytest.mark.full
@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize("time_constant", [2.0, 3.0])
@pytest.mark.parametrize("surrogate", ONE_SHAPE)
def test_spikingjelly_agrees(surrogate, time_constant, detach_reset):
    """Spikes, potentials and gradients; at the threshold, where both fire, and at the ends of the triangle."""
    (ours, theirs), generator = pair(surrogate, time_constant, detach_reset), torch.Generator().manual_seed(0)
    x = 2 * torch.randn(6, 4, 50, dtype=torch.float64, generator=generator)
    # a half of it is the first potential where tau is 2: on the threshold, and half a threshold below and above
    x[0, 0, :3] = torch.tensor([2.0, 2.0, 2.0] if surrogate == "rectangle" else [2.0, 1.0, 3.0], dtype=torch.float64)
    weight = torch.randn(x.shape, dtype=torch.float64, generator=generator)
    found = []
    for neuron in (ours, theirs):
        mine = x.clone().requires_grad_()
        spikes, v = neuron(mine, return_state=True) if neuron is ours else (neuron(mine), neuron.v)
        found.append((spikes, v, *torch.autograd.grad((spikes * weight).sum() + v.sum(), [mine, neuron.w])))
    assert torch.equal(found[0][0], found[1][0]) and 50 < found[0][0].sum() < 1100
    assert found[0][0][0, 0, 0] == (time_constant == 2)
    torch.testing.assert_close(found[0], found[1], rtol=1e-11, atol=1e-12)


@pytest.mark.full
def test_at_the_rectangles_ends_spikingjelly_has_no_slope():
    """Its rectangle is open and ours closed: |H - V_th| = 1/2."""
    slopes = []
    for neuron in pair("rectangle"):
        x = torch.tensor([[1.0, 1.5, 3.0]], dtype=torch.float64, requires_grad=True)
        neuron(x).sum().backward()
        slopes.append(x.grad.flatten().tolist())
    assert slopes == [[0.5, 0.5, 0.5], [0, 0.5, 0]]


@pytest.mark.full
def test_without_decay_of_its_input_spikingjellys_is_ours_of_an_input_tau_times_as_large():
    """decay_input=False is H = (1 - k) V + X, which Eq. 2 is not."""
    ours, theirs = pair("atan", decay_input=False)
    x = 2 * torch.randn(6, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours(2 * x), theirs(x)) and not torch.equal(ours(x), ours(2 * x))
