"""AutoAugment's CIFAR-10 policy (Cubuk et al., CVPR 2019) on a whole batch at once.

The policy is that of the authors' CIFAR script (``CIFAR10Policy`` of MPBN/main_train.py), which calls Pillow on one
picture at a time. Each of its operations is reproduced bit for bit, on any device: rotation in Pillow's 16.16 fixed
point, everything else in integers, or in floating point with the same roundings. torchvision's policy of the same name
differs in a probability, in the shears' interpolation, in the sense of rotations, in the lengths of translations and in
the roundings of some magnitudes.

A *branch* of the policy is a pair of actions that one draw leads to: a sub-policy, which of its two operations
happen, and their signs. Operations fall into four families that each need one pass over the pictures they concern:
geometry (look up another pixel), shear (interpolate between four pixels of a column), tone (look up the pixel's value
in a table of 256, possibly made from the picture's histogram), and blending with a degenerate picture (grey or
smoothed).
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Generator, Tensor

from ternary_spike.data.transfer import to_device

FILL = 128
BINS = 10  # magnitudes of each operation

# Sub-policies, each two of (operation, probability, index of the magnitude), as the authors have them; 0 stands for the
# index where an operation has no magnitude
POLICY = (
    (("Invert", 0.1, 0), ("Contrast", 0.2, 6)),
    (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
    (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, 0), ("Equalize", 0.9, 0)),
    (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
    (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, 0), ("Equalize", 0.5, 0)),
    (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
    (("Equalize", 0.3, 0), ("AutoContrast", 0.4, 0)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
    (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, 0)),
    (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.2, 0), ("Equalize", 0.8, 0)),
    (("Color", 0.9, 9), ("Equalize", 0.6, 0)),
    (("AutoContrast", 0.8, 0), ("Solarize", 0.2, 8)),
    (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 0)),
    (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, 0), ("Solarize", 0.8, 3)),
    (("Equalize", 0.8, 0), ("Invert", 0.1, 0)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 0)),
)

GEOMETRY = ("TranslateX", "TranslateY", "Rotate")
BLENDS = ("Color", "Sharpness")
# the authors' rotations go one way only
SIGNED = ("ShearY", "TranslateX", "TranslateY", *BLENDS, "Brightness", "Contrast")
# tables that depend on the picture; those of the other tones are known beforehand
IDENTITY, EQUALIZE, AUTOCONTRAST, CONTRAST = range(4)
DYNAMIC = {"Equalize": EQUALIZE, "AutoContrast": AUTOCONTRAST, "Contrast": CONTRAST}


@dataclass(frozen=True)
class Action:
    """One operation with its signed magnitude, in pixels, degrees, grey levels, bits or shares; "Identity" for none."""

    operation: str
    magnitude: float = 0.0


@cache
def _magnitudes(operation: str, side: int) -> tuple[float, ...]:
    """The operation's ten magnitudes for pictures of ``side`` pixels."""
    largest = {"ShearY": 0.3, "TranslateX": 150 / 331, "TranslateY": 150 / 331, "Rotate": 30.0}
    if operation == "Solarize":
        values = np.linspace(256.0, 0.0, BINS)
    elif operation == "Posterize":
        values = np.round(np.linspace(8.0, 4.0, BINS))
    else:
        values = np.linspace(0.0, largest.get(operation, 0.9), BINS)
    if operation.startswith("Translate"):
        values = values * side
    return tuple(float(value) for value in values)


def _actions(side: int) -> tuple[Action, ...]:
    """All actions of the policy, for pictures of ``side`` pixels: index 0 is the identity, then
    1 + 4 * sub-policy + 2 * position + sign (1 for the positive)."""
    actions = [Action("Identity")]
    for pair in POLICY:
        for operation, _, magnitude in pair:
            value = _magnitudes(operation, side)[magnitude]
            for sign in (-1, 1):
                actions.append(Action(operation, sign * value if operation in SIGNED else value))
    return tuple(actions)


def _matrix(action: Action, side: int) -> tuple[int, ...]:
    """Where a pixel of the result comes from, for Pillow's nearest-pixel affine transform, in 16.16 fixed point.

    Returns (xx, xy, x0, yx, yy, y0): column = (xx * x + xy * y + x0) >> 16, row likewise.
    """
    a, b, c, d, e, f = 1.0, 0.0, 0.0, 0.0, 1.0, 0.0
    if action.operation == "TranslateX":
        c = math.floor(action.magnitude + 0.5)
    elif action.operation == "TranslateY":
        f = math.floor(action.magnitude + 0.5)
    elif action.operation == "Rotate":
        angle = -math.radians(action.magnitude % 360.0)
        a, b, d, e = (round(v, 15) for v in (math.cos(angle), math.sin(angle), -math.sin(angle), math.cos(angle)))
        c = side / 2 - (a + b) * side / 2
        f = side / 2 - (d + e) * side / 2
    entries = (a, b, c + 0.5 * a + 0.5 * b, d, e, f + 0.5 * d + 0.5 * e)
    return tuple(math.floor(entry * 65536 + 0.5) for entry in entries)


