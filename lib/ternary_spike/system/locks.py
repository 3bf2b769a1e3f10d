"""Locks on open files, which go with the process that holds them; not every disk has them."""

import errno
import fcntl
from typing import IO

#: what the disks say that have no locks, some of Lustre's and NFS's among them
ABSENT = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP})


def hold(file: IO | int) -> bool:
    """Lock an open file for as long as it stays open.

    Returns:
        Whether it is locked; False where its disk has no locks.

    Raises:
        BlockingIOError: if another process holds it.
        OSError: if locking fails.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in ABSENT:
            return False
        raise
    return True
