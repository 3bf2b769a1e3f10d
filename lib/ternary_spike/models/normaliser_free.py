"""A normaliser-free spiking ResNet (NF-ResNet): standardised weights, and shortcuts that carry sums of currents.

A. Brock et al., "Characterizing Signal Propagation to Close the Performance Gap in Unnormalized ResNets", ICLR 2021;
for spiking networks M. Xiao et al., "Online Training Through Time for Spiking Neural Networks", NeurIPS 2022, and its
code (``models/spiking_resnet_imagenet.py``).
"""

import math
from collections.abc import Iterator
from functools import partial

from torch import Tensor, nn, zeros

from ternary_spike.membrane.arguments import whole
from ternary_spike.models.base import SpikingNetwork
from ternary_spike.models.known_modules import NotFoldable
from ternary_spike.models.layers import AvgPool2d, Conv2d
from ternary_spike.models.normalisations import BATCH_NORM, require_none_wanted
from ternary_spike.models.registry import parse_architecture, require_image_size, side_behind
from ternary_spike.models.residual_variants import with_bias
from ternary_spike.models.weight_standardisation import SPIKE_SCALE, standardise
from ternary_spike.neurons.registry import make_neuron

BRANCH = 0.2  # what a block's branch is multiplied by, beside its trained factor


class NormaliserFreeBlock(nn.Module):
    """Neurons, convolution, neurons, convolution; added to what the block was given.

        s[t] = N1(x[t] / beta)
        y[t] = x[t] + 0.2 skip conv2(2.74 N2(conv1(2.74 s[t])))

    Where the shape changes, a 1x1 convolution of 2.74 s[t] stands for x[t] in the sum. The factor 2.74 of spikes is one
    of the weights here, which gives the same currents.

    Args:
        in_channels, channels, stride: of the first convolution.
        beta: expected standard deviation of what the block is given.
        neuron1, neuron2: N1 of ``in_channels`` and N2 of ``channels``.

    Attributes:
        skip: a trained scalar, 0 at the start.
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int, beta: float, neuron1: nn.Module, neuron2: nn.Module
    ) -> None:
        super().__init__()
        self.beta = beta
        self.neuron1, self.neuron2 = neuron1, neuron2
        self.conv1 = with_bias(Conv2d(in_channels, channels, 3, stride))
        self.conv2 = with_bias(Conv2d(channels, channels, 3))
        changes = stride != 1 or in_channels != channels
        self.shortcut = with_bias(Conv2d(in_channels, channels, 1, stride)) if changes else None
        self.skip = nn.Parameter(zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Sums of currents [T, B, C, H, W] to such sums [T, B, C', H', W'], in the same dtype."""
        spikes = self.neuron1(x / self.beta)
        branch = self.conv2(self.neuron2(self.conv1(spikes).to(x.dtype))).to(x.dtype)
        shortcut = x if self.shortcut is None else self.shortcut(spikes).to(x.dtype)
        return shortcut + BRANCH * self.skip * branch

    def neurons(self, name: str) -> dict[str, nn.Module]:
        """The two neuron layers, in the order of computation."""
        return {f"{name}.1": self.neuron1, f"{name}.2": self.neuron2}


class NormaliserFreeResNet(SpikingNetwork):
    """A ResNet of :class:`NormaliserFreeBlock`: 7x7 convolution, average pooling, four stages, a linear classifier.

    There are no neurons behind the stem and the last block: the classifier is given a mean of sums of currents.

    Args:
        architecture: a name for :func:`ternary_spike.models.registry.parse_architecture`.
        neuron: a name for :func:`ternary_spike.neurons.registry.make_neuron`.
        timesteps: T >= 1.
        num_classes: number of class scores.
        in_channels: channels of the image or of an event frame.
        image_size: side of the (square) image in pixels.
        neuron_options: keyword arguments of every neuron layer.
        stem_batch_norm: a choice that the paper's ResNets have; it changes nothing here.
        normalisation, normalisation_options: there are none; other than the defaults' names are refused.

    Raises:
        ValueError: if a name is unknown, a size is no whole number from 1, the width is 1, or there is a normalisation.
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
        normalisation: str = BATCH_NORM,
        normalisation_options: dict | None = None,
    ) -> None:
        super().__init__(timesteps, in_channels, image_size)
        require_none_wanted(normalisation, architecture)
        spec = parse_architecture(architecture)
        if spec.width < 2:
            raise ValueError(
                f"{architecture} has 1x1 convolutions of a single channel, whose weight cannot be standardised; choose "
                "a width of at least 2"
            )
        num_classes = whole("num_classes", num_classes)
        require_image_size(architecture, self.image_size)
        make = partial(make_neuron, neuron, timesteps=self.timesteps, **(neuron_options or {}))
        ((kernel, stride),) = spec.stem
        self.stem = nn.Sequential(
            with_bias(Conv2d(self.in_channels, spec.width, kernel, stride)), AvgPool2d(*spec.stem_pool)
        )
        channels, side = spec.width, side_behind(self.image_size, kernel, stride)
        side = side_behind(side, *spec.stem_pool)
        self.names, self.blocks = [], nn.ModuleList()
        for name, channels_behind, stride, beta in plan(spec.blocks, spec.width):
            side_in_front, side = side, side_behind(side, 3, stride)
            neurons = (make(channels, side=side_in_front), make(channels_behind, side=side))
            self.blocks.append(NormaliserFreeBlock(channels, channels_behind, stride, beta, *neurons))
            self.names.append(name)
            channels = channels_behind
        self.classifier = nn.Linear(channels, num_classes)
        self.initialise()

    def initialise(self) -> None:
        """Convolutions N(0, 2 / (k k c_out)), from now on standardised; the classifier's weights 0."""
        for module in list(self.modules()):
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                standardise(module, 1.0 if module is self.stem[0] else SPIKE_SCALE)
        nn.init.zeros_(self.classifier.weight)

    def units(self) -> list[tuple[str, nn.Module]]:
        """Stem and blocks; see :meth:`SpikingNetwork.units`."""
        return [("stem", self.stem), *zip(self.names, self.blocks, strict=True)]

    def features(self, x: Tensor) -> Tensor:
        """The last block's sums of currents [T, B, C, H, W] on an input as :meth:`forward` takes it."""
        # the stem has no state: an image that stays the same needs it once
        sums = self.stem(x.transpose(0, 1) if x.dim() == 5 else x.unsqueeze(0)).to(self.classifier.weight.dtype)
        sums = sums.expand(self.timesteps, *sums.shape[1:])
        for block in self.blocks:
            sums = block(sums)
        return sums

    def fold(self, folder, name: str, source: str) -> str:
        """A folded network sends spikes from layer to layer."""
        raise NotFoldable(f"{self.names[0]} passes on a sum of currents, no spikes, which a folded network does not")


def plan(blocks: tuple[int, ...], width: int) -> Iterator[tuple[str, int, int, float]]:
    """Name, channels, stride and beta of each block.

    beta is the square root of the variance that is expected of a block's input. The variance is 1 behind the stem, and
    each block adds 0.04, the square of 0.2; a block that changes the shape adds it to 1.

    Args:
        blocks: how many each stage has; a stage has twice the channels of the one before, and half the places a side.
        width: channels of the first stage.
    """
    variance = 1.0
    for stage, count in enumerate(blocks):
        for block in range(count):
            changes = stage > 0 and block == 0
            yield f"stage{stage + 1}.block{block + 1}", width * 2**stage, 2 if changes else 1, math.sqrt(variance)
            variance = (1.0 if changes else variance) + BRANCH**2
