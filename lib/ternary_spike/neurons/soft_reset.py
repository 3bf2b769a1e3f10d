"""A leaky integrate-and-fire neuron whose reset takes the threshold away and keeps what exceeds it.

The neuron of OTTT: M. Xiao et al., "Online Training Through Time for Spiking Neural Networks", NeurIPS 2022
(arXiv 2210.04195).
"""

from typing import ClassVar

from torch import Tensor

from ternary_spike.membrane.dynamics import charge
from ternary_spike.membrane.spike import spike
from ternary_spike.neurons.lif import LIF
from ternary_spike.neurons.registry import SOFT_RESET


class SoftResetLIF(LIF):
    """A layer of binary neurons with soft reset.

        u[t] = tau v[t-1] + x[t],   b[t] = 1[u[t] >= V_th],   v[t] = u[t] - V_th b[t]

    It cannot be folded: what a folded network knows is the hard reset.

    Args:
        threshold: V_th; fires at the boundary too.
        decay: tau.
        surrogate, window: surrogate gradient and its half-width; ``sigmoid`` of 1/4 is 4 s (1 - s), where s is the
            logistic function of 4 (u - V_th).
        detach_reset: if True no gradient flows through the reset.
        temperature: of the surrogates ``tanh`` and ``tanh_unclipped``, of no effect on the others.

    Raises:
        ValueError: as of :class:`LIF`.
    """

    OPTIONS: ClassVar = SOFT_RESET
    signed = False

    def __init__(
        self,
        threshold: float = 1.0,
        decay: float = 0.5,
        surrogate: str = "sigmoid",
        window: float = 0.25,
        detach_reset: bool = True,
        temperature: float = 3.0,
    ) -> None:
        super().__init__(threshold, decay, surrogate, window, detach_reset, temperature)

    def update(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Charge, fire and soft reset."""
        u = charge(x, v, self.dynamics)
        b = spike(u, self.dynamics, self.temperature)
        return u, b, u - self.threshold * (b.detach() if self.detach_reset else b)
