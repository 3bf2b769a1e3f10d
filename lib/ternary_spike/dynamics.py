"""The membrane's equations through time, forward and backward: the one place where they are code.

With x the input current, u the membrane potential before the reset, b the un-scaled spike, v the membrane potential
kept after the reset and a the amplitude (Eqs. 4-5 for binary, 7-8 for ternary, 13-14 for trainable ternary neurons):

    u[t] = tau * v[t-1] + x[t]                                       charge
    b[t] = 1 where u[t] >= V_th; signed: -1 where u[t] <= -V_th; else 0      fire
    v[t] = u[t] * (1 - |b[t]|)                                       hard reset to 0, by the un-scaled spike
    y[t] = a * b[t]                                                  emit

The gradient is written out by hand. With g = dL/dy, G = dL/du and s = db/du the surrogate:

    G[t] = a * g[t] * s(u[t]) + tau * G[t+1] * D(u[t])
    D(u) = dv/du = 1 - |b| - |u b| s(u)     (gradient through the reset: the authors' code, our default)
           or      1 - |b|                  (detached reset)
    dL/dx[t] = G[t],   dL/da = sum over t of g[t] * b[t],   dL/dv[-1] = tau * G[0] * 1

Nothing but the input is kept between forward and backward: u is cheap to compute again, and memory is not.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ternary_spike import surrogate


@dataclass(frozen=True)
class Dynamics:
    """The constants of a neuron layer.

    Attributes:
        signed: True for ternary spikes {-1, 0, 1} (Eq. 8), False for binary spikes {0, 1} (Eq. 5).
        threshold: V_th, in units of the membrane potential; spikes fire at |u| >= V_th, boundary included.
        decay: tau of Eqs. 4, 7 and 13, the share of the membrane potential that survives a timestep.
        surrogate: name of the surrogate gradient, see :mod:`ternary_spike.surrogate`.
        window: half-width of the surrogate.
        detach_reset: if True no gradient flows through the reset term 1 - |b|.
    """

    signed: bool = True
    threshold: float = 0.5
    decay: float = 0.25
    surrogate: str = "clamp"
    window: float = 1.0
    detach_reset: bool = False

    def __post_init__(self) -> None:
        if not self.threshold > 0:
            raise ValueError(f"threshold must be above 0, not {self.threshold}")
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay must lie in [0, 1], not {self.decay}")
        if not self.window > 0:
            raise ValueError(f"window must be above 0, not {self.window}")
        if self.surrogate not in surrogate.SURROGATES:
            raise ValueError(f"unknown surrogate {self.surrogate!r}: choose one of {', '.join(surrogate.SURROGATES)}")


def membrane_dtype(x: Tensor) -> torch.dtype:
    """Half-precision inputs are integrated in float32, so that autocast does not move the threshold."""
    return torch.float32 if x.dtype in (torch.bfloat16, torch.float16) else x.dtype


def fire(u: Tensor, dynamics: Dynamics) -> Tensor:
    """Un-scaled spikes b in {0, 1} or {-1, 0, 1} of a membrane potential u (Eqs. 5, 8, 14), in u's shape and dtype."""
    if dynamics.signed:
        return (u.abs() >= dynamics.threshold).to(u.dtype).mul_(u.sign())
    return (u >= dynamics.threshold).to(u.dtype)


def reset(u: Tensor, dynamics: Dynamics) -> Tensor:
    """Membrane potential kept after the hard reset, u (1 - |b|) (Eqs. 4, 7, 13)."""
    fired = (u.abs() if dynamics.signed else u) >= dynamics.threshold
    return u.masked_fill(fired, 0.0)


def integrate(x: Tensor, v: Tensor | None, dynamics: Dynamics) -> Tensor:
    """Membrane potential before the reset at every timestep.

    Args:
        x: input current [T, ...].
        v: membrane potential kept from before the first timestep, [...], or None for zero.
        dynamics: the layer's constants.

    Returns:
        u [T, ...], in float32 for half-precision input, else in x's dtype.
    """
    u = torch.empty_like(x, dtype=membrane_dtype(x))
    for t in range(x.shape[0]):
        if v is None:
            u[t].copy_(x[t])
        else:
            # two roundings, never a fused multiply-add: the same spikes whatever the shape and the processor
            torch.add(v.to(u.dtype) * dynamics.decay, x[t], out=u[t])
        v = reset(u[t], dynamics) if t + 1 < x.shape[0] else None
    return u


class _MultiStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, amplitude: Tensor | None, v: Tensor | None, dynamics: Dynamics):
        u = integrate(x, v, dynamics)
        last = reset(u[-1], dynamics)
        ctx.save_for_backward(x, amplitude, v)
        ctx.dynamics = dynamics
        y = fire(u, dynamics)
        if amplitude is not None:
            y = y * amplitude
        return y.to(x.dtype), last

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_y: Tensor, grad_last: Tensor):
        x, amplitude, v = ctx.saved_tensors
        dynamics = ctx.dynamics
        u = integrate(x, v, dynamics)
        grad_y = grad_y.to(u.dtype)

        grad_amplitude = None
        if amplitude is not None:
            if ctx.needs_input_grad[1]:
                grad_amplitude = (grad_y * fire(u, dynamics)).sum_to_size(amplitude.shape).to(amplitude.dtype)
            grad_y = grad_y * amplitude

        grad_x = torch.empty_like(u)
        carried = grad_last.to(u.dtype)  # dL/dv[t], from the timesteps that follow
        for t in reversed(range(x.shape[0])):
            slope = surrogate.derivative(
                dynamics.surrogate, u[t], signed=dynamics.signed, threshold=dynamics.threshold, window=dynamics.window
            )
            fired = (u[t].abs() if dynamics.signed else u[t]) >= dynamics.threshold
            if dynamics.detach_reset:
                kept = carried.masked_fill(fired, 0.0)
            else:
                kept = torch.where(fired, -u[t].abs() * slope * carried, carried)
            torch.addcmul(kept, grad_y[t], slope, out=grad_x[t])
            carried = grad_x[t] * dynamics.decay
        grad_v = carried.to(v.dtype) if v is not None and ctx.needs_input_grad[2] else None
        return grad_x.to(x.dtype), grad_amplitude, grad_v, None


def multi_step(
    x: Tensor, dynamics: Dynamics, amplitude: Tensor | None = None, v: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """A neuron layer through all its timesteps, differentiable (Eqs. 4-5, 7-8, 13-14).

    Args:
        x: input current [T, ...], T >= 1.
        dynamics: the layer's constants.
        amplitude: a of Eq. 14, a scalar tensor or one that broadcasts against x[t]; None means 1.
        v: membrane potential kept from before the first timestep, [...]; None means 0.

    Returns:
        The spikes y = a b [T, ...] in x's dtype, and the membrane potential [...] kept after the last timestep.

    Raises:
        ValueError: if x has no timestep, is not floating point, or v's shape is not x[0]'s.
    """
    if x.dim() == 0 or x.shape[0] < 1:
        raise ValueError(f"the input needs at least one timestep on its first axis, but its shape is {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"the input current must be floating point, not {x.dtype}")
    if v is not None and v.shape != x.shape[1:]:
        raise ValueError(f"the membrane potential's shape is {tuple(v.shape)}, a timestep's is {tuple(x.shape[1:])}")
    return _MultiStep.apply(x, amplitude, v, dynamics)
