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

Nothing but the input is kept between forward and backward: u is cheap to compute again, and memory is not. With h the
part of u that fires (u where |b| = 1, else 0), b is the sign of h, v is u - h and |u b| is |h|, all without rounding.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ternary_spike import backends, surrogate
from ternary_spike.arguments import flag, number
from ternary_spike.backends import Kernel

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# A spike is found by dividing by the threshold, which must not overflow in float32.
SMALLEST_THRESHOLD = 1e-30


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
        for name in ("threshold", "decay", "window"):
            object.__setattr__(self, name, number(name, getattr(self, name)))
        for name in ("signed", "detach_reset"):
            flag(name, getattr(self, name))
        if not SMALLEST_THRESHOLD <= self.threshold < math.inf:
            raise ValueError(f"threshold must be above 0 (at least {SMALLEST_THRESHOLD:g}), not {self.threshold}")
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay must lie in [0, 1], not {self.decay}")
        if not self.window > 0:
            raise ValueError(f"window must be above 0, not {self.window}")
        if not isinstance(self.surrogate, str) or self.surrogate not in surrogate.SURROGATES:
            raise ValueError(f"unknown surrogate {self.surrogate!r}: choose one of {', '.join(surrogate.SURROGATES)}")
        # firing compares with the largest number below the threshold; found here, where no compiler has to follow
        below = {
            dtype: torch.nextafter(*torch.tensor([self.threshold, 0.0], dtype=dtype, device="cpu")).item()
            for dtype in (torch.float32, torch.float64)
        }
        object.__setattr__(self, "_below", below)


def membrane_dtype(x: Tensor) -> torch.dtype:
    """Half-precision inputs are integrated in float32, so that autocast does not move the threshold."""
    return torch.float32 if x.dtype in (torch.bfloat16, torch.float16) else x.dtype


def firing_part(u: Tensor, dynamics: Dynamics) -> Tensor:
    """u where the neuron fires (|b| = 1), 0 where it is silent; u in float32 or float64."""
    below = dynamics._below[u.dtype]  # strictly above it means at or above the threshold
    return F.hardshrink(u, below) if dynamics.signed else F.threshold(u, below, 0.0)


def fire(u: Tensor, dynamics: Dynamics) -> Tensor:
    """Un-scaled spikes b in {0, 1} or {-1, 0, 1} of a membrane potential u (Eqs. 5, 8, 14), in u's shape and dtype."""
    return _sign(firing_part(u.to(membrane_dtype(u)), dynamics), dynamics).to(u.dtype)


def _sign(h: Tensor, dynamics: Dynamics) -> Tensor:
    """b, the sign of the part of u that fires. NaN stays NaN: torch's sign of it is 0, and nobody would notice."""
    b = h * (2 / dynamics.threshold)  # h is 0 or at least the threshold, which makes at least 1
    return b.clamp(-1, 1) if torch.compiler.is_compiling() else b.clamp_(-1, 1)


def reset(u: Tensor, dynamics: Dynamics) -> Tensor:
    """Membrane potential kept after the hard reset, u (1 - |b|) (Eqs. 4, 7, 13)."""
    return u - firing_part(u.to(membrane_dtype(u)), dynamics).to(u.dtype)


def charge(x: Tensor, v: Tensor | None, dynamics: Dynamics) -> Tensor:
    """Membrane potential before the reset, tau v + x (Eqs. 4, 7, 13); v = None is a membrane at rest."""
    # two roundings, never a fused multiply-add: the same spikes whatever the shape, the backend and the processor
    return x if v is None else v * dynamics.decay + x


def integrate(x: Tensor, v: Tensor | None, dynamics: Dynamics) -> Tensor:
    """Membrane potential before the reset at every timestep.

    Args:
        x: input current [T, ...].
        v: membrane potential kept from before the first timestep, [...], or None for zero.
        dynamics: the layer's constants.

    Returns:
        u [T, ...], in float32 for half-precision input, else in x's dtype.
    """
    potentials = []
    for current in x.to(membrane_dtype(x)):
        potentials.append(charge(current, v, dynamics))
        v = reset(potentials[-1], dynamics)
    return torch.stack(potentials)


