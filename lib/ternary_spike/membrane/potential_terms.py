"""What a loss may take the means of over a layer's membrane potentials: a function of one potential, and its slope.

A loss on membrane potentials pulls u itself, the potential before the reset, and not through the surrogate gradient.
For spikes {-1, 0, 1} the functions take |u|: a potential and its negative cause spikes that differ in sign alone. The
slopes are written out since the kernel of a backward pass computes them together with the neuron's own gradient.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Term(NamedTuple):
    """A function of a potential, and its derivative; both keep shape and dtype."""

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]


def _distance(u: Tensor) -> Tensor:
    return torch.minimum(u.abs(), (1 - u).abs()).square()


def _distance_slope(u: Tensor) -> Tensor:
    """2 (u - the nearer of 0 and 1), and 0 halfway between them; without booleans, which are slow on a processor."""
    from_halfway = 2 * u - 1
    return from_halfway - from_halfway.sign()


#: by name: u, its square, and min(|u|, |1 - u|)^2, its squared distance from the nearest of the spikes 0 and 1
TERMS = {
    "potential": Term(lambda u: u, torch.ones_like),
    "square": Term(torch.square, lambda u: 2 * u),
    "distance": Term(_distance, _distance_slope),
}


@dataclass(frozen=True)
class Gauge:
    """Somebody who wants such means of a layer.

    Attributes:
        terms: names of :data:`TERMS`.
        tell: called with :func:`means` whenever the layer has run; gradients flow through them.
    """

    terms: tuple[str, ...]
    tell: Callable[[dict[str, Tensor]], None]


def value(name: str, u: Tensor, signed: bool) -> Tensor:
    """The function of potentials u, in u's shape and dtype; ``signed`` for spikes {-1, 0, 1}."""
    return TERMS[name].value(u.abs() if signed else u)


def slope(name: str, u: Tensor, signed: bool) -> Tensor:
    """The derivative of :func:`value`; 0 at u = 0 where ``signed``."""
    return u.sign() * TERMS[name].slope(u.abs()) if signed else TERMS[name].slope(u)


def means(u: Tensor, names: Sequence[str], signed: bool) -> dict[str, Tensor]:
    """Means over a layer's potentials before the reset.

    Args:
        u: [T, B, C, ...], or without channels [T] or [T, B].
        names: of :data:`TERMS`.
        signed: whether the layer's spikes have a sign.

    Returns:
        By name the mean of each channel, [C]; without channels a scalar.
    """
    axes = tuple(axis for axis in range(u.dim()) if axis != 2)
    return {name: value(name, u, signed).mean(axes) for name in names}
