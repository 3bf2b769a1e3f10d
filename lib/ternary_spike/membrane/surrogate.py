"""Surrogate gradients: what stands in for the derivative of the firing function, which is zero almost everywhere.

The paper does not state its surrogate. ``clamp`` is the one of the authors' released code (straight-through of
``clamp(u, -1, 1)``, for binary neurons of ``clamp(u, 0, 1)``) and the default everywhere. The others are the
field's usual shapes, centred on the threshold (on both thresholds for ternary neurons) and of unit area.
:mod:`ternary_spike.membrane.in_place` has two of them once more, for processors without a compiler.
"""

import math

import torch
from torch import Tensor

SURROGATES = ("clamp", "clamp_symmetric", "rectangle", "triangle", "atan", "sigmoid")


def derivative(name: str, u: Tensor, *, signed: bool, threshold: float, window: float) -> Tensor:
    """The surrogate of db/du, the derivative of the un-scaled spike b with respect to the membrane potential u.

    Args:
        name: one of :data:`SURROGATES`.
        u: membrane potential before the reset, any shape.
        signed: True for ternary spikes {-1, 0, 1}, False for binary spikes {0, 1}.
        threshold: V_th of Eqs. 5 and 8, in units of the membrane potential.
        window: half-width of the surrogate. For ``clamp`` the outer edge of the interval in which the gradient is 1
            (both ends included): [-window, window] if signed, else [0, window]. ``clamp_symmetric`` is
            [-window, window] for binary neurons too (the control of equal gradient windows). For the others the
            distance from the threshold at which the shape ends (``rectangle``, ``triangle``) or its scale
            (``atan``, ``sigmoid``).

    Returns:
        A tensor of u's shape and dtype.

    Raises:
        ValueError: if the name is unknown. A surrogate never falls back to a zero gradient in silence.
    """
    if name == "clamp" or name == "clamp_symmetric":
        if signed or name == "clamp_symmetric":
            return (u.abs() <= window).to(u.dtype)
        return (u >= 0).to(u.dtype) * (u <= window).to(u.dtype)
    distance = (u.abs() if signed else u) - threshold
    if name == "rectangle":
        return (distance.abs() <= window).to(u.dtype) / (2 * window)
    if name == "triangle":
        return torch.clamp(1 - distance.abs() / window, min=0) / window
    if name == "atan":
        return 1 / (math.pi * window * (1 + (distance / window) ** 2))
    if name == "sigmoid":
        s = torch.sigmoid(distance / window)
        return s * (1 - s) / window
    raise ValueError(f"unknown surrogate {name!r}: choose one of {', '.join(SURROGATES)}")
