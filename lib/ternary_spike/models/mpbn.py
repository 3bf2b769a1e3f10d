"""Membrane potential batch norm (MPBN): a second batch norm, between a neuron's charge and its comparison.

Y. Guo et al., "Membrane Potential Batch Normalization for Spiking Neural Networks", ICCV 2023 (arXiv 2308.08359), and
its code. It is a neuron, and lies beside the batch norm that it has.
"""

from typing import ClassVar

from torch import Tensor

from ternary_spike.membrane.channel_thresholds import ChannelThresholds
from ternary_spike.membrane.dynamics import charge
from ternary_spike.membrane.spike import spike
from ternary_spike.models.batch_norm import BatchNorm2d
from ternary_spike.models.known_modules import computes_as
from ternary_spike.neurons.channel_thresholds import FoldedByChannel
from ternary_spike.neurons.lif import LIF, trained_amplitude
from ternary_spike.neurons.registry import MPBN


class NormalisedLIF(LIF):
    """Binary leaky integrate-and-fire neurons that fire by their normalised membrane potential.

        u[t] = tau v[t-1] + x[t],   n[t] = BN(u[t]),   b[t] = 1[n[t] >= V_th],   v[t] = u[t] (1 - b[t])

    The potential that is kept is u and not n. So, with statistics that no longer move, a channel's neurons fire where
    u reaches a threshold of that channel (:class:`ChannelThresholds`), and nothing of the norm is left once folded.

    BN has the statistics of batch and space, of each timestep by itself: in training its running statistics move T
    times a batch, and evaluation takes the same pair for every timestep. Gradient flows through BN, its statistics
    and the reset. An observer is told n, which is what the threshold is for.

    These are the equations and constants of the authors' code; the paper's text could not be had. Ours: to fire at V_th
    too, where the code fires above it alone; and the ternary spikes of the subclasses, which the code does not have.

    Args:
        channels: C; the input is [T, B, C, H, W].
        threshold: V_th, in units of n; fires at the boundary too.
        decay, detach_reset: as of :class:`LIF`.
        surrogate, window, temperature: of db/dn. The default, with V_th, is the code's tanh from 0 to 1.

    Raises:
        ValueError: as of :class:`LIF`.
    """

    OPTIONS: ClassVar = MPBN

    def __init__(
        self,
        channels: int,
        threshold: float = 0.5,
        decay: float = 0.25,
        surrogate: str = "tanh",
        window: float = 0.5,
        detach_reset: bool = False,
        temperature: float = 3.0,
    ) -> None:
        super().__init__(threshold, decay, surrogate, window, detach_reset, temperature)
        self.bn = BatchNorm2d(channels)

    @classmethod
    def build(
        cls,
        channels: int | None,
        spikes: str = "binary",
        initial_amplitude: float = 1.0,
        amplitude_per: str = "layer",
        **options,
    ) -> "NormalisedLIF":
        """Neurons with ``binary``, ``ternary`` or ``trainable`` spikes; only the last have the amplitude's options.

        Raises:
            ValueError: if the channels are unknown, or an option of the amplitude is given where there is none.
        """
        if channels is None:
            raise ValueError("mpbn has a batch norm and needs to be told the channels of its layer")
        if spikes == "trainable":
            per_channel = channels if amplitude_per == "channel" else None
            return TrainableNormalisedLIF(channels, initial_amplitude, per_channel, **options)
        given = {"initial_amplitude": initial_amplitude, "amplitude_per": amplitude_per}
        if changed := [key for key, value in given.items() if value != MPBN[key].default]:
            raise ValueError(f"{changed[0]} is of mpbn neurons with spikes=trainable, not spikes={spikes}")
        return (TernaryNormalisedLIF if spikes == "ternary" else NormalisedLIF)(channels, **options)

    def update(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """n, b and the v that is kept; x and v are [B, C, H, W]."""
        u = charge(x, v, self.dynamics)
        n = self.bn(u.unsqueeze(0)).squeeze(0)
        b = spike(n, self.dynamics, self.temperature)
        fired = b.detach() if self.dynamics.detach_reset else b
        return n, b, u * (1 - (fired.abs() if self.signed else fired))

    def folds(self) -> FoldedByChannel | None:
        """The neuron with a threshold for each channel, from the running statistics; None if there are none."""
        bn = self.bn
        if not computes_as(bn, BatchNorm2d) or bn.running_var is None:
            return None
        inverse, gain = (bn.running_var.double() + bn.eps).rsqrt(), bn.gain_in_float64()
        gain = inverse if gain is None else gain * inverse
        shift = -gain * bn.running_mean.double() + (0.0 if bn.bias is None else bn.bias.detach().double())
        thresholds = ChannelThresholds.of_affine(gain, shift, self.threshold, self.signed)
        return FoldedByChannel(self.dynamics, super().folds().amplitude, thresholds)


class TernaryNormalisedLIF(NormalisedLIF):
    """The same with ternary spikes: b[t] = -1 where n[t] <= -V_th, and v[t] = u[t] (1 - |b[t]|)."""

    signed = True


class TrainableNormalisedLIF(TernaryNormalisedLIF):
    """The same with ternary spikes times a trained amplitude, which the reset does not see.

    Args:
        channels: C.
        initial_amplitude: the amplitude before training.
        amplitudes: None for one amplitude, or C for one a channel.
        options: of :class:`NormalisedLIF`.

    Raises:
        ValueError: as of :class:`LIF` and :func:`trained_amplitude`.
    """

    fixed = (*LIF.fixed, "initial_amplitude")

    def __init__(self, channels: int, initial_amplitude: float = 1.0, amplitudes: int | None = None, **options) -> None:
        super().__init__(channels, **options)
        del self.amplitude
        self.amplitude = trained_amplitude(initial_amplitude, amplitudes)
