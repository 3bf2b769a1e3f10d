"""Claim one of two devices, note when it was held, and end: ``python -m tests.helpers.hold_device LOCKS NOTES``."""

import os
import sys
import time
from pathlib import Path

from ternary_spike.system.devices import claim

if __name__ == "__main__":
    name = claim(["0", "1"], Path(sys.argv[1]))
    begun = time.monotonic()
    time.sleep(0.3)
    Path(sys.argv[2], f"{os.getpid()}").write_text(f"{name} {begun} {time.monotonic()}")
