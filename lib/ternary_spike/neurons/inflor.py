"""InfLoR-SNN: a soft reset by the spike, and a rectifier that moves the membrane potential towards 0 or 1 to fire.

Y. Guo et al., "Reducing Information Loss for Spiking Neural Networks", ECCV 2022 (arXiv 2307.04356).
"""

import math

import torch
from torch import Tensor

from ternary_spike.membrane.arguments import flag, number
from ternary_spike.neurons.base import SpikingNeuron

V_TH = 0.5


def rectified(u: Tensor) -> Tensor:
    """phi(u), increasing, with fixed points 0, 1/2 and 1, so that phi(u) > 1/2 where u > 1/2 and nowhere else.

    phi(u) = 1 - (1 - u)^(1/3)                                u < 0
             tanh(3 (u - 1/2)) / (2 tanh(3/2)) + 1/2          0 <= u <= 1
             u^(1/3)                                          u > 1
    """
    # each root is taken of numbers from 1 on only: torch.where would pass on the NaN of a branch that it does not take
    below = 1 - (1 - u.clamp(max=0)) ** (1 / 3)
    above = u.clamp(min=1) ** (1 / 3)
    return torch.where(u < 0, below, torch.where(u > 1, above, between(u)))


def between(u: Tensor) -> Tensor:
    """phi(u) where 0 <= u <= 1, all of it that a spike and its gradient depend on."""
    return torch.tanh(3 * (u - 0.5)) / (2 * math.tanh(1.5)) + 0.5


class InfLoR(SpikingNeuron):
    """A layer of binary neurons: membrane potential rectificator (MPR) and soft reset integrate-and-fire (SRIF).

        u[t] = tau v[t-1] + x[t],   r[t] = phi(u[t]),   b[t] = 1[r[t] > 1/2],   v[t] = u[t] - b[t]

    The gradient of b is that of r where 0 <= r <= 1, and 0 elsewhere; it flows through the reset too. So the rectifier
    moves no spike: db/du = phi'(u) from 0 to 1 makes it a surrogate gradient, and inference goes without it. The reset
    takes 1 away, a spike's value, and not the threshold 1/2: with tau = 1 the sum of b is that of x but for v.

    This is the authors' code; the paper's text could not be had. Filled in: that u and not r is kept, as the code has
    it; and at u = 0 and u = 1 exactly phi' is 0.299465 here as between them, where the code lets 1 through.

    It cannot be folded: what a folded network knows is the hard reset.

    Args:
        decay: tau; 1 is no leak.
        rectify: if False r is u: the same spikes, and 1 as the gradient from 0 to 1.
        soft_reset: if False v[t] = u[t] (1 - b[t]).

    Raises:
        ValueError: if decay is no number from 0 to 1, or another argument no flag.
    """

    threshold = V_TH  # for losses that pull potentials to it
    fixed = (*SpikingNeuron.fixed, "threshold")

    def __init__(self, decay: float = 1.0, rectify: bool = True, soft_reset: bool = True) -> None:
        super().__init__()
        self.decay = number("decay", decay)
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay must lie in [0, 1], not {self.decay}")
        self.rectify = flag("rectify", rectify)
        self.soft_reset = flag("soft_reset", soft_reset)

    def update(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """u, b and the v that is kept."""
        u = x if v is None else self.decay * v + x
        inside = u.clamp(0, 1)  # phi's roots beyond would take most of the time, move no spike and have no gradient
        r = between(inside) if self.rectify else inside
        b = (r > V_TH).to(u.dtype) + (r - r.detach())  # the difference is 0 and has the gradient of r
        return u, b, u - b if self.soft_reset else u * (1 - b)

    def extra_repr(self) -> str:
        return f"decay={self.decay}, rectify={self.rectify}, soft_reset={self.soft_reset}"
