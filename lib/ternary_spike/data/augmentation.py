"""Augmentation and normalisation of whole batches on their device, with randomness that depends on nothing but a seed.

The order is the authors': crop, flip, (roll), AutoAugment, Cutout, normalise; so the hole is black beforehand.

Drawing and applying are two steps: the random numbers of many pictures are drawn at once on the CPU, the same for every
device, and a picture's augmentation depends on its own numbers alone. How pictures are grouped into batches, and how
batches are spread over processes, so changes nothing.
"""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ternary_spike.configuration.recipe import Recipe
from ternary_spike.data.transfer import to_device
from ternary_spike.system.errors import UserError

Draws = dict[str, Tensor]


class Augmentation:
    """What a recipe does to training pictures [B, C, H, W], or to recordings [B, T, C, H, W]: all frames alike.

    Args:
        recipe: its crop_padding, flip, roll, autoaugment and cutout.
        shape: of one picture or recording.
        device: where they are.

    Raises:
        UserError: if the recipe's AutoAugment cannot work on such pictures.
    """

    def __init__(self, recipe: Recipe, shape: tuple[int, ...], device: torch.device | str = "cpu"):
        self.padding, self.flip, self.roll, self.hole = recipe.crop_padding, recipe.flip, recipe.roll, recipe.cutout
        self._height, self._width = shape[-2:]
        self._device = torch.device(device)
        self._autoaugment = None
        if recipe.autoaugment != "none":
            if len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2]:
                raise UserError(
                    f"recipe {recipe.name}: autoaugment works on square RGB pictures, but these are "
                    f"{' x '.join(map(str, shape))}; set autoaugment to none"
                )
            # here, since a recipe without it must not depend on its code
            from ternary_spike.data.autoaugment import AutoAugment

            self._autoaugment = AutoAugment(self._height, device)

    def draw(self, count: int, generator: Generator) -> Draws:
        """The random numbers of ``count`` pictures: named tensors [count, ...] on the CPU."""

        def integers(low: int, high: int, *size: int) -> Tensor:
            return torch.randint(low, high, size, generator=generator, dtype=torch.int32)

        draws = {}
        if self.padding:
            draws["crop"] = integers(0, 2 * self.padding + 1, count, 2)
        if self.flip:
            draws["flip"] = integers(0, 2, count).bool()
        if self.roll:
            draws["roll"] = integers(-self.roll, self.roll + 1, count, 2)
        if self._autoaugment:
            draws["autoaugment"] = self._autoaugment.draw(count, generator)
        if self.hole:
            draws["cutout"] = torch.stack([integers(0, self._height, count), integers(0, self._width, count)], dim=1)
        return draws

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """Augment uint8 pictures on the device with their draws, which are on the CPU."""
        shape = images.shape
        images = images.flatten(1, -3)
        if self.padding:
            images = crop(images, self.padding, to_device(draws["crop"], self._device))
        if self.flip:
            mirrored = to_device(draws["flip"], self._device).view(-1, 1, 1, 1)
            images = torch.where(mirrored, images.flip(-1), images)
        if self.roll:
            images = roll(images, to_device(draws["roll"], self._device))
        if self._autoaugment:
            images = self._autoaugment(images, draws["autoaugment"])
        if self.hole:
            images = cut_out(images, self.hole, to_device(draws["cutout"], self._device))
        return images.view(shape)


def crop(images: Tensor, padding: int, offsets: Tensor) -> Tensor:
    """Crops of the original size from zero-padded pictures [B, C, H, W]; offsets [B, 2] are (down, right) in pixels."""
    height, width = images.shape[-2:]
    rows = offsets[:, :1] + torch.arange(height, device=images.device)
    columns = offsets[:, 1:] + torch.arange(width, device=images.device)
    return _pick(F.pad(images, (padding,) * 4), rows, columns)


def roll(images: Tensor, shifts: Tensor) -> Tensor:
    """Shift pictures [B, C, H, W] by [B, 2] pixels (down, right); what leaves on one side enters on the other."""
    height, width = images.shape[-2:]
    rows = (torch.arange(height, device=images.device) - shifts[:, :1]) % height
    columns = (torch.arange(width, device=images.device) - shifts[:, 1:]) % width
    return _pick(images, rows, columns)


def _pick(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """From [B, C, H, W] the given rows [B, H'] and columns [B, W'] of each picture: [B, C, H', W']."""
    batch, channels, _, width = images.shape
    # flat indices and one gather: half the time of indexing along four axes
    index = (rows.unsqueeze(2) * width + columns.unsqueeze(1)).long().view(batch, 1, -1).expand(-1, channels, -1)
    return images.flatten(2).gather(2, index).view(batch, channels, rows.shape[1], columns.shape[1])


def cut_out(images: Tensor, size: int, centres: Tensor) -> Tensor:
    """Black out one square of ``size`` pixels a picture [B, C, H, W] around its centre [B, 2] (row, column)."""
    height, width = images.shape[-2:]
    y = torch.arange(height, device=images.device) - centres[:, :1]
    x = torch.arange(width, device=images.device) - centres[:, 1:]
    rows = (y >= -(size // 2)) & (y < size - size // 2)
    columns = (x >= -(size // 2)) & (x < size - size // 2)
    return images.masked_fill((rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(1), 0)


class Normalisation:
    """uint8 pictures [..., C, H, W] to float32: divided by 255, then (x - mean) / std for each channel.

    Without mean and std the values are taken as they are: counts of events.
    """

    def __init__(
        self, mean: tuple[float, ...] | None, std: tuple[float, ...] | None, device: torch.device | str = "cpu"
    ):
        # made once: a tensor from Python numbers at each step would make the host wait for the device
        self._mean = None if mean is None else torch.tensor(mean, device=device).view(-1, 1, 1)
        self._std = None if std is None else torch.tensor(std, device=device).view(-1, 1, 1)

    def __call__(self, images: Tensor) -> Tensor:
        if self._mean is None or self._std is None:
            return images.float()
        return images.float().div_(255).sub_(self._mean).div_(self._std)
