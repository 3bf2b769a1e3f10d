"""Prepared data: written and read, and everything refused that is not what was written."""

import json
from pathlib import Path

import pytest
import torch

from ternary_spike import UserError
from ternary_spike.data.prepared import Split, read_manifest, read_split, write_prepared
from ternary_spike.system.files import read_json


def splits(shape=(3, 4, 4), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: Split(torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8), torch.arange(count))
        for name, count in (("train", 6), ("test", 3))
    }


@pytest.mark.parametrize(("shape", "frames"), [((3, 4, 4), None), ((5, 2, 4, 4), 5)])
def test_what_is_written_is_read(tmp_path, shape, frames):
    data = splits(shape)
    manifest = write_prepared(tmp_path, "x", "X", {"kind": "k"}, 6, data)
    assert read_manifest(tmp_path) == manifest
    assert (manifest.channels, manifest.image_size, manifest.frames) == (shape[-3], 4, frames)
    for name in ("train", "test"):
        read = read_split(tmp_path, name)
        assert torch.equal(read.images, data[name].images)
        assert torch.equal(read.labels, data[name].labels)


def test_the_checksum_is_that_of_the_content(tmp_path):
    checksums = [
        write_prepared(tmp_path / str(i), "x", "X", {}, 6, splits(seed=seed)).checksum
        for i, seed in enumerate((0, 0, 1))
    ]
    assert checksums[0] == checksums[1] != checksums[2]


def test_a_changed_file_is_refused(tmp_path):
    write_prepared(tmp_path, "x", "X", {}, 6, splits())
    path = tmp_path / "train.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match="sha256"):
        read_split(tmp_path, "train")
    assert len(read_split(tmp_path, "test")) == 3


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"checksum": "0"}, "contradicts itself"),
        ({"splits": {}}, "contradicts itself"),
        ({"splits": {"train": {"file": "x"}}}, "not a manifest"),
        ({"colour": 1}, "not a manifest"),
        ({"num_classes": 2}, "does not hold what manifest.json says"),
    ],
)
def test_a_changed_manifest_is_refused(tmp_path, change, problem):
    write_prepared(tmp_path, "x", "X", {}, 6, splits())
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(read_json(path) | change))  # without a seal: what it says is checked all the same
    with pytest.raises(UserError, match=problem):
        read_split(tmp_path, "train")


def test_no_data_and_no_split(tmp_path):
    with pytest.raises(UserError, match=r"manifest\.json is missing"):
        read_split(tmp_path, "train")
    write_prepared(tmp_path, "x", "X", {}, 6, splits())
    with pytest.raises(UserError, match="no split 'val', only train, test"):
        read_split(tmp_path, "val")


def test_an_interrupted_preparation_is_never_taken_for_a_whole_one(tmp_path, monkeypatch):
    write_prepared(tmp_path, "x", "X", {}, 6, splits())
    data = splits(seed=1)
    data["test"] = None  # whatever stops it on its way
    before = read_manifest(tmp_path)
    with pytest.raises(AttributeError):
        write_prepared(tmp_path, "x", "X", {}, 6, data)
    # the old one is whole
    assert read_manifest(tmp_path) == before and len(read_split(tmp_path, "test")) == before.splits["test"]["samples"]
    assert not list(tmp_path.glob(".*"))
    moved, move = [], Path.replace

    def cut_off(path, target):  # between two of the files
        if moved:
            raise OSError(28, "No space left on device")
        moved.append(target)
        return move(path, target)

    monkeypatch.setattr(
        Path, "replace", lambda path, to: cut_off(path, to) if to.parent == tmp_path else move(path, to)
    )
    with pytest.raises(UserError, match="cannot write"):
        write_prepared(tmp_path, "x", "X", {}, 6, splits(seed=1))
    with pytest.raises(UserError, match=r"manifest\.json is missing"):
        read_manifest(tmp_path)
