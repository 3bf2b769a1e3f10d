"""Two copies of the repository do not make results in one folder at a time."""

import os
import subprocess
import sys

import pytest

from ternary_spike.planning import sole_workflow
from ternary_spike.system.errors import UserError

HOLDING = """
import sys
from ternary_spike.planning import sole_workflow
held = sole_workflow.hold(sys.argv[1])
print("held" if held else "shared", flush=True)
sys.stdin.read()
"""


def holding(results, copy):
    """A process that holds a folder of results from a copy of the repository."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(results)],
        cwd=copy, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_another_copy_is_refused_and_named_until_the_first_ends(tmp_path, monkeypatch):
    results, first, second = tmp_path / "results", tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    assert sole_workflow.other(results) is None and not results.exists()
    with holding(results, first) as process:
        assert process.stdout.readline() == "held\n"
        monkeypatch.chdir(second)
        found = sole_workflow.other(results)
        assert found == f"{process.pid} on {os.uname().nodename} in {first}"
        with pytest.raises(UserError, match=f"in use by another copy of this repository: process {process.pid} on"):
            sole_workflow.hold(results)
        # Snakemake's own lock rules among calls from one copy, such as the report after a failure
        monkeypatch.chdir(first)
        assert sole_workflow.other(results) is None and sole_workflow.hold(results) is None
        process.stdin.close()
        process.wait(timeout=30)
    monkeypatch.chdir(second)
    assert sole_workflow.other(results) is None
    # what was planned while the other one worked is stale, even if nobody holds the folder by now
    with pytest.raises(UserError, match="in use by another copy"):
        sole_workflow.hold(results, before=found)
    with sole_workflow.hold(results) as held:
        assert held.name == str(results / sole_workflow.FILE)
