"""Prepared data: the one form that training and evaluation read, whatever the dataset was.

A folder with ``manifest.json`` and one safetensors file a split, each with ``images`` (uint8, [N, C, H, W] for static
pictures or [N, T, C, H, W] for event frames) and ``labels`` (int64, [N]). The manifest names the source that every
result made from the data is labelled with, and the files' checksums, which are verified at each reading.

A dataset too large for that (ImageNet) stays where it is: the manifest has its folder's path, and a split's file has in
place of ``images`` the picture files' relative ``paths`` (uint8: UTF-8, a line each) and ``sizes`` (int64 [N], bytes).
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from ternary_spike.system.errors import UserError
from ternary_spike.system.files import read_json, read_tensors, replaced_together, sha256_of, write_json, write_tensors

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
        checksum: one sha256 for all of it, recorded in every result; of picture files it covers names, labels, sizes.
        root: folder of the picture files; None for arrays. It is no part of the checksum: the files may move.
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
    root: str | None = None


@dataclass(frozen=True)
class Split:
    """Pictures or event frames (uint8, [N, C, H, W] or [N, T, C, H, W]) and their labels (int64, [N])."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class PictureFiles:
    """Picture files below ``root``: relative paths, sizes in bytes and labels (int64, [N])."""

    root: Path
    paths: list[str]
    sizes: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.paths)


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
    tensors = {name: {"images": split.images, "labels": split.labels} for name, split in splits.items()}
    shape = splits["train"].images.shape
    return _write(
        folder,
        tensors,
        dataset=dataset,
        label=label,
        source=source,
        num_classes=num_classes,
        channels=shape[-3],
        image_size=shape[-1],
        frames=shape[1] if len(shape) == 5 else None,
    )


def write_picture_lists(
    folder: Path,
    dataset: str,
    label: str,
    source: dict,
    num_classes: int,
    image_size: int,
    splits: dict[str, PictureFiles],
) -> Manifest:
    """Write the prepared form of a dataset of RGB picture files; they stay where they are.

    Args:
        folder: where to.
        dataset, label, source, num_classes: see :class:`Manifest`.
        image_size: side in pixels to which the pictures are cropped for training and evaluation.
        splits: "train" and "test", with one root.

    Returns:
        The manifest that was written.

    Raises:
        UserError: if the folder cannot be written.
    """
    tensors = {}
    for name, files in splits.items():
        paths = torch.frombuffer(bytearray("\n".join(files.paths).encode()), dtype=torch.uint8)
        tensors[name] = {"paths": paths, "sizes": files.sizes, "labels": files.labels}
    return _write(
        folder,
        tensors,
        dataset=dataset,
        label=label,
        source=source,
        num_classes=num_classes,
        channels=3,
        image_size=image_size,
        frames=None,
        root=str(splits["train"].root),
    )


def _write(folder: Path, splits: dict[str, dict[str, Tensor]], **known) -> Manifest:
    """Write the splits' tensors and the manifest, in place of whatever stood there; all of it or nothing."""
    with replaced_together(folder, MANIFEST) as temporary:
        recorded = {}
        for name, tensors in splits.items():
            file = f"{name}.safetensors"
            write_tensors(temporary / file, tensors)
            recorded[name] = {
                "file": file,
                "samples": len(tensors["labels"]),
                "sha256": sha256_of(temporary / file),
            }
        checksum = _combined([entry["sha256"] for entry in recorded.values()])
        manifest = Manifest(**known, splits=recorded, checksum=checksum)
        write_json(temporary / MANIFEST, asdict(manifest))
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
        _require_sound(manifest)
    except (TypeError, KeyError, AttributeError):
        raise UserError(f"{path} is not a manifest of prepared data; run `prepare` for this dataset again") from None
    if manifest.checksum != _combined([split["sha256"] for split in manifest.splits.values()]):
        raise UserError(f"{path} contradicts itself: its checksum is not that of its files; run `prepare` again")
    return manifest


def _require_sound(manifest: Manifest) -> None:
    """Raise TypeError, KeyError or AttributeError if a value is none that :func:`write_prepared` writes."""

    def require(sound: bool) -> None:
        if not sound:
            raise TypeError

    def is_count(value: object) -> bool:
        return type(value) is int and value > 0

    require(all(isinstance(text, str) for text in (manifest.dataset, manifest.label, manifest.checksum)))
    require(all(is_count(number) for number in (manifest.num_classes, manifest.channels, manifest.image_size)))
    require(manifest.frames is None or is_count(manifest.frames))
    require(manifest.root is None or isinstance(manifest.root, str))
    for split in manifest.splits.values():
        require(isinstance(split["file"], str) and isinstance(split["sha256"], str) and is_count(split["samples"]))


def read_split(folder: Path, name: str) -> Split:
    """One split of prepared arrays, its checksum verified.

    Raises:
        UserError: if a file is missing or corrupt, the split is not in the manifest, or the data are picture files.
    """
    manifest, path, sha256 = _entry(folder, name)
    if manifest.root is not None:
        raise UserError(f"{path} is a list of picture files, and arrays are needed; choose another dataset")
    tensors, _ = read_tensors(path, sha256)
    images, labels = tensors["images"], tensors["labels"]
    frames = () if manifest.frames is None else (manifest.frames,)
    shape = (manifest.splits[name]["samples"], *frames, manifest.channels, manifest.image_size, manifest.image_size)
    if (
        images.dtype != torch.uint8
        or images.shape != shape
        or len(labels) != shape[0]
        or (int(labels.max()) >= manifest.num_classes)
    ):
        raise UserError(f"{path} does not hold what {MANIFEST} says; run `prepare` again")
    return Split(images, labels)


def read_picture_list(folder: Path, name: str) -> PictureFiles:
    """One split of prepared picture files, its list's checksum verified.

    Raises:
        UserError: if the list is missing or corrupt, the pictures' folder is not there, or the split is not in the
            manifest.
    """
    manifest, path, sha256 = _entry(folder, name)
    tensors, _ = read_tensors(path, sha256)
    if manifest.root is None or not Path(manifest.root).is_dir():
        raise UserError(f"{manifest.root}, the folder of the pictures in {path}, is not there; run `prepare` again")
    paths = tensors["paths"].numpy().tobytes().decode().split("\n")
    return PictureFiles(Path(manifest.root), paths, tensors["sizes"], tensors["labels"])


def _entry(folder: Path, name: str) -> tuple[Manifest, Path, str]:
    """The manifest, and a split's file and sha256."""
    manifest = read_manifest(folder)
    if name not in manifest.splits:
        raise UserError(f"{Path(folder) / MANIFEST} has no split {name!r}, only {', '.join(manifest.splits)}")
    entry = manifest.splits[name]
    return manifest, Path(folder) / entry["file"], entry["sha256"]