def _table(action: Action) -> Tensor:
    """uint8 [256]: what becomes of each value, where that does not depend on the picture."""
    values = torch.arange(256)
    if action.operation == "Invert":
        values = 255 - values
    elif action.operation == "Solarize":
        values = torch.where(values < action.magnitude, values, 255 - values)
    elif action.operation == "Posterize":
        values = values & ~((1 << (8 - int(action.magnitude))) - 1)
    elif action.operation == "Brightness":
        values = _blend(torch.zeros(256), values.float(), torch.tensor(1.0 + action.magnitude))
    return values.to(torch.uint8)


def _blend(degenerate: Tensor, image: Tensor, factor: Tensor) -> Tensor:
    """Pillow's blend: single precision, clipped, the fraction cut off."""
    return (degenerate + factor * (image - degenerate)).clamp(0, 255).to(torch.uint8)


class AutoAugment:
    """The policy for square RGB pictures of one size.

    Args:
        side: of the pictures, in pixels.
        device: where the pictures are.
    """

    def __init__(self, side: int, device: torch.device | str = "cpu"):
        actions = _actions(side)
        self.actions = actions
        self._geometric = torch.tensor([action.operation in GEOMETRY for action in actions])
        self._blending = torch.tensor([action.operation in BLENDS for action in actions])
        self._shearing = torch.tensor([action.operation == "ShearY" for action in actions])
        self._tonal = ~(self._geometric | self._shearing | self._blending)
        self._tonal[0] = False
        self._matrices = torch.tensor([_matrix(action, side) for action in actions], dtype=torch.int32, device=device)
        self._slopes = torch.tensor([action.magnitude for action in actions], dtype=torch.float64, device=device)
        self._tables = torch.stack([_table(action) for action in actions]).to(device)
        self._dynamic = torch.tensor([DYNAMIC.get(action.operation, 0) for action in actions], device=device)
        self._factors = torch.tensor([1.0 + action.magnitude for action in actions], device=device)
        self._smoothing = torch.tensor([action.operation == "Sharpness" for action in actions], device=device)
        self._device = torch.device(device)

    @staticmethod
    def draw(count: int, generator: Generator) -> Tensor:
        """The two actions of each of ``count`` pictures: int32 [count, 2], on the CPU; 0 where nothing happens."""
        policy = torch.randint(0, len(POLICY), (count, 1), generator=generator)
        chances = torch.rand(count, 2, generator=generator)
        signs = torch.randint(0, 2, (count, 2), generator=generator)
        return branch(policy, chances, signs)

    def __call__(self, images: Tensor, actions: Tensor) -> Tensor:
        """Apply to uint8 [B, 3, side, side] the actions, int32 [B, 2], which are on the CPU.

        The host knows so, without asking the device, which pictures each family of operations concerns.
        """
        images = images.clone()
        for position in range(2):
            action = actions[:, position].long()
            for concerned, family in (
                (self._geometric, self._geometry),
                (self._shearing, self._shear),
                (self._tonal, self._tone),
                (self._blending, self._blended),
            ):
                chosen = concerned[action].nonzero().squeeze(1)
                if len(chosen):
                    index, which = to_device(torch.stack([chosen, action[chosen]]), self._device)
                    images[index] = family(images[index], which)
        return images

    def _geometry(self, images: Tensor, which: Tensor) -> Tensor:
        batch, channels, height, width = images.shape
        xx, xy, x0, yx, yy, y0 = self._matrices[which].view(-1, 6, 1, 1).unbind(1)
        x = torch.arange(width, dtype=torch.int32, device=images.device)
        y = torch.arange(height, dtype=torch.int32, device=images.device).unsqueeze(1)
        columns = (xx * x + xy * y + x0) >> 16
        rows = (yx * x + yy * y + y0) >> 16
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        source = (rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)).long().view(batch, 1, -1)
        moved = images.flatten(2).gather(2, source.expand(-1, channels, -1)).view_as(images)
        return torch.where(inside.unsqueeze(1), moved, FILL)

    def _shear(self, images: Tensor, which: Tensor) -> Tensor:
        return sheared(images, self._slopes[which])

    def _tone(self, images: Tensor, which: Tensor) -> Tensor:
        values = images.flatten(2).long()
        histogram = torch.zeros(*values.shape[:2], 256, dtype=torch.int32, device=images.device)
        histogram.scatter_add_(2, values, torch.ones_like(values, dtype=torch.int32))
        kind = self._dynamic[which].view(-1, 1, 1)
        tables = self._tables[which].unsqueeze(1).expand(-1, values.shape[1], -1)
        tables = torch.where(kind == EQUALIZE, equalising_table(histogram), tables)
        tables = torch.where(kind == AUTOCONTRAST, contrast_stretching_table(histogram), tables)
        mean = (2 * grey(images).flatten(1).long().sum(1) + values.shape[2]) // (2 * values.shape[2])
        levels = torch.arange(256, dtype=torch.float32, device=images.device)
        contrast = _blend(mean.float().view(-1, 1, 1), levels, self._factors[which].view(-1, 1, 1))
        tables = torch.where(kind == CONTRAST, contrast, tables)
        return tables.gather(2, values).view_as(images)

    def _blended(self, images: Tensor, which: Tensor) -> Tensor:
        smoothing = self._smoothing[which].view(-1, 1, 1, 1)
        degenerate = torch.where(smoothing, smoothed(images), grey(images).unsqueeze(1))
        return _blend(degenerate.float(), images.float(), self._factors[which].view(-1, 1, 1, 1))


