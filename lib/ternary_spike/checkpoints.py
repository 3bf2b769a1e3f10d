"""Checkpoints of a training: one safetensors file, replaced atomically, in a folder that one process at a time may use.

A checkpoint is keyed by everything that decides the training's result (code, recipe, network, data, seed), so that a
changed recipe never resumes an old state. It holds no pickled objects.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from ternary_spike.errors import UserError
from ternary_spike.files import read_tensors, sweep, write_tensors

FILE = "checkpoint.safetensors"


def key_of(decisive: dict) -> str:
    """A short hash of what decides a training's result."""
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; it goes with the process that holds it, however that ends.

    Raises:
        UserError: if another process holds it.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+", errors="replace")
    except OSError as error:
        raise UserError(f"cannot write checkpoints to {folder}: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise UserError(
                f"{folder} is in use: process {holder} is training this run; wait for it or end it, then try again"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()} on {os.uname().nodename}")
        lock.flush()
        sweep(folder, [FILE])
        yield


@contextmanager
def sole_writer(out: Path) -> Iterator[None]:
    """Hold the lock of a folder of results, wherever the checkpoints lie; it leaves no file there.

    Raises:
        UserError: if another process holds it.
    """
    handle = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"{out} is in use: another process is training into it; wait for it or name another") from None
    except OSError:  # a network disk that locks no folders
        pass
    try:
        yield
    finally:
        os.close(handle)


def save(folder: Path, tensors: dict[str, Tensor], state: dict) -> None:
    """Replace the checkpoint. Raises UserError if it cannot be written; the previous one is then still whole."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(state)
    write_tensors(Path(folder) / FILE, tensors, {"state": text, "digest": _digest(tensors, text)})


def load(folder: Path) -> tuple[dict[str, Tensor], dict] | None:
    """The checkpoint in a folder, or None if there is none. Raises UserError if it is corrupt."""
    path = Path(folder) / FILE
    if not path.exists():
        return None
    tensors, metadata = read_tensors(path)
    if metadata.get("digest") != _digest(tensors, metadata.get("state", "")):
        raise UserError(f"{path} is damaged or not a checkpoint of this program; delete it to start the run anew")
    return tensors, json.loads(metadata["state"])


def _digest(tensors: dict[str, Tensor], state: str) -> str:
    """SHA-256 over names, shapes, dtypes, values and state: safetensors itself does not notice a flipped bit."""
    digest = hashlib.sha256(state.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
