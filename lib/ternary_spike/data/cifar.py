"""CIFAR-10 and CIFAR-100, read by torchvision; and CIFAR-10 from a copy in which every picture is a JPEG.

The copy's pictures are about 29 dB from the originals, so whatever is made from it is labelled
"CIFAR-10 (JPEG copy)". Its two npz files hold ``header`` (the JPEG header that all pictures share), ``scans`` (what
follows it, one picture after another), ``lengths`` (bytes of each scan) and ``labels`` in torchvision's class order.

A subset is any smaller set in torchvision's own layout, with a file ``md5sums.txt`` beside its batches (as ``md5sum``
writes it). The batches are pickles: whatever their checksums, torchvision opens them only after they were found to hold
nothing but numbers and text.
"""

import io
import pickle
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ternary_spike.data.dataset import Dataset, subset_label
from ternary_spike.data.fetching import fetching
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import sha256_of

if TYPE_CHECKING:  # a job of the workflow asks what there is when it starts, and must not wait for torch
    from torch import Tensor

    from ternary_spike.data.prepared import Manifest, Split

# of the files, not of the decoded pictures: those depend on the JPEG decoder
JPEG_COPY_SHA256 = {
    "train": "1973a5bf29de032fcb57045f0c24490f2c8a04f2df46488da645d2fcd6499e01",
    "test": "fa4cd3f0544f1fafe0f54bb05b24a3fccdad81396697ee401ffa45c7c3b227f6",
}
MD5SUMS = "md5sums.txt"
# what numpy's arrays ask for when they are unpickled, by old and new versions of it
ARRAYS = {
    ("_codecs", "encode"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *((f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
}
# torchvision's folder of each dataset, below the root, and the files in it; torchvision itself takes seconds to import,
# and whoever only asks whether they are there must not wait for it
LAYOUTS = {
    "cifar10": ("cifar-10-batches-py", (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta")),
    "cifar100": ("cifar-100-python", ("train", "test", "meta")),
}
ROOTS = {
    "torchvision": "the folder that holds, or will hold, torchvision's folder of batches",
    "subset": "the folder that holds a smaller set in torchvision's layout",
    "jpeg-npz": "the folder that holds train.npz and test.npz",
}
_dataset = partial(
    Dataset, channels=3, image_size=32, train_samples=50_000, test_samples=10_000, downloadable=("torchvision",)
)

DATASETS = {
    "cifar10": _dataset(
        name="cifar10",
        label="CIFAR-10",
        num_classes=10,
        sources={"torchvision": "CIFAR-10", "jpeg-npz": "CIFAR-10 (JPEG copy)", "subset": "CIFAR-10 subset"},
    ),
    "cifar100": _dataset(
        name="cifar100",
        label="CIFAR-100",
        num_classes=100,
        sources={"torchvision": "CIFAR-100", "subset": "CIFAR-100 subset"},
    ),
}


def missing(dataset: Dataset, source: str, root: Path, options: dict[str, Any]) -> str | None:
    """One clause that says what is missing below ``root``, or None."""
    if source == "jpeg-npz":
        folder, wanted = root, tuple(f"{split}.npz" for split in JPEG_COPY_SHA256)
    else:
        below, files = LAYOUTS[dataset.name]
        folder, wanted = root / below, files if source == "torchvision" else (MD5SUMS,)
    absent = [name for name in wanted if not (folder / name).is_file()]
    return f"{dataset.name}: {folder} has no {', no '.join(absent)}" if absent else None


def download(dataset: Dataset, root: Path) -> None:
    """Fetch the batches by torchvision, unless they are there with the right checksums."""
    reader = _reader(dataset)
    with fetching(dataset.name, reader.url, root):
        reader(root, download=True)


def prepare(dataset: Dataset, source: str, root: Path, options: dict[str, Any], folder: Path) -> "Manifest":
    """Write prepared data, uint8 [N, 3, 32, 32].

    Raises:
        UserError: if files are missing or their checksums are wrong.
    """
    from ternary_spike.data.prepared import write_prepared

    label, described = dataset.sources[source], {"kind": source}
    if source == "jpeg-npz":
        _require_jpeg_copy(root)
        splits = {split: _read_jpeg_copy(root / f"{split}.npz") for split in ("train", "test")}
        described["sha256"] = JPEG_COPY_SHA256
    else:
        reader = _reader(dataset)
        if source == "subset":
            reader = _with_own_md5s(reader, root)
        _require_intact(dataset, reader, root, source)
        _require_plain(reader, root, dataset.num_classes)
        splits = {split: _read_batches(reader, root, split == "train") for split in ("train", "test")}
        described["md5"] = _checksums(reader)
        if source == "subset":
            label = subset_label(label, {split: len(data) for split, data in splits.items()})
    return write_prepared(folder, dataset.name, label, described, dataset.num_classes, splits)


def _reader(dataset: Dataset) -> type:
    from torchvision import datasets

    return {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[dataset.name]


def _checksums(reader: type) -> dict[str, str]:
    return dict([*reader.train_list, *reader.test_list, (reader.meta["filename"], reader.meta["md5"])])


def _with_own_md5s(reader: type, root: Path) -> type:
    """torchvision's class with a subset's batches and checksums in place of the original's: its own way to vary."""
    path = root / reader.base_folder / MD5SUMS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); write it with `md5sum * > {MD5SUMS}`") from None
    md5s = {}
    for line in lines:
        match = re.fullmatch(r"([0-9a-f]{32}) [ *](\S+)", line)
        if not match:
            raise UserError(f"{path} is not a list of md5 checksums: {line!r}; write it with `md5sum * > {MD5SUMS}`")
        md5s[match[2]] = match[1]
    meta = reader.meta["filename"]

    def listed(original: list) -> list[list[str]]:
        return [[name, md5s[name]] for name, _ in original if name in md5s]

    if meta not in md5s or not listed(reader.train_list) or not listed(reader.test_list):
        wanted = f"{meta}, one of {', '.join(name for name, _ in reader.train_list)} and {reader.test_list[0][0]}"
        raise UserError(f"{path} does not list {wanted}; write those files first")
    contents = {
        "train_list": listed(reader.train_list),
        "test_list": listed(reader.test_list),
        "meta": {**reader.meta, "md5": md5s[meta]},
    }
    return type("Subset", (reader,), contents)


def _require_intact(dataset: Dataset, reader: type, root: Path, source: str) -> None:
    """torchvision checks the same, but says of anything wrong only "not found or corrupted"."""
    from torchvision.datasets.utils import check_integrity

    folder = root / reader.base_folder
    cure = f"run `download --dataset {dataset.name}`" if source == "torchvision" else "copy it again"
    for name, md5 in _checksums(reader).items():
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing; {cure}, or correct the root of {dataset.name}")
        if not check_integrity(str(folder / name), md5):
            raise UserError(f"{folder / name} is damaged or another file: its md5 is not {md5}; delete it and {cure}")


class _PlainUnpickler(pickle.Unpickler):
    """Unpickles containers, text and arrays of numbers; refuses whatever else a pickle could call."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ARRAYS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def _require_plain(reader: type, root: Path, classes: int) -> None:
    """Raise UserError unless batches hold pictures and labels, their list of names names, and nothing of it runs."""
    for name in _checksums(reader):
        path = root / reader.base_folder / name
        try:
            with path.open("rb") as file:
                content = _PlainUnpickler(file, encoding="latin1").load()
            fits = _is_names(content, reader) if name == reader.meta["filename"] else _is_batch(content, classes)
        except Exception as error:  # a pickle can raise anything
            raise UserError(f"{path} holds more than pictures or is damaged: {error}; do not use it") from None
        if not fits:
            raise UserError(
                f"{path} is not what torchvision writes: pictures of 3,072 bytes and as many labels from 0 to "
                f"{classes - 1}, or names; write its batches again"
            )


def _is_names(content: Any, reader: type) -> bool:
    names = content.get(reader.meta["key"]) if isinstance(content, dict) else None
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


def _is_batch(content: Any, classes: int) -> bool:
    import numpy as np

    if not isinstance(content, dict):
        return False
    data, labels = content.get("data"), content.get("labels", content.get("fine_labels"))
    return (
        isinstance(data, np.ndarray)
        and (data.dtype, data.shape[1:]) == (np.uint8, (3 * 32 * 32,))
        and isinstance(labels, list)
        and len(labels) == len(data)
        and all(type(label) is int and 0 <= label < classes for label in labels)  # True is an int
    )


def _read_batches(reader: type, root: Path, train: bool) -> "Split":
    import torch

    from ternary_spike.data.prepared import Split

    try:
        data = reader(root, train=train)
    except RuntimeError as error:
        raise UserError(f"{root / reader.base_folder} cannot be read by torchvision: {error}") from None
    return Split(torch.from_numpy(data.data).permute(0, 3, 1, 2), torch.tensor(data.targets))


def _require_jpeg_copy(root: Path) -> None:
    for split, sha256 in JPEG_COPY_SHA256.items():
        path = root / f"{split}.npz"
        if not path.is_file():
            raise UserError(f"{path} is missing; point the root of source jpeg-npz at {ROOTS['jpeg-npz']}")
        if sha256_of(path) != sha256:
            raise UserError(f"{path} is not the JPEG copy: its sha256 is another one; copy the file again")


def _read_jpeg_copy(path: Path) -> "Split":
    import numpy as np
    import torch

    from ternary_spike.data.prepared import Split

    with np.load(path, allow_pickle=False) as content:
        header, scans = content["header"].tobytes(), content["scans"].tobytes()
        ends = content["lengths"].astype(np.int64).cumsum()
        labels = torch.from_numpy(content["labels"].astype(np.int64))
    starts = np.concatenate([[0], ends[:-1]])
    pictures = [_decoded(header + scans[start:end]) for start, end in zip(starts, ends, strict=True)]
    return Split(torch.stack(pictures), labels)


def _decoded(jpeg: bytes) -> "Tensor":
    """A JPEG file's picture, uint8 [3, H, W]."""
    import numpy as np
    import torch
    from PIL import Image

    pixels = np.array(Image.open(io.BytesIO(jpeg)).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)
