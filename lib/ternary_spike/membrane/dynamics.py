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

from ternary_spike.membrane import surrogate
from ternary_spike.membrane.arguments import flag, number

# A spike is found by dividing by the threshold, which must not overflow in float32.
SMALLEST_THRESHOLD = 1e-30


@dataclass(frozen=True)
class Dynamics:
    """The constants of a neuron layer.

    Attributes:
        signed: True for ternary spikes {-1, 0, 1} (Eq. 8), False for binary spikes {0, 1} (Eq. 5).
        threshold: V_th, in units of the membrane potential; spikes fire at |u| >= V_th, boundary included.
        decay: tau of Eqs. 4, 7 and 13, the share of the membrane potential that survives a timestep.
        surrogate: name of the surrogate gradient, see :mod:`ternary_spike.membrane.surrogate`.
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
