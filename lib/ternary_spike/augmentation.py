"""Augmentation and normalisation of a whole batch on its device, with randomness that depends on nothing but a seed.

The order is the authors': crop, flip, (AutoAugment), Cutout, normalise; so the hole is black before normalisation.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training batch.

    Attributes:
        crop_padding: zero padding in pixels before a random crop of the original size; 0 for none.
        flip: mirror left to right with probability 1/2.
        cutout: side in pixels of one square hole with a uniform centre, clipped at the border; 0 for none.
    """

    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Augment uint8 [B, C, H, W]; the generator lives on the CPU so that every device draws the same numbers."""
        batch = images.shape[0]
        if self.crop_padding:
            images = random_crop(images, self.crop_padding, generator)
        if self.flip:
            mirrored = (torch.rand(batch, generator=generator) < 0.5).to(images.device)
            images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)
        if self.cutout:
            images = cutout(images, self.cutout, generator)
        return images


def random_crop(images: Tensor, padding: int, generator: Generator) -> Tensor:
    """A crop of the original size at a uniform offset from zero-padded pictures [B, C, H, W]."""
    batch, channels, height, width = images.shape
    offsets = torch.randint(0, 2 * padding + 1, (2, batch, 1), generator=generator).to(images.device)
    rows = offsets[0] + torch.arange(height, device=images.device)
    columns = offsets[1] + torch.arange(width, device=images.device)
    padded = F.pad(images, (padding,) * 4)
    index = torch.arange(batch, device=images.device)
    return padded[
        index.view(-1, 1, 1, 1),
        torch.arange(channels, device=images.device).view(1, -1, 1, 1),
        rows.view(batch, 1, height, 1),
        columns.view(batch, 1, 1, width),
    ]


def cutout(images: Tensor, size: int, generator: Generator) -> Tensor:
    """Black out one square of ``size`` pixels a picture [B, C, H, W]; its centre is uniform, its edges are clipped."""
    batch, _, height, width = images.shape
    centre_y = torch.randint(0, height, (batch, 1), generator=generator).to(images.device)
    centre_x = torch.randint(0, width, (batch, 1), generator=generator).to(images.device)
    y = torch.arange(height, device=images.device)
    x = torch.arange(width, device=images.device)
    rows = (y >= centre_y - size // 2) & (y < centre_y + size // 2)
    columns = (x >= centre_x - size // 2) & (x < centre_x + size // 2)
    hole = rows.view(batch, 1, height, 1) & columns.view(batch, 1, 1, width)
    return images.masked_fill(hole, 0)


def normalise(images: Tensor, mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> Tensor:
    """uint8 [..., C, H, W] to float32: divided by 255, then (x - mean) / std for each channel; unscaled without them.

    Without mean and std the values are taken as they are: counts of events.
    """
    if mean is None or std is None:
        return images.float()
    shape = (-1, 1, 1)
    mean_t = torch.tensor(mean, device=images.device).view(shape)
    std_t = torch.tensor(std, device=images.device).view(shape)
    return (images.float() / 255 - mean_t) / std_t
