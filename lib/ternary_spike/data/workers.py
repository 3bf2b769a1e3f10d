"""How many processes may decode."""

import os


def default_workers(processes: int = 1) -> int:
    """One for each core that this process may use, where ``processes`` of its kind share the machine; at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // processes)
