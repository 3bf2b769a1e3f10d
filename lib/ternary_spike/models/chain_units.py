"""Units beyond those of a ResNet: max pooling of spikes, dropout through time, fully connected neurons, votes.

They take and give [T, B, C, H, W], as the units of :mod:`ternary_spike.models.blocks` do, and fold as those do. Fully
connected neurons lie at a single place, [T, B, C, 1, 1].
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ternary_spike.models.blocks import Make
from ternary_spike.models.known_modules import NotFoldable
from ternary_spike.models.layers import over_time
from ternary_spike.models.normalise_and_fire import normalise_and_fire


class MaxPool2d(nn.MaxPool2d):
    """Max pooling on [T, B, C, H, W]: of spikes {0, 1} it is a logical OR, and gives spikes."""

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] to [T, B, C, H', W']."""
        return over_time(super().forward, x)

    def fold(self, folder, name: str, source: str) -> str:
        """Of spikes worth a >= 0 it passes the amplitude through: max(a b) = a max(b)."""
        return folder.max_pool(name, self, source)


class Stretch(nn.AdaptiveAvgPool2d):
    """Average pooling to so many places a side; where there are fewer, each is repeated."""

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] to [T, B, C, places, places]."""
        return over_time(super().forward, x)

    def fold(self, folder, name: str, source: str) -> str:
        """A folded network has windows of one size only."""
        raise NotFoldable(f"{name} pools to {self.output_size}x{self.output_size} places, whatever it is given")


class Dropout(nn.Module):
    """Dropout, in training, of the same neurons at every timestep.

    Args:
        share: probability with which a neuron is dropped; what is left is divided by 1 - share.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, ...] to [T, B, ...]."""
        if not self.training:
            return x
        return x * F.dropout(torch.ones_like(x[0]), self.share)

    def fold(self, folder, name: str, source: str) -> str:
        """A trained network drops nothing."""
        return source

    def extra_repr(self) -> str:
        return str(self.share)


class FullyConnected(nn.Linear):
    """A linear layer of every place of a picture: [T, B, C, H, W] to [T, B, features, 1, 1].

    Args:
        channels, side: of what it takes, H = W = side.
        features: how many it gives.
        bias: whether it has one.
    """

    def __init__(self, channels: int, side: int, features: int, bias: bool) -> None:
        super().__init__(channels * side**2, features, bias)
        self.channels, self.side = channels, side

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] to [T, B, features, 1, 1]."""
        return super().forward(x.flatten(2))[..., None, None]


class FullyConnectedUnit(nn.Module):
    """Fully connected, normalisation, neurons.

    Args:
        channels, side, features, bias: as of :class:`FullyConnected`.
        neuron, norm: make a neuron layer and a normalisation of so many channels.
    """

    def __init__(self, channels: int, side: int, features: int, bias: bool, neuron: Make, norm: Make) -> None:
        super().__init__()
        self.linear = FullyConnected(channels, side, features, bias)
        self.bn = norm(features)
        self.neuron = neuron(features)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, B, C, H, W] to spikes [T, B, features, 1, 1]."""
        return normalise_and_fire(self.bn, self.neuron, self.linear(x))

    def fold(self, folder, name: str, source: str) -> str:
        """What :meth:`forward` is once folded."""
        return folder.spikes(name, self.neuron, folder.fully_connected(f"{name}.linear", self.linear, self.bn, source))

    def neurons(self, name: str) -> dict[str, nn.Module]:
        """The neuron layer, by the unit's name."""
        return {name: self.neuron}


class Votes(nn.Module):
    """Class scores of neurons that vote: the mean rate of a class's own neurons, which are neighbours.

    It is folded and counted as a classifier: a spike counts as one addition for each class, though it votes for one.

    Args:
        voters: neurons of each class.
        classes: how many there are.

    Attributes:
        weight: [classes, voters x classes], fixed.
    """

    bias = None

    def __init__(self, voters: int, classes: int) -> None:
        super().__init__()
        self.in_features, self.out_features = voters * classes, classes
        self.register_buffer("weight", torch.eye(classes).repeat_interleave(voters, dim=1) / voters)

    def forward(self, rates: Tensor) -> Tensor:
        """Rates [..., voters x classes] to scores [..., classes]."""
        return F.linear(rates, self.weight)
