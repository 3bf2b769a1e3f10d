"""ImageNet (ILSVRC 2012) as torchvision's ImageFolder sees it: root/train and root/val with a folder for each class.

ImageFolder takes what it finds: with half of the class folders missing it trains on the rest, under other numbers. An
interrupted unpacking leaves just that, so here everything is counted before it is listed. The list is the prepared
form; listing 1.3 million files on a network disk takes minutes, and happens once.
"""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ternary_spike.configuration.register import Option
from ternary_spike.data.dataset import Dataset, subset_label
from ternary_spike.system.errors import UserError

if TYPE_CHECKING:  # a job of the workflow asks what there is when it starts, and must not wait for torch
    from ternary_spike.data.prepared import Manifest, PictureFiles

FOLDERS = {"train": "train", "test": "val"}  # the test set's labels are not public: the validation set is the test
CLASSES, FIRST, LAST = 1000, "n01440764", "n15075141"
PICTURES = {"train": 1_281_167, "test": 50_000}
TESTS_A_CLASS = 50
DECODED = 8  # pictures of each split that are opened as a sample
ARCHIVES = {"train": "ILSVRC2012_img_train.tar", "test": "ILSVRC2012_img_val.tar"}
HOW_TO_GET = (
    "ImageNet needs an account at image-net.org; unpack it into train/<class>/ and val/<class>/ and set "
    "data.imagenet.root to the folder above them"
)
ROOTS = {
    "imagefolder": "the folder that holds train/ and val/, each with a folder for each of the 1,000 classes",
    "subset": "a folder that holds train/ and val/, each with the same folders, one for each class",
}

DATASETS = {
    "imagenet": Dataset(
        name="imagenet",
        label="ImageNet",
        num_classes=CLASSES,
        channels=3,
        image_size=224,
        of_varying_size=True,
        train_samples=PICTURES["train"],
        test_samples=PICTURES["test"],
        sources={"imagefolder": "ImageNet", "subset": "ImageNet subset"},
        options={"image_size": Option(224, "side of the crops that the network sees, in pixels", low=1)},
    )
}


def missing(dataset: Dataset, source: str, root: Path, options: dict[str, Any]) -> str | None:
    """One clause that says what is missing below ``root``, or None. Folders are counted, pictures are not."""
    try:
        _classes(root, whole=source == "imagefolder")
    except UserError as error:
        return f"{dataset.name}: {str(error).partition(';')[0]}"
    return None


def prepare(dataset: Dataset, source: str, root: Path, options: dict[str, Any], folder: Path) -> "Manifest":
    """Write the lists of picture files, with the validation set as the split "test".

    Raises:
        UserError: if class folders or pictures are missing, misplaced or damaged.
    """
    from ternary_spike.data.prepared import write_picture_lists

    whole = source == "imagefolder"
    root = root.resolve()
    classes = _classes(root, whole)
    splits = {split: _listed(root, split, classes) for split in FOLDERS}
    for split, files in splits.items():
        if whole:
            _require_all(root / FOLDERS[split], split, files, classes)
        _require_readable(files)
    label = dataset.sources[source]
    if not whole:
        label = subset_label(label, {split: len(files) for split, files in splits.items()})
    described = {"kind": source, "classes": len(classes), **options}
    return write_picture_lists(folder, dataset.name, label, described, len(classes), options["image_size"], splits)


