"""What a neuron with a norm in front of its comparison says that it is once folded."""

from dataclasses import dataclass

from ternary_spike.membrane.channel_thresholds import ChannelThresholds
from ternary_spike.neurons.base import Folded


@dataclass(frozen=True)
class FoldedByChannel(Folded):
    """A layer that fires by thresholds of its channels; of the dynamics only decay and sign count.

    Attributes:
        thresholds: what is compared in the place of the dynamics' threshold.
    """

    thresholds: ChannelThresholds | None = None