def spikes(
    currents: list[Tensor], v: Tensor | None, amplitude: Tensor | None, dynamics: Dynamics, keep_state: bool
) -> tuple[list[Tensor], Tensor | None]:
    """Spikes of each timestep's current [...], and with ``keep_state`` the membrane potential kept after the last."""
    emitted = []
    for t, current in enumerate(currents):
        u = charge(current, v, dynamics)
        h = firing_part(u, dynamics)
        v = u - h if keep_state or t + 1 < len(currents) else None
        b = _sign(h, dynamics)
        emitted.append(b if amplitude is None else b * amplitude.to(b.dtype))
    return emitted, v


def gradients(
    currents: list[Tensor],
    v: Tensor | None,
    amplitude: Tensor | None,
    grads: list[Tensor],
    grad_v: Tensor | None,
    dynamics: Dynamics,
) -> tuple[list[Tensor], Tensor | None, Tensor | None]:
    """The gradient G of each timestep's current, that of v (from before the first timestep), and terms [...] whose sum
    is that of a, if given.

    Args:
        currents, v, amplitude: as given to :func:`spikes`.
        grads: g = dL/dy of each timestep.
        grad_v: dL/dv after the last timestep, or None for zero.
        dynamics: the layer's constants.
    """
    at_rest = v is None
    membranes: list[_Membrane] = []
    for current in currents:
        if membranes:
            v = membranes[-1].u - membranes[-1].h
        membranes.append(_membrane(charge(current, v, dynamics), dynamics))
    grad_a = None
    carried = grad_v  # dL/dv[t], from the timesteps that follow
    grad_currents = []
    # in place, and each timestep's membrane given up when it is done with: what fits the cache is fast
    for g in reversed(grads):
        membrane = membranes.pop()
        s = surrogate.derivative(
            dynamics.surrogate,
            membrane.u,
            signed=dynamics.signed,
            threshold=dynamics.threshold,
            window=dynamics.window,
        )
        if amplitude is None:
            grad_u = g * s
        else:
            grad_a = _plus_product_with_spikes(grad_a, g, membrane, dynamics)
            grad_u = _times(g * amplitude.to(g.dtype), s)
        if carried is not None:
            grad_u = _plus_product(grad_u, carried, _reset_slope(membrane, s, dynamics))
        grad_currents.append(grad_u)
        carried = grad_u * dynamics.decay if membranes or not at_rest else None
    return grad_currents[::-1], carried, grad_a


# Two spellings of the same, where what is fast differs: eager works in place and avoids boolean tensors, which are dear
# on a processor; a compiler makes fewer instructions of one comparison that everything else shares, and takes several
# times as long to follow what works in place.


class _Membrane(NamedTuple):
    """A membrane potential u before the reset and the part h of it that fires; for a compiler also where b = 0."""

    u: Tensor
    h: Tensor
    silent: Tensor | None


def _membrane(u: Tensor, dynamics: Dynamics) -> _Membrane:
    if not torch.compiler.is_compiling():
        return _Membrane(u, firing_part(u, dynamics), None)
    silent = (u.abs() if dynamics.signed else u) <= dynamics._below[u.dtype]
    return _Membrane(u, torch.where(silent, 0.0, u), silent)


def _reset_slope(membrane: _Membrane, s: Tensor, dynamics: Dynamics) -> Tensor:
    """D(u) = dv/du, with s the surrogate."""
    u, h, silent = membrane
    if silent is not None:
        return torch.where(silent, 1.0, torch.zeros_like(u) if dynamics.detach_reset else -h.abs() * s)
    slope = surrogate.indicator(torch.eq, h, 0.0)
    return slope if dynamics.detach_reset else slope.addcmul_(h.abs(), s, value=-1)


