"""Reading the lists of layers of :mod:`ternary_spike.models.published`, and what they leave of a picture."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count

#: by the letter in front of a word: what the layer is, and the number where none is written
KINDS = {
    "": ("conv", ""), "R": ("basic_block", ""), "E": ("element_wise_block", ""), "A": ("average_pool", "2"),
    "M": ("max_pool", "2"), "G": ("average", "1"), "U": ("stretch", ""), "D": ("dropout", ""),
    "F": ("fully_connected", ""), "V": ("votes", ""), "I": ("normalised_block", ""), "P": ("pre_activation_block", ""),
    "N": ("neurons", "1"),
}  # fmt: skip
_WORD = re.compile(r"([A-Z]?)([0-9]+(?:\.[0-9]+)?)?(?:k([0-9]+))?(?:s([0-9]+))?(?:p([0-9]+))?(?:x([0-9]+))?")
_BLOCKS = ("basic_block", "element_wise_block", "normalised_block", "pre_activation_block")
_POOLS = ("average_pool", "max_pool")


@dataclass(frozen=True)
class Layer:
    """A layer or a block.

    Attributes:
        kind: one of :data:`KINDS`.
        size: its channels or neurons, a pooling's window, the places that are left, or the share that is dropped.
        kernel, stride, padding: of a convolution; a block's first one, which is 3x3, has this stride.
    """

    kind: str
    size: float
    kernel: int = 3
    stride: int = 1
    padding: int = 1

    @property
    def channels(self) -> int:
        """Its size as a whole number."""
        return int(self.size)

    def side_behind(self, side: int) -> int:
        """Side in pixels of what it makes of square pictures of so many pixels a side; 0 if nothing is left."""
        if self.kind == "conv" or self.kind in _BLOCKS:
            return max(0, (side + 2 * self.padding - self.kernel) // self.stride + 1)
        if self.kind in _POOLS:
            return max(0, (side + 2 * pool_padding(self.channels) - self.channels) // 2 + 1)
        if self.kind in ("average", "fully_connected", "votes"):
            return 1
        return self.channels if self.kind == "stretch" else side


def pool_padding(window: int) -> int:
    """Padding of a pooling: none for 2x2 places, 1 for 3x3."""
    return (window - 1) // 2


def layers(words: str) -> Iterator[Layer]:
    """The layers of a list, in the order of computation.

    Raises:
        ValueError: if a word is none of a list.
    """
    for word in words.split():
        found = _WORD.fullmatch(word)
        kind, number = KINDS.get(found[1], (None, "")) if found else (None, "")
        if kind is None or not (found[2] or number):
            raise ValueError(f"{word!r} is no layer; see ternary_spike/models/published.py for what there is")
        kernel = int(found[3] or 3)
        layer = Layer(kind, float(found[2] or number), kernel, int(found[4] or 1), int(found[5] or kernel // 2))
        yield from [layer] * int(found[6] or 1)


@cache
def smallest_image(words: str) -> int:
    """The smallest side in pixels of which every layer of a list leaves something."""
    return next(side for side in count(1) if _fits(words, side))


def _fits(words: str, side: int) -> bool:
    for layer in layers(words):
        side = layer.side_behind(side)
        if side < 1:
            return False
    return True
