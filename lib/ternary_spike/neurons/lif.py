"""Spiking neurons as modules: binary, ternary and trainable ternary leaky integrate-and-fire.

Multi-step use takes the whole sequence, time first, and starts from a membrane at rest::

    spikes = TernaryLIF()(x)                # x: [T, B, ...] -> spikes: [T, B, ...]

Single-step use takes and returns the membrane potential explicitly; no neuron has hidden state::

    spikes, v = neuron.step(x_t, v)         # v=None starts at rest
"""

import math

import torch
from torch import nn

from ternary_spike.membrane.arguments import number, whole
from ternary_spike.neurons.base import LIF


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

    signed = True
    fixed = (*LIF.fixed, "initial_amplitude", "channels")

    def __init__(self, initial_amplitude: float = 1.0, channels: int | None = None, **options) -> None:
        super().__init__(**options)
        shape = () if channels is None else (whole("channels", channels), 1, 1)
        value = number("initial_amplitude", initial_amplitude)
        if not math.isfinite(value):
            raise ValueError(f"initial_amplitude must be finite, not {value}")
        del self.amplitude
        self.amplitude = nn.Parameter(torch.full(shape, value))
