"""The units that a spiking ResNet is made of."""

from torch import Tensor, nn

from ternary_spike.models.batch_norm import BatchNorm2d
from ternary_spike.models.layers import AvgPool2d, Conv2d
from ternary_spike.models.normalise_and_fire import normalise_and_fire, normalise_and_fire_static


class ConvUnit(nn.Module):
    """conv-BN-neuron, the stem's unit."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int, per_step: bool, neuron) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, channels, kernel, stride)
        self.bn = BatchNorm2d(channels, per_step)
        self.neuron = neuron(channels)

    def forward(self, x: Tensor, timesteps: int | None = None) -> Tensor:
        """[T, B, C, H, W] to spikes [T, B, C', H', W'].

        With ``timesteps`` the input is an image [B, C, H, W], the same at each of them (the encoder layer).
        """
        if timesteps is None:
            return normalise_and_fire(self.bn, self.neuron, self.conv(x))
        return normalise_and_fire_static(self.bn, self.neuron, self.conv(x), timesteps)


class Shortcut(nn.Module):
    """The projection where a block changes the shape: [T, B, C, H, W] to [T, B, C', H', W']."""

    def __init__(self, in_channels: int, channels: int, stride: int, pooled: bool) -> None:
        super().__init__()
        pooled = pooled and stride > 1
        self.pool = AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False) if pooled else None
        self.conv = Conv2d(in_channels, channels, 1, 1 if pooled else stride)
        self.bn = BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x if self.pool is None else self.pool(x)))


class BasicBlock(nn.Module):
    """conv-BN-neuron-conv-BN, plus the shortcut of the incoming spikes, then a neuron."""

    def __init__(self, in_channels: int, channels: int, stride: int, pooled: bool, neuron) -> None:
        super().__init__()
        self.conv1 = Conv2d(in_channels, channels, 3, stride)
        self.bn1 = BatchNorm2d(channels)
        self.neuron1 = neuron(channels)
        self.conv2 = Conv2d(channels, channels, 3)
        self.bn2 = BatchNorm2d(channels)
        changes = stride != 1 or in_channels != channels
        self.shortcut = Shortcut(in_channels, channels, stride, pooled) if changes else None
        self.neuron2 = neuron(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, B, C, H, W] to spikes [T, B, C', H', W']."""
        y = normalise_and_fire(self.bn1, self.neuron1, self.conv1(x))
        return normalise_and_fire(
            self.bn2, self.neuron2, self.conv2(y), x if self.shortcut is None else self.shortcut(x)
        )