def _times(a: Tensor, b: Tensor) -> Tensor:
    """a b; in eager, a is changed in place."""
    return a * b if torch.compiler.is_compiling() else a.mul_(b)


def _plus_product(total: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """total + a b; in eager, total is changed in place."""
    return total + a * b if torch.compiler.is_compiling() else total.addcmul_(a, b)


def _plus_product_with_spikes(total: Tensor | None, g: Tensor, membrane: _Membrane, dynamics: Dynamics) -> Tensor:
    """total + g b; in eager, total is changed in place."""
    u, h, silent = membrane
    if silent is not None:
        product = torch.where(silent, 0.0, torch.where(u < 0, -g, g))
        return product if total is None else total + product
    b = _sign(h, dynamics)
    return g * b if total is None else total.addcmul_(g, b)


def _forward_kernel(dynamics: Dynamics, keep_state: bool, sequences: list, shared: list):
    x, v = sequences
    dtype = membrane_dtype(x[0])
    emitted, last = spikes([c.to(dtype) for c in x], None if v is None else v[0], shared[0], dynamics, keep_state)
    return [[b.to(x[0].dtype) for b in emitted], *([[last]] if keep_state else [])], []


def _backward_kernel(dynamics: Dynamics, with_amplitude: bool, sequences: list, shared: list):
    x, grads, v, grad_last = sequences
    dtype = membrane_dtype(x[0])
    grad_x, grad_v, grad_a = gradients(
        [c.to(dtype) for c in x],
        None if v is None else v[0],
        shared[0],
        [g.to(dtype) for g in grads],
        None if grad_last is None else grad_last[0],
        dynamics,
    )
    outputs = [[g.to(x[0].dtype) for g in grad_x], *([] if v is None else [[grad_v]])]
    return outputs, [grad_a] if with_amplitude else []


def storage_order(x: Tensor) -> tuple[int, ...]:
    """Axes of x [T, ...] behind the first, from the slowest to the fastest in memory."""
    order: list[int] = []
    for axis in range(1, x.dim()):  # by comparisons, which a compiler can follow for sizes that vary
        order.insert(len([other for other in order if x.stride(other) >= x.stride(axis)]), axis)
    return tuple(order)


def flat(x: Tensor, order: tuple[int, ...]) -> Tensor:
    """x [T, ...] as [T, N] in the given order of axes: a view wherever memory has that order and no gaps."""
    return x.permute(0, *order).reshape(x.shape[0], -1)


def unflat(y: Tensor, shape: torch.Size, order: tuple[int, ...]) -> Tensor:
    """The inverse of :func:`flat` for [T', N] and the shape [T, ...]: a view [T', ...] in the same memory."""
    inverse = [0] * (len(order) + 1)
    for place, axis in enumerate((0, *order)):
        inverse[axis] = place
    return y.view(y.shape[0], *(shape[axis] for axis in order)).permute(inverse)


class _MultiStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, amplitude: Tensor | None, v: Tensor | None, dynamics: Dynamics, keep_state: bool):
        ctx.save_for_backward(x, amplitude, v)
        ctx.set_materialize_grads(False)
        ctx.dynamics = dynamics
        y, last = _emit(x, v, dynamics, keep_state, amplitude if _one(amplitude) else None)
        if amplitude is not None and not _one(amplitude):
            y = (y * amplitude).to(x.dtype)
        return (y, last) if keep_state else y  # None among the outputs would keep torch.compile from following

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_y: Tensor | None, grad_last: Tensor | None = None):
        x, amplitude, v = ctx.saved_tensors
        if grad_y is None:
            grad_y = torch.zeros_like(x)
        dynamics = ctx.dynamics
        grad_amplitude = None
        inside = amplitude if _one(amplitude) else None
        if amplitude is not None and inside is None:  # one amplitude a channel: outside of the flat computation
            if ctx.needs_input_grad[1]:
                b, _ = _emit(x, v, dynamics, False, None)
                grad_amplitude = (grad_y * b.to(amplitude.dtype)).sum_to_size(amplitude.shape).to(amplitude.dtype)
            grad_y = grad_y * amplitude
        order = storage_order(x)
        wide = membrane_dtype(x)
        outputs, sums = backends.run(
            Kernel(_backward_kernel, (dynamics, inside is not None)),
            [
                flat(x, order),
                flat(grad_y, order),
                None if v is None else flat(v.to(wide).unsqueeze(0), order),
                None if grad_last is None else flat(grad_last.to(wide).unsqueeze(0), order),
            ],
            [None if inside is None else inside.reshape(1)],
        )
        if inside is not None and ctx.needs_input_grad[1]:
            grad_amplitude = sums[0].to(amplitude.dtype).reshape(amplitude.shape)
        grad_v = unflat(outputs[1], x.shape, order)[0].to(v.dtype) if ctx.needs_input_grad[2] else None
        return unflat(outputs[0], x.shape, order), grad_amplitude, grad_v, None, None