def branch(policy: Tensor, chances: Tensor, signs: Tensor) -> Tensor:
    """Draws to actions: an operation happens where its chance, uniform in [0, 1), is below its probability.

    Args:
        policy: sub-policy, int64 [N, 1].
        chances: float32 [N, 2].
        signs: 0 for the negative sense, 1 for the positive, int64 [N, 2].

    Returns:
        Indices into :attr:`AutoAugment.actions`, int32 [N, 2]; 0 where nothing happens.
    """
    probabilities = torch.tensor([[probability for _, probability, _ in pair] for pair in POLICY])
    actions = 1 + 4 * policy + 2 * torch.arange(2) + signs
    return torch.where(chances < probabilities[policy.squeeze(1)], actions, 0).int()


def sheared(images: Tensor, slopes: Tensor) -> Tensor:
    """Pillow's bicubic shear along the columns: uint8 [B, 3, H, W] with slopes float64 [B] to uint8 of the same shape.

    A pixel's value is interpolated between four of its column (the cubic convolution of a = -1); rows beyond the border
    repeat it, and a pixel whose place lies outside of the picture becomes grey. Double precision with one rounding an
    operation, as in Pillow, and the fraction cut off.
    """
    batch, channels, height, width = images.shape
    columns = torch.arange(width, device=images.device)
    centres = torch.arange(height, dtype=torch.float64, device=images.device).view(-1, 1) + 0.5
    place = slopes.view(-1, 1, 1) * (columns + 0.5).double() + centres
    inside = (place >= 0) & (place < height)
    row_above = (place - 0.5).floor()
    fraction = (place - 0.5 - row_above).unsqueeze(1)
    flat = images.flatten(2)

    def row(offset: int) -> Tensor:
        source = (row_above.long() + offset).clamp(0, height - 1) * width + columns
        return flat.gather(2, source.view(batch, 1, -1).expand(-1, channels, -1)).view_as(images).double()

    before, here, after, beyond = (row(offset) for offset in (-1, 0, 1, 2))
    cubic = here - before + beyond - after
    square = 2 * (before - here) + after - beyond
    value = here + fraction * (after - before + fraction * (square + fraction * cubic))
    return torch.where(inside.unsqueeze(1), value.clamp(0, 255).to(torch.uint8), FILL)


def grey(images: Tensor) -> Tensor:
    """Pillow's conversion to "L": uint8 [B, 3, H, W] to uint8 [B, H, W], ITU-R 601-2 luma in 16.16 fixed point."""
    red, green, blue = images.int().unbind(1)
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).to(torch.uint8)


def smoothed(images: Tensor) -> Tensor:
    """Pillow's SMOOTH: a 3x3 mean with the centre counted five times, rounded; pixels at the border stay."""
    padded = images.int()
    height, width = images.shape[-2:]
    total = 4 * padded[..., 1:-1, 1:-1]
    for row in range(3):
        for column in range(3):
            total = total + padded[..., row : height - 2 + row, column : width - 2 + column]
    inner = ((2 * total + 13) // 26).to(torch.uint8)
    result = images.clone()
    result[..., 1:-1, 1:-1] = inner
    return result


def equalising_table(histogram: Tensor) -> Tensor:
    """Pillow's equalize: histograms, int32 [..., 256], to tables, uint8 of the same shape."""
    total = histogram.sum(-1, keepdim=True)
    levels = torch.arange(256, dtype=torch.int32, device=histogram.device)
    highest = torch.where(histogram > 0, levels, 0).amax(-1, keepdim=True)
    step = (total - histogram.gather(-1, highest.long())) // 255
    below = histogram.cumsum(-1, dtype=torch.int32) - histogram
    spread = ((step // 2 + below) // step.clamp(min=1)).clamp(max=255)
    return torch.where(step > 0, spread, levels).to(torch.uint8)


def contrast_stretching_table(histogram: Tensor) -> Tensor:
    """Pillow's autocontrast: histograms, int32 [..., 256], to tables, uint8 of the same shape."""
    levels = torch.arange(256, dtype=torch.int32, device=histogram.device)
    low = torch.where(histogram > 0, levels, 255).amin(-1, keepdim=True)
    high = torch.where(histogram > 0, levels, 0).amax(-1, keepdim=True)
    # double precision, product and sum rounded one after the other, as Python does
    # (and 255.0 / tensor would multiply by a rounded reciprocal)
    extent = (high - low).clamp(min=1).double()
    scale = torch.full_like(extent, 255.0).div(extent)
    offset = -low * scale
    stretched = (levels * scale + offset).clamp(0, 255)
    return torch.where(high > low, stretched, levels.double()).to(torch.uint8)
