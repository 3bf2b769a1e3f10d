"""One copy of the repository at a time makes results in a folder.

Two copies may have one results folder, by a link. Snakemake's own lock lies in each copy, so that neither knows of the
other, and each deletes what the other has just written before it begins the same job. Calls from one copy are left to
Snakemake's lock.
"""

import os
import time
from pathlib import Path
from typing import IO

from ternary_spike.system import locks
from ternary_spike.system.errors import UserError

#: below the folder of results
FILE = "logs/workflow.lock"
#: a moment's look of another call at the file is no reason to be refused
_TRIES, _SECONDS = 5, 0.2


def other(results: Path) -> str | None:
    """Who makes results in a folder from another copy of the repository; None if nobody does."""
    try:
        with (Path(results) / FILE).open("a+") as file:
            return _other(file)
    except OSError:  # there is no such folder yet, or it is another user's
        return None


def _other(file: IO) -> str | None:
    try:
        locks.hold(file)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip()
        return None if holder.endswith(f" in {Path.cwd()}") else holder or "another process"
    return None


def hold(results: Path, before: str | None = None) -> IO | None:
    """Hold a folder of results for as long as the file that is returned stays open.

    Args:
        results: results/<preset>.
        before: who else held it when this call was planned: what was planned then is stale, even if it is free by now.

    Returns:
        The file; None where nothing can be written, or another call from this copy of the repository holds it.

    Raises:
        UserError: if it is made from another copy of the repository.
    """
    path = Path(results) / FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError:
        return None
    holder = before
    for _ in range(_TRIES):
        if before or not (holder := _other(file)):
            break
        time.sleep(_SECONDS)
    if holder:
        file.close()
        raise UserError(
            f"{results} is in use by another copy of this repository: process {holder}; wait for it or end it, "
            "then try again, or name another preset"
        )
    try:
        locks.hold(file)
    except BlockingIOError:  # another call from here
        file.close()
        return None
    file.truncate(0)
    file.write(f"{os.getpid()} on {os.uname().nodename} in {Path.cwd()}")
    file.flush()
    return file
