"""One spiking ResNet; the paper's architectures are specifications of it.

The basic block is conv-BN-neuron-conv-BN, plus the shortcut of the incoming spikes, then a neuron: the sum feeds the
membrane. A layer's spikes so enter the next convolution and, on an identity shortcut, the membrane two convolutions on.
"""

import math
import re
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ternary_spike.arguments import whole
from ternary_spike.known_modules import has_forward_of
from ternary_spike.layers import AvgPool2d, BatchNorm2d, Conv2d
from ternary_spike.network_input import check_input
from ternary_spike.neurons import make_neuron
from ternary_spike.normalised_neuron import normalise_and_fire, normalise_and_fire_static


@dataclass(frozen=True)
class Stage:
    """A run of basic blocks: channels relative to the network's width, number of blocks, stride of the first one."""

    widening: int
    blocks: int
    stride: int


@dataclass(frozen=True)
class Architecture:
    """A spiking ResNet as data.

    Attributes:
        width: channels of the stem and the unit of the stages' channels.
        stem: (kernel, stride) of each convolution in the stem.
        stem_pool: (kernel, stride, padding) of the average pooling behind the stem, or None.
        stages: the stages of basic blocks.
        shortcut: where the shape changes, "strided" (1x1 strided convolution, BN) or "pooled" (average pooling, 1x1
            convolution, BN).
    """

    width: int
    stem: tuple[tuple[int, int], ...]
    stem_pool: tuple[int, int, int] | None
    stages: tuple[Stage, ...]
    shortcut: str


def _imagenet(blocks: tuple[int, ...]) -> Architecture:
    stages = tuple(Stage(2**i, n, 1 if i == 0 else 2) for i, n in enumerate(blocks))
    return Architecture(64, ((7, 2),), (3, 2, 1), stages, "strided")


ARCHITECTURES: dict[str, Architecture] = {
    # the paper's: ResNet20 and ResNet19 for CIFAR and CIFAR10-DVS, ResNet18 and ResNet34 for ImageNet
    "resnet18": _imagenet((2, 2, 2, 2)),
    "resnet19": Architecture(128, ((3, 1),), None, (Stage(1, 3, 1), Stage(2, 3, 2), Stage(4, 2, 2)), "strided"),
    "resnet20": Architecture(
        64, ((3, 1),) * 3, (2, 2, 0), tuple(Stage(2**i, 2, 1 if i == 0 else 2) for i in range(4)), "pooled"
    ),
    "resnet34": _imagenet((3, 4, 6, 3)),
    # ours, for demonstrations on small images
    "resnet6": Architecture(16, ((3, 1),), None, (Stage(1, 1, 1), Stage(2, 1, 2)), "strided"),
    "resnet8": Architecture(16, ((3, 1),), None, (Stage(1, 1, 1), Stage(2, 1, 2), Stage(4, 1, 2)), "strided"),
}


def parse_architecture(name: str) -> Architecture:
    """The specification behind a name such as ``resnet20`` or, with another width, ``resnet20w16``.

    Raises:
        ValueError: if the name is unknown or the width is none from 1 to 9999.
    """
    match = re.fullmatch(r"(resnet[0-9]+)(?:w([1-9][0-9]{0,3}))?", name)
    if not match or match[1] not in ARCHITECTURES:
        raise ValueError(
            f"unknown architecture {name!r}: choose one of {', '.join(ARCHITECTURES)}, "
            "with w and a width up to 9999 behind it for another width than its own (resnet20w16)"
        )
    architecture = ARCHITECTURES[match[1]]
    return replace(architecture, width=int(match[2])) if match[2] else architecture


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


