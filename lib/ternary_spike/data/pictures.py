"""Picture files of varying size, decoded and cropped by worker processes: uint8 tensors of one size come out."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import functional as tv
from torchvision.transforms import v2

from ternary_spike.data.prepared import PictureFiles
from ternary_spike.system.errors import UserError

Request = tuple[int, int | None]


def opened(path: Path) -> Image.Image:
    """A picture in RGB. Raises UserError if it cannot be decoded."""
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except Exception as error:  # the decoders' own, whatever they are
        problem = " ".join(str(error).split())
        raise UserError(f"{path} cannot be decoded ({problem}); restore it and run `prepare` again") from None


class Pictures(Dataset):
    """Answers requests (index, seed): with a seed a random part of the picture, without one its centre.

    The random part has 8 to 100 % of the area and an aspect ratio of 3/4 to 4/3 (RandomResizedCrop's defaults, the
    authors'); the centre is ``share`` of the shorter side. Both come as uint8 [3, size, size], with the label; an
    undecodable file as a UserError, which the process that asks must raise (across processes a raised one would come
    with a traceback for its message).
    """

    def __init__(self, files: PictureFiles, size: int, share: float):
        self._files, self._size = files, size
        self._random = v2.RandomResizedCrop(size, antialias=True)
        self._centre = v2.Compose([v2.Resize(round(size / share), antialias=True), v2.CenterCrop(size)])

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, request: Request) -> tuple[Tensor, int] | UserError:
        index, seed = request
        try:
            picture = opened(self._files.root / self._files.paths[index])
        except UserError as error:
            return error
        if seed is None:
            cropped = self._centre(picture)
        else:
            # torchvision draws from the global generator: it is put back, in case this is the training's own process
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)
                cropped = self._random(picture)
        return tv.pil_to_tensor(cropped), int(self._files.labels[index])


def collated(items: list[tuple[Tensor, int] | UserError]) -> tuple[Tensor, Tensor] | UserError:
    """Pictures, uint8 [B, 3, size, size], and labels, int64 [B]; or the first error."""
    for item in items:
        if isinstance(item, UserError):
            return item
    return torch.stack([picture for picture, _ in items]), torch.tensor([label for _, label in items])
