"""The candidates for MT-SNN's neuron: worked examples, plain loops, and the neurons that they are at one threshold."""

import re

import pytest
import torch
from torch import Tensor

from ternary_spike import TernaryLIF, make_neuron
from ternary_spike.models.known_modules import NotFoldable
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.neurons.mt_snn import MODES, MultiThreshold
from ternary_spike.reparam import fold

NAME = "mt_snn_candidate"
MLF = {"mode": "separate", "threshold": 0.6}
LEVELS = (1, 3)


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def drawn(seed: int = 0, steps: int = 5) -> Tensor:
    return 2 * torch.randn(steps, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def made(**options) -> MultiThreshold:
    return make_neuron(NAME, **options).double()


def test_one_membrane_and_three_thresholds():
    """Any spike resets it."""
    for u, y, kept in ((1.2, 2, 0.0), (0.4, 0, 0.4)):
        spikes, v = made(threshold=0.5, spacing=0.5).step(double(u))
        assert (spikes.item(), v.item()) == (y, kept)


def test_a_cascade_takes_each_threshold_off():
    spikes, v = made(mode="cascade", threshold=0.5, spacing=0.0).step(double(1.2))
    assert spikes.item() == 2 and v.item() == pytest.approx(0.2)


def test_a_membrane_for_each_threshold():
    """tau 0.25, V = 0.6, 1.6, 2.6: the second membrane keeps what the first has spent."""
    neuron, x, v = made(**MLF), double(1.5), None
    found = []
    for _ in range(2):
        y, v = neuron.step(x, v)
        found.append((y.item(), v.flatten().tolist()))
    assert found[0] == (1, [0, 1.5, 1.5])
    assert found[1] == (2, pytest.approx([0, 0, 1.875]))


def test_windows_that_tile_the_axis_make_a_straight_line_of_the_staircase():
    u = torch.linspace(-1, 4, 1001, dtype=torch.float64)[1:-1].requires_grad_()
    (slope,) = torch.autograd.grad(made()(u[None]).sum(), u)
    u = u.detach()
    joint = ((u - u.round()).abs() < 1e-9) & (u.round() >= 0) & (u.round() <= 3)
    assert torch.equal(slope[~joint], ((u > 0) & (u < 3)).double()[~joint])


def loop(mode: str, x: Tensor, leak: Tensor, thresholds: list[float]) -> tuple[Tensor, Tensor]:
    """Spikes and what is kept at the end, one threshold after the other."""

    def fire(u: Tensor, v_k: float) -> Tensor:
        slope = ((u.detach() - v_k).abs() <= 0.5).double()
        return (u.detach() >= v_k).double() + slope * (u - u.detach())

    kept = [torch.zeros_like(x[0]) for _ in thresholds]
    emitted = []
    for now in x:
        y = torch.zeros_like(now)
        u = [leak.sigmoid() * v + now for v in kept]
        for k, v_k in enumerate(thresholds):
            if mode == "separate":
                b = fire(u[k], v_k)
                kept[k] = u[k] * (1 - b)
            elif mode == "parallel":
                b = fire(u[0], v_k)
                kept[0] = u[0] * (1 - b) if k == 0 else kept[0]
            else:
                b = fire(u[0], v_k)
                u[0] = kept[0] = u[0] - v_k * b
            y = y + b
        emitted.append(y)
    return torch.stack(emitted), torch.stack(kept) if mode == "separate" else kept[0]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("levels", LEVELS)
def test_gradients_are_those_of_a_plain_loop(mode, levels):
    neuron, x, weight = made(mode=mode, levels=levels, threshold=0.6), drawn().requires_grad_(), drawn(1)
    found, v = neuron(x, return_state=True)
    expected, kept = loop(mode, x, neuron.w, [0.6 + k for k in range(levels)])
    assert {*found.unique().tolist()} == {*range(levels + 1)}
    torch.testing.assert_close((found, v), (expected, kept), rtol=0, atol=1e-14)
    of_found, of_expected = (
        torch.autograd.grad((y * weight).sum() + s.sum(), [x, neuron.w])
        for y, s in ((found, v), (expected, kept))
    )  # fmt: skip
    torch.testing.assert_close(of_found, of_expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("mode", "plain"), [("parallel", "stbp"), ("separate", "stbp"), ("cascade", "soft_reset")])
@pytest.mark.parametrize("others", [{"levels": 1}, {"levels": 3, "spacing": 1000.0}])
def test_with_one_threshold_that_is_ever_reached_it_is_a_known_neuron(mode, plain, others):
    neuron = made(mode=mode, decay=0.5, **others)
    known = make_neuron(plain, threshold=0.5, decay=0.5, surrogate="rectangle", window=0.5, detach_reset=False)
    gradients = []
    for layer in (neuron, known):
        x = drawn().requires_grad_()
        spikes = layer(x)
        (spikes * drawn(1)).sum().backward()
        gradients.append((spikes, x.grad))
    assert torch.equal(gradients[0][0], gradients[1][0])
    torch.testing.assert_close(gradients[0][1], gradients[1][1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_spikes_never_fall_where_the_current_rises_in_one_timestep(mode):
    """What a cascade has taken off for a threshold is wanting at the next."""
    x = torch.linspace(-1, 5, 601, dtype=torch.float64) + 0.005
    steps = (0.5, 2.0, 4.5) if mode == "cascade" else (0.5, 1.5, 2.5)
    assert torch.equal(made(mode=mode)(x[None])[0], sum((x >= step).double() for step in steps))


def test_a_cascade_loses_no_charge():
    neuron, x = made(mode="cascade", levels=2), drawn(steps=1)[0]
    y, v = neuron.step(x)
    taken = (x >= 0.5) * 0.5 + (x - (x >= 0.5) * 0.5 >= 1.5) * 1.5
    torch.testing.assert_close(x - taken, v)
    assert (y == (x >= 0.5).double() + (x - (x >= 0.5) * 0.5 >= 1.5)).all()


def test_a_ternary_spike_is_that_of_the_threshold_less_that_of_its_negative():
    u = drawn(steps=1)
    neuron = made(levels=1)
    assert torch.equal(neuron(u) - neuron(-u), TernaryLIF()(u))


def test_its_spikes_are_no_folded_network_s():
    model = SpikingResNet("resnet6", NAME, 2, image_size=8)
    with pytest.raises(NotFoldable, match=re.escape("MultiThreshold")):
        fold(model)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "serial"}, "mode must be one of parallel, separate, cascade, not 'serial'"),
        ({"levels": 0}, "levels must be a whole number from 1, not 0"),
        ({"decay": 1.0}, "decay must lie between 0 and 1, and be neither, not 1.0"),
        ({"spacing": -0.5}, "spacing must be at least 0, not -0.5"),
    ],
)
def test_constants_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        MultiThreshold(**options)
