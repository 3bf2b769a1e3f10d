"""DSR's neurons: worked examples, what is conserved, gradients as finite differences of the clamp between rates."""

import math

import pytest
import torch

from ternary_spike import SpikingResNet
from ternary_spike.models.known_modules import NotFoldable
from ternary_spike.neurons.dsr import RepresentedIF, RepresentedLIF, representation
from ternary_spike.neurons.soft_reset import SoftResetLIF
from ternary_spike.reparam import fold
from tests.helpers.rivals import spikingjelly

BETA = math.exp(-0.05)


def constant(x: float, timesteps: int) -> torch.Tensor:
    return torch.full((timesteps, 1), x, dtype=torch.float64)


def states(neuron, x: torch.Tensor) -> tuple[list[float], list[float]]:
    """Spikes as emitted and the membrane potentials kept, timestep by timestep."""
    kept, spikes, potentials = None, [], []
    for now in x:
        y, kept = neuron.step(now, kept)
        spikes.append(y.item())
        potentials.append(kept.item())
    return spikes, potentials


def test_integrate_and_fire_below_the_threshold():
    """0.3 four times: with alpha = 1/2 the rate is nearer to 0.3, and the potential falls below 0."""
    spikes, potentials = states(RepresentedIF(1.0), constant(0.3, 4))
    assert spikes == [0, 1, 0, 0] and potentials == pytest.approx([0.3, -0.4, -0.1, 0.2], abs=1e-12)
    assert states(RepresentedIF(1.0, level=1.0), constant(0.3, 4))[0] == [0, 0, 0, 1]
    assert states(RepresentedIF(1.0), constant(1.3, 4))[0] == [1, 1, 1, 1]
    assert states(RepresentedIF(6.0), constant(4.0, 3))[0] == [6, 0, 6]


def test_leaky_integrate_and_fire():
    neuron = RepresentedLIF().double()
    neuron.threshold.data.fill_(0.3)
    assert neuron.beta == pytest.approx(0.951229, abs=5e-7)
    spikes, potentials = states(neuron, constant(2.0, 4))
    assert spikes == pytest.approx([6, 0, 0, 6], abs=1e-12)
    assert potentials == pytest.approx([-0.202459, -0.095044, 0.007133, -0.195674], abs=1e-6)
    y = neuron(constant(2.0, 4))
    assert representation(y, neuron.beta).item() == pytest.approx(3.003746, abs=1e-6)
    y = neuron(constant(2.0, 20))
    assert (y.flatten().nonzero().flatten() + 1).tolist() == [1, 4, 7, 10, 13, 16, 19]
    assert representation(y, neuron.beta).item() == pytest.approx(2.055054, abs=1e-6)