class SpikingResNet(nn.Module):
    """A spiking ResNet whose class scores are the mean over time of a classifier on globally pooled spikes.

    Args:
        architecture: a name for :func:`parse_architecture`.
        neuron: a name for :func:`ternary_spike.neurons.make_neuron`.
        timesteps: T >= 1.
        num_classes: number of class scores.
        in_channels: channels of the image or of an event frame.
        image_size: side of the (square) image in pixels; checked against what the network can take.
        neuron_options: keyword arguments of every neuron layer.
        stem_batch_norm: "per_step" (the authors' Ternary-Spike repository: every timestep of the stem has statistics of
            its own) or "over_time" (their repositories of other papers).

    Raises:
        ValueError: if a name is unknown, a size is no whole number from 1, or the image is too small for
            the network's strides.
    """

    def __init__(
        self,
        architecture: str,
        neuron: str,
        timesteps: int,
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int = 32,
        neuron_options: dict | None = None,
        stem_batch_norm: str = "per_step",
    ) -> None:
        super().__init__()
        spec = parse_architecture(architecture)
        require_stem_batch_norm(stem_batch_norm)
        self.timesteps = whole("timesteps", timesteps)
        num_classes = whole("num_classes", num_classes)
        self.in_channels = in_channels = whole("in_channels", in_channels)
        self.image_size = whole("image_size", image_size)
        require_image_size(architecture, image_size)

        def make(channels: int) -> nn.Module:
            return make_neuron(neuron, channels=channels, **(neuron_options or {}))

        self.stem = nn.ModuleList()
        channels = in_channels
        for kernel, stride in spec.stem:
            self.stem.append(ConvUnit(channels, spec.width, kernel, stride, stem_batch_norm == "per_step", make))
            channels = spec.width
        self.stem_pool = AvgPool2d(*spec.stem_pool) if spec.stem_pool else None
        self.stages = nn.ModuleList()
        for stage in spec.stages:
            blocks = nn.ModuleList()
            for i in range(stage.blocks):
                out = spec.width * stage.widening
                blocks.append(BasicBlock(channels, out, stage.stride if i == 0 else 1, spec.shortcut == "pooled", make))
                channels = out
            self.stages.append(blocks)
        self.classifier = nn.Linear(channels, num_classes)
        self._initialise()

    def _initialise(self) -> None:
        """The authors' initialisation: conv N(0, 2 / (k k c_out)), linear N(0, 1 / fan_in^2), BN weight 1, bias 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 1.0 / module.in_features)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of a batch.

        Args:
            x: static images [B, C, H, W], shown at each of the T timesteps, or event frames [B, T, C, H, W].

        Returns:
            Class scores [B, num_classes], averaged over time.

        Raises:
            ValueError: if the input's channels or timesteps are not the network's, or it is not floating point.
        """
        check_input(x, self.in_channels, self.timesteps)
        first = self.stem[0]
        if x.dim() == 5:
            spikes = first(x.transpose(0, 1))
        elif has_forward_of(first, ConvUnit):
            spikes = first(x, timesteps=self.timesteps)
        else:
            spikes = first(x.expand(self.timesteps, *x.shape))
        for unit in self.stem[1:]:
            spikes = unit(spikes)
        if self.stem_pool is not None:
            spikes = self.stem_pool(spikes)
        for stage in self.stages:
            for block in stage:
                spikes = block(spikes)
        # the classifier is linear: scoring each timestep and averaging is scoring the average
        return self.classifier(spikes.mean(dim=(0, 3, 4)))


def require_image_size(name: str, image_size: int) -> None:
    """Raise ValueError if an architecture is unknown or leaves nothing of square images of so many pixels a side."""
    spec = parse_architecture(name)
    side = image_size
    for kernel, stride in spec.stem:
        side = (side + 2 * (kernel // 2) - kernel) // stride + 1
    if spec.stem_pool:
        kernel, stride, padding = spec.stem_pool
        side = (side + 2 * padding - kernel) // stride + 1
    if image_size < 1 or side < 1:
        raise ValueError(f"{name} cannot take images of {image_size}x{image_size} pixels: nothing is left of them")


def require_stem_batch_norm(choice: str) -> None:
    """Raise ValueError if there is no such choice of what the stem's batch norm takes its statistics of."""
    if choice not in ("per_step", "over_time"):
        raise ValueError(f"stem_batch_norm must be 'per_step' or 'over_time', not {choice!r}")


def named_neurons(model: nn.Module) -> dict[str, nn.Module]:
    """Neuron layers of a spiking ResNet in the order of computation, by the names used in every result file."""
    found = {f"stem{i + 1}": unit.neuron for i, unit in enumerate(model.stem)}
    for s, stage in enumerate(model.stages):
        for b, block in enumerate(stage):
            found[f"stage{s + 1}.block{b + 1}.1"] = block.neuron1
            found[f"stage{s + 1}.block{b + 1}.2"] = block.neuron2
    return found


@torch.no_grad()
def decayed_and_free_parameters(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters with weight decay (conv and linear weights) and without (biases, BN, amplitudes), as the authors."""
    decayed = [m.weight for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    ids = {id(p) for p in decayed}
    return decayed, [p for p in model.parameters() if id(p) not in ids]
