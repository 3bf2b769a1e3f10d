"""The paper's neurons as modules: binary, ternary and trainable ternary leaky integrate-and-fire.

One timestep is :meth:`LIF.update` (charge, fire, reset: Eqs. 4-5, 7-8, 13) and :meth:`SpikingNeuron.emit` (Eq. 14).
:mod:`ternary_spike.membrane.dynamics` has the same equations with their gradient, through all timesteps at once; that
is what runs unless somebody watches the layer.

Multi-step use takes the whole sequence, time first, and starts from a membrane at rest::

    spikes = TernaryLIF()(x)                # x: [T, B, ...] -> spikes: [T, B, ...]

Single-step use takes and returns the membrane potential explicitly; no neuron has hidden state::

    spikes, v = neuron.step(x_t, v)         # v=None starts at rest
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from ternary_spike.membrane.arguments import number, whole
from ternary_spike.membrane.dynamics import Dynamics, charge
from ternary_spike.membrane.spike import spike
from ternary_spike.neurons.base import Folded, SpikingNeuron
from ternary_spike.neurons.registry import AMPLITUDE
from ternary_spike.neurons.registry import LIF as LIF_OPTIONS


class LIF(SpikingNeuron):
    """A leaky integrate-and-fire layer with hard reset; what the three neurons share.

    The constants are numbers and can be read (``neuron.threshold``), but not set: another value takes another neuron.

    Args:
        threshold: V_th (the paper gives none; 0.5 is the authors' code's). Fires at the boundary too.
        decay: tau of Eq. 4; 0.25 in the paper.
        surrogate: surrogate gradient, one of :data:`ternary_spike.membrane.surrogate.SURROGATES`.
        window: half-width of the surrogate, in units of the membrane potential. Raising V_th to the window's edge
            leaves firing neurons no gradient: vary both.
        detach_reset: if True no gradient flows through the reset.
        temperature: of the surrogates ``tanh`` and ``tanh_unclipped``, of no effect on the others. It alone may be set
            later, by :meth:`set_temperature`.

    Raises:
        ValueError: if a constant is no number (a tensor is none) or out of range, or the surrogate is unknown.
    """

    OPTIONS: ClassVar = LIF_OPTIONS  # which a neuron of somebody's own that builds on this class has too
    fixed = (*SpikingNeuron.fixed, "threshold", "decay", "surrogate", "window", "detach_reset")

    def __init__(
        self,
        threshold: float = 0.5,
        decay: float = 0.25,
        surrogate: str = "clamp",
        window: float = 1.0,
        detach_reset: bool = False,
        temperature: float = 3.0,
    ) -> None:
        super().__init__()
        self.dynamics = Dynamics(self.signed, threshold, decay, surrogate, window, detach_reset)
        self.begin_at_temperature(surrogate, temperature)

    @property
    def threshold(self) -> float:
        """V_th, from which on the membrane potential makes a spike."""
        return self.dynamics.threshold

    @property
    def decay(self) -> float:
        """tau of Eq. 4, the share of the membrane potential that is left at the next timestep."""
        return self.dynamics.decay

    @property
    def surrogate(self) -> str:
        """Name of the surrogate gradient."""
        return self.dynamics.surrogate

    @property
    def window(self) -> float:
        """Half-width of the surrogate gradient, in units of the membrane potential."""
        return self.dynamics.window

    @property
    def detach_reset(self) -> bool:
        """Whether no gradient flows through the reset."""
        return self.dynamics.detach_reset

    def update(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Charge, fire and hard reset (Eqs. 4-5, 7-8); the reset sees the un-scaled spike (Eqs. 13-14)."""
        u = charge(x, v, self.dynamics)
        b = spike(u, self.dynamics, self.temperature)
        fired = b.detach() if self.dynamics.detach_reset else b
        return u, b, u * (1 - fired.abs())

    @property
    def kernel(self) -> Dynamics:
        """The layer's constants: the fused kernels compute these very equations."""
        return self.dynamics

    def folds(self) -> Folded:
        """The same neuron without its amplitude."""
        return Folded(self.dynamics, None if self.amplitude is None else self.amplitude.detach())

    def extra_repr(self) -> str:
        d = self.dynamics
        temperature = "" if self.temperature is None else f", temperature={self.temperature.item():.4g}"
        return (
            f"threshold={d.threshold}, decay={d.decay}, surrogate={d.surrogate!r}, window={d.window}, "
            f"detach_reset={d.detach_reset}{temperature}"
        )


def trained_amplitude(initial: float, channels: int | None = None, side: int | None = None) -> nn.Parameter:
    """a before training: a scalar, [C, 1, 1], or with the side of the pictures [C, H, W].

    Raises:
        ValueError: if the value is no finite number, or a size no whole one from 1.
    """
    value = number("initial_amplitude", initial)
    if not math.isfinite(value):
        raise ValueError(f"initial_amplitude must be finite, not {value}")
    if channels is None:
        return nn.Parameter(torch.full((), value))
    place = 1 if side is None else whole("side", side)
    return nn.Parameter(torch.full((whole("channels", channels), place, place), value))


class BinaryLIF(LIF):
    """Binary spikes {0, 1} (Eqs. 4 and 5)."""

    signed = False


class TernaryLIF(LIF):
    """Ternary spikes {-1, 0, 1} (Eqs. 7 and 8)."""

    signed = True


class TrainableTernaryLIF(LIF):
    """Ternary spikes {-a, 0, a} with a trainable amplitude a (Eqs. 13 and 14); the reset sees the un-scaled spike.

    Args:
        initial_amplitude: a before training; 1 as in the authors' code.
        channels: None for one amplitude a layer (the paper's choice, a in R^{1x1x1}), or the number of channels for
            one amplitude each; the layer's input is then [T, B, channels, ...] with two spatial axes.
        options: those of :class:`LIF`.

    Raises:
        ValueError: as of :class:`LIF`; also if the amplitude is no finite number, or ``channels`` no whole one.
    """

    OPTIONS: ClassVar = LIF_OPTIONS | AMPLITUDE
    signed = True
    fixed = (*LIF.fixed, "initial_amplitude", "channels")

    def __init__(self, initial_amplitude: float = 1.0, channels: int | None = None, **options) -> None:
        super().__init__(**options)
        del self.amplitude
        self.amplitude = trained_amplitude(initial_amplitude, channels)

    @classmethod
    def build(cls, channels: int | None, amplitude_per: str = "layer", **options) -> "TrainableTernaryLIF":
        """One amplitude for the layer, or with ``amplitude_per="channel"`` one for each of its channels."""
        return cls(channels=channels if amplitude_per == "channel" else None, **options)
