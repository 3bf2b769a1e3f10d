"""CIFAR10-DVS: tonic reads the recordings, and they are kept as T frames of event counts.

Which recordings are for testing, and how a recording becomes frames, moves the accuracy more than most methods do, and
neither the paper nor its authors' code says it. So both have names, and the names are part of every result.
"""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ternary_spike.configuration.register import Option
from ternary_spike.data.dataset import Dataset, subset_label
from ternary_spike.data.fetching import fetching
from ternary_spike.system.cores import default_workers
from ternary_spike.system.errors import UserError

if TYPE_CHECKING:  # a job of the workflow asks what there is when it starts, and must not wait for torch
    import numpy as np
    from torch import Tensor

    from ternary_spike.data.prepared import Manifest

FOLDER = "CIFAR10DVS"  # tonic's, below the root; it is the name of tonic's class
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RECORDINGS = 1000  # of each class
SENSOR = 128  # pixels a side
SUFFIX = ".aedat4"
ROOTS = {
    "tonic": f"the folder that holds, or will hold, tonic's folder {FOLDER}",
    "subset": f"the folder that holds a smaller {FOLDER} in tonic's layout",
}
# name -> (share of each class for testing, where in the order of recording numbers)
SPLITS = {
    "last-tenth": (0.1, "last"),
    "first-tenth": (0.1, "first"),
    "random-tenth": (0.1, "random"),
    "last-three-tenths": (0.3, "last"),
}

DATASETS = {
    "cifar10dvs": Dataset(
        name="cifar10dvs",
        label="CIFAR10-DVS",
        num_classes=10,
        channels=2,
        image_size=48,
        frames=10,
        train_samples=9_000,
        test_samples=1_000,
        sources={"tonic": "CIFAR10-DVS", "subset": "CIFAR10-DVS subset"},
        downloadable=("tonic",),
        options={
            "split": Option(
                "last-tenth",
                "recordings of each class for testing, by recording number: last-tenth (900 to 999), first-tenth (0 to "
                "99, TEBN's), random-tenth (by split_seed), last-three-tenths (700 to 999, the TET code's)",
                choices=tuple(SPLITS),
            ),
            "split_seed": Option(1, "decides random-tenth; of no effect on the other splits", low=1),
            "slicing": Option(
                "number",
                "frames of equally many events (number) or of equal duration (time)",
                choices=("number", "time"),
            ),
            "resize": Option(
                "sum",
                "sum keeps every event of 128x128 at its place in the smaller frame; nearest (the authors') keeps the "
                "events of every seventh pixel only",
                choices=("sum", "nearest"),
            ),
            "frames": Option(10, "T, frames of a recording", low=1),
            "size": Option(48, "side of the frames, in pixels", low=1),
        },
    )
}


def missing(dataset: Dataset, source: str, root: Path, options: dict[str, Any]) -> str | None:
    """One clause that says what is missing below ``root``, or None."""
    try:
        _recordings(root, whole=source == "tonic")
    except UserError as error:
        return f"{dataset.name}: {str(error).partition(';')[0]}"
    return None


def download(dataset: Dataset, root: Path) -> None:
    """Fetch and unpack the recordings by tonic, unless all of them are there."""
    reader = _reader()
    with fetching(dataset.name, reader.url, root):
        # tonic takes 1,000 recordings for enough and then leaves a cut-off unpacking as it is
        reader._check_exists = lambda self: _is_whole(root)
        reader(str(root))
    _require_filled(root, _recordings(root, whole=True), whole=True)


def _is_whole(root: Path) -> bool:
    try:
        _require_filled(root, _recordings(root, whole=True), whole=True)
    except UserError:
        return False
    return True


