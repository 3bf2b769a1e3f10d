"""For every test: the library within reach of the processes that tests start, as the workflow puts it there."""

import os
from pathlib import Path

LIBRARY = str(Path(__file__).parents[1] / "lib")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [LIBRARY, os.environ.get("PYTHONPATH")]))
