"""Nothing that is read runs code: a pickle in a file's place is refused and stays a heap of bytes."""

import hashlib
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from ternary_spike import UserError
from ternary_spike.data import cifar, registry
from ternary_spike.data.prepared import read_split
from ternary_spike.system.files import read_tensors, sha256_of
from ternary_spike.training import checkpoints
from tests.helpers.datasets import write_cifar
from tests.helpers.tiny import prepare_tiny


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def plainly(payload: Payload) -> bytes:
    return pickle.dumps(payload)


def by_torch(payload: Payload) -> bytes:
    stream = io.BytesIO()
    torch.save({"images": payload}, stream)
    return stream.getvalue()


def by_numpy(payload: Payload) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, header=np.array([payload], dtype=object))
    return stream.getvalue()


@pytest.fixture
def marker(tmp_path):
    path = tmp_path / "code was run"
    yield path
    assert not path.exists()


@pytest.mark.parametrize("form", [plainly, by_torch, by_numpy])
def test_a_pickle_in_a_file_s_place_is_refused(tmp_path, marker, form):
    content = form(Payload(marker))
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(content)
    with pytest.raises(UserError, match=r"weights\.safetensors"):
        read_tensors(weights)
    with pytest.raises(UserError, match=r"weights\.safetensors"):
        read_tensors(weights, sha256_of(weights))  # even one with the right checksum
    (tmp_path / checkpoints.FILE).write_bytes(content)
    with pytest.raises(UserError, match=checkpoints.FILE):
        checkpoints.load(tmp_path)
    data = prepare_tiny(tmp_path / "data")
    (data / "train.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"train\.safetensors"):
        read_split(data, "train")


def test_pickles_of_datasets_are_opened_only_with_the_right_checksum(tmp_path, marker, monkeypatch):
    write_cifar(tmp_path, "cifar10", train=20, test=10)
    batch = tmp_path / "cifar-10-batches-py" / "data_batch_1"
    batch.write_bytes(plainly(Payload(marker)))
    for source in ("subset", "torchvision"):
        with pytest.raises(UserError, match="md5"):
            registry.prepare("cifar10", source, tmp_path, {}, tmp_path / "out")
    for split in ("train", "test"):
        (tmp_path / f"{split}.npz").write_bytes(by_numpy(Payload(marker)))
    with pytest.raises(UserError, match="is not the JPEG copy"):
        registry.prepare("cifar10", "jpeg-npz", tmp_path, {}, tmp_path / "out")
    # and should anybody ever find a file with that checksum, it is read without pickles
    sums = {split: sha256_of(tmp_path / f"{split}.npz") for split in ("train", "test")}
    monkeypatch.setattr(cifar, "JPEG_COPY_SHA256", sums)
    with pytest.raises((UserError, ValueError), match="allow_pickle"):
        registry.prepare("cifar10", "jpeg-npz", tmp_path, {}, tmp_path / "out")


@pytest.mark.parametrize("name", ["data_batch_1", "test_batch", "batches.meta"])
@pytest.mark.parametrize("content", [Payload, None, [], {"data": 1, "labels": [1]}, {"label_names": 3}])
def test_a_pickle_with_the_right_checksum_runs_nothing_either(tmp_path, marker, name, content):
    write_cifar(tmp_path, "cifar10", train=20, test=10)
    folder = tmp_path / "cifar-10-batches-py"
    (folder / name).write_bytes(pickle.dumps(content(marker) if content is Payload else content))
    sums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    lines = [f"{md5}  {batch}\n" for batch, md5 in sums.items() if batch != cifar.MD5SUMS]
    (folder / cifar.MD5SUMS).write_text("".join(lines))
    with pytest.raises(UserError, match=name):
        registry.prepare("cifar10", "subset", tmp_path, {}, tmp_path / "out")


def test_the_payload_would_do_its_work(tmp_path):
    """Otherwise the tests above could not fail."""
    payload = Payload(tmp_path / "run")
    for load in (
        lambda: pickle.loads(plainly(payload)),
        lambda: torch.load(io.BytesIO(by_torch(payload)), weights_only=False),
        lambda: np.load(io.BytesIO(by_numpy(payload)), allow_pickle=True)["header"],
    ):
        load()
        assert payload.marker.exists()
        payload.marker.unlink()
