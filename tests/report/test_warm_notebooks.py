"""Notebooks whose page and kernel are copies of a warm interpreter are the notebooks that they are without it."""

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest

from ternary_spike.cli import PAGES
from ternary_spike.system import warm

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system has no pidfd_open")
NOTEBOOK = """# %% tags=["parameters"]
results = "nowhere"

# %% [markdown]
# # A page

# %%
print(results)

# %%
import matplotlib.pyplot as plt
import pandas as pd

pd.DataFrame({"a": [1.5, 2]})

# %%
plt.plot([0, 1], [1, 0])
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """An environment with a warm interpreter, and the file that says whom it has served."""
    folder = tmp_path_factory.mktemp("warm")
    reading, writing = os.pipe()
    where, log = folder / "its own" / "socket", folder / "log"
    where.parent.mkdir()
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "ternary_spike.system.warm", str(where), str(reading), "--", *PAGES],
            pass_fds=[reading],
            stdout=file,
        )
    os.close(reading)
    while not where.exists():
        assert process.poll() is None
        time.sleep(0.02)
    yield os.environ | {warm.VARIABLE: str(where)}, log
    os.close(writing)
    assert process.wait(30) == 0


def command(folder: Path, text: str) -> list[str]:
    notebook = folder / "page.py"
    notebook.write_text(text)
    given = {"--notebook": notebook, "--results": "some/results", "--out": folder}
    return [sys.executable, "-m", "ternary_spike", "notebook", *(str(word) for pair in given.items() for word in pair)]


def outputs(folder: Path, environment: dict) -> list:
    """What each cell of the notebook gave out, and the page."""
    folder.mkdir()
    subprocess.run(command(folder, NOTEBOOK), env=environment, check=True, capture_output=True, timeout=120)
    cells = nbformat.read(folder / "page.ipynb", as_version=4).cells
    # papermill's cell has a line with the time, and a figure's object has its address in memory as text
    found = [[o for o in cell.get("outputs", []) if "Line2D" not in str(o)] for cell in cells]
    return [found, (folder / "page.html").read_text().partition("Line2D")[0]]


@pytest.mark.full
def test_a_warm_kernel_gives_the_same_outputs(served, tmp_path):
    environment, log = served
    warmed, alone = outputs(tmp_path / "warm", environment), outputs(tmp_path / "alone", dict(os.environ))
    assert warmed == alone and "image/png" in str(warmed[0]) and "some/results" in str(warmed[0])
    assert log.read_text().splitlines() == ["served: ternary_spike notebook", "served: ternary_spike.cli._kernel -f"]


def test_a_kernel_ends_when_nobody_waits_for_it_any_more(served, tmp_path):
    environment, _ = served
    told = tmp_path / "kernel"
    text = (
        NOTEBOOK
        + f"""
# %%
import os, time
open({str(told)!r}, "w").write(f"{{os.getpid()}} ")
time.sleep(100)
"""
    )
    caller = subprocess.Popen(
        command(tmp_path, text), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for _ in range(600):
        if told.exists() and told.read_text().endswith(" "):
            break
        assert caller.poll() is None
        time.sleep(0.1)
    kernel = int(told.read_text())
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    for _ in range(100):
        try:
            os.kill(kernel, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the kernel is still there")


def test_every_module_that_pages_have_imported_for_them_is_there():
    for name in PAGES:
        assert find_spec(name), name
