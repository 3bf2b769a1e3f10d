"""One spiking ResNet; the paper's architectures are specifications of it.

The basic block is conv-BN-neuron-conv-BN, plus the shortcut of the incoming spikes, then a neuron: the sum feeds the
membrane. A layer's spikes so enter the next convolution and, on an identity shortcut, the membrane two convolutions on.
"""

import math
from collections.abc import Iterator

from torch import Tensor, nn

from ternary_spike.membrane.arguments import whole
from ternary_spike.models.base import SpikingNetwork
from ternary_spike.models.blocks import BasicBlock, ConvUnit
from ternary_spike.models.known_modules import has_forward_of
from ternary_spike.models.layers import AvgPool2d
from ternary_spike.models.registry import parse_architecture, require_image_size
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
        spec = parse_architecture(architecture)
        require_stem_batch_norm(stem_batch_norm)
        super().__init__(timesteps, in_channels, image_size)
        num_classes = whole("num_classes", num_classes)
        require_image_size(architecture, image_size)

        def make(channels: int) -> nn.Module:
            return make_neuron(neuron, channels, self.timesteps, **(neuron_options or {}))

        self.stem = nn.ModuleList()
        channels = self.in_channels
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

    def features(self, x: Tensor) -> Tensor:
        """The last stage's spikes [T, B, C, H, W]."""
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
        return spikes

    def units(self) -> Iterator[tuple[str, nn.Module]]:
        """What computes the last spikes, in the order of computation, by the names used in every result file."""
        for i, unit in enumerate(self.stem):
            yield f"stem{i + 1}", unit
        if self.stem_pool is not None:
            yield "stem.pool", self.stem_pool
        for s, stage in enumerate(self.stages):
            for b, block in enumerate(stage):
                yield f"stage{s + 1}.block{b + 1}", block

    def fold(self, folder, name: str, source: str) -> str:
        """What :meth:`forward` is once folded; see :mod:`ternary_spike.models.blocks`."""
        for where, unit in self.units():
            source = folder.unit(where, unit, source)
        return folder.classifier("classifier", self.classifier, source)


def require_stem_batch_norm(choice: str) -> None:
    """Raise ValueError if there is no such choice of what the stem's batch norm takes its statistics of."""
    if choice not in ("per_step", "over_time"):
        raise ValueError(f"stem_batch_norm must be 'per_step' or 'over_time', not {choice!r}")
