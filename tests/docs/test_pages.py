"""The pages of docs/ without the program that makes a site of them: each is reached, and each example runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# pages whose examples are executed elsewhere, or must not be: the last one's kills the process where the fault is
ELSEWHERE = {
    "extending.md": "tests/test_extending.py",
    "migration.md": "tests/interop/test_migration_page.py",
    "known-faults.md": "tests/test_memory.py",
}


def examples(page):
    """The page's blocks of Python."""
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


PAGES = sorted(page for page in DOCS.glob("*.md") if examples(page))
OTHERS = [page for page in PAGES if page.name not in (*ELSEWHERE, "index.md")]


def test_the_start_page_leads_to_every_other():
    trees = re.findall(r"^```{toctree}\n(.*?)^```$", (DOCS / "index.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    listed = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    there = {page.stem for page in (*DOCS.glob("*.md"), *DOCS.glob("*.py"))} - {"index"} | {"api/index"}
    assert sorted(listed) == sorted(there), "list a new page in docs/index.md"


def test_the_start_pages_example_runs_as_it_stands():
    (block,) = examples(DOCS / "index.md")
    names = {}
    exec(block, names)
    assert names["spikes"].shape == names["current"].shape
    assert set(names["spikes"].unique().tolist()) == {-1.0, 0.0, 1.0}


@pytest.mark.full  # it asks whether a compiler works, and compiles
@pytest.mark.parametrize("page", OTHERS, ids=lambda page: page.stem)
def test_examples_run_as_they_stand(page, tmp_path):
    code = "\n".join(examples(page))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_examples_that_are_executed_elsewhere_are():
    for page, test in ELSEWHERE.items():
        assert DOCS / page in PAGES and (ROOT / test).exists()
    assert "extending.md" in (ROOT / "tests/helpers/extending.py").read_text()
