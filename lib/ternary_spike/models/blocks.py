"""The units that a spiking ResNet is made of.

Beside its ``forward`` a unit has ``fold(folder, name, source)``, which says the same once more for
:mod:`ternary_spike.reparam`: it calls the folder's methods for its layers in the order of computation. ``name`` is the
unit's own in result files; ``source`` and what is returned are names of values. ``neurons(name)`` has its neurons.

Each is made with ``neuron(channels)`` and ``norm(channels, branches)``, which make its neuron layers and the
normalisations in front of them; ``branches`` counts what is added up in front of the neuron layer. A normalisation with
a method ``beside_identity()`` is told where the other branch is the identity: spikes, which nothing normalises.
"""

from collections.abc import Callable

from torch import Tensor, nn

from ternary_spike.models.batch_norm import BatchNorm2d
from ternary_spike.models.layers import AvgPool2d, Conv2d
from ternary_spike.models.normalise_and_fire import normalise_and_fire, normalise_and_fire_static

Make = Callable[..., nn.Module]


class ConvUnit(nn.Module):
    """conv-BN-neuron, the stem's unit."""

    def __init__(
        self, in_channels: int, channels: int, kernel: int, stride: int, neuron: Make, norm: Make = BatchNorm2d
    ) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, channels, kernel, stride)
        self.bn = norm(channels)
        self.neuron = neuron(channels)

    def forward(self, x: Tensor, timesteps: int | None = None) -> Tensor:
        """[T, B, C, H, W] to spikes [T, B, C', H', W'].

        With ``timesteps`` the input is an image [B, C, H, W], the same at each of them (the encoder layer).
        """
        if timesteps is None:
            return normalise_and_fire(self.bn, self.neuron, self.conv(x))
        return normalise_and_fire_static(self.bn, self.neuron, self.conv(x), timesteps)

    def fold(self, folder, name: str, source: str) -> str:
        """What :meth:`forward` is once folded, with or without ``timesteps``."""
        return folder.spikes(name, self.neuron, folder.conv(f"{name}.conv", self.conv, self.bn, source))

    def neurons(self, name: str) -> dict[str, nn.Module]:
        """The neuron layer, by the unit's name."""
        return {name: self.neuron}


class Shortcut(nn.Module):
    """The projection where a block changes the shape: [T, B, C, H, W] to [T, B, C', H', W']."""

    def __init__(self, in_channels: int, channels: int, stride: int, pooled: bool, norm: Make) -> None:
        super().__init__()
        pooled = pooled and stride > 1
        self.pool = AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False) if pooled else None
        self.conv = Conv2d(in_channels, channels, 1, 1 if pooled else stride)
        self.bn = norm(channels, branches=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x if self.pool is None else self.pool(x)))

    def fold(self, folder, name: str, source: str) -> str:
        """What :meth:`forward` is once folded."""
        pooled = source if self.pool is None else folder.pool(f"{name}.pool", self.pool, source)
        return folder.conv(f"{name}.conv", self.conv, self.bn, pooled)


class BasicBlock(nn.Module):
    """conv-BN-neuron-conv-BN, plus the shortcut of the incoming spikes, then a neuron."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, pooled: bool, neuron: Make, norm: Make = BatchNorm2d
    ) -> None:
        super().__init__()
        self.conv1 = Conv2d(in_channels, channels, 3, stride)
        self.bn1 = norm(channels)
        self.neuron1 = neuron(channels)
        self.conv2 = Conv2d(channels, channels, 3)
        self.bn2 = norm(channels, branches=2)
        changes = stride != 1 or in_channels != channels
        self.shortcut = Shortcut(in_channels, channels, stride, pooled, norm) if changes else None
        if self.shortcut is None and hasattr(self.bn2, "beside_identity"):
            self.bn2.beside_identity()
        self.neuron2 = neuron(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, B, C, H, W] to spikes [T, B, C', H', W']."""
        y = normalise_and_fire(self.bn1, self.neuron1, self.conv1(x))
        return normalise_and_fire(
            self.bn2, self.neuron2, self.conv2(y), x if self.shortcut is None else self.shortcut(x)
        )

    def fold(self, folder, name: str, source: str) -> str:
        """What :meth:`forward` is once folded."""
        spikes = folder.spikes(f"{name}.1", self.neuron1, folder.conv(f"{name}.conv1", self.conv1, self.bn1, source))
        current = folder.conv(f"{name}.conv2", self.conv2, self.bn2, spikes)
        shortcut = source if self.shortcut is None else folder.unit(f"{name}.shortcut", self.shortcut, source)
        return folder.spikes(f"{name}.2", self.neuron2, folder.add(f"{name}.add", current, shortcut))

    def neurons(self, name: str) -> dict[str, nn.Module]:
        """The two neuron layers, in the order of computation."""
        return {f"{name}.1": self.neuron1, f"{name}.2": self.neuron2}
