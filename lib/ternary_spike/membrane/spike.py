"""One spike with a surrogate gradient, for neurons that are written as a plain loop over timesteps."""

import torch
from torch import Tensor

from ternary_spike.membrane.dynamics import Dynamics, surrogate_curve
from ternary_spike.membrane.spelling import equations


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u: Tensor, firing: Dynamics, temperature: Tensor | None) -> Tensor:
        ctx.save_for_backward(u, temperature)
        ctx.firing = firing
        return equations().fire(u, firing)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        u, temperature = ctx.saved_tensors
        curve = surrogate_curve(ctx.firing, temperature)
        return grad * equations().spike_derivative(u, ctx.firing, curve), None, None


def spike(u: Tensor, firing: Dynamics, temperature: Tensor | None = None) -> Tensor:
    """Un-scaled spikes of a membrane potential (Eqs. 5 and 8), through which a surrogate gradient flows.

    Args:
        u: membrane potential before the reset, any shape, float32 or float64.
        firing: whether spikes are signed, the threshold, the surrogate and its window; its decay is not used.
        temperature: of a surrogate that has one, a scalar tensor.

    Returns:
        b in {0, 1} or {-1, 0, 1}, of u's shape and dtype.
    """
    return _Spike.apply(u, firing, temperature)
