import shutil
from pathlib import Path

import pytest

from tests.workflow.running import FAILING_ROW, HEAD, SMOKE_ROWS, Outcome, copied, smoke


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory) -> tuple[Path, Outcome, Outcome, str]:
    """The tiny preset, first with a run that fails and then without it.

    Returns:
        The folder, both outcomes, and the table of runs as it stood after the first.
    """
    folder = copied(tmp_path_factory.mktemp("smoke"))
    (folder / "table.csv").write_text(HEAD + FAILING_ROW + SMOKE_ROWS)
    failing = smoke(folder)
    runs = folder / "results/smoke/tables/runs.csv"
    table = runs.read_text() if runs.exists() else ""
    (folder / "table.csv").write_text(HEAD + SMOKE_ROWS)
    return folder, failing, smoke(folder), table


@pytest.fixture
def finished(smoke_run, tmp_path) -> Path:
    """A copy, with its metadata, of a finished run of the tiny preset, to change and call again."""
    folder, _, mended, _ = smoke_run
    assert mended.status == 0, mended.text
    return Path(shutil.copytree(folder, tmp_path / "copy", symlinks=True))