def _classes(root: Path, whole: bool) -> list[str]:
    """The class folders, which must be the same in both splits, and all of them if it is the whole ImageNet."""
    found = {split: _class_folders(root, split) for split in FOLDERS}
    for split, classes in found.items():
        folder = root / FOLDERS[split]
        if whole and len(classes) != CLASSES:
            raise UserError(f"{folder} has {len(classes):,} class folders, not {CLASSES:,}; {_unpack(split)}")
        odd = [name for name in classes if not re.fullmatch(r"n\d{8}", name)]
        if whole and odd:
            raise UserError(f"{folder / odd[0]} is no class folder (n and eight digits); move it elsewhere")
        if whole and (classes[0], classes[-1]) != (FIRST, LAST):
            raise UserError(
                f"{folder} runs from {classes[0]} to {classes[-1]}, not from {FIRST} to {LAST}; use ILSVRC 2012"
            )
    differing = sorted(set(found["train"]) ^ set(found["test"]))
    if differing:
        having, lacking = ("train", "val") if differing[0] in found["train"] else ("val", "train")
        raise UserError(
            f"{root / having} has a class {differing[0]} that {root / lacking} lacks ({len(differing)} such), which "
            f"would give the classes other numbers; complete {root / lacking}"
        )
    return found["train"]


def _class_folders(root: Path, split: str) -> list[str]:
    folder = root / FOLDERS[split]
    if not folder.is_dir():
        if (root / ARCHIVES[split]).is_file():
            raise UserError(f"{root / ARCHIVES[split]} is not unpacked; {_unpack(split)}")
        raise UserError(f"{folder} is missing; the path must be that of {ROOTS['imagefolder']}")
    names, loose = [], None
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                names.append(entry.name)
            elif entry.name.endswith(".tar"):
                raise UserError(f"{folder / entry.name} is not unpacked; {_unpack(split)}")
            elif entry.name.lower().endswith((".jpeg", ".jpg")):
                loose = entry.name
    if loose is not None:
        raise UserError(f"{folder / loose} is not sorted into a class folder; {_unpack(split)}")
    if not names:
        raise UserError(f"{folder} has no class folders; {_unpack(split)}")
    return sorted(names)


def _unpack(split: str) -> str:
    if split == "test":
        return f"unpack {ARCHIVES['test']} and move each picture to val/<its class>/"
    return f"unpack {ARCHIVES['train']}, and each archive in it to train/<its name>/"


def _listed(root: Path, split: str, classes: list[str]) -> "PictureFiles":
    import torch
    from torchvision.datasets import ImageFolder

    from ternary_spike.data.prepared import PictureFiles

    folder = root / FOLDERS[split]
    try:
        listed = ImageFolder(str(folder))
    except FileNotFoundError as error:
        problem = str(error).partition(".")[0]
        raise UserError(f"{folder}: {problem}; {_unpack(split)}") from None
    if listed.classes != classes:
        raise UserError(f"{folder} changed while it was read; run `prepare` again")
    paths = [path for path, _ in listed.samples]
    sizes = [Path(path).stat().st_size for path in paths]
    if 0 in sizes:
        raise UserError(f"{paths[sizes.index(0)]} is empty; {_unpack(split)}")
    relative = [os.path.relpath(path, root) for path in paths]
    return PictureFiles(root, relative, torch.tensor(sizes), torch.tensor(listed.targets))


def _require_all(folder: Path, split: str, files: "PictureFiles", classes: list[str]) -> None:
    """Raise UserError unless these are as many pictures as the whole ImageNet has."""
    counts = files.labels.bincount(minlength=len(classes))
    if split == "test" and (counts != TESTS_A_CLASS).any():
        wrong = int((counts != TESTS_A_CLASS).nonzero()[0])
        raise UserError(
            f"{folder / classes[wrong]} has {int(counts[wrong])} pictures, not {TESTS_A_CLASS}; {_unpack(split)}"
        )
    if len(files) != PICTURES[split]:
        fewest = int(counts.argmin())
        raise UserError(
            f"{folder} has {len(files):,} pictures, not {PICTURES[split]:,} (fewest in {classes[fewest]}: "
            f"{int(counts[fewest])}); {_unpack(split)}"
        )


def _require_readable(files: "PictureFiles") -> None:
    import torch

    from ternary_spike.data.pictures import opened

    for place in torch.linspace(0, len(files) - 1, min(DECODED, len(files))).long().tolist():
        opened(files.root / files.paths[place])
