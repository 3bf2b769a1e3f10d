"""Residual blocks of other publications: with dropout, with normalisation of every shortcut or behind the sum."""

from torch import Tensor, nn

from ternary_spike.models.batch_norm import BatchNorm2d
from ternary_spike.models.blocks import BasicBlock, Make
from ternary_spike.models.chain_units import Dropout
from ternary_spike.models.known_modules import NotFoldable
from ternary_spike.models.layers import Conv2d
from ternary_spike.models.normalise_and_fire import normalise_and_fire


class BasicBlockWithDropout(BasicBlock):
    """A basic block that drops spikes between its convolutions; arguments as :class:`BasicBlock`'s, and the share."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, share: float, neuron: Make, norm: Make = BatchNorm2d
    ) -> None:
        super().__init__(in_channels, channels, stride, False, neuron, norm)
        self.dropout = Dropout(share)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, B, C, H, W] to spikes [T, B, C', H', W']."""
        y = self.dropout(normalise_and_fire(self.bn1, self.neuron1, self.conv1(x)))
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return normalise_and_fire(self.bn2, self.neuron2, self.conv2(y), shortcut)

    def fold(self, folder, name: str, source: str) -> str:
        """A trained network drops nothing."""
        return super().fold(folder, name, source)


class NormalisedShortcut(nn.Module):
    """An identity shortcut with a normalisation of its own, the block's second branch."""

    def __init__(self, channels: int, norm: Make) -> None:
        super().__init__()
        self.bn = norm(channels, branches=2)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, B, C, H, W] to a current of the same shape."""
        return self.bn(x)


class BasicBlockWithNormalisedShortcut(BasicBlock):
    """A basic block that normalises its shortcut also where that is the identity (GLIF).

    Args:
        in_channels, channels, stride, neuron, norm: as of :class:`BasicBlock`.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, neuron: Make, norm: Make = BatchNorm2d) -> None:
        super().__init__(in_channels, channels, stride, False, neuron, norm)
        self.projects = self.shortcut is not None
        if not self.projects:
            self.shortcut = NormalisedShortcut(channels, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, B, C, H, W] to spikes [T, B, C', H', W']."""
        return super().forward(x)

    def fold(self, folder, name: str, source: str) -> str:
        """A normalised identity adds a constant of each channel for a spike, and its bias at every timestep."""
        if self.projects:
            return super().fold(folder, name, source)
        spikes = folder.spikes(f"{name}.1", self.neuron1, folder.conv(f"{name}.conv1", self.conv1, self.bn1, source))
        current = folder.conv(f"{name}.conv2", self.conv2, self.bn2, spikes)
        joined = folder.add_normalised(f"{name}.add", current, source, self.shortcut, f"{name}.shortcut")
        return folder.spikes(f"{name}.2", self.neuron2, joined)


class PreActivationBlock(nn.Module):
    """conv-BN-neuron-conv plus the incoming spikes, or a 1x1 convolution of them; then BN and a neuron.

    A pre-activation block begins with batch norm and neurons. Here these stand at the end of the block before, so that
    a block takes and gives spikes as others do; the shortcut carries spikes, as in DSR, and not the sum. Convolutions
    have biases.

    Args:
        in_channels, channels, stride: of its first convolution.
        neuron, norm: make a neuron layer and a normalisation of so many channels.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, neuron: Make, norm: Make) -> None:
        super().__init__()
        self.conv1 = with_bias(Conv2d(in_channels, channels, 3, stride))
        self.bn1 = norm(channels)
        self.neuron1 = neuron(channels)
        self.conv2 = with_bias(Conv2d(channels, channels, 3))
        changes = stride != 1 or in_channels != channels
        self.shortcut = with_bias(Conv2d(in_channels, channels, 1, stride)) if changes else None
        self.bn2 = norm(channels)
        self.neuron2 = neuron(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, B, C, H, W] to spikes [T, B, C', H', W']."""
        y = normalise_and_fire(self.bn1, self.neuron1, self.conv1(x))
        summed = self.conv2(y) + (x if self.shortcut is None else self.shortcut(x))
        return normalise_and_fire(self.bn2, self.neuron2, summed)

    def fold(self, folder, name: str, source: str) -> str:
        """A folded network has batch norm of convolutions alone."""
        raise NotFoldable(f"{name} normalises a sum, which a folded network does not")

    def neurons(self, name: str) -> dict[str, nn.Module]:
        """The two neuron layers, in the order of computation."""
        return {f"{name}.1": self.neuron1, f"{name}.2": self.neuron2}


class Neurons(nn.Module):
    """A neuron layer without weights: its current is the input.

    Args:
        channels: of the input.
        neuron: makes a neuron layer of so many channels.
    """

    def __init__(self, channels: int, neuron: Make) -> None:
        super().__init__()
        self.neuron = neuron(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] to spikes of the same shape."""
        return self.neuron(x)

    def fold(self, folder, name: str, source: str) -> str:
        """A folded network has weights in front of its neurons."""
        raise NotFoldable(f"{name} are neurons without weights, which a folded network does not have")

    def neurons(self, name: str) -> dict[str, nn.Module]:
        """The neuron layer, by the unit's name."""
        return {name: self.neuron}


def with_bias(conv: Conv2d) -> Conv2d:
    """A convolution, with a bias of 0."""
    conv.bias = nn.Parameter(conv.weight.new_zeros(conv.out_channels))
    return conv
