"""The equations of dynamics.py once more, for torch without a compiler: the same numbers, several times as fast.

Without a compiler each operation is a pass over memory. So a tensor that is not needed again is changed in place: a new
one would have to be fetched into the cache. And comparisons write numbers: on a processor a tensor of booleans in
between costs ten times as much as the comparison. A compiler stores neither, and takes several times as long to follow
operations in place.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ternary_spike.membrane import dynamics as plain
from ternary_spike.membrane.dynamics import Dynamics, charge, membrane_dtype
from ternary_spike.membrane.surrogate import Curve


def firing_part(u: Tensor, dynamics: Dynamics) -> Tensor:
    """:func:`ternary_spike.membrane.dynamics.firing_part`."""
    largest_silent = dynamics.largest_silent[u.dtype]  # strictly above it means at or above the threshold
    return F.hardshrink(u, largest_silent) if dynamics.signed else F.threshold(u, largest_silent, 0.0)


def sign(h: Tensor, dynamics: Dynamics) -> Tensor:
    """:func:`ternary_spike.membrane.dynamics.sign`."""
    return (h * (2 / dynamics.threshold)).clamp_(-1, 1)


def fire(u: Tensor, dynamics: Dynamics) -> Tensor:
    """:func:`ternary_spike.membrane.dynamics.fire`."""
    return sign(firing_part(u.to(membrane_dtype(u)), dynamics), dynamics).to(u.dtype)


def integrate(x: Tensor, v: Tensor | None, dynamics: Dynamics) -> Tensor:
    """:func:`ternary_spike.membrane.dynamics.integrate`."""
    potentials = []
    for current in x.to(membrane_dtype(x)):
        u = charge(current, v, dynamics)
        v = u - firing_part(u, dynamics)
        potentials.append(u)
    return torch.stack(potentials)


def holds(compare: Callable, x: Tensor, bound: float) -> Tensor:
    """1 where ``compare(x, bound)`` holds, else 0, in x's dtype.

    The comparison writes its result into a tensor of numbers: boolean tensors are slower on a processor.
    """
    return compare(x, bound, out=torch.empty_like(x))


def spike_derivative(u: Tensor, dynamics: Dynamics, curve: Curve | None = None) -> Tensor:
    """:func:`ternary_spike.membrane.dynamics.spike_derivative`.

    The surrogates that are made of comparisons (clamp, rectangle) are written again here, without boolean tensors; the
    others are that function's own.
    """
    name, window = dynamics.surrogate, dynamics.window
    if name == "clamp" and not dynamics.signed:
        return holds(torch.ge, u, 0.0).mul_(holds(torch.le, u, window))
    if name in ("clamp", "clamp_symmetric"):
        return holds(torch.le, u.abs(), window)
    if name == "rectangle":
        distance = (u.abs() if dynamics.signed else u) - dynamics.threshold
        return holds(torch.le, distance.abs_(), window).div_(2 * window)
    return plain.spike_derivative(u, dynamics, curve)


def spikes(
    currents: Sequence[Tensor],
    v: Tensor | None,
    amplitude: Tensor | None,
    dynamics: Dynamics,
    keep_state: bool,
    potentials: list[Tensor] | None = None,
) -> tuple[list[Tensor], Tensor | None]:
    """:func:`ternary_spike.membrane.dynamics.spikes`."""
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
    """:func:`ternary_spike.membrane.dynamics.gradients`; what is given to it is not changed."""
    at_rest = v is None
    membranes: list[tuple[Tensor, Tensor]] = []  # u and h of each timestep
    for current in currents:
        u = charge(current, v, dynamics)
        membranes.append((u, firing_part(u, dynamics)))
        if len(membranes) < len(currents):
            v = u - membranes[-1][1]
    grad_a = None
    carried = grad_v  # dL/dv[t], from the timesteps that follow
    grad_currents = []
    for g in reversed(grads):
        u, h = membranes.pop()  # and with that given up: what fits the cache is fast
        s = spike_derivative(u, dynamics, curve)
        if amplitude is None:
            grad_u = g * s
        else:
            b = sign(h, dynamics)
            grad_a = g * b if grad_a is None else grad_a.addcmul_(g, b)
            del b
            grad_u = (g * amplitude.to(g.dtype)).mul_(s)
        if pull is not None:
            grad_u.add_(pull(u))
        if carried is not None:
            grad_u.addcmul_(carried, reset_slope(h, s, dynamics))
        grad_currents.append(grad_u)
        carried = grad_u * dynamics.decay if membranes or not at_rest else None
    return grad_currents[::-1], carried, grad_a


def reset_slope(h: Tensor, s: Tensor, dynamics: Dynamics) -> Tensor:
    """D(u) = dv/du (dynamics.py) from h, the part of u that fires, and the surrogate s."""
    slope = holds(torch.eq, h, 0.0)
    return slope if dynamics.detach_reset else slope.addcmul_(h.abs(), s, value=-1)
