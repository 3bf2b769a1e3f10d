"""The architectures by name. Importing it needs no torch; making a network does."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ternary_spike.configuration.register import ELSEWHERE, Part, Registry
from ternary_spike.models.published import PUBLISHED

if TYPE_CHECKING:
    from ternary_spike.models.base import SpikingNetwork


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


class Architectures(Registry):
    """The architectures by name, those of data with any width: ``resnet20w16`` is ``resnet20`` with 16 channels."""

    def __getitem__(self, name: str) -> Part:
        """The part of a name, its ``data`` with the width that the name says; see :class:`Registry`."""
        known, width = re.fullmatch(r"(.*?)(?:w([1-9][0-9]{0,3}))?", name, re.DOTALL).groups()  # type: ignore[union-attr]
        if ELSEWHERE.fullmatch(name) or name in self:
            return super().__getitem__(name)
        if known not in self or self._parts[known].data is None:
            raise ValueError(
                f"unknown architecture {name!r}: choose one of {', '.join(self)}, with w and a width up to 9999 behind "
                "it for another width than its own (resnet20w16), or module:Name of your own"
            )
        part = self._parts[known]
        return replace(part, data=replace(part.data, width=int(width)))


def _imagenet(blocks: tuple[int, ...]) -> Architecture:
    stages = tuple(Stage(2**i, n, 1 if i == 0 else 2) for i, n in enumerate(blocks))
    return Architecture(64, ((7, 2),), (3, 2, 1), stages, "strided")


def _resnet(meaning: str, data: Architecture, source: str = "") -> Part:
    return Part("ternary_spike.models.resnet:SpikingResNet", meaning, source=source, data=data)


HE, ZHENG = "He et al., CVPR 2016", "Zheng et al., AAAI 2021"
ARCHITECTURES = Architectures(
    "architecture",
    {
        "resnet18": _resnet("the paper's for ImageNet", _imagenet((2, 2, 2, 2)), HE),
        "resnet19": _resnet(
            "the paper's for CIFAR and CIFAR10-DVS: three stages, width 128",
            Architecture(128, ((3, 1),), None, (Stage(1, 3, 1), Stage(2, 3, 2), Stage(4, 2, 2)), "strided"),
            ZHENG,
        ),
        "resnet20": _resnet(
            "the paper's for CIFAR and CIFAR10-DVS: a stem of three convolutions, four stages, width 64",
            Architecture(
                64, ((3, 1),) * 3, (2, 2, 0), tuple(Stage(2**i, 2, 1 if i == 0 else 2) for i in range(4)), "pooled"
            ),
            HE,
        ),
        "resnet18_cifar": _resnet(
            "the usual one for CIFAR: a stem of one convolution, four stages, width 64",
            Architecture(64, ((3, 1),), None, tuple(Stage(2**i, 2, 1 if i == 0 else 2) for i in range(4)), "strided"),
            HE,
        ),
        "resnet34": _resnet("the paper's for ImageNet", _imagenet((3, 4, 6, 3)), HE),
        "resnet6": _resnet(
            "for demonstrations on small pictures: two stages, width 16",
            Architecture(16, ((3, 1),), None, (Stage(1, 1, 1), Stage(2, 1, 2)), "strided"),
        ),
        "resnet8": _resnet(
            "for demonstrations on small pictures: three stages, width 16",
            Architecture(16, ((3, 1),), None, (Stage(1, 1, 1), Stage(2, 1, 2), Stage(4, 1, 2)), "strided"),
        ),
        **PUBLISHED,
    },
)


def parse_architecture(name: str) -> Architecture:
    """The specification behind a name such as ``resnet20`` or, with another width, ``resnet20w16``.

    Raises:
        ValueError: if the name is unknown, the width is none from 1 to 9999, or the network is not made from data.
    """
    data = ARCHITECTURES[name].data
    if data is None:
        raise ValueError(f"architecture {name!r} is not made from data")
    return data


def side_behind(side: int, kernel: int, stride: int, padding: int | None = None) -> int:
    """Side in pixels of what a convolution, whose padding is half its kernel, or a pooling makes of square pictures."""
    padding = kernel // 2 if padding is None else padding
    return (side + 2 * padding - kernel) // stride + 1


def require_image_size(name: str, image_size: int) -> None:
    """Raise ValueError if an architecture is unknown or leaves nothing of square images of so many pixels a side.

    Of one that is not made from data only its own code knows.
    """
    spec = ARCHITECTURES[name].data
    if spec is None:
        return
    side = image_size
    for kernel, stride in spec.stem:
        side = side_behind(side, kernel, stride)
    if spec.stem_pool:
        side = side_behind(side, *spec.stem_pool)
    if image_size < 1 or side < 1:
        raise ValueError(f"{name} cannot take images of {image_size}x{image_size} pixels: nothing is left of them")


def make_network(
    architecture: str,
    neuron: str,
    timesteps: int,
    *,
    neuron_options: Mapping[str, Any] | None = None,
    normalisation: str = "batch_norm",
    normalisation_options: Mapping[str, Any] | None = None,
    stem_batch_norm: str = "per_step",
    **sizes: int,
) -> "SpikingNetwork":
    """A network by the names of the run table.

    Args:
        architecture: one of :data:`ARCHITECTURES`, with a width if one likes (``resnet20w16``), or ``module:Class``.
        neuron, neuron_options: as for :func:`ternary_spike.neurons.registry.make_neuron`.
        timesteps: T >= 1.
        normalisation, normalisation_options: as for
            :func:`ternary_spike.models.normalisations.make_normalisation`.
        stem_batch_norm: of a ResNet, see :class:`ternary_spike.models.resnet.SpikingResNet`.
        sizes: ``num_classes``, ``in_channels``, ``image_size``.

    Raises:
        ValueError: if a name or an option is unknown, the code is no network, or a size does not fit.
    """
    from ternary_spike.models.base import SpikingNetwork
    from ternary_spike.models.normalisations import make_normalisation
    from ternary_spike.neurons.registry import make_neuron

    part = ARCHITECTURES[architecture]
    if part.data is not None:
        options = {"neuron_options": neuron_options, "stem_batch_norm": stem_batch_norm}
        options |= {"normalisation": normalisation, "normalisation_options": normalisation_options}
        return part.load()(architecture, neuron, timesteps, **options, **sizes)
    network = part.load()(
        partial(make_neuron, neuron, timesteps=timesteps, **(neuron_options or {})),
        partial(make_normalisation, normalisation, **(normalisation_options or {})),
        timesteps=timesteps,
        **sizes,
    )
    if not isinstance(network, SpikingNetwork):
        raise ValueError(f"architecture {architecture!r} is no subclass of ternary_spike.models.base:SpikingNetwork")
    return network
