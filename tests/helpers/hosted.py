"""What the tests of neurons in other libraries' networks share: neurons, currents, and a run with its gradients."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ternary_spike import BinaryLIF, TernaryLIF, TrainableTernaryLIF, make_neuron
from ternary_spike.neurons.base import SpikingNeuron
from ternary_spike.neurons.soft_reset import SoftResetLIF

T, BATCH, FEATURES = 6, 4, 40
# some keep a tensor, one a pair, one several membranes; one has an amplitude
MADE: dict[str, Callable[[], SpikingNeuron]] = {
    "binary": lambda: BinaryLIF(decay=0.9),
    "ternary": lambda: TernaryLIF(decay=0.9),
    "trainable": lambda: TrainableTernaryLIF(0.7, decay=0.9),
    "soft": SoftResetLIF,
    "if": lambda: make_neuron("if", None, surrogate="stdb"),
    "mt_snn": lambda: make_neuron("mt_snn_candidate", None, mode="separate"),
}


def current(seed: int = 0, dtype: torch.dtype = torch.float64, batch: int = BATCH) -> Tensor:
    """Currents [T, batch, FEATURES] that make most neurons fire and be silent."""
    return torch.randn(T, batch, FEATURES, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def with_gradients(run: Callable[[Tensor], Tensor], x: Tensor, *modules: nn.Module) -> tuple[Tensor, list[Tensor]]:
    """What a run gives for x, and the gradients of a weighted sum of it in x and in every parameter of the modules."""
    x = x.clone().requires_grad_()
    given = run(x)
    weights = torch.linspace(-1, 1, given.numel(), dtype=given.dtype).view_as(given)
    wanted = [x, *(parameter for module in modules for parameter in module.parameters())]
    return given.detach(), list(torch.autograd.grad((weights * given).sum(), wanted))


def same(ours: tuple[Tensor, list[Tensor]], theirs: tuple[Tensor, list[Tensor]]) -> bool:
    """Whether two runs gave the same spikes, and in double precision the same gradients."""
    assert 0 < ours[0].count_nonzero() < ours[0].numel() and ours[1][0].any(), "nothing to compare"
    return torch.equal(ours[0], theirs[0]) and all(
        torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(ours[1], theirs[1], strict=True)
    )


def slope_through_reset(step: Callable[[Tensor, object], tuple[Tensor, object]], u: Tensor) -> Tensor:
    """D(u) = dv/du of a neuron, up to a factor: how its second spike depends on its first membrane potential [n].

    Its surrogate must be nowhere 0. A neuron that is silent without any gradient through its reset has the factor.

    Args:
        step: input and state (None at rest) to spikes and state.
        u: currents of the first timestep, the membrane potentials of neurons that take all of their input.
    """
    x = torch.stack([u, torch.full_like(u, 0.1)]).requires_grad_()
    _, state = step(x[0], None)
    spikes, _ = step(x[1], state)
    (grad,) = torch.autograd.grad(spikes.sum(), x)
    return grad[0] / grad[1]


def slopes(u: Tensor, s: Tensor, threshold: float, through_silence: bool) -> Tensor:
    """D(u) of a binary neuron's hard reset with a gradient through it, s being the surrogate at u.

    Ours flows through |b|, whose derivative at b = 0 is 0; what is written as u (1 - b) has u s(u) everywhere.
    """
    fired = (u >= threshold).to(u.dtype)
    return 1 - fired - u * s * (1 if through_silence else fired)