def test_weighted_sums_of_input_spikes_and_rest_are_equal():
    """sum_t beta^(T-t) S[t] = (1 - beta) sum_t beta^(T-t) x[t] - v[T], whatever the input."""
    neuron = RepresentedLIF(time_constant=2.0, step=0.1).double()
    x = 4 * torch.randn(12, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y, v = neuron(x, return_state=True)
    beta = math.exp(-0.05)
    powers = torch.tensor([beta ** (11 - t) for t in range(12)], dtype=torch.float64)
    sums = [torch.tensordot(powers, z, 1) for z in (0.1 * y, x)]
    torch.testing.assert_close(sums[0], (1 - beta) * sums[1] - v, rtol=0, atol=1e-12)
    assert y.count_nonzero() > 100


def test_with_its_level_at_the_threshold_it_is_the_soft_reset():
    x = torch.randn(8, 1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(RepresentedIF(1.0, level=1.0)(x), SoftResetLIF(1.0, 1.0)(x))


def clamp_if(x: torch.Tensor, v_th: torch.Tensor) -> torch.Tensor:
    """The representation that is differentiated."""
    return torch.minimum(x.mean(0).clamp(min=0), v_th)


def clamp_lif(x: torch.Tensor, v_th: torch.Tensor, tau_m: float = 2.0, dt: float = 0.1) -> torch.Tensor:
    powers = torch.tensor([math.exp(-dt / tau_m) ** (len(x) - t) for t in range(len(x))], dtype=torch.float64)
    mean = torch.tensordot(powers / powers.sum(), x, 1)
    return torch.minimum((mean / tau_m).clamp(min=0), v_th / dt)


@pytest.mark.parametrize(
    ("neuron", "clamp", "of_threshold"),
    [
        (RepresentedIF(0.3), clamp_if, 1.0),
        # the authors' code has dt where the clamp has 1 / dt
        (RepresentedLIF(0.03, time_constant=2.0, step=0.1), clamp_lif, 0.1**2),
    ],
)
def test_gradients_are_finite_differences_of_the_representation(neuron, clamp, of_threshold):
    """A loss on r(y) that is linear in it; what the backward pass gives for unequal weights is shared out by time."""
    neuron.double()
    x = torch.randn(5, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    g = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    # dL/dy[t] = g / T at each timestep: then G = g, and the gradient is the clamp's for a shift of all timesteps
    (neuron(x).mean(0) * g).sum().backward()
    v_th, eps = neuron.threshold.detach().double(), 1e-6
    for element in range(50):
        shift = torch.zeros_like(x)
        shift[:, element] = eps
        up, down = (clamp(x.detach() + s, v_th)[element] for s in (shift, -shift))
        assert x.grad[:, element].sum().item() == pytest.approx(
            g[element].item() * ((up - down) / 2 / eps).item(), abs=1e-8
        )
    assert torch.equal(x.grad, x.grad[:1].expand_as(x.grad))
    up, down = ((clamp(x.detach(), v_th + e) * g).sum() for e in (eps, -eps))
    expected = of_threshold * ((up - down) / 2 / eps).item()
    assert neuron.threshold.grad.item() == pytest.approx(expected, rel=1e-6) and expected != 0
    assert 0 < x.grad[0].count_nonzero() < 50


def test_a_loss_on_the_representation_has_the_factor_of_unequal_weights():
    """T sum w^2 / (sum w)^2 at the head, 1 without a leak."""
    for timesteps, neuron, factor in (
        (20, RepresentedLIF(), 1.081751),
        (5, RepresentedLIF(0.6, 0.5, 0.001, step=0.1), 1.019897),
        (20, RepresentedIF(), 1.0),
    ):
        x = constant(2.0, timesteps).requires_grad_()
        representation(neuron.double()(x), neuron.beta).sum().backward()
        assert x.grad.sum().item() == pytest.approx(factor, abs=1e-6)


def test_worked_gradients():
    """Inside of the clamp the gradient is spread over time; above it it is the threshold's alone."""
    neuron = RepresentedIF(1.0)
    for x, of_x, of_threshold in ((0.3, 0.25, 0.0), (1.3, 0.0, 1.0), (1.0, 0.25, 0.0), (0.0, 0.25, 0.0), (-0.1, 0, 0)):
        current = torch.full((4, 1), x).requires_grad_()
        neuron.zero_grad()
        neuron(current).mean(0).sum().backward()
        assert current.grad.flatten().tolist() == [of_x] * 4 and neuron.threshold.grad.item() == of_threshold
    leaky = RepresentedLIF()
    for x, of_x in ((6.1, 0.0), (5.9, 0.25), (0.0, 0.0)):  # neither end of the clamp is inside
        current = torch.full((4, 1), x).requires_grad_()
        leaky(current).mean(0).sum().backward()
        assert current.grad.flatten().tolist() == pytest.approx([of_x] * 4, rel=1e-5)


def test_the_threshold_is_brought_back_and_its_gradient_may_be_scaled():
    neuron, x = RepresentedIF(1.0, threshold_gradient=0.001), torch.full((2, 1), 5.0)
    neuron(x).mean(0).sum().backward()
    assert neuron.threshold.grad.item() == pytest.approx(0.001)
    neuron.threshold.data.fill_(-3.0)
    assert neuron(x).tolist() == [[pytest.approx(0.01)]] * 2 and neuron.threshold.item() == pytest.approx(0.01)


def test_what_is_watched_has_gradients_and_changes_none():
    x = torch.randn(4, 30, generator=torch.Generator().manual_seed(0)).requires_grad_()
    neuron = RepresentedIF(0.5)
    (alone,) = torch.autograd.grad(neuron(x).square().sum(), x)
    told = []
    neuron.observer = lambda u, b: told.append((u, b))
    (watched,) = torch.autograd.grad(neuron(x).square().sum(), x, retain_graph=True)
    assert torch.equal(watched, alone)
    u, b = told[0]
    (of_u,) = torch.autograd.grad(u[3].sum(), x, retain_graph=True)
    assert torch.equal(of_u, torch.ones_like(x))  # without a leak all charge is kept
    (of_b,) = torch.autograd.grad(b.sum(), x)
    assert of_b.abs().sum() > 0


def test_a_network_of_it_is_not_foldable():
    with pytest.raises(NotFoldable, match="layer stem1, RepresentedIF, does not say what it is once folded"):
        fold(SpikingResNet("resnet6w4", "dsr_if", 2, in_channels=1, image_size=8))


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (RepresentedIF, {"level": 1.5}, "level must be at most 1"),
        (RepresentedIF, {"threshold": 0.0}, "threshold must be above 0"),
        (RepresentedLIF, {"step": 0.0}, "step must be above 0"),
        (RepresentedLIF, {"time_constant": math.inf}, "time_constant must be above 0 and finite"),
    ],
)
def test_what_is_refused(kind, options, words):
    with pytest.raises(ValueError, match=words):
        kind(**options)
    with pytest.raises(AttributeError, match="is its threshold"):
        kind().amplitude = torch.ones(())


@pytest.mark.full
@pytest.mark.parametrize(
    ("kind", "ours", "options"),
    [
        ("DSRIFNode", RepresentedIF(0.6), {"v_threshold": 0.6}),
        ("DSRLIFNode", RepresentedLIF(0.01, time_constant=2.0), {"v_threshold": 0.01, "tau": 2.0}),
    ],
)
def test_spikingjelly_agrees(kind, ours, options):
    """In float32: so are its neurons' spikes, and gradients, whatever they are given."""
    bound = {"v_threshold_lower_bound": ours.lowest_threshold}
    theirs = getattr(spikingjelly("neuron"), kind)(T=5, alpha=ours.level, **options, **bound)
    x = torch.randn(5, 8, 300, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(5, 8, 300, generator=torch.Generator().manual_seed(1))
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    found, expected = ours(a), theirs(b)
    torch.testing.assert_close(found, expected)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(a.grad, b.grad)
    torch.testing.assert_close(ours.threshold.grad, theirs.v_threshold.grad, rtol=1e-4, atol=1e-5)
    assert ours.threshold.grad.abs() > 1e-3
