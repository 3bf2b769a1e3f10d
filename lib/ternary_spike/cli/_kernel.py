"""The kernel of a notebook: a copy of the warm interpreter where there is one, else this process itself.

``python -m ternary_spike.cli._kernel ARGUMENT...`` takes the place of ``python -m ipykernel_launcher ARGUMENT...``.
"""

import os
import runpy
import sys
import threading
import time

from ternary_spike.cli import PAGES
from ternary_spike.system import warm

OURSELVES = "ternary_spike.cli._kernel"
SECONDS = 1.0  # between two looks at whether the process that asked for the kernel is still there
FIGURES = "module://matplotlib_inline.backend_inline"


def start() -> None:
    """Be the kernel that Jupyter's client waits for, until it asks for the end or is gone itself."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    status = warm.call(sys.argv[1:], PAGES, OURSELVES)
    if status is not None:
        sys.exit(status)
    if "matplotlib" in sys.modules:
        # the warm interpreter has imported it, and so before a kernel could say that figures go into the notebook
        sys.modules["matplotlib"].rcParams["backend"] = FIGURES
    runpy.run_module("ipykernel_launcher", run_name="__main__", alter_sys=True)


def _end_with(parent: int) -> None:
    """End this process, and the copy with it, when its parent has ended: nobody would ever stop the kernel."""
    while os.getppid() == parent:
        time.sleep(SECONDS)
    os._exit(1)


if __name__ == "__main__":
    start()
