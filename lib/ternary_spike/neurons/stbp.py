"""The iterative leaky integrate-and-fire neuron of STBP as prior methods' code has it: the reset sees b and not |b|.

Y. Wu et al., "Spatio-Temporal Backpropagation for Training High-Performance Spiking Neural Networks", Front. Neurosci.
12, 2018, and those that build on it, such as TET (Deng et al., ICLR 2022).
"""

from torch import Tensor

from ternary_spike.membrane.dynamics import Dynamics
from ternary_spike.neurons.base import Folded
from ternary_spike.neurons.lif import BinaryLIF


class IterativeLIF(BinaryLIF):
    """A layer of binary neurons with hard reset whose gradient flows through the reset of silent neurons too.

        u[t] = tau v[t-1] + x[t],   b[t] = 1[u[t] >= V_th],   v[t] = u[t] (1 - b[t])
        dv/du = 1 - b - u db/du

    It spikes as the paper's binary neuron does. That one's reset has 1 - |b|, as the code of the ternary spike's
    authors has it, and the slope of |b| is 0 where b = 0: so dv/du = 1 - b - |u b| db/du, without the last term
    where the neuron is silent. With the reset detached both are the same.

    The equations are those of the public code of TET, which has V_th = 1, tau = 0.5 and a triangle of half-width 1, and
    fires above V_th alone. The paper itself could not be had.

    Args:
        threshold, decay, surrogate, window, detach_reset: as of :class:`ternary_spike.neurons.lif.LIF`.
    """

    def update(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Charge, fire and hard reset."""
        u, b, _ = super().update(x, v)
        return u, b, u * (1 - (b.detach() if self.detach_reset else b))

    @property
    def kernel(self) -> Dynamics | None:
        """The fused kernels' reset is the other one; they compute this neuron where it is detached."""
        return super().kernel if self.detach_reset else None

    def folds(self) -> Folded:
        """The paper's binary neuron: resets differ in their gradient alone."""
        return super().folds()
