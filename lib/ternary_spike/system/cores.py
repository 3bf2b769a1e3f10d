"""How many processor cores this process may use, and how many processes may decode on them."""

import os


def available() -> int:
    """Cores that this process may use, at least one; all of the machine's where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers(processes: int = 1) -> int:
    """One for each core, where ``processes`` of this one's kind share the machine; at least one."""
    return max(1, available() // processes)
