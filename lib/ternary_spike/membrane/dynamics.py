"""The membrane's equations through time, forward and backward, as the paper writes them.

With x the input current, u the membrane potential before the reset, b the un-scaled spike, v the membrane potential
kept after the reset and a the amplitude (Eqs. 4-5 for binary, 7-8 for ternary, 13-14 for trainable ternary neurons):

    u[t] = tau v[t-1] + x[t]                                         charge
    b[t] = 1 where u[t] >= V_th, -1 where u[t] <= -V_th, else 0      fire; without -1 where binary
    v[t] = u[t] (1 - |b[t]|)                                         hard reset to 0, by the un-scaled spike
    y[t] = a b[t]                                                    emit

The gradient is written out by hand. With g = dL/dy, G = dL/du and s = db/du the surrogate:

    G[t] = a g[t] s(u[t]) + tau G[t+1] D(u[t])
    D(u) = dv/du = 1 - |b| - |u b| s(u)      gradient through the reset: the authors' code, our default
    D(u) = 1 - |b|                           detached reset
    dL/dx[t] = G[t],   dL/da = sum_t g[t] b[t],   dL/dv[-1] = tau G[0]

Nothing but the input is kept between forward and backward: u is cheap to compute again, and memory is not. With h the
part of u that fires (u where |b| = 1, else 0), b is the sign of h, v is u - h and |u b| is |h|, all without rounding.

A compiler is given this module. Without a compiler :mod:`ternary_spike.membrane.in_place` computes the same faster.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ternary_spike.membrane import surrogate
from ternary_spike.membrane.arguments import flag, number
from ternary_spike.membrane.surrogate import Curve

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
        largest_silent: for float32 and float64 the largest membrane potential that does not fire, a float.

    Raises:
        ValueError: if a constant is no number or flag, out of range, or the surrogate is unknown.
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
        # found here, once for each layer, and on the processor whatever torch's default device is
        largest_silent = {
            dtype: torch.nextafter(*torch.tensor([self.threshold, 0.0], dtype=dtype, device="cpu")).item()
            for dtype in (torch.float32, torch.float64)
        }
        object.__setattr__(self, "largest_silent", largest_silent)


def membrane_dtype(x: Tensor) -> torch.dtype:
    """Half-precision inputs are integrated in float32, so that autocast does not move the threshold."""
    return torch.float32 if x.dtype in (torch.bfloat16, torch.float16) else x.dtype


def charge(x: Tensor, v: Tensor | None, dynamics: Dynamics) -> Tensor:
    """Membrane potential before the reset, tau v + x (Eqs. 4, 7, 13); v = None is a membrane at rest."""
    # two roundings, never a fused multiply-add: the same spikes whatever the shape, the backend and the processor
    return x if v is None else v * dynamics.decay + x


def is_silent(u: Tensor, dynamics: Dynamics) -> Tensor:
    """Where the neuron does not fire, b = 0 (Eqs. 5, 8): True or False in u's shape. NaN is not silent."""
    return (u.abs() if dynamics.signed else u) < dynamics.threshold


def firing_part(u: Tensor, dynamics: Dynamics) -> Tensor:
    """h: u where the neuron fires (|b| = 1), 0 where it is silent; u in float32 or float64."""
    return torch.where(is_silent(u, dynamics), 0.0, u)


def sign(h: Tensor, dynamics: Dynamics) -> Tensor:
    """b, the sign of the part of u that fires. NaN stays NaN: torch's sign of it is 0, and nobody would notice."""
    # h is 0 or at least the threshold, so that 2 h / V_th is 0 or beyond 1 even after rounding
    return (h * (2 / dynamics.threshold)).clamp(-1, 1)


def fire(u: Tensor, dynamics: Dynamics) -> Tensor:
    """Un-scaled spikes b in {0, 1} or {-1, 0, 1} of a membrane potential u (Eqs. 5, 8, 14), in u's shape and dtype."""
    return sign(firing_part(u.to(membrane_dtype(u)), dynamics), dynamics).to(u.dtype)


def reset(u: Tensor, dynamics: Dynamics) -> Tensor:
    """Membrane potential kept after the hard reset, u (1 - |b|) (Eqs. 4, 7, 13)."""
    return u - firing_part(u.to(membrane_dtype(u)), dynamics).to(u.dtype)


