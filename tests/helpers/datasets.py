"""Writers of tiny datasets in the real formats: CIFAR's pickles, AEDAT 4 recordings, folders of JPEG pictures."""

import hashlib
import pickle
import struct
from pathlib import Path

import flatbuffers
import numpy as np
from PIL import Image

CIFAR_LAYOUT = {
    # folder, batches of the training set, of the test set, meta file, its key, key of the labels
    "cifar10": (
        "cifar-10-batches-py",
        [f"data_batch_{number}" for number in range(1, 6)],
        "test_batch",
        "batches.meta",
        "label_names",
        "labels",
    ),
    "cifar100": ("cifar-100-python", ["train"], "test", "meta", "fine_label_names", "fine_labels"),
}
DVS_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SENSOR = 128


def write_cifar(root: Path, dataset: str, train: int, test: int, seed: int = 0) -> dict[str, tuple]:
    """CIFAR in torchvision's layout, with ``md5sums.txt``; each class has a colour and position of its own.

    Returns:
        "train" and "test": pictures, uint8 [N, 3, 32, 32], and labels.
    """
    folder_name, train_batches, test_batch, meta, meta_key, label_key = CIFAR_LAYOUT[dataset]
    classes = 100 if dataset == "cifar100" else 10
    folder = root / folder_name
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    written = {}
    for split, count, batches in (("train", train, train_batches), ("test", test, [test_batch])):
        labels = np.arange(count) % classes
        images = rng.integers(0, 100, (count, 3, 32, 32), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            row, column = divmod(label % 10, 4)
            image[label % 3, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 120 + label
        written[split] = images, labels
        for name, part in zip(batches, np.array_split(np.arange(count), len(batches)), strict=True):
            content = {"data": images[part].reshape(len(part), -1), label_key: labels[part].tolist()}
            (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    (folder / meta).write_bytes(pickle.dumps({meta_key: [f"class{i}" for i in range(classes)]}, protocol=2))
    write_md5sums(folder)
    return written


def write_md5sums(folder: Path) -> None:
    """``md5sums.txt`` as ``md5sum`` writes it, of all files of a folder."""
    files = sorted(path for path in folder.iterdir() if path.name != "md5sums.txt")
    lines = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (folder / "md5sums.txt").write_text("".join(lines))


def simulated_events(picture: np.ndarray, rng: np.random.Generator, steps: int = 24) -> np.ndarray:
    """Events of a 128x128 sensor before which a picture, values in 0..1, moves round a square.

    A pixel fires whenever its logarithmic brightness has changed by a threshold since it last fired: the principle of a
    dynamic vision sensor.

    Returns:
        Structured array of t (microseconds, ascending), x, y, p.
    """
    threshold, reference = 0.4, np.log(picture + 0.1)
    found = []
    for step in range(1, steps + 1):
        leg, along = divmod(step * 4 * 5 // steps, 5)
        down, right = [(0, along), (along, 5), (5, 5 - along), (5 - along, 0), (0, 0)][leg]
        brightness = np.log(np.roll(picture, (down, right), (0, 1)) + 0.1)
        change = brightness - reference
        for polarity, mask in ((True, change >= threshold), (False, change <= -threshold)):
            y, x = np.nonzero(mask)
            t = step * 3000 + rng.integers(0, 3000, len(x))
            found.append(np.rec.fromarrays([t, x, y, np.full(len(x), polarity)], names="t,x,y,p"))
        fired = np.abs(change) >= threshold
        reference = np.where(fired, brightness, reference)
    events = np.concatenate(found)
    return events[np.argsort(events["t"], kind="stable")]


def write_aedat4(path: Path, events: np.ndarray, packet: int = 1000) -> None:
    """An uncompressed AEDAT 4 recording: header, flatbuffer "IOHE", then packets of flatbuffers "EVTS"."""
    streams = (
        '<dv version="2.0"><node name="outInfo" path="/mainloop/Recorder/outInfo/">'
        '<node name="0" path="/mainloop/Recorder/outInfo/0/">'
        '<attr key="typeIdentifier" type="string">EVTS</attr>'
        '<node name="info" path="/mainloop/Recorder/outInfo/0/info/">'
        f'<attr key="sizeX" type="int">{SENSOR}</attr><attr key="sizeY" type="int">{SENSOR}</attr>'
        "</node></node></node></dv>"
    )
    builder = flatbuffers.Builder()
    text = builder.CreateString(streams)
    builder.StartObject(3)
    builder.PrependInt32Slot(0, 0, 1)  # no compression; the default differs so that the field is written
    builder.PrependInt64Slot(1, -1, 0)  # no table of packets
    builder.PrependUOffsetTRelativeSlot(2, text, 0)
    builder.FinishSizePrefixed(builder.EndObject(), b"IOHE")
    content = [b"#!AER-DAT4.0\r\n", bytes(builder.Output())]
    for start in range(0, len(events), packet):
        part = events[start : start + packet]
        builder = flatbuffers.Builder()
        builder.StartVector(16, len(part), 8)
        for event in part[::-1]:  # flatbuffers are built from the back
            builder.Prep(8, 16)
            builder.Pad(3)
            builder.PrependBool(bool(event["p"]))
            builder.PrependInt16(int(event["y"]))
            builder.PrependInt16(int(event["x"]))
            builder.PrependInt64(int(event["t"]))
        vector = builder.EndVector()
        builder.StartObject(1)
        builder.PrependUOffsetTRelativeSlot(0, vector, 0)
        builder.FinishSizePrefixed(builder.EndObject(), b"EVTS")
        payload = bytes(builder.Output())
        content += [struct.pack("<ii", 0, len(payload)), payload]
    path.write_bytes(b"".join(content))


def write_dvs(root: Path, recordings: int, seed: int = 0, first: int = 0) -> None:
    """CIFAR10-DVS in tonic's layout: for each class, recordings of a bright rectangle that is the class's own."""
    rng = np.random.default_rng(seed)
    for label, name in enumerate(DVS_CLASSES):
        folder = root / "CIFAR10DVS" / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(first, first + recordings):
            picture = rng.uniform(0, 0.05, (SENSOR, SENSOR))
            row, column = divmod(label, 4)
            picture[30 * row + 20 : 30 * row + 40, 30 * column + 10 : 30 * column + 25] += rng.uniform(0.6, 0.9)
            write_aedat4(folder / f"cifar10_{name}_{number}.aedat4", simulated_events(picture, rng))


def write_imagefolder(root: Path, classes: list[str], train: int, val: int, seed: int = 0) -> None:
    """JPEG pictures of varying size in train/<class>/ and val/<class>/, every fifth one greyscale."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", train), ("val", val)):
        for label, name in enumerate(classes):
            folder = root / split / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                height, width = rng.integers(40, 90, 2)
                pixels = rng.integers(0, 60, (height, width, 3)) + np.array([20 * label % 190, 60, 30 * label % 170])
                picture = Image.fromarray(pixels.astype(np.uint8))
                if number % 5 == 4:
                    picture = picture.convert("L")
                picture.save(folder / f"{name}_{number}.JPEG", quality=90)
