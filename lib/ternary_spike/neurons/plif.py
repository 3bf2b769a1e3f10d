"""Parametric leaky integrate-and-fire (PLIF): the time constant of the membrane is trained.

W. Fang et al., "Incorporating Learnable Membrane Time Constant to Enhance Learning of Spiking Neural Networks", ICCV
2021 (arXiv 2007.05785), Sec. 3.3.
"""

import math

import torch
from torch import Tensor, nn

from ternary_spike.membrane.arguments import number
from ternary_spike.membrane.dynamics import Dynamics
from ternary_spike.membrane.spike import spike
from ternary_spike.neurons.base import Folded, SpikingNeuron


class ParametricLIF(SpikingNeuron):
    """A layer of binary neurons with one trained time constant tau, reset to V_reset = 0.

    A single number w (the paper's a) sets the leak and the gain of the input: k(w) = 1 / (1 + exp(-w)) = 1 / tau.

    Args:
        time_constant: tau before training, in timesteps; w starts at -ln(tau - 1).
        threshold: V_th; fires at the boundary too.
        surrogate: surrogate gradient, one of :data:`ternary_spike.membrane.surrogate.SURROGATES`.
        window: its half-width. ``atan`` of 1 / pi is the paper's: 1 / (1 + (pi (H - V_th))^2).
        detach_reset: if True no gradient flows through the reset, as in all of the authors' runs.
        temperature: of the surrogates ``tanh`` and ``tanh_unclipped``, of no effect on the others.

    Raises:
        ValueError: if a constant is no number or out of range, or the surrogate is unknown.
    """

    def __init__(
        self,
        time_constant: float = 2.0,
        threshold: float = 1.0,
        surrogate: str = "atan",
        window: float = 1 / math.pi,
        detach_reset: bool = True,
        temperature: float = 3.0,
    ) -> None:
        super().__init__()
        tau = number("time_constant", time_constant)
        if not 1 < tau < math.inf:
            raise ValueError(f"time_constant must be above 1 and finite, not {tau}")
        self.firing = Dynamics(False, threshold, 0.0, surrogate, window, detach_reset)
        self.begin_at_temperature(surrogate, temperature)
        self.w = nn.Parameter(torch.tensor(-math.log(tau - 1)))

    def update(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """H = V + k (X - V), S = 1 where H >= V_th, and V = H (1 - S) is kept (Eqs. 2-6)."""
        k = self.w.sigmoid()
        h = k * x if v is None else (1 - k) * v + k * x
        s = spike(h, self.firing, self.temperature)
        return h, s, h * (1 - (s.detach() if self.firing.detach_reset else s))

    def folds(self) -> Folded:
        """H / k is the membrane potential of a neuron with decay 1 - k, input gain 1 and threshold V_th / k."""
        k = self.w.detach().double().sigmoid().item()
        return Folded(Dynamics(False, self.firing.threshold / k, 1 - k))

    def extra_repr(self) -> str:
        return f"time_constant={1 + (-self.w).exp().item():.4g}, threshold={self.firing.threshold}"
