"""InfLoR-SNN: worked examples of rectifier and soft reset, limits, gradients."""

import math

import pytest
import torch

from ternary_spike import BinaryLIF, SpikingResNet, make_neuron
from ternary_spike.models.known_modules import NotFoldable
from ternary_spike.neurons.inflor import InfLoR, rectified
from ternary_spike.reparam import fold


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def slope(u: torch.Tensor) -> torch.Tensor:
    """phi'(u) by its formula where 0 <= u <= 1, else 0."""
    inside = (u >= 0) & (u <= 1)
    return inside * 3 / torch.cosh(3 * (u - 0.5)) ** 2 / (2 * math.tanh(1.5))


def loop(x: torch.Tensor, decay: float, rectify: bool, soft_reset: bool) -> torch.Tensor:
    """The equations as a plain loop, with db/du written out."""
    v, spikes = torch.zeros_like(x[0]), []
    for now in x:
        u = decay * v + now
        still = u.detach()
        b = (still > 0.5).double() + (slope(still) if rectify else (still >= 0) & (still <= 1)) * (u - still)
        v = u - b if soft_reset else u * (1 - b)
        spikes.append(b)
    return torch.stack(spikes)


def test_values_and_symmetry_of_the_rectifier():
    u = double(-1, -0.4, 0, 0.2, 0.3, 0.5, 0.8, 1, 2)
    expected = double(-0.259921, -0.118689, 0, 0.104320, 0.203336, 0.5, 0.895680, 1, 1.259921)
    torch.testing.assert_close(rectified(u), expected, rtol=0, atol=5e-7)
    many = torch.linspace(-3, 4, 1001, dtype=torch.float64)
    torch.testing.assert_close(rectified(1 - many), 1 - rectified(many))
    assert (rectified(many).diff() > 0).all()
    # the spikes of the whole rectifier, around its fixed points too
    near = torch.cat([many, *(double(p).nextafter(double(q)) for p in (0, 0.5, 1) for q in (-1, 2)), double(0, 0.5, 1)])
    assert torch.equal(InfLoR()(near.unsqueeze(0))[0], (rectified(near) > 0.5).double())


def test_the_slope_of_the_rectifier_is_the_spikes_gradient_and_its_roots_have_none():
    u = double(0.5, 0.3, 0.8, 0, 1, -0.1, 1.1, -1e30, 1e30).requires_grad_()
    InfLoR()(u.unsqueeze(0)).sum().backward()
    expected = double(1.657187, 1.179217, 0.806913, 0.299465, 0.299465, 0, 0, 0, 0)
    torch.testing.assert_close(u.grad, expected, rtol=0, atol=5e-7)
    many = torch.linspace(0, 1, 10_001, dtype=torch.float64).requires_grad_()
    InfLoR()(many.unsqueeze(0)).sum().backward()
    assert torch.trapezoid(many.grad, many.detach()).item() == pytest.approx(1, abs=1e-6)  # phi(1) - phi(0)


@pytest.mark.parametrize(
    ("x", "u", "b", "v"),
    [
        (0.6, [0.6, 0.2, 0.8, 0.4], [1, 0, 1, 0], [-0.4, 0.2, -0.2, 0.4]),
        (0.3, [0.3, 0.6, -0.1, 0.2], [0, 1, 0, 0], [0.3, -0.4, -0.1, 0.2]),
    ],
)
def test_the_reset_takes_a_spike_away_and_keeps_all_charge(x, u, b, v):
    neuron, told, kept, states = InfLoR(), [], None, []
    neuron.observer = lambda u, b: told.append((u, b))
    for _ in range(4):
        _, kept = neuron.step(double(x), kept)
        states.append(kept)
    potentials, spikes = (torch.stack(parts).flatten() for parts in zip(*told, strict=True))
    torch.testing.assert_close(potentials, double(*u), rtol=0, atol=1e-15)
    torch.testing.assert_close(torch.cat(states), double(*v), rtol=0, atol=1e-15)
    assert spikes.tolist() == b
    assert 4 * x - spikes.sum().item() == pytest.approx(kept.item(), abs=1e-15)


