"""Surrogate gradients: what stands in for the derivative of the firing function, which is zero almost everywhere.

The paper does not state its surrogate. ``clamp`` is the one of the authors' released code (straight-through of
``clamp(u, -1, 1)``, for binary neurons of ``clamp(u, 0, 1)``) and the default everywhere. The others are the
field's usual shapes, centred on the threshold (on both thresholds for ternary neurons) and of unit area.
``tanh`` and ``tanh_unclipped`` have a temperature that may move in the course of a training. ``tanh`` is the curve of
Dspike (Li et al., NeurIPS 2021), and with a temperature of 3 that of the MPBN code (Guo et al., ICCV 2023), at
``window=0.5``; ``tanh_unclipped`` is that of IM-Loss (Guo et al., NeurIPS 2022).
:mod:`ternary_spike.membrane.in_place` has two of them once more, for processors without a compiler.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

SURROGATES = ("clamp", "clamp_symmetric", "rectangle", "triangle", "atan", "sigmoid", "tanh", "tanh_unclipped")
#: those with a temperature
WITH_TEMPERATURE = ("tanh", "tanh_unclipped")


class Curve(NamedTuple):
    """What a temperature makes of a surrogate, as tensors of one element.

    A compiled kernel takes them as it takes the amplitude, so that another temperature needs no other kernel.

    Attributes:
        steepness: what the distance from the threshold is multiplied by.
        height: factor of s (1 - s), where s is the logistic function of that product.
    """

    steepness: Tensor
    height: Tensor


def curve(name: str, window: float, temperature: Tensor | None) -> Curve | None:
    """The curve of a surrogate at a temperature b > 0, a tensor of one element; None for those without temperature.

    Both are slopes of tanh(b d / (2 window)) at a distance d from the threshold, of area 1: ``tanh`` within the window,
    ``tanh_unclipped`` over all distances. With sech^2(z) = 4 s (1 - s), where s is the logistic function of 2 z:

        tanh:            b / (4 window tanh(b/2)) sech^2(b d / (2 window)) = height s (1 - s),  0 where |d| > window
        tanh_unclipped:  b / (4 window) sech^2(b d / (2 window))           = height s (1 - s)

    Raises:
        ValueError: if a surrogate with a temperature is given none.
    """
    if name not in WITH_TEMPERATURE:
        return None
    if temperature is None:
        raise ValueError(f"surrogate {name!r} needs a temperature: give it as a tensor of one element")
    steepness = temperature / window
    if name == "tanh":
        return Curve(steepness, steepness / torch.tanh(temperature / 2))
    return Curve(steepness, steepness.clone())


def derivative(
    name: str, u: Tensor, *, signed: bool, threshold: float, window: float, curve: Curve | None = None
) -> Tensor:
    """The surrogate of db/du, the derivative of the un-scaled spike b with respect to the membrane potential u.

    Args:
        name: one of :data:`SURROGATES`.
        u: membrane potential before the reset, any shape.
        signed: True for ternary spikes {-1, 0, 1}, False for binary spikes {0, 1}.
        threshold: V_th of Eqs. 5 and 8, in units of the membrane potential.
        window: half-width of the surrogate. For ``clamp`` the outer edge of the interval in which the gradient is 1
            (both ends included): [-window, window] if signed, else [0, window]. ``clamp_symmetric`` is
            [-window, window] for binary neurons too (the control of equal gradient windows). For the others the
            distance from the threshold at which the shape ends (``rectangle``, ``triangle``, ``tanh``) or its scale
            (``atan``, ``sigmoid``, ``tanh_unclipped``).
        curve: of the surrogates with a temperature, from :func:`curve`.

    Returns:
        A tensor of u's shape and dtype.

    Raises:
        ValueError: if the name is unknown, or has a temperature and ``curve`` is missing. A surrogate never falls back
            to a zero gradient in silence.
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
    if name == "tanh" or name == "tanh_unclipped":
        if curve is None:
            raise ValueError(f"surrogate {name!r} needs the curve of its temperature")
        s = torch.sigmoid(distance * curve.steepness.to(u.dtype))
        slope = s * (1 - s) * curve.height.to(u.dtype)
        return slope * (distance.abs() <= window).to(u.dtype) if name == "tanh" else slope
    raise ValueError(f"unknown surrogate {name!r}: choose one of {', '.join(SURROGATES)}")
