"""Real Spike: spikes are multiplied by a trained real number in training, and are 0 or 1 once that is folded.

Y. Guo et al., "Real Spike: Learning Real-Valued Spikes for Spiking Neural Networks", ECCV 2022 (arXiv 2210.06686).
"""

import math
from typing import ClassVar

from ternary_spike.neurons.base import Folded
from ternary_spike.neurons.lif import LIF, trained_amplitude
from ternary_spike.neurons.registry import REAL_SPIKE


class RealSpike(LIF):
    """Spikes {0, a} with a trained amplitude a for the layer, for each channel, or for each neuron of a picture.

        u[t] = tau v[t-1] + x[t],   b[t] = 1[u[t] >= V_th],   v[t] = u[t] (1 - b[t]),   y[t] = a b[t]

    The reset does not see a, so that the convolution behind it can: K * (a b) = (a K) * b, the paper's
    re-parameterisation. With a number for each neuron a K differs from place to place (the paper's unshared kernels),
    which a folded network does not have: it is foldable only where a channel's numbers are equal.

    The authors' code is checked for one number a channel: it starts at 1 and multiplies what an integrate-and-fire
    neuron without leak emits, whose reset lets no gradient through. Filled in: the surrogate, which the code leaves to
    its library (the arctan was the default there at the time); that the other two start at 1 too. The paper's abstract
    names all three; its text could not be had. The networks of the code add blocks' spikes (SEW ResNets); here a
    block's sum charges a membrane, so that on an identity shortcut a stays, as a constant that is added.

    Args:
        initial_amplitude: a before training.
        channels: None for one number, or the channels C for one each; the input is then [T, B, C, H, W].
        side: with the channels the picture's side in pixels, H = W, for one number a neuron [C, H, W].
        threshold: V_th; fires at the boundary too.
        decay: tau; 1 is no leak.
        surrogate, window: surrogate gradient and its half-width; ``atan`` of 1 / pi is 1 / (1 + (pi (u - V_th))^2).
        detach_reset: if True no gradient flows through the reset; if not it flows where the neuron fires, as in the
            other neurons of :mod:`ternary_spike.neurons.lif`.
        temperature: of the surrogates ``tanh`` and ``tanh_unclipped``, of no effect on the others.

    Raises:
        ValueError: as of :class:`LIF` and :func:`trained_amplitude`.
    """

    OPTIONS: ClassVar = REAL_SPIKE
    per_element = True
    fixed = (*LIF.fixed, "initial_amplitude", "channels", "side")

    def __init__(
        self,
        initial_amplitude: float = 1.0,
        channels: int | None = None,
        side: int | None = None,
        threshold: float = 1.0,
        decay: float = 1.0,
        surrogate: str = "atan",
        window: float = 1 / math.pi,
        detach_reset: bool = True,
        temperature: float = 3.0,
    ) -> None:
        super().__init__(threshold, decay, surrogate, window, detach_reset, temperature)
        del self.amplitude
        self.amplitude = trained_amplitude(initial_amplitude, channels, side)

    @classmethod
    def build(
        cls, channels: int | None, side: int | None = None, amplitude_per: str = "channel", **options
    ) -> "RealSpike":
        """One amplitude for the layer, for each ``channel``, or for each ``element`` of a picture [C, H, W]."""
        if amplitude_per == "element" and None in (channels, side):
            raise ValueError(
                "amplitude_per=element needs the layer's channels and the side of its pictures, which this network "
                "does not tell its neurons; choose channel or layer"
            )
        return cls(
            channels=None if amplitude_per == "layer" else channels,
            side=side if amplitude_per == "element" else None,
            **options,
        )

    def folds(self) -> Folded:
        """The neuron without its amplitude; numbers that are equal throughout a channel fold as one for the channel."""
        folded = super().folds()
        a = folded.amplitude
        if a.dim() == 3 and (a == a[:, :1, :1]).all():
            a = a[:, :1, :1]
        return Folded(folded.dynamics, a)
