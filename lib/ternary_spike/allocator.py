"""Freed memory stays with the process, where a processor trains.

glibc gives every block above 32 MB back to the system when it is freed, and the top of its heap too. The tensors of a
training step are freed and wanted again at every step, and a processor would spend a tenth to a quarter of its time on
fetching them anew, page by page.
"""

import ctypes
import os

# malloc.h: what free memory at the top of the heap is kept, and from which size on a block is mapped by itself
_OPTIONS = {"MALLOC_TRIM_THRESHOLD_": -1, "MALLOC_MMAP_THRESHOLD_": -3}
_LARGEST = 2**31 - 1  # bytes, an int


def keep_freed_memory() -> bool:
    """Let glibc keep blocks of up to 2 GiB when they are freed. From now on, for this process.

    Returns:
        Whether it does: not with another C library, nor where the environment sets glibc's thresholds.
    """
    if any(name in os.environ for name in _OPTIONS):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all(mallopt(option, _LARGEST) == 1 for option in _OPTIONS.values())
