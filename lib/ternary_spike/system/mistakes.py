"""What the first attempt of a job was told, for the next ones: Snakemake repeats a user's mistake like a crash.

It cannot be told to leave out what ended with a certain status. So a call of the workflow names a folder in the
environment of its jobs. A verb that ends with a user's mistake leaves its message there, under its command line, and
the same command line in the same call ends at once with the same message. Whatever may pass by itself is left out: what
the system refused (a full disk, another process's lock, memory), and downloads.
"""

import errno
import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

#: of the environment: a folder of the call's own, which need not exist yet
VARIABLE = "TERNARY_SPIKE_MISTAKES"
#: verbs that depend on more than their files
PASSING = ("download",)
#: that a file is missing is no passing trouble
_LASTING = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)


def told_before(arguments: Sequence[str]) -> str:
    """The message with which this command line has ended in this call of the workflow; empty if it has not."""
    path = _file(arguments)
    with suppress(OSError, UnicodeDecodeError):
        return "" if path is None else path.read_text(encoding="utf-8")
    return ""


def remember(arguments: Sequence[str], message: str, error: BaseException) -> None:
    """Leave a message for the next attempt of this command line, unless the error may pass by itself.

    Args:
        arguments: what follows ``python -m ternary_spike``.
        message: one line.
        error: what it says in words.
    """
    path = _file(arguments)
    if path is None or set(PASSING) & set(arguments) or _passing(error):
        return
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(message, encoding="utf-8")


def _file(arguments: Sequence[str]) -> Path | None:
    folder = os.environ.get(VARIABLE)
    if not folder:
        return None
    said = json.dumps([str(Path.cwd()), *arguments])
    return Path(folder) / hashlib.sha256(said.encode(errors="surrogateescape")).hexdigest()


def _passing(error: BaseException | None) -> bool:
    """Whether the system refused something that it may grant later: an error, or one that it was made of."""
    while error is not None:
        if isinstance(error, MemoryError | RuntimeError):  # the latter is torch's; a later attempt has more memory
            return True
        if isinstance(error, OSError) and error.errno not in _LASTING:
            return True
        error = error.__context__
    return False