def _broadcasts(shape: torch.Size, target: torch.Size) -> bool:
    """Whether a tensor of a shape broadcasts to a target, adding no axis to it."""
    return len(shape) <= len(target) and all(
        a in (1, b) for a, b in zip(reversed(shape), reversed(target), strict=False)
    )


def _one(amplitude: Tensor | None) -> bool:
    return amplitude is not None and amplitude.numel() == 1


def _emit(
    x: Tensor, v: Tensor | None, dynamics: Dynamics, keep_state: bool, amplitude: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    order = storage_order(x)
    outputs, _ = backends.run(
        Kernel(_forward_kernel, (dynamics, keep_state)),
        [flat(x, order), None if v is None else flat(v.to(membrane_dtype(x)).unsqueeze(0), order)],
        [None if amplitude is None else amplitude.reshape(1)],
    )
    return unflat(outputs[0], x.shape, order), unflat(outputs[1], x.shape, order)[0] if keep_state else None


def multi_step(
    x: Tensor,
    dynamics: Dynamics,
    amplitude: Tensor | None = None,
    v: Tensor | None = None,
    keep_state: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """A neuron layer through all its timesteps, differentiable once (Eqs. 4-5, 7-8, 13-14).

    Args:
        x: input current [T, ...], T >= 1. It is not copied if each timestep lies without gaps in memory, in whatever
            order of axes.
        dynamics: the layer's constants.
        amplitude: a of Eq. 14, a scalar tensor or one that broadcasts against x[t]; None means 1.
        v: membrane potential kept from before the first timestep, [...]; None means 0.
        keep_state: whether the membrane potential after the last timestep is wanted.

    Returns:
        The spikes y = a b [T, ...] in x's dtype, each timestep in x's order in memory, and the membrane potential [...]
        kept after the last timestep (float32 for half-precision input), or None.

    Raises:
        ValueError: if x has no timestep or is not of :data:`DTYPES`, v's shape is not x[0]'s, or the amplitude does
            not broadcast to it.
    """
    if x.dim() == 0 or x.shape[0] < 1:
        raise ValueError(f"the input needs at least one timestep on its first axis, but its shape is {tuple(x.shape)}")
    if x.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise ValueError(f"the input current must be one of {names}, not {str(x.dtype).removeprefix('torch.')}")
    if v is not None and v.shape != x.shape[1:]:
        raise ValueError(f"the membrane potential's shape is {tuple(v.shape)}, a timestep's is {tuple(x.shape[1:])}")
    if amplitude is not None and not _one(amplitude) and not _broadcasts(amplitude.shape, x.shape[1:]):
        raise ValueError(
            f"the amplitude's shape {tuple(amplitude.shape)} does not broadcast to a timestep's {tuple(x.shape[1:])}"
        )
    result = _MultiStep.apply(x, amplitude, v, dynamics, keep_state)
    return result if keep_state else (result, None)
