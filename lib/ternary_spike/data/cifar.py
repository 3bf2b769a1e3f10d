"""CIFAR-10 and CIFAR-100, read by torchvision; and CIFAR-10 from a copy in which every picture is a JPEG.

The copy's pictures are about 29 dB from the originals, so whatever is made from it is labelled
"CIFAR-10 (JPEG copy)". Its two npz files hold ``header`` (the JPEG header that all pictures share), ``scans`` (what
follows it, one picture after another), ``lengths`` (bytes of each scan) and ``labels`` in torchvision's class order.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ternary_spike.data.prepared import Manifest, Split, write_prepared
from ternary_spike.data.registry import Dataset
from ternary_spike.errors import UserError
from ternary_spike.files import sha256_of

# of the files, not of the decoded pictures: those depend on the JPEG decoder
JPEG_COPY_SHA256 = {
    "train": "1973a5bf29de032fcb57045f0c24490f2c8a04f2df46488da645d2fcd6499e01",
    "test": "fa4cd3f0544f1fafe0f54bb05b24a3fccdad81396697ee401ffa45c7c3b227f6",
}
ROOTS = {
    "torchvision": "the folder that holds, or will hold, the unpacked batches",
    "jpeg-npz": "the folder that holds train.npz and test.npz",
}

DATASETS = {
    "cifar10": Dataset(
        name="cifar10",
        label="CIFAR-10",
        num_classes=10,
        channels=3,
        image_size=32,
        sources={"torchvision": "CIFAR-10", "jpeg-npz": "CIFAR-10 (JPEG copy)"},
        needs_root=("torchvision", "jpeg-npz"),
        downloadable=("torchvision",),
    ),
}


def missing(dataset: Dataset, source: str, root: Path, options: dict[str, Any]) -> str | None:
    """One clause that says what is missing below ``root``, or None."""
    if source == "jpeg-npz":
        absent = [f"{split}.npz" for split in JPEG_COPY_SHA256 if not (root / f"{split}.npz").is_file()]
        return f"{dataset.name}: {root} has no {' and no '.join(absent)}" if absent else None
    raise NotImplementedError


def prepare(dataset: Dataset, source: str, root: Path, options: dict[str, Any], folder: Path) -> Manifest:
    """Write prepared data, uint8 [N, 3, 32, 32]. Raises UserError if files are missing or their checksums are wrong."""
    splits = {split: _read_jpeg_copy(root, split) for split in ("train", "test")}
    described = {"kind": source, "sha256": JPEG_COPY_SHA256}
    return write_prepared(folder, dataset.name, dataset.sources[source], described, dataset.num_classes, splits)


def _read_jpeg_copy(root: Path, split: str) -> Split:
    path = root / f"{split}.npz"
    if not path.is_file():
        raise UserError(f"{path} is missing; point the root of source jpeg-npz at {ROOTS['jpeg-npz']}")
    if sha256_of(path) != JPEG_COPY_SHA256[split]:
        raise UserError(f"{path} is not the JPEG copy: its sha256 is another one; copy the file again")
    with np.load(path, allow_pickle=False) as content:
        header, scans = content["header"].tobytes(), content["scans"].tobytes()
        ends = content["lengths"].astype(np.int64).cumsum()
        labels = torch.from_numpy(content["labels"].astype(np.int64))
    starts = np.concatenate([[0], ends[:-1]])
    pictures = [_decoded(header + scans[start:end]) for start, end in zip(starts, ends, strict=True)]
    return Split(torch.stack(pictures), labels)


def _decoded(jpeg: bytes) -> Tensor:
    """A JPEG file's picture, uint8 [3, H, W]."""
    from PIL import Image

    pixels = np.array(Image.open(io.BytesIO(jpeg)).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)
