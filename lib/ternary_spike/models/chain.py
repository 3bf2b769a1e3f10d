"""Networks that are lists of layers (:mod:`ternary_spike.models.published`): VGGs, CIFARNets, PLIFNet and others."""

import itertools
import math
from functools import partial

from torch import Tensor, nn

from ternary_spike.membrane.arguments import whole
from ternary_spike.models import residual_variants as variants
from ternary_spike.models.base import SpikingNetwork
from ternary_spike.models.blocks import ConvUnit
from ternary_spike.models.chain_units import Dropout, FullyConnectedUnit, MaxPool2d, Stretch, Votes
from ternary_spike.models.element_wise import ElementWiseBlock
from ternary_spike.models.layer_list import Layer, layers, pool_padding
from ternary_spike.models.layers import AvgPool2d
from ternary_spike.models.network_input import check_input
from ternary_spike.models.normalisations import BATCH_NORM, make_normalisation, require_none_wanted
from ternary_spike.models.registry import parse_architecture, require_image_size
from ternary_spike.models.weight_standardisation import SPIKE_SCALE, scale, standardise
from ternary_spike.neurons.registry import make_neuron

#: layers behind which numbers are no larger than in front of them
SPIKES_PASS = ("average_pool", "max_pool", "average", "stretch", "dropout")


class ChainNetwork(SpikingNetwork):
    """A network that is a list of layers, one behind the other.

    Args:
        architecture: a name for :func:`ternary_spike.models.registry.parse_architecture`.
        neuron: a name for :func:`ternary_spike.neurons.registry.make_neuron`.
        timesteps: T >= 1.
        num_classes: number of class scores.
        in_channels: channels of the image or of an event frame.
        image_size: side of the (square) image in pixels; checked against what the network can take.
        neuron_options: keyword arguments of every neuron layer.
        stem_batch_norm: a choice that the paper's ResNets have; it changes nothing here.
        normalisation: a name for :func:`ternary_spike.models.normalisations.make_normalisation`.
        normalisation_options: keyword arguments of every normalisation layer.

    Attributes:
        emits: the largest number that a layer sends to the next: 1, a spike, or more where spikes are added up.

    Raises:
        ValueError: if a name is unknown, a size is no whole number from 1, the image is too small, a normalisation is
            wanted in a network that has none, or a network that joins spikes by logic has neurons of other spikes.
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
        spec = parse_architecture(architecture)
        if spec.norm in ("none", "weights"):
            require_none_wanted(normalisation, architecture)
        num_classes = whole("num_classes", num_classes)
        require_image_size(architecture, self.image_size)
        norm = partial(make_normalisation, normalisation, per_step=spec.per_step, **(normalisation_options or {}))
        made = _Layers(
            spec,
            partial(make_neuron, neuron, timesteps=self.timesteps, **(neuron_options or {})),
            nn.Identity if spec.norm in ("none", "weights") else norm,
            (self.in_channels, self.image_size, num_classes),
        )
        # a module's name may hold no dot, those of result files do
        self.layers = nn.ModuleDict({name.replace(".", "_"): unit for name, unit in made.units.items()})
        self.names = list(made.units)
        self.emits = max(getattr(unit, "largest", 1) for unit in made.units.values())
        self.classifier = made.classifier or nn.Linear(made.channels * made.side**2, num_classes, spec.head_bias)
        self.initialise()
        if spec.norm == "weights":
            self._standardise()
        if spec.pool_gain != 1:
            self._scale_behind_pools(spec.pool_gain)

    def initialise(self) -> None:
        """Convolutions N(0, 2 / (k k c_out)) without biases; fully connected layers as torch has them."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))

    def _standardise(self) -> None:
        """Standardise the convolutions' weights; whatever is fed by spikes has them times a constant (OTTT's code)."""
        first_conv, *later_convs = [m for m in self.modules() if isinstance(m, nn.Conv2d)]
        standardise(first_conv)
        for conv in later_convs:
            standardise(conv, SPIKE_SCALE)
        nn.init.normal_(self.classifier.weight, 0.0, 0.01)
        nn.init.zeros_(self.classifier.bias)
        scale(self.classifier, SPIKE_SCALE)

    def _scale_behind_pools(self, gain: float) -> None:
        """Multiply the weights of what an average pooling feeds, in place of the averages."""
        units = [unit for unit in self.layers.values() if not isinstance(unit, Dropout)]
        for pool, unit in itertools.pairwise(units):
            if isinstance(pool, AvgPool2d):
                scale(unit.conv if isinstance(unit, ConvUnit) else unit.linear, gain)

    def units(self) -> list[tuple[str, nn.Module]]:
        """Layers and blocks; see :meth:`SpikingNetwork.units`."""
        return list(zip(self.names, self.layers.values(), strict=True))

    def forward(self, x: Tensor, each_timestep: bool = False) -> Tensor:
        """Class scores as :meth:`SpikingNetwork.forward`'s, of the spikes of every place rather than of their mean."""
        check_input(x, self.in_channels, self.timesteps)
        spikes = self.features(x).flatten(2)
        return self.classifier(spikes if each_timestep else spikes.mean(0))

    def fold(self, folder, name: str, source: str) -> str:
        """What :meth:`forward` is once folded: the base's, which a class with a forward of its own has to say."""
        return super().fold(folder, name, source)


