import fcntl
import json
import shutil
from pathlib import Path

import pytest

from tests.workflow.running import FAILING_ROW, HEAD, SMOKE_ROWS, Outcome, copied, smoke


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory, worker_id) -> tuple[Path, Outcome, Outcome, str]:
    """The tiny preset, first with a run that fails and then without it; made once for all of pytest's processes.

    Returns:
        The folder, both outcomes, and the table of runs as it stood after the first.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    kept = shared / "smoke.json"
    with (shared / "smoke.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_text(json.dumps(_smoke_twice(shared / "smoke")))
    failing, mended, table = json.loads(kept.read_text())
    return shared / "smoke", Outcome(**failing), Outcome(**mended), table


def _smoke_twice(folder: Path) -> tuple[dict, dict, str]:
    copied(folder)
    (folder / "table.csv").write_text(HEAD + FAILING_ROW + SMOKE_ROWS)
    failing = smoke(folder, "--retries", "0")  # its loss would explode again
    runs = folder / "results/smoke/tables/runs.csv"
    table = runs.read_text() if runs.exists() else ""
    (folder / "table.csv").write_text(HEAD + SMOKE_ROWS)
    return vars(failing), vars(smoke(folder)), table


@pytest.fixture
def finished(smoke_run, tmp_path) -> Path:
    """A copy, with its metadata, of a finished run of the tiny preset, to change and call again."""
    folder, _, mended, _ = smoke_run
    assert mended.status == 0, mended.text
    return Path(shutil.copytree(folder, tmp_path / "copy", symlinks=True))