def prepare(dataset: Dataset, source: str, root: Path, options: dict[str, Any], folder: Path) -> "Manifest":
    """Write prepared data: counts of events, uint8 [N, T, 2, size, size]; channel 0 is OFF, channel 1 ON.

    Counts beyond 255 are clipped; how many were is part of the source's description.

    Raises:
        UserError: if recordings are missing or damaged, or the package ``aedat`` is.
    """
    from ternary_spike.data.prepared import Split, write_prepared

    if importlib.util.find_spec("aedat") is None:
        raise UserError("tonic reads CIFAR10-DVS with the package aedat but does not bring it; install aedat==2.3.0")
    by_class = _recordings(root, whole=source == "tonic")
    _require_filled(root, by_class, whole=source == "tonic")
    reader = _reader()
    reader._check_exists = lambda self: True  # more was checked above; without this it may turn to the network
    recordings = reader(str(root))
    if recordings.classes != {name: label for label, name in enumerate(CLASSES)}:
        raise UserError(f"this tonic numbers the classes of {FOLDER} differently; install the pinned version of tonic")
    # tonic lists the files of a folder as the disk gives them
    index_of = {Path(path): index for index, path in enumerate(recordings.data)}
    parts = [_parted(paths, options, label) for label, paths in enumerate(by_class)]
    frames = _Frames(recordings, options)
    splits, clipped = {}, 0
    for position, split in enumerate(("train", "test")):
        indices = [index_of[path] for part in parts for path in part[position]]
        images, labels, lost = _read(frames, indices, f"{dataset.name} {split}")
        splits[split], clipped = Split(images, labels), clipped + lost
    label = dataset.sources[source]
    if source == "subset":
        label = subset_label(label, {name: len(split) for name, split in splits.items()})
    described = {"kind": source, **options, "clipped_counts": clipped}
    if options["split"] != "random-tenth":
        del described["split_seed"]
    return write_prepared(folder, dataset.name, label, described, dataset.num_classes, splits)


def _reader() -> type:
    """tonic's class, free to be told when its files are whole."""
    from tonic import datasets

    return type(FOLDER, (datasets.CIFAR10DVS,), {})


def _recordings(root: Path, whole: bool) -> list[list[Path]]:
    """The recordings of each class by their numbers. Folders are listed, files are not touched.

    Raises:
        UserError: if a class or recording is missing or of another format; the message's first part, up to a semicolon,
            says what, its second part what to do.
    """
    folder = root / FOLDER
    cure = _cure(whole)
    found = []
    for name in CLASSES:
        class_folder = folder / name
        if not class_folder.is_dir():
            raise UserError(f"{class_folder} is missing; {cure}")
        files = list(class_folder.iterdir())
        paths = [path for path in files if path.suffix == SUFFIX]
        if not paths and any(path.suffix == ".aedat" for path in files):
            raise UserError(
                f"{class_folder} holds AEDAT 2.0 recordings (.aedat), but tonic reads AEDAT 4; {cure} to another folder"
            )
        if (whole and len(paths) != RECORDINGS) or len(paths) < 2:
            wanted = f"{RECORDINGS:,}" if whole else "at least 2"
            raise UserError(f"{class_folder} holds {len(paths):,} recordings, not {wanted}; {cure}")
        numbered = {}
        for path in paths:
            number = re.search(r"(\d+)$", path.stem)
            if number is None or int(number[1]) in numbered:
                raise UserError(f"{path} has no number of its own at the end of its name; {cure}")
            numbered[int(number[1])] = path
        found.append([numbered[number] for number in sorted(numbered)])
    return found


def _require_filled(root: Path, by_class: list[list[Path]], whole: bool) -> None:
    """Raise UserError if a recording is empty, or tonic would meet one outside of the classes' folders."""
    for path in (path for paths in by_class for path in paths):
        if path.stat().st_size == 0:
            raise UserError(f"{path} is empty; {_cure(whole)}")
    for path in (root / FOLDER).glob(f"**/*{SUFFIX}"):
        if path.parent.parent != root / FOLDER or path.parent.name not in CLASSES:
            raise UserError(f"{path} is in no class's folder; remove it")


def _cure(whole: bool) -> str:
    return "run `download --dataset cifar10dvs`, which unpacks its archive again" if whole else "copy the subset again"


def _parted(paths: list[Path], options: dict[str, Any], label: int) -> tuple[list[Path], list[Path]]:
    """A class's recordings, by number, as training and test part."""
    import torch

    share, where = SPLITS[options["split"]]
    count = max(1, round(share * len(paths)))
    if where == "random":
        generator = torch.Generator().manual_seed(1_000_003 * options["split_seed"] + label)
        chosen = set(torch.randperm(len(paths), generator=generator)[:count].tolist())
    else:
        chosen = set(range(count) if where == "first" else range(len(paths) - count, len(paths)))
    return (
        [path for index, path in enumerate(paths) if index not in chosen],
        [path for index, path in enumerate(paths) if index in chosen],
    )


