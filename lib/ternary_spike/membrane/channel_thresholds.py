"""Neurons whose thresholds differ from channel to channel: what a norm in front of the comparison becomes.

Where a neuron fires by g u + h, with a gain g and a shift h for each channel, and keeps u, it fires by u itself:

    b = 1 where g u + h >= V_th, which is where d u >= (V_th - h) / |g|      d = 1 for g > 0, -1 for g < 0
    b = -1 where g u + h <= -V_th, which is where d u <= (-V_th - h) / |g|   of ternary neurons

A channel with g = 0 fires always or never, as h says; there d is 0, and what 0 is compared with is V_th - h.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ternary_spike.membrane.dynamics import Dynamics, charge, membrane_dtype


@dataclass(frozen=True)
class ChannelThresholds:
    """What each channel compares its membrane potential with; all are [C, 1, 1] and of one dtype.

    Attributes:
        direction: d, 1 or -1, or 0 where the potential does not count.
        positive: emits 1 where d u is at least this.
        negative: emits -1 where d u is at most this; None for binary spikes.
    """

    direction: Tensor
    positive: Tensor
    negative: Tensor | None

    @classmethod
    def of_affine(cls, gain: Tensor, shift: Tensor, threshold: float, signed: bool) -> "ChannelThresholds":
        """Of a neuron that fires by g u + h; gain and shift are [C], a channel's numbers."""
        direction, size = gain.sign(), torch.where(gain == 0, 1.0, gain.abs())
        positive, negative = ((side * threshold - shift) / size for side in (1, -1))
        found = (direction, positive, negative) if signed else (direction, positive)
        return cls(*(x.view(-1, 1, 1) for x in found), **({} if signed else {"negative": None}))

    def tensors(self) -> dict[str, Tensor]:
        """Those that there are, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: x for name, x in found.items() if x is not None}

    def fire(self, u: Tensor) -> Tensor:
        """Un-scaled spikes b of a membrane potential u [..., C, H, W], in its shape and dtype. NaN stays NaN."""
        turned = u * self.direction
        b = (turned >= self.positive).to(u.dtype)
        if self.negative is not None:
            b = b - (turned <= self.negative).to(u.dtype)
        return torch.where(u.isnan(), u, b)

    def run(self, x: Tensor, dynamics: Dynamics) -> tuple[Tensor, Tensor]:
        """Charge, fire and hard reset through time, from a membrane at rest.

        Args:
            x: input current [T, B, C, H, W].
            dynamics: the layer's decay; its threshold is not used.

        Returns:
            Membrane potential before the reset and un-scaled spikes, both [T, B, C, H, W].
        """
        potentials, spikes, v = [], [], None
        for current in x.to(membrane_dtype(x)):
            u = charge(current, v, dynamics)
            b = self.fire(u)
            v = torch.where(b.abs() == 1, 0.0, u)
            potentials.append(u)
            spikes.append(b)
        return torch.stack(potentials), torch.stack(spikes)
