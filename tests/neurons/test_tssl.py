"""TSSL-BP's neuron: worked examples, the filter, gradients by finite differences where the method has a derivative."""

import math

import pytest
import torch

from ternary_spike import BinaryLIF, SpikingResNet
from ternary_spike.models.known_modules import NotFoldable
from ternary_spike.neurons.tssl import TSSL, post_synaptic
from ternary_spike.reparam import fold

X = (0.6, 0.7, 0.3, 0.2, 0.9)


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def plain_backward(neuron: TSSL, x: torch.Tensor, e: torch.Tensor) -> torch.Tensor:
    """The method's backward pass as a plain loop over one neuron's numbers; e[t] = dL/da[t]."""
    steps, v, a, m, s = len(x), 0.0, 0.0, neuron.time_constant, neuron.synapse
    u, du, b, syn = [], [], [], []
    for now in x.tolist():
        du.append(now - v / m)
        u.append(v + du[-1])
        b.append(float(u[-1] > neuron.threshold))
        v = u[-1] * (1 - b[-1])
        a += (b[-1] - a) / s
        syn.append(a)
    psi, found = 0.0, [0.0] * steps
    for t in reversed(range(steps)):
        summed = sum((1 / s) * (1 - 1 / s) ** (k - t) * e[k].item() for k in range(t, steps))
        q = b[t] * (min(1 / du[t], 8.0) if du[t] > 0 else 0.0)
        value = q * summed
        if t + 1 < steps:
            value += psi * u[t] * q / m + psi * (1 - 1 / m) * (1 - b[t])
        psi = value if b[t] else psi * (1 - 1 / m)
        f = math.exp(min(max((neuron.threshold - u[t]) / 0.2, -8.0), 8.0))
        found[t] = f / ((1 + f) ** 2 * 0.2) * summed if syn[t] < 1 / (4 * s) else value
    return double(*found)


def test_a_worked_example_forward():
    neuron, told = TSSL(), []
    neuron.observer = lambda u, b: told.append((u, b))
    a = neuron(double(*X))
    u, b = told[0]
    torch.testing.assert_close(u, double(0.6, 1.18, 0.3, 0.44, 1.252), rtol=0, atol=1e-12)
    assert b.tolist() == [0, 1, 0, 0, 1]
    torch.testing.assert_close(a, double(0, 0.3333, 0.2222, 0.1481, 0.4321), rtol=0, atol=5e-5)


def test_a_worked_example_backward():
    """The first timestep is trained by the surrogate, since nothing has fired; the others through spike times."""
    x = double(*X).requires_grad_()
    TSSL()(x).sum().backward()
    expected = double(0.455836, 1.490470, 0.262726, 0.328407, 0.410509)
    torch.testing.assert_close(x.grad, expected, rtol=0, atol=1e-6)


def test_the_filter():
    impulse = double(1, 0, 0, 0, 0)
    torch.testing.assert_close(
        post_synaptic(impulse, 3.0), double(0.3333, 0.2222, 0.1481, 0.0988, 0.0658), rtol=0, atol=5e-5
    )
    constant = post_synaptic(torch.ones(5, dtype=torch.float64), 3.0)  # a pixel that is filtered
    torch.testing.assert_close(constant, double(0.3333, 0.5556, 0.7037, 0.8025, 0.8683), rtol=0, atol=5e-5)
    first, last = post_synaptic(impulse[:2], 3.0), post_synaptic(impulse[2:], 3.0, post_synaptic(impulse[:2], 3.0)[1])
    assert torch.equal(torch.cat([first, last]), post_synaptic(impulse, 3.0))


def test_the_potential_s_gradient_by_the_spikes_is_its_finite_difference():
    """E[t] = dL/db[t] = sum over k >= t of eps[k - t] e[k], for any loss on a."""
    b, e = double(0, 1, 0, 0, 1).requires_grad_(), double(0.3, -0.7, 1.1, 0.2, -0.4)
    (post_synaptic(b, 3.0) * e).sum().backward()
    for t in range(5):
        up, down = b.detach().clone(), b.detach().clone()
        up[t] += 1e-4
        down[t] -= 1e-4
        slope = ((post_synaptic(up, 3.0) - post_synaptic(down, 3.0)) * e).sum() / 2e-4
        assert b.grad[t].item() == pytest.approx(slope.item(), abs=1e-9)


