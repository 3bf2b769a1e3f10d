"""For every test and the processes that it starts: the library within reach, as in the workflow, and one thread.

With one thread results are those of the workflow's small runs, and tests side by side do not get in each other's way.
"""

import os
from pathlib import Path

LIBRARY = str(Path(__file__).parents[1] / "lib")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [LIBRARY, os.environ.get("PYTHONPATH")]))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