def test_charge_is_conserved_and_the_state_bounded():
    x = torch.randn(30, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    spikes, v = InfLoR()(x, return_state=True)
    torch.testing.assert_close(x.sum(0) - spikes.sum(0), v, rtol=0, atol=1e-12)
    _, v = InfLoR()(x.sigmoid(), return_state=True)  # from 0 to 1: u stays between -1/2 and 3/2
    assert v.abs().max() <= 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_rectifier_moves_no_spike(dtype):
    torch.manual_seed(0)
    half, x = torch.tensor([0.5], dtype=dtype), torch.randn(4, 1000, dtype=dtype)
    beside = torch.cat([half, torch.nextafter(half, half + 1), torch.nextafter(half, half - 1)])
    for current in (x, beside.unsqueeze(0)):
        assert torch.equal(InfLoR()(current), InfLoR(rectify=False)(current))
    assert InfLoR()(beside.unsqueeze(0)).tolist() == [[0, 1, 0]]


def test_with_a_hard_reset_and_a_leak_it_is_the_binary_neuron():
    x = torch.randn(5, 1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(InfLoR(0.25, soft_reset=False)(x), BinaryLIF(0.5, 0.25)(x))
    assert not torch.equal(InfLoR(0.25)(x), BinaryLIF(0.5, 0.25)(x))


def test_gradients_of_one_and_of_two_timesteps():
    x = double(0.3).requires_grad_()
    InfLoR()(x).backward()
    assert x.grad.item() == pytest.approx(1.179217, abs=5e-7)
    x = double(0.3, 0.3).requires_grad_()
    InfLoR()(x)[1].backward()
    assert x.grad.tolist() == pytest.approx([-0.271793, 1.516553], abs=5e-7)


@pytest.mark.parametrize(("rectify", "expected"), [(True, -0.657187), (False, 0)])
def test_the_reset_s_gradient_at_the_threshold(rectify, expected):
    x = double(0.5).requires_grad_()
    InfLoR(rectify=rectify)(x, return_state=True)[1].backward()
    assert x.grad.item() == pytest.approx(expected, abs=5e-7)


def test_the_state_s_gradient_is_the_product_over_timesteps():
    x, told = double(0.3, 0.4, -0.2, 0.7, 0.6).requires_grad_(), []
    neuron = InfLoR()
    neuron.observer = lambda u, b: told.append(u.detach())
    neuron(x, return_state=True)[1].backward()
    torch.testing.assert_close(x.grad[0], (1 - slope(told[0])).prod())


@pytest.mark.parametrize("rectify", [True, False])
@pytest.mark.parametrize("soft_reset", [True, False])
def test_gradients_are_those_of_a_plain_loop(rectify, soft_reset):
    torch.manual_seed(0)
    x = torch.randn(5, 4, 6, dtype=torch.float64).requires_grad_()
    weight = torch.randn_like(x)
    neuron = make_neuron("inflor", decay=0.75, rectify=rectify, soft_reset=soft_reset)
    (found,) = torch.autograd.grad((neuron(x) * weight).sum(), x)
    (expected,) = torch.autograd.grad((loop(x, 0.75, rectify, soft_reset) * weight).sum(), x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_network_of_it_is_not_foldable():
    with pytest.raises(NotFoldable, match="layer stem1, InfLoR, does not say what it is once folded"):
        fold(SpikingResNet("resnet6w4", "inflor", 2, in_channels=1, image_size=8))


def test_constants_and_what_is_refused():
    neuron = InfLoR()
    assert (neuron.decay, neuron.threshold, neuron.rectify, neuron.soft_reset) == (1, 0.5, True, True)
    with pytest.raises(AttributeError, match="threshold of InfLoR is fixed"):
        neuron.threshold = 1.0
    with pytest.raises(ValueError, match=r"decay must lie in \[0, 1\], not 2"):
        InfLoR(2.0)
    with pytest.raises(ValueError, match="soft_reset must be True or False, not 'no'"):
        InfLoR(soft_reset="no")
