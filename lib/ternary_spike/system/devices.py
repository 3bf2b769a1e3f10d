"""Which device a stage computes on, and that two stages side by side never share a GPU by accident.

Several jobs of one machine pick their GPU by a lock: the first that is free, held until the process ends. Where a
scheduler has assigned one (CUDA_VISIBLE_DEVICES names a single device) or torchrun has (LOCAL_RANK), theirs is taken.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from ternary_spike.system import locks
from ternary_spike.system.errors import UserError

POLL_SECONDS = 0.5
held = []  # open lock files: the system releases their locks when this process ends, in whatever way


def choose(name: str) -> torch.device:
    """The device behind ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``; waits while every GPU is taken.

    Raises:
        UserError: if a GPU is asked for and there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device here; use --device auto or cpu")
    if "LOCAL_RANK" in os.environ:
        index = int(os.environ["LOCAL_RANK"])
    else:
        visible = [v for v in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if v]
        names = visible or [str(i) for i in range(torch.cuda.device_count())]
        index = 0 if len(visible) == 1 else names.index(claim(names))
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def make_deterministic() -> None:
    """From now on torch uses deterministic algorithms only, and fails where it has none; to be called before any work.

    On a CPU torch's algorithms are deterministic in any case. On a GPU the same seed then gives the same bits again,
    and training is slower.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it starts
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    # torch would also fill new tensors with NaN, for programs that read what they have not written; ours do not
    torch.utils.deterministic.fill_uninitialized_memory = False


def claim(names: Sequence[str], folder: Path | None = None) -> str:
    """The first of the named devices that no other process holds, held from now on until this process ends.

    Args:
        names: of the devices, the same for every process that shares them.
        folder: of the lock files; by default one in the system's temporary folder for this user.

    Returns:
        The device's name; waits while all of them are held.

    Raises:
        UserError: if the lock files cannot be written.
    """
    folder = Path(tempfile.gettempdir()) / f"ternary-spike-gpus-{os.getuid()}" if folder is None else Path(folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            for name in names:
                lock = (folder / f"{name.replace('/', '_')}.lock").open("w")
                try:
                    locked = locks.hold(lock)
                except BlockingIOError:
                    lock.close()
                    continue
                if not locked:
                    raise UserError(
                        f"{folder} is on a disk without locks, which share out the GPUs; set TMPDIR to another"
                    )
                held.append(lock)
                return name
            time.sleep(POLL_SECONDS)
    except OSError as error:
        raise UserError(f"cannot lock a GPU in {folder}: {error.strerror}; set CUDA_VISIBLE_DEVICES to one") from None
