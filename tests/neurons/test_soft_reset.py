"""The soft-reset neuron: a worked example, its slopes, charge, gradients."""

import pytest
import torch

from ternary_spike import SpikingResNet, make_neuron
from ternary_spike.models.known_modules import NotFoldable
from ternary_spike.neurons.soft_reset import SoftResetLIF
from ternary_spike.reparam import fold


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def told_by(neuron: SoftResetLIF, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Potentials before the reset and spikes."""
    told = []
    neuron.observer = lambda u, b: told.append((u.detach(), b.detach()))
    neuron(x)
    return told[0]


def test_a_worked_example():
    """A weight of 0.8 on spikes 1, 0, 1, and the slopes at the potentials that follow."""
    neuron, x = SoftResetLIF(), double(0.8, 0, 0.8)
    u, b = told_by(neuron, x)
    torch.testing.assert_close(u, double(0.8, 0.4, 1.0), rtol=0, atol=1e-15)
    assert b.tolist() == [0, 0, 1]
    alone = u.unsqueeze(0).requires_grad_()
    SoftResetLIF()(alone).sum().backward()
    torch.testing.assert_close(alone.grad[0], double(0.855639, 0.305020, 1.0), rtol=0, atol=5e-7)


def test_what_exceeds_the_threshold_stays():
    u, b = told_by(SoftResetLIF(1.0, 0.5), double(1.5, 0.8, 0.4, 2.5))
    assert u.tolist() == [1.5, 1.05, pytest.approx(0.425), pytest.approx(2.7125)] and b.tolist() == [1, 1, 0, 1]


def test_without_a_leak_charge_is_conserved():
    x = torch.randn(30, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    spikes, v = SoftResetLIF(1.0, 1.0)(x, return_state=True)
    torch.testing.assert_close(x.sum(0) - spikes.sum(0), v, rtol=0, atol=1e-12)


@pytest.mark.parametrize("detach", [True, False])
def test_gradients_are_those_of_a_plain_loop(detach):
    torch.manual_seed(0)
    x = torch.randn(6, 40, dtype=torch.float64).requires_grad_()
    weight = torch.randn_like(x)
    v, spikes = torch.zeros(40, dtype=torch.float64), []
    for now in x:
        u = 0.5 * v + now
        s = torch.sigmoid(4 * (u.detach() - 1))
        b = (u.detach() >= 1) + 4 * s * (1 - s) * (u - u.detach())
        v = u - (b.detach() if detach else b)
        spikes.append(b)
    (expected,) = torch.autograd.grad((torch.stack(spikes) * weight).sum(), x)
    (found,) = torch.autograd.grad((make_neuron("soft_reset", detach_reset=detach)(x) * weight).sum(), x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_network_of_it_is_not_foldable():
    with pytest.raises(NotFoldable, match="layer stem1, SoftResetLIF, does not say what it is once folded"):
        fold(SpikingResNet("resnet6w4", "soft_reset", 2, in_channels=1, image_size=8))
