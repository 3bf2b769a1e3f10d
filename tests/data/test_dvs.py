"""CIFAR10-DVS through tonic's own class, on AEDAT 4 recordings of simulated events."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from tonic import datasets

from ternary_spike import UserError
from ternary_spike.data import dvs
from ternary_spike.data.dvs import to_frames
from ternary_spike.data.prepared import read_split
from ternary_spike.data.registry import availability, prepare
from tests.helpers.datasets import DVS_CLASSES, simulated_events, write_aedat4, write_dvs

pytestmark = pytest.mark.usefixtures("no_network")
PER_CLASS = 11


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Eleven recordings a class, so that their numbers sort differently as text; not to be written to."""
    root = tmp_path_factory.mktemp("dvs")
    write_dvs(root, PER_CLASS)
    return root


@pytest.fixture
def own(tmp_path):
    """Two recordings a class, to be damaged."""
    write_dvs(tmp_path, 2)
    return tmp_path / "CIFAR10DVS"


def expect(root, *parts, source="subset"):
    with pytest.raises(UserError) as error:
        prepare("cifar10dvs", source, root, {}, root / "out")
    message = str(error.value)
    assert all(part in message for part in parts), message
    assert "\n" not in message
    assert not (root / "out" / "manifest.json").exists()


def own_frames(root, name, number, frames=10, size=48):
    """A recording's frames by number and sum, counted event by event."""
    from tonic.io import read_aedat4

    events = read_aedat4(str(root / "CIFAR10DVS" / name / f"cifar10_{name}_{number}.aedat4"))
    counts = np.zeros((frames, 2, size, size), dtype=np.uint8)
    share = len(events) // frames
    for place in range(share * frames):
        _, x, y, p = events[place].item()
        counts[place // share, int(p), y * size // 128, x * size // 128] += 1
    return torch.from_numpy(counts)


def test_frames_labels_and_order(recordings, tmp_path):
    manifest = prepare("cifar10dvs", "subset", recordings, {}, tmp_path)
    assert manifest.label == "CIFAR10-DVS subset (100 + 10)"
    assert (manifest.channels, manifest.image_size, manifest.frames, manifest.num_classes) == (2, 48, 10, 10)
    assert manifest.source == {
        "kind": "subset", "split": "last-tenth", "slicing": "number", "resize": "sum", "frames": 10, "size": 48,
        "clipped_counts": 0,
    }  # fmt: skip
    train, test = (read_split(tmp_path, split) for split in ("train", "test"))
    assert train.labels.tolist() == [label for label in range(10) for _ in range(PER_CLASS - 1)]
    assert test.labels.tolist() == list(range(10))
    # whatever order the disk lists them in, recordings stand by number: 10 comes after 9, and not after 1
    assert torch.equal(train.images[60 + 2], own_frames(recordings, "frog", 2))
    assert torch.equal(train.images[60 + 9], own_frames(recordings, "frog", 9))
    assert torch.equal(test.images[6], own_frames(recordings, "frog", 10))


@pytest.mark.parametrize(
    ("split", "held_out"),
    [("last-tenth", [10]), ("first-tenth", [0]), ("last-three-tenths", [8, 9, 10]), ("random-tenth", None)],
)
def test_splits(recordings, tmp_path, split, held_out):
    seeds = (1, 2) if held_out is None else (1,)
    chosen = []
    for seed in seeds:
        folder = tmp_path / str(seed)
        manifest = prepare("cifar10dvs", "subset", recordings, {"split": split, "split_seed": str(seed)}, folder)
        assert manifest.source["split"] == split
        assert ("split_seed" in manifest.source) == (split == "random-tenth")
        train, test = (read_split(folder, name) for name in ("train", "test"))
        assert len(train) + len(test) == 10 * PER_CLASS
        assert len(torch.cat([train.images, test.images]).flatten(1).unique(dim=0)) == 10 * PER_CLASS
        assert test.labels.bincount().tolist() == [len(test) // 10] * 10
        chosen.append(test.images)
    if held_out is None:
        assert not torch.equal(*chosen)
    else:
        expected = torch.stack([own_frames(recordings, "airplane", number) for number in held_out])
        assert torch.equal(chosen[0][: len(held_out)], expected)


def events_at(t, x, y, p):
    dtype = datasets.CIFAR10DVS.dtype
    return np.array(list(zip(t, x, y, p, strict=True)), dtype=dtype)


def test_slicing_by_number_and_by_time():
    # eight events in the first microseconds, two at the end: equal numbers and equal durations part them differently
    events = events_at([*range(8), 90, 100], [0] * 10, [0] * 10, [True] * 10)
    by_number = to_frames(events, 2, 128, "number", "sum")
    by_time = to_frames(events, 2, 128, "time", "sum")
    assert by_number[:, 1, 0, 0].tolist() == [5, 5]
    # tonic leaves out the event at the very end of the last bin
    assert by_time[:, 1, 0, 0].tolist() == [8, 1]
    assert by_number[:, 0].sum() == 0


def test_summing_keeps_every_event_and_nearest_the_authors_pixels():
    events = simulated_events(np.random.default_rng(0).uniform(0, 1, (128, 128)), np.random.default_rng(1))
    events = events[: len(events) // 10 * 10]
    summed = to_frames(events, 10, 48, "number", "sum")
    nearest = to_frames(events, 10, 48, "number", "nearest")
    whole = to_frames(events, 10, 128, "number", "sum")
    assert summed.sum() == whole.sum() == len(events)
    resized = torch.nn.functional.interpolate(whole.float(), size=(48, 48), mode="nearest")
    assert torch.equal(nearest.float(), resized)
    assert nearest.sum() < 0.2 * len(events)
    # x is the column, y the row, ON the second channel
    one = to_frames(events_at([1, 2], [127, 127], [0, 0], [True, True]), 1, 48, "number", "sum")
    assert one.nonzero().tolist() == [[0, 1, 0, 47]]


def test_counts_beyond_a_byte_are_clipped_and_counted(own, tmp_path):
    busy = np.rec.fromarrays(
        [np.arange(6000), np.full(6000, 5), np.full(6000, 7), np.full(6000, True)], names="t,x,y,p"
    )
    write_aedat4(own / "cat" / "cifar10_cat_0.aedat4", busy)
    manifest = prepare("cifar10dvs", "subset", tmp_path, {}, tmp_path / "out")
    assert manifest.source["clipped_counts"] == 10
    assert read_split(tmp_path / "out", "train").images[3].amax() == 255


def test_truncated_recordings_are_refused_by_name(own, tmp_path):
    path = own / "frog" / "cifar10_frog_1.aedat4"
    path.write_bytes(path.read_bytes()[:-100])
    expect(tmp_path, str(path), "cannot be read", "download the dataset again")
    path.write_bytes(b"")
    expect(tmp_path, str(path), "is empty")
    write_aedat4(path, simulated_events(np.zeros((128, 128)), np.random.default_rng(0)))
    expect(tmp_path, str(path))


def test_missing_and_misplaced_recordings_are_refused(own, tmp_path):
    stray = own / "bird2" / "cifar10_bird_1.aedat4"
    stray.parent.mkdir()
    (own / "bird" / stray.name).rename(stray)
    expect(tmp_path, str(own / "bird"), "holds 1 recordings, not at least 2")
    (own / "bird" / "cifar10_bird_2.aedat4").write_bytes(stray.read_bytes())
    expect(tmp_path, str(stray), "in no class's folder", "remove it")
    stray.rename(own / "bird" / "bird.aedat4")
    expect(tmp_path, "bird.aedat4", "no number of its own")
    for path in (own / "bird").iterdir():
        path.rename(path.with_suffix(".aedat"))
    expect(tmp_path, "AEDAT 2.0")


def test_tonic_alone_would_take_half_an_unpacking(own, tmp_path, monkeypatch):
    """1,000 recordings and any file in the archive's place satisfy tonic; the original must be 10 x 1,000 here."""
    (own / "CIFAR10DVS.zip").touch()
    monkeypatch.setattr(datasets.CIFAR10DVS, "_folder_contains_at_least_n_files_of_type", lambda *_: True)
    assert len(datasets.CIFAR10DVS(str(tmp_path))) == 20
    expect(tmp_path, "holds 2 recordings, not 1,000", "run `download --dataset cifar10dvs`", source="tonic")
    assert "set offline: false" in availability("cifar10dvs", None, tmp_path, offline=True)
    monkeypatch.setattr(dvs, "RECORDINGS", 2)
    assert prepare("cifar10dvs", None, tmp_path, {}, tmp_path / "out").label == "CIFAR10-DVS"
    assert availability("cifar10dvs", None, tmp_path, offline=True) is None


def test_the_missing_package_is_named_before_anything_is_read(own, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "aedat" else found(name))
    expect(tmp_path, "package aedat", "install aedat==2.3.0")


def test_the_pinned_aedat_is_the_one_that_the_message_names():
    pyproject = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert '"aedat==2.3.0"' in pyproject


def test_another_order_of_classes_in_tonic_is_refused(own, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.CIFAR10DVS, "classes", {name: 9 - label for label, name in enumerate(DVS_CLASSES)})
    expect(tmp_path, "numbers the classes", "pinned version of tonic")


def test_the_order_of_the_disk_is_of_no_effect(own, tmp_path, monkeypatch):
    first = prepare("cifar10dvs", "subset", tmp_path, {}, tmp_path / "out")
    walk = os.walk
    monkeypatch.setattr(
        os, "walk", lambda top: ((path, dirs, sorted(files, reverse=True)) for path, dirs, files in walk(top))
    )
    second = prepare("cifar10dvs", "subset", tmp_path, {}, tmp_path / "out2")
    assert first.checksum == second.checksum