def surrogate_curve(dynamics: Dynamics, temperature: Tensor | None) -> Curve | None:
    """What the temperature makes of the layer's surrogate, see :func:`ternary_spike.membrane.surrogate.curve`."""
    return surrogate.curve(dynamics.surrogate, dynamics.window, temperature)


def spike_derivative(u: Tensor, dynamics: Dynamics, curve: Curve | None = None) -> Tensor:
    """s, the surrogate of db/du at a membrane potential u, in u's shape and dtype."""
    return surrogate.derivative(
        dynamics.surrogate,
        u,
        signed=dynamics.signed,
        threshold=dynamics.threshold,
        window=dynamics.window,
        curve=curve,
    )


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
    currents: Sequence[Tensor],
    v: Tensor | None,
    amplitude: Tensor | None,
    dynamics: Dynamics,
    keep_state: bool,
    potentials: list[Tensor] | None = None,
) -> tuple[list[Tensor], Tensor | None]:
    """A layer's spikes through time (Eqs. 4-5, 7-8, 13-14).

    Args:
        currents: x of each timestep [...], float32 or float64.
        v: membrane potential kept from before the first timestep [...], or None for zero.
        amplitude: a, which broadcasts against a timestep; None means 1.
        dynamics: the layer's constants.
        keep_state: whether the membrane potential after the last timestep is wanted.
        potentials: u of each timestep [...] is put into it, where that is wanted.

    Returns:
        y of each timestep [...], and the membrane potential kept after the last one [...], or None.
    """
    emitted = []
    for t, current in enumerate(currents):
        u = charge(current, v, dynamics)
        h = firing_part(u, dynamics)
        v = u - h if keep_state or t + 1 < len(currents) else None
        if potentials is not None:
            potentials.append(u)
        b = sign(h, dynamics)
        emitted.append(b if amplitude is None else b * amplitude.to(b.dtype))
    return emitted, v


def gradients(
    currents: Sequence[Tensor],
    v: Tensor | None,
    amplitude: Tensor | None,
    grads: Sequence[Tensor],
    grad_v: Tensor | None,
    dynamics: Dynamics,
    curve: Curve | None = None,
    pull: Callable[[Tensor], Tensor] | None = None,
) -> tuple[list[Tensor], Tensor | None, Tensor | None]:
    """The gradient of :func:`spikes`, as written out above.

    Args:
        currents, v, amplitude: as given to :func:`spikes`.
        grads: g = dL/dy of each timestep [...].
        grad_v: dL/dv after the last timestep [...], or None for zero.
        dynamics: the layer's constants.
        curve: of a surrogate with a temperature, from :func:`surrogate_curve`.
        pull: the gradient of a loss on the membrane potentials themselves at potentials u of a timestep; it is a part
            of G. None where there is no such loss.

    Returns:
        G = dL/dx of each timestep [...], that of v (None where v is), and terms [...] whose sum over everything is
        dL/da (None where a is).
    """
    at_rest = v is None
    membranes = []  # u, h and where b = 0, of each timestep
    for current in currents:
        u = charge(current, v, dynamics)
        silent = is_silent(u, dynamics)
        h = torch.where(silent, 0.0, u)
        v = u - h
        membranes.append((u, h, silent))
    grad_a = None
    carried = grad_v  # dL/dv[t], from the timesteps that follow
    grad_currents = []
    for g in reversed(grads):
        u, h, silent = membranes.pop()
        s = spike_derivative(u, dynamics, curve)
        if amplitude is None:
            grad_u = g * s
        else:
            g_b = torch.where(silent, 0.0, torch.where(u < 0, -g, g))  # g b, by the comparison that is made already
            grad_a = g_b if grad_a is None else grad_a + g_b
            grad_u = g * amplitude.to(g.dtype) * s
        if pull is not None:
            grad_u = grad_u + pull(u)
        if carried is not None:
            through_reset = torch.zeros_like(u) if dynamics.detach_reset else -h.abs() * s
            slope = torch.where(silent, 1.0, through_reset)  # D(u)
            grad_u = grad_u + carried * slope
        grad_currents.append(grad_u)
        carried = grad_u * dynamics.decay if membranes or not at_rest else None
    return grad_currents[::-1], carried, grad_a
