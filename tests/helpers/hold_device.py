"""Eight processes that each claim one of two devices, note when they held it, and end.

``python -m tests.helpers.hold_device LOCKS NOTES``; they are copies of one process, which has imported torch once.
"""

import os
import sys
import time
from pathlib import Path

from ternary_spike.system.devices import claim


def hold(locks: Path, notes: Path) -> None:
    name = claim(["0", "1"], locks)
    begun = time.monotonic()
    time.sleep(0.3)
    (notes / f"{os.getpid()}").write_text(f"{name} {begun} {time.monotonic()}")


if __name__ == "__main__":
    children = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            hold(*map(Path, sys.argv[1:]))
            os._exit(0)
        children.append(child)
    sys.exit(any(os.waitpid(child, 0)[1] for child in children))
