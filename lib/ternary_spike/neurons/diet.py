"""DIET-SNN's neuron: threshold and leak of each layer are trained.

N. Rathi and K. Roy, "DIET-SNN: A Low-Latency Spiking Neural Network With Direct Input Encoding and Leakage and
Threshold Optimization", IEEE TNNLS 2023 (arXiv 2008.03658), as the authors' code has it since September 2021.
"""

import math

import torch
from torch import Tensor, nn

from ternary_spike.membrane.arguments import number
from ternary_spike.membrane.dynamics import SMALLEST_THRESHOLD, Dynamics
from ternary_spike.membrane.spike import spike
from ternary_spike.neurons.base import SpikingNeuron

# z = u / V - 1 is compared with 0, but a threshold must be above 0. A float32 number less 1 is 0 or at least 6e-8 in
# size, so that the smallest threshold decides as 0 does
FIRING = Dynamics(False, SMALLEST_THRESHOLD, surrogate="triangle", window=1.0)
HEIGHT = 0.3  # of the surrogate gradient at the threshold
LOWEST_THRESHOLD = 1e-3


class Diet(SpikingNeuron):
    """A layer of binary neurons with one trained threshold V and one trained leak tau, reset by subtraction.

        u[t] = tau v[t-1] + x[t],   z = u / V - 1,   b = 1[z > 0],   v = u - V b,   db/dz = 0.3 max(0, 1 - |z|)

    The b of the reset lets no gradient through, but the V beside it does: dv/dV = du/dV - b. Before each use tau is cut
    off at 1, as the authors do behind each update. Filled in: V is kept from falling below 0.001; they leave it free.

    It cannot be folded: what a folded network knows is the hard reset.

    Args:
        threshold: V before training, in units of the membrane potential.
        decay: tau before training; 1 is no leak.

    Raises:
        ValueError: if the threshold is no number from 0.001, or the decay none from 0 to 1.
    """

    def __init__(self, threshold: float = 1.0, decay: float = 1.0) -> None:
        super().__init__()
        threshold, decay = number("threshold", threshold), number("decay", decay)
        if not LOWEST_THRESHOLD <= threshold < math.inf:
            raise ValueError(f"threshold must be at least {LOWEST_THRESHOLD} and finite, not {threshold}")
        if not 0 <= decay <= 1:
            raise ValueError(f"decay must lie in [0, 1], not {decay}")
        self.threshold = nn.Parameter(torch.tensor(threshold))
        self.decay = nn.Parameter(torch.tensor(decay))

    def forward(self, x: Tensor, v: Tensor | None = None, return_state: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """As of any neuron layer, with V and tau brought back to where they are allowed to be."""
        self.threshold.data.clamp_(min=LOWEST_THRESHOLD)
        self.decay.data.clamp_(max=1.0)
        return super().forward(x, v, return_state)

    def update(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """u, b and the v that is kept."""
        # from rest tau takes part with a gradient of 0, so that no training finds it unused
        u = self.decay * (torch.zeros_like(x) if v is None else v) + x
        z = u / self.threshold - 1
        b = spike(z.detach() + HEIGHT * (z - z.detach()), FIRING)  # z itself, with the height as its slope
        return u, b, u - self.threshold * b.detach()

    def extra_repr(self) -> str:
        return f"threshold={self.threshold.item():.4g}, decay={self.decay.item():.4g}"
