"""CIFAR through torchvision's own classes, on files in their own layout; and the JPEG copy."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets

from ternary_spike import UserError
from ternary_spike.data.cifar import LAYOUTS
from ternary_spike.data.prepared import read_split
from ternary_spike.data.registry import availability, prepare
from tests.helpers.datasets import CIFAR_LAYOUT, write_cifar, write_md5sums

pytestmark = pytest.mark.usefixtures("no_network")
TORCHVISION = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}


def expect(tmp_path, dataset, source, *parts):
    """The one-line refusal of a preparation, which must contain these words."""
    with pytest.raises(UserError) as error:
        prepare(dataset, source, tmp_path, {}, tmp_path / "out")
    message = str(error.value)
    assert all(part in message for part in parts), message
    assert "\n" not in message
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_torchvision_reads_a_subset_in_its_own_layout(tmp_path, dataset):
    written = write_cifar(tmp_path, dataset, train=250, test=120)
    manifest = prepare(dataset, "subset", tmp_path, {}, tmp_path / "out")
    name = TORCHVISION[dataset].__name__.replace("CIFAR", "CIFAR-")
    assert manifest.label == f"{name} subset (250 + 120)"
    assert (manifest.num_classes, manifest.channels, manifest.image_size) == (
        100 if dataset == "cifar100" else 10,
        3,
        32,
    )
    assert len(manifest.source["md5"]) == len(CIFAR_LAYOUT[dataset][1]) + 2
    for split, (images, labels) in written.items():
        read = read_split(tmp_path / "out", split)
        assert np.array_equal(read.images.numpy(), images)
        assert np.array_equal(read.labels.numpy(), labels)


@pytest.fixture
def original(tmp_path, monkeypatch):
    """A tiny set whose checksums torchvision's own class is made to state, as it states the original's."""
    write_cifar(tmp_path, "cifar10", train=50, test=20)
    folder = tmp_path / "cifar-10-batches-py"
    md5s = dict(line.split("  ")[::-1] for line in (folder / "md5sums.txt").read_text().splitlines())
    reader = datasets.CIFAR10
    monkeypatch.setattr(reader, "train_list", [[name, md5s[name]] for name, _ in reader.train_list])
    monkeypatch.setattr(reader, "test_list", [[name, md5s[name]] for name, _ in reader.test_list])
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": md5s["batches.meta"]})
    return folder


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_what_is_looked_for_is_what_torchvision_reads(dataset):
    reader = TORCHVISION[dataset]
    listed = [name for name, _ in (*reader.train_list, *reader.test_list)]
    assert LAYOUTS[dataset] == (reader.base_folder, (*listed, reader.meta["filename"]))


def test_only_the_original_is_called_cifar10(tmp_path, original):
    assert prepare("cifar10", None, tmp_path, {}, tmp_path / "out").label == "CIFAR-10"


def test_another_set_in_the_originals_place_is_refused(tmp_path):
    write_cifar(tmp_path, "cifar10", train=50, test=20)
    expect(
        tmp_path, "cifar10", "torchvision", "data_batch_1", "md5 is not c99cafc1", "run `download --dataset cifar10`"
    )


def test_a_truncated_batch_is_refused_before_it_is_opened(tmp_path, original):
    batch = original / "data_batch_3"
    batch.write_bytes(batch.read_bytes()[:-1])
    expect(tmp_path, "cifar10", "torchvision", str(batch), "damaged", "delete it and run `download")


def test_half_an_unpacking_is_refused(tmp_path, original):
    (original / "test_batch").unlink()
    expect(tmp_path, "cifar10", "torchvision", str(original / "test_batch"), "missing", "run `download")


def test_a_damaged_subset_is_refused(tmp_path):
    write_cifar(tmp_path, "cifar10", train=50, test=20)
    folder = tmp_path / "cifar-10-batches-py"
    batch = folder / "test_batch"
    batch.write_bytes(batch.read_bytes() + b"x")
    expect(tmp_path, "cifar10", "subset", str(batch), "damaged", "copy it again")
    (folder / "md5sums.txt").write_text("no checksums")
    expect(tmp_path, "cifar10", "subset", "md5sums.txt", "not a list of md5", "md5sum *")
    batch.unlink()
    write_md5sums(folder)
    expect(tmp_path, "cifar10", "subset", "does not list", "test_batch")
    (folder / "md5sums.txt").unlink()
    expect(tmp_path, "cifar10", "subset", "md5sums.txt", "cannot be read")


@pytest.mark.parametrize("label", [-1, 10, True, 3.0, "3", None])
def test_a_label_that_is_no_class_is_refused(tmp_path, label):
    write_cifar(tmp_path, "cifar10", train=50, test=20)
    folder = tmp_path / "cifar-10-batches-py"
    batch = folder / "data_batch_2"
    content = pickle.loads(batch.read_bytes(), encoding="latin1")
    content["labels"][1] = label
    batch.write_bytes(pickle.dumps(content))
    write_md5sums(folder)
    expect(tmp_path, "cifar10", "subset", str(batch), "as many labels from 0 to 9", "write its batches again")


def test_the_plan_names_what_is_missing_and_the_one_setting(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    assert availability("cifar10", root=tmp_path) is None  # it will be downloaded
    reason = availability("cifar10", root=tmp_path, offline=True)
    assert str(folder) in reason and reason.endswith("; set offline: false to have it downloaded")
    assert availability("cifar10", "jpeg-npz", tmp_path) == (
        f"cifar10: {tmp_path} has no train.npz, no test.npz; complete it or correct data.cifar10.root"
    )
    assert availability("cifar10", "subset", tmp_path).endswith(
        "has no md5sums.txt; complete it or correct data.cifar10.root"
    )
    write_cifar(tmp_path, "cifar10", train=50, test=20)
    assert availability("cifar10", root=tmp_path, offline=True) is None
    assert availability("cifar10", "subset", tmp_path, offline=True) is None


def test_a_wrong_jpeg_copy_is_refused(tmp_path):
    expect(tmp_path, "cifar10", "jpeg-npz", "train.npz is missing")
    np.savez(tmp_path / "train.npz", header=np.zeros(1, np.uint8))
    expect(tmp_path, "cifar10", "jpeg-npz", "train.npz is not the JPEG copy", "sha256")


@pytest.mark.full
@pytest.mark.skipif("TERNARY_SPIKE_DATA" not in os.environ, reason="TERNARY_SPIKE_DATA names no folder of real data")
def test_the_jpeg_copy(tmp_path):
    source = Path(os.environ["TERNARY_SPIKE_DATA"]) / "cifar10-jpeg"
    manifest = prepare("cifar10", "jpeg-npz", source, {}, tmp_path / "out")
    assert manifest.label == "CIFAR-10 (JPEG copy)"
    train, test = (read_split(tmp_path / "out", split) for split in ("train", "test"))
    assert train.labels.bincount().tolist() == [5000] * 10
    assert test.labels.bincount().tolist() == [1000] * 10
    # known of the whole set, in RGB order and channel by channel
    mean = torch.stack([channel.double().mean() for channel in train.images.unbind(1)]) / 255
    assert mean.tolist() == pytest.approx([0.4913, 0.4821, 0.4465], abs=1e-4)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for split in ("train", "test"):
        content = (source / f"{split}.npz").read_bytes()
        (damaged / f"{split}.npz").write_bytes(content[:-1] + b"x" if split == "test" else content)
    expect(damaged, "cifar10", "jpeg-npz", "test.npz is not the JPEG copy")
