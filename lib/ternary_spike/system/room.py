"""Whether there is room on a disk, tried by writing: what a disk says of itself leaves out quotas and reserves."""

import errno
import os
import tempfile
from pathlib import Path

from ternary_spike.system.errors import UserError

#: what a call of the workflow writes before its first job: logs, locks, what Snakemake remembers
BEFORE_JOBS = 1_000_000
_FULL = (errno.ENOSPC, errno.EDQUOT)


def refused(folder: Path, size: int = 4096) -> OSError | None:
    """What the system says to so many bytes in a folder, or in the nearest one above it; None if it takes them."""
    try:
        with tempfile.TemporaryFile(dir=_there(folder)) as probe:
            probe.write(bytes(size))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return error
    return None


def disk_of(path: Path) -> Path:
    """Where the disk is mounted that a file or folder lies on, or would."""
    path = _there(path).resolve()
    return next(folder for folder in (path, *path.parents) if folder.is_mount())


def require_room(folder: Path, size: int = BEFORE_JOBS) -> None:
    """Raise UserError if a folder's disk is full, or the user's share of it."""
    error = refused(folder, size)
    if error is not None and error.errno in _FULL:
        raise UserError(
            f"{folder} takes nothing more, on the disk at {disk_of(folder)}: {error.strerror}; make room there"
        )


def _there(path: Path) -> Path:
    path = Path(path).absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())