class _Layers:
    """Makes the layers of a list one by one, and keeps what the next one is given.

    Args:
        spec: the network as data.
        neuron, norm: make a neuron layer and a normalisation of so many channels.
        sizes: channels and side of the pictures, number of classes.

    Attributes:
        units: by name, in the order of computation.
        channels, side: of the last one's output.
        neuron_of_side: ``neuron`` for pictures of the size that the layer being made puts out.
        classifier: of a list that ends with votes; None of others.
    """

    def __init__(self, spec, neuron, norm, sizes: tuple[int, int, int]) -> None:
        self.spec, self.neuron, self.norm = spec, neuron, norm
        self.channels, self.side, self.classes = sizes
        self.units: dict[str, nn.Module] = {}
        self.classifier: nn.Module | None = None
        self.stage = self.block = 0
        self.largest = 1  # the largest number that the next layer is given
        found = list(layers(spec.layers))
        self.published_width = found[0].channels
        for layer in found:
            self._add(layer)

    def _add(self, layer: Layer) -> None:
        side = layer.side_behind(self.side)
        self.neuron_of_side = partial(self.neuron, side=side)
        name, unit = getattr(self, f"_{layer.kind}")(layer)
        self.units[name] = unit
        if layer.kind not in SPIKES_PASS:
            self.largest = getattr(unit, "largest", 1)
        self.side = side

    def _numbered(self, word: str) -> str:
        """The next name of a kind: conv1, conv2, ..."""
        return f"{word}{1 + sum(name.startswith(word) for name in self.units)}"

    def _scaled(self, layer: Layer) -> int:
        """A layer's channels at the network's width."""
        return max(1, layer.channels * self.spec.width // self.published_width)

    def _conv(self, layer: Layer) -> tuple[str, nn.Module]:
        channels = self._scaled(layer)
        unit = ConvUnit(self.channels, channels, layer.kernel, layer.stride, self.neuron_of_side, self.norm)
        unit.conv.padding = (layer.padding, layer.padding)
        if self.spec.bias == "all":
            variants.with_bias(unit.conv)
        self.channels, self.block = channels, 0
        return self._numbered("conv"), unit

    def _basic_block(self, layer: Layer) -> tuple[str, nn.Module]:
        channels = self._scaled(layer)
        sizes = (self.channels, channels, layer.stride)
        unit = variants.BasicBlockWithDropout(*sizes, self.spec.block_dropout, self.neuron_of_side, self.norm)
        return self._in_stage(layer, channels), unit

    def _normalised_block(self, layer: Layer) -> tuple[str, nn.Module]:
        channels = self._scaled(layer)
        sizes = (self.channels, channels, layer.stride)
        unit = variants.BasicBlockWithNormalisedShortcut(*sizes, self.neuron_of_side, self.norm)
        return self._in_stage(layer, channels), unit

    def _pre_activation_block(self, layer: Layer) -> tuple[str, nn.Module]:
        channels = self._scaled(layer)
        unit = variants.PreActivationBlock(self.channels, channels, layer.stride, self.neuron_of_side, self.norm)
        return self._in_stage(layer, channels), unit

    def _neurons(self, _layer: Layer) -> tuple[str, nn.Module]:
        return self._numbered("neurons"), variants.Neurons(self.channels, self.neuron_of_side)

    def _element_wise_block(self, layer: Layer) -> tuple[str, nn.Module]:
        channels = self._scaled(layer)
        sizes = (self.channels, channels, layer.stride)
        unit = ElementWiseBlock(*sizes, self.spec.connect, self.largest, self.neuron_of_side, self.norm)
        return self._in_stage(layer, channels), unit

    def _in_stage(self, layer: Layer, channels: int) -> str:
        """A block's name; a stage begins behind a convolution and wherever the shape changes."""
        begins = self.block == 0 or layer.stride != 1 or channels != self.channels
        self.stage, self.block = (self.stage + 1, 1) if begins else (self.stage, self.block + 1)
        self.channels = channels
        return f"stage{self.stage}.block{self.block}"

    def _average_pool(self, layer: Layer) -> tuple[str, nn.Module]:
        return self._numbered("pool"), AvgPool2d(layer.channels, 2, pool_padding(layer.channels))

    def _max_pool(self, layer: Layer) -> tuple[str, nn.Module]:
        return self._numbered("pool"), MaxPool2d(layer.channels, 2, pool_padding(layer.channels))

    def _average(self, _layer: Layer) -> tuple[str, nn.Module]:
        return self._numbered("pool"), AvgPool2d(self.side, self.side)

    def _stretch(self, layer: Layer) -> tuple[str, nn.Module]:
        return self._numbered("pool"), Stretch(layer.channels)

    def _dropout(self, layer: Layer) -> tuple[str, nn.Module]:
        return self._numbered("dropout"), Dropout(layer.size)

    def _fully_connected(self, layer: Layer) -> tuple[str, nn.Module]:
        return self._numbered("fc"), self._fully_connected_unit(self._scaled(layer))

    def _votes(self, layer: Layer) -> tuple[str, nn.Module]:
        self.classifier = Votes(layer.channels, self.classes)
        return self._numbered("fc"), self._fully_connected_unit(layer.channels * self.classes)

    def _fully_connected_unit(self, features: int) -> nn.Module:
        norm = self.norm if self.spec.norm == "all" else nn.Identity
        bias = self.spec.bias != "none"
        unit = FullyConnectedUnit(self.channels, self.side, features, bias, self.neuron_of_side, norm)
        self.channels = features
        return unit
