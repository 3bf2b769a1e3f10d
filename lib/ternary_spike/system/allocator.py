"""Freed memory stays with the process, where a processor trains.

glibc gives every block above 32 MB back to the system when it is freed, and the top of its heap too. The tensors of a
training step are freed and wanted again at every step, and a processor would spend a tenth to a quarter of its time on
fetching them anew, page by page.
"""

import ctypes
import os
from collections.abc import Callable

# malloc.h: what free memory at the top of the heap is kept, and from which size on a block is mapped by itself
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST = 2**31 - 1  # bytes, an int
_OLDER = 32 * 2**20  # the most that older versions take


def keep_freed_memory() -> bool:
    """Let glibc keep blocks of up to 2 GiB (older versions: 32 MiB) when they are freed. From now on, for this process.

    Returns:
        Whether it does. False, with nothing changed, for another C library and where the environment sets glibc's
        thresholds.
    """
    set_there = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")
    if any(name in os.environ for name in set_there) or "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return raise_thresholds(mallopt)


def raise_thresholds(mallopt: Callable[[int, int], int]) -> bool:
    """Set both thresholds by the C function ``mallopt``, which gives 1 where it does as it is told."""
    # Either setting ends glibc's habit of raising the size for mapping by itself, up to 32 MiB: with the other alone
    # all blocks above 128 KiB would be mapped anew each time.
    if not any(mallopt(_MMAP_THRESHOLD, size) == 1 for size in (_LARGEST, _OLDER)):
        return False
    return mallopt(_TRIM_THRESHOLD, _LARGEST) == 1
