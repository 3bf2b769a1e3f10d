"""DIET-SNN's neuron: worked examples, a plain loop, what scaling must not change, and its limits."""

import pytest
import torch

from ternary_spike import make_neuron
from ternary_spike.neurons.diet import Diet

DOUBLE = torch.float64


def double(*values) -> torch.Tensor:
    return torch.tensor(values, dtype=DOUBLE)


def diet(threshold: float, decay: float) -> Diet:
    neuron = make_neuron("diet", threshold=threshold, decay=decay).double()
    neuron.threshold.data, neuron.decay.data = double(threshold)[0], double(decay)[0]  # without float32's rounding
    return neuron


def watched(neuron: Diet, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    told = []
    neuron.observer = lambda u, b: told.extend((u, b))
    neuron(x)
    return told[0], told[1]


def test_a_worked_example_and_its_gradients():
    """The reset comes before the decay: .9 (1.05 - .8) + .2."""
    neuron, x = diet(0.8, 0.9), double(0.5, 0.6, 0.2).requires_grad_()
    u, b = watched(neuron, x)
    torch.testing.assert_close(u, double(0.5, 1.05, 0.425), rtol=0, atol=1e-15)
    assert b.tolist() == [0, 1, 0]
    of_v, of_tau, of_x = torch.autograd.grad(b.sum(), [neuron.threshold, neuron.decay, x])
    assert of_v.item() == pytest.approx(-0.769995, abs=1e-6)
    assert of_tau.item() == pytest.approx(0.268359, abs=1e-6)
    assert (x * of_x).sum().item() == pytest.approx(0.615996, abs=1e-6)
    slopes = torch.cat(
        [torch.autograd.grad(neuron(one).sum(), one)[0] for one in double(0.5, 1.05, 0.425)[:, None].requires_grad_()]
    )
    torch.testing.assert_close(0.8 * slopes, double(0.1875, 0.20625, 0.159375), rtol=0, atol=1e-12)


def test_a_constant_current_is_counted_and_the_threshold_itself_is_silent():
    u, b = watched(diet(1.0, 1.0), torch.full((10,), 0.35, dtype=DOUBLE))
    assert (b.nonzero().flatten() + 1).tolist() == [3, 6, 9]
    torch.testing.assert_close(u[[2, 5, 8]], double(1.05, 1.1, 1.15), rtol=0, atol=1e-12)
    assert diet(0.7, 1.0)(double(0.7, 0.0)).tolist() == [0, 0]
    assert diet(0.7, 1.0)(double(0.7 * (1 + 1e-15))).tolist() == [1]


def loop(x, threshold, decay):
    """Spikes of the equations one by one; the step's slope is put in by hand."""
    v, spikes = torch.zeros_like(x[0]), []
    for now in x:
        u = decay * v + now
        z = u / threshold - 1
        slope = 0.3 * (1 - z.detach().abs()).clamp(min=0)
        fired = (z.detach() > 0).double()
        spikes.append(fired + slope * (z - z.detach()))
        v = u - threshold * fired
    return torch.stack(spikes)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("threshold", "decay"), [(0.8, 0.9), (0.3, 1.0), (1.2, 0.0)])
def test_gradients_are_those_of_a_plain_loop(threshold, decay):
    neuron, x, weight = diet(threshold, decay), drawn(5, 40).requires_grad_(), drawn(5, 40, seed=1)
    inputs = [x, neuron.threshold, neuron.decay]
    found, expected = neuron(x), loop(*inputs)
    assert torch.equal(found, expected) and 10 < found.sum() < 150
    of_found, of_expected = (torch.autograd.grad((y * weight).sum(), inputs) for y in (found, expected))
    torch.testing.assert_close(of_found, of_expected, rtol=1e-12, atol=1e-12)


def test_weights_and_threshold_may_grow_together():
    """No spike changes; so V dL/dV + sum(x dL/dx) = 0."""
    neuron, x, weight = diet(0.8, 0.9), drawn(5, 40).requires_grad_(), drawn(5, 40, seed=1)
    assert torch.equal(neuron(x), diet(1.6, 0.9)(2 * x))
    of_v, of_x = torch.autograd.grad((neuron(x) * weight).sum(), [neuron.threshold, x])
    assert abs(of_v) > 0.1 and abs(neuron.threshold * of_v + (x * of_x).sum()) < 1e-12


def test_at_one_timestep_the_leak_has_a_gradient_of_zero():
    neuron = diet(0.8, 0.9)
    neuron(drawn(1, 40)).sum().backward()
    assert neuron.decay.grad.item() == 0 and neuron.threshold.grad.item() != 0


def test_what_training_moves_too_far_is_brought_back():
    neuron = diet(0.8, 0.9)
    neuron.threshold.data.fill_(-0.2)
    neuron.decay.data.fill_(1.3)
    assert neuron(double(0.5, 0.6)).isfinite().all()
    assert (neuron.threshold.item(), neuron.decay.item()) == (1e-3, 1.0)
    neuron.decay.data.fill_(-0.4)  # the authors bound it from above alone
    u, _ = watched(diet(10.0, 1.0), double(0.5, 0.6))
    neuron.threshold.data.fill_(10.0)
    assert watched(neuron, double(0.5, 0.6))[0].tolist() == pytest.approx([0.5, 0.6 - 0.4 * 0.5])
    assert u.tolist() == pytest.approx([0.5, 1.1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold": 0.0}, "threshold must be at least 0.001 and finite, not 0.0"),
        ({"decay": 1.5}, "decay must lie in"),
    ],
)
def test_constants_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Diet(**options)
