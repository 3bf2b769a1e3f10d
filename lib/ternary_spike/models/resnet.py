"""One spiking ResNet; the paper's architectures are specifications of it.

The basic block is conv-BN-neuron-conv-BN, plus the shortcut of the incoming spikes, then a neuron: the sum feeds the
membrane. A layer's spikes so enter the next convolution and, on an identity shortcut, the membrane two convolutions on.
"""

from functools import partial

from torch import nn

from ternary_spike.membrane.arguments import whole
from ternary_spike.models.base import SpikingNetwork
from ternary_spike.models.blocks import BasicBlock, ConvUnit
from ternary_spike.models.layers import AvgPool2d
from ternary_spike.models.normalisations import BATCH_NORM, make_normalisation
from ternary_spike.models.registry import parse_architecture, require_image_size, side_behind
from ternary_spike.neurons.registry import make_neuron


class SpikingResNet(SpikingNetwork):
    """A spiking ResNet.

    Args:
        architecture: a name for :func:`parse_architecture`.
        neuron: a name for :func:`ternary_spike.neurons.registry.make_neuron`.
        timesteps: T >= 1.
        num_classes: number of class scores.
        in_channels: channels of the image or of an event frame.
        image_size: side of the (square) image in pixels; checked against what the network can take.
        neuron_options: keyword arguments of every neuron layer.
        stem_batch_norm: "per_step" (the authors' Ternary-Spike repository: every timestep of the stem has statistics of
            its own) or "over_time" (their repositories of other papers).
        normalisation: a name for :func:`ternary_spike.models.normalisations.make_normalisation`.
        normalisation_options: keyword arguments of every normalisation layer.

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
        normalisation: str = BATCH_NORM,
        normalisation_options: dict | None = None,
    ) -> None:
        spec = parse_architecture(architecture)
        require_stem_batch_norm(stem_batch_norm)
        super().__init__(timesteps, in_channels, image_size)
        num_classes = whole("num_classes", num_classes)
        require_image_size(architecture, image_size)

        make = partial(make_neuron, neuron, timesteps=self.timesteps, **(neuron_options or {}))
        norm = partial(make_normalisation, normalisation, **(normalisation_options or {}))
        norm_of_stem = partial(norm, per_step=stem_batch_norm == "per_step")
        self.stem = nn.ModuleList()
        channels, side = self.in_channels, self.image_size
        for kernel, stride in spec.stem:
            side = side_behind(side, kernel, stride)
            here = partial(make, side=side)
            self.stem.append(ConvUnit(channels, spec.width, kernel, stride, here, norm_of_stem))
            channels = spec.width
        self.stem_pool = AvgPool2d(*spec.stem_pool) if spec.stem_pool else None
        side = side_behind(side, *spec.stem_pool) if spec.stem_pool else side
        self.stages = nn.ModuleList()
        for stage in spec.stages:
            blocks = nn.ModuleList()
            for i in range(stage.blocks):
                out = spec.width * stage.widening
                stride = stage.stride if i == 0 else 1
                side = side_behind(side, 3, stride)
                here = partial(make, side=side)
                blocks.append(BasicBlock(channels, out, stride, spec.shortcut == "pooled", here, norm))
                channels = out
            self.stages.append(blocks)
        self.classifier = nn.Linear(channels, num_classes)
        self.initialise()

    def units(self) -> list[tuple[str, nn.Module]]:
        """Stem, pooling and blocks; see :meth:`SpikingNetwork.units`."""
        found = [(f"stem{i + 1}", unit) for i, unit in enumerate(self.stem)]
        if self.stem_pool is not None:
            found.append(("stem.pool", self.stem_pool))
        for s, stage in enumerate(self.stages):
            found += [(f"stage{s + 1}.block{b + 1}", block) for b, block in enumerate(stage)]  # type: ignore
        return found


def require_stem_batch_norm(choice: str) -> None:
    """Raise ValueError if there is no such choice of what the stem's batch norm takes its statistics of."""
    if choice not in ("per_step", "over_time"):
        raise ValueError(f"stem_batch_norm must be 'per_step' or 'over_time', not {choice!r}")