@dataclass(frozen=True)
class _Frames:
    """Recordings as frames, in worker processes: index -> (uint8 [T, 2, size, size], label, clipped counts)."""

    recordings: Any
    options: dict[str, Any]

    def __getitem__(self, index: int) -> "tuple[Tensor, int, int] | str":
        import torch

        path = self.recordings.data[index]
        try:
            events, label = self.recordings[index]
        except (KeyboardInterrupt, SystemExit):
            raise
        # the reader's own, whatever they are, a panic of its compiled part too, which is no Exception; a worker's
        # traceback would hide the file
        except BaseException as error:
            return f"{path} cannot be read ({error}); copy it or download the dataset again"
        if any(((events[axis] < 0) | (events[axis] >= SENSOR)).any() for axis in ("x", "y")):
            return f"{path} has events outside of {SENSOR} x {SENSOR} pixels; copy it or download the dataset again"
        frames = to_frames(events, **{key: self.options[key] for key in ("frames", "size", "slicing", "resize")})
        if frames is None:
            return f"{path} has only {len(events)} events; download the dataset again"
        clipped = int((frames > 255).sum())
        return frames.clamp(max=255).to(torch.uint8), label, clipped


def to_frames(events: "np.ndarray", frames: int, size: int, slicing: str, resize: str) -> "Tensor | None":
    """A recording of 128x128 pixels as counts of events, int16 [frames, 2, size, size]; None if it has too few events.

    Args:
        events: structured array with t (microseconds), x, y, p, in the order of t.
        frames: how many.
        size: side of the frames in pixels.
        slicing: "number": equally many events each; "time": equal durations. tonic leaves out the remainder of the
            division, less than ``frames`` events or microseconds at the end.
        resize: "sum" or "nearest".
    """
    import torch
    from tonic import datasets, transforms
    from torch.nn import functional as F

    # aedat's array has a field with a title beside its name, which numpy cannot copy by name
    events = events.astype(datasets.CIFAR10DVS.dtype)
    if len(events) < frames or (slicing == "time" and events["t"][-1] - events["t"][0] < frames):
        return None
    sensor = datasets.CIFAR10DVS.sensor_size
    binning = {"n_event_bins": frames} if slicing == "number" else {"n_time_bins": frames}
    if resize == "sum":
        events = transforms.Downsample(sensor_size=sensor, target_size=(size, size))(events)
        sensor = (size, size, sensor[2])
    counts = torch.from_numpy(transforms.ToFrame(sensor_size=sensor, **binning)(events))
    if resize == "nearest":
        # the same pixels as floating-point interpolation picks, which int16 has none of
        picked = (
            F.interpolate(torch.arange(float(sensor[0])).view(1, 1, -1), size=size, mode="nearest").long().flatten()
        )
        counts = counts[:, :, picked][:, :, :, picked]
    return counts


def _read(frames: _Frames, indices: list[int], what: str) -> "tuple[Tensor, Tensor, int]":
    """Frames, labels and the number of clipped counts of the recordings with these indices, in their order."""
    import torch
    from torch.utils.data import DataLoader

    from ternary_spike.system.progress import watched

    loader = DataLoader(frames, batch_size=None, sampler=indices, num_workers=default_workers())
    images, labels, clipped, place = None, [], 0, -1
    try:
        for place, item in enumerate(watched(loader, what, "recording")):
            if isinstance(item, str):
                raise UserError(item)
            if images is None:
                images = torch.empty(len(indices), *item[0].shape, dtype=torch.uint8)
            images[place] = item[0]
            labels.append(item[1])
            clipped += item[2]
    except RuntimeError as error:  # what a DataLoader says when the system has killed one of its workers
        near = frames.recordings.data[indices[min(place + 1, len(indices) - 1)]]
        raise UserError(
            f"reading the recordings of {what} was cut off near {near} ({error}); give it more memory, or copy the "
            "recording again"
        ) from None
    return images, torch.tensor(labels), clipped
