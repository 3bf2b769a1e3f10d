"""Prepared data: the one form that training and evaluation read, whatever the dataset was.

A folder with ``manifest.json`` and one safetensors file a split, each with ``images`` (uint8, [N, C, H, W] for static
pictures or [N, T, C, H, W] for event frames) and ``labels`` (int64, [N]). The manifest names the source that every
result made from the data is labelled with, and the files' checksums, which are verified at each reading.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from ternary_spike.errors import UserError
from ternary_spike.files import read_json, read_tensors, sha256_of, write_json, write_tensors

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What is known of prepared data.

    Attributes:
        dataset: name in the run table, such as ``cifar10``.
        label: how results made from it are labelled, such as "CIFAR-10 (JPEG copy)".
        source: the settings it was made with (source, split, slicing, ...).
        num_classes: number of classes.
        channels: C.
        image_size: side of the square pictures or frames, in pixels.
        frames: T of event frames; None for static pictures.
        splits: for "train" and "test": file, sha256 and number of samples.
        checksum: one sha256 for all of it, recorded in every result.
    """

    dataset: str
    label: str
    source: dict
    num_classes: int
    channels: int
    image_size: int
    frames: int | None
    splits: dict[str, dict]
    checksum: str


@dataclass(frozen=True)
class Split:
    """Pictures or event frames (uint8, [N, C, H, W] or [N, T, C, H, W]) and their labels (int64, [N])."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def write_prepared(
    folder: Path, dataset: str, label: str, source: dict, num_classes: int, splits: dict[str, Split]
) -> Manifest:
    """Write prepared data; the manifest comes last, so that an interrupted preparation is never taken for a whole one.

    Args:
        folder: where to.
        dataset, label, source, num_classes: see :class:`Manifest`.
        splits: "train" and "test".

    Returns:
        The manifest that was written.

    Raises:
        UserError: if the folder cannot be written.
    """
    folder = Path(folder)
    (folder / MANIFEST).unlink(missing_ok=True)
    recorded = {}
    for name, split in splits.items():
        file = f"{name}.safetensors"
        write_tensors(folder / file, {"images": split.images, "labels": split.labels})
        recorded[name] = {"file": file, "samples": len(split), "sha256": sha256_of(folder / file)}
    shape = splits["train"].images.shape
    manifest = Manifest(
        dataset=dataset,
        label=label,
        source=source,
        num_classes=num_classes,
        channels=shape[-3],
        image_size=shape[-1],
        frames=shape[1] if len(shape) == 5 else None,
        splits=recorded,
        checksum=_combined([entry["sha256"] for entry in recorded.values()]),
    )
    write_json(folder / MANIFEST, asdict(manifest))
    return manifest


def _combined(checksums: list[str]) -> str:
    import hashlib

    return hashlib.sha256("".join(checksums).encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of prepared data.

    Raises:
        UserError: if there is none or it does not have the form that this version writes.
    """
    path = Path(folder) / MANIFEST
    content = read_json(path)
    try:
        manifest = Manifest(**content)
        for split in manifest.splits.values():
            _ = split["file"], split["samples"], split["sha256"]
    except (TypeError, KeyError, AttributeError):
        raise UserError(f"{path} is not a manifest of prepared data; run `prepare` for this dataset again") from None
    if manifest.checksum != _combined([split["sha256"] for split in manifest.splits.values()]):
        raise UserError(f"{path} contradicts itself: its checksum is not that of its files; run `prepare` again")
    return manifest


def read_split(folder: Path, name: str) -> Split:
    """One split of prepared data, its checksum verified.

    Raises:
        UserError: if a file is missing or corrupt, or the split is not in the manifest.
    """
    manifest = read_manifest(folder)
    if name not in manifest.splits:
        raise UserError(f"{Path(folder) / MANIFEST} has no split {name!r}, only {', '.join(manifest.splits)}")
    entry = manifest.splits[name]
    path = Path(folder) / entry["file"]
    tensors, _ = read_tensors(path, entry["sha256"])
    images, labels = tensors["images"], tensors["labels"]
    if images.dtype != torch.uint8 or len(images) != len(labels) or int(labels.max()) >= manifest.num_classes:
        raise UserError(f"{path} does not hold what {MANIFEST} says; run `prepare` again")
    return Split(images, labels)
