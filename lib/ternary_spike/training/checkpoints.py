"""Checkpoints of a training: one safetensors file, replaced atomically, in a folder that one process at a time may use.

A checkpoint is keyed by everything that decides the training's result (code, recipe, network, data, seed), so that a
changed recipe never resumes an old state. It holds no pickled objects.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import torch
from torch import Tensor

from ternary_spike.planning.kept_checkpoints import CHECKPOINT as FILE
from ternary_spike.planning.kept_checkpoints import FINISHED
from ternary_spike.system import locks
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import read_tensors, sweep, write_tensors

__all__ = ["FILE", "FINISHED", "InUse", "exclusive", "key_of", "load", "save", "sole_writer"]


class InUse(UserError):
    """Another process trains this run."""


def key_of(decisive: dict) -> str:
    """A short hash of what decides a training's result."""
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def exclusive(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock; it goes with the process that holds it, however that ends.

    Yields:
        Whether it is locked. Where the disk has no locks only a process of this machine is noticed, by the number that
        it left in the lock's file.

    Raises:
        InUse: if another process holds it.
        UserError: if nothing can be written or locked there.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+", errors="replace")
    except OSError as error:
        raise UserError(f"cannot write checkpoints to {folder}: {error.strerror}") from None
    with lock:
        locked = _take(lock, folder)
        try:
            sweep(folder, [FILE])
            yield locked
        finally:
            lock.truncate(0)


def _take(lock: TextIO, folder: Path) -> bool:
    """Lock a folder's lock file and write this process's id into it; False where the disk has no locks."""
    lock.seek(0)
    holder = lock.read().strip()
    try:
        locked = locks.hold(lock)
    except BlockingIOError:
        raise InUse(
            f"{folder} is in use: process {holder or 'unknown'} is training this run; wait for it or end it, "
            "then try again"
        ) from None
    except OSError as error:
        raise UserError(f"cannot lock {lock.name}: {error.strerror}; put the checkpoints on another disk") from None
    if not locked and _runs_here(holder):
        raise InUse(
            f"{folder} is in use: process {holder} is training this run, says {lock.name}; wait for it, or delete "
            "that file if the process is another one by now"
        )
    lock.truncate(0)
    lock.write(f"{os.getpid()} on {os.uname().nodename}")
    lock.flush()
    return locked


def _runs_here(holder: str) -> bool:
    """Whether the process that a lock's file names is another one of this machine that still runs."""
    number, _, node = holder.partition(" on ")
    if node != os.uname().nodename or not number.isdecimal() or int(number) == os.getpid():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        pass
    return True


@contextmanager
def sole_writer(out: Path) -> Iterator[None]:
    """Hold the lock of a folder of results, wherever the checkpoints lie; it leaves no file there.

    Raises:
        InUse: if another process holds it.
    """
    handle = os.open(out, os.O_RDONLY)
    try:
        locks.hold(handle)
    except BlockingIOError:
        raise InUse(f"{out} is in use: another process is training into it; wait for it or name another") from None
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