def test_slopes_of_spike_times_are_finite_differences():
    """A spike comes earlier by 1 / du times what the potential rises, of earlier currents what the leak leaves."""
    x = double(*X).requires_grad_()
    e = double(0, 0, 0, 0, 3.0)  # with eps[0] = 1/3, dL/db is 1 at the last spike
    (TSSL()(x) * e).sum().backward()
    neuron, eps = TSSL(), 1e-6

    def u_last(current: torch.Tensor) -> float:
        told = []
        neuron.observer = lambda u, b: told.append(u.detach())
        neuron(current)
        return told[0][4].item()

    du = 0.812
    for t in (2, 3, 4):
        shift = torch.zeros(5, dtype=torch.float64)
        shift[t] = eps
        slope = (u_last(x.detach() + shift) - u_last(x.detach() - shift)) / 2 / eps
        assert slope == pytest.approx(0.8 ** (4 - t), abs=1e-6)
        assert x.grad[t].item() == pytest.approx(slope / du, abs=1e-6)


@pytest.mark.parametrize(("tau_m", "tau_s"), [(5.0, 3.0), (2.0, 1.0), (1e9, 4.0)])
def test_gradients_are_those_of_a_plain_loop(tau_m, tau_s):
    generator = torch.Generator().manual_seed(0)
    x = (0.9 * torch.randn(7, 30, generator=generator, dtype=torch.float64) + 0.4).requires_grad_()
    e = torch.randn(7, 30, generator=generator, dtype=torch.float64)
    neuron = TSSL(tau_m, tau_s)
    (neuron(x) * e).sum().backward()
    for column in range(30):
        expected = plain_backward(neuron, x[:, column].detach(), e[:, column])
        torch.testing.assert_close(x.grad[:, column], expected, rtol=1e-9, atol=1e-12)


def test_invariants():
    x = double(*X).requires_grad_()
    (TSSL()(x) * 0).sum().backward()
    assert x.grad.tolist() == [0] * 5
    silent = double(0.1, 0.1, 0.1).requires_grad_()  # the surrogate alone
    (TSSL()(silent) * double(1, 0, 0)).sum().backward()
    s = torch.sigmoid(double(0.1 - 1) / 0.2)
    assert silent.grad.tolist() == pytest.approx([(s * (1 - s) / 0.2 / 3).item(), 0, 0], abs=1e-12)
    at_last = double(0.5, 2.0).requires_grad_()  # fires at the last step only: q eps[0] e[T]
    (TSSL()(at_last) * double(0, 1)).sum().backward()
    assert at_last.grad[1].item() == pytest.approx(1 / 1.9 / 3, abs=1e-12)
    steep = double(0.99, 0.25).requires_grad_()  # du = 0.052: cut off at 8
    (TSSL()(steep) * double(0, 1)).sum().backward()
    assert steep.grad[1].item() == pytest.approx(8 / 3, abs=1e-12)


def test_a_spike_counts_for_four_timesteps():
    """a is 0.0988 in the fourth and 0.0658 in the fifth; the surrogate takes over below 1/12."""
    x = double(1.5, 0, 0, 0, 0, 0).requires_grad_()
    TSSL()(x).sum().backward()
    assert x.grad[1:4].tolist() == [0, 0, 0] and (x.grad[4:] > 0).all()  # through spike times nothing: none follows


def test_without_a_filter_it_emits_the_spikes_of_the_hard_reset():
    x = torch.randn(6, 500, generator=torch.Generator().manual_seed(0))
    assert torch.equal(TSSL(2.0, 1.0)(x), BinaryLIF(1.0, 0.5)(x))


def test_a_network_of_it_is_not_foldable():
    with pytest.raises(NotFoldable, match="layer stem1, TSSL, does not say what it is once folded"):
        fold(SpikingResNet("resnet6w4", "tssl", 2, in_channels=1, image_size=8))


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"synapse must be at least 1 timestep and finite, not 0\.5"):
        TSSL(synapse=0.5)
    with pytest.raises(ValueError, match=r"threshold must be above 0 and finite, not 0\.0"):
        TSSL(threshold=0.0)
