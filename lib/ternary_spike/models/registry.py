"""The architectures by name."""

import re
from dataclasses import dataclass, replace


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
