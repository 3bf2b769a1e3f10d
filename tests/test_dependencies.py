"""Each direct dependency has its reason in the documentation, and its pin a hash."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")


def direct() -> set[str]:
    """Names of all packages that pyproject.toml asks for, whichever the extra; one extra may name others of its own."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = content["project"]
    lists = [content["build-system"]["requires"], project["dependencies"], *project["optional-dependencies"].values()]
    return {Requirement(line).name for lines in lists for line in lines} - {project["name"]}


def test_every_direct_dependency_has_its_reason_and_nothing_else_has():
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", PAGE, flags=re.M)
    listed = [name for name, _ in rows]
    assert len(listed) == len(set(listed))
    assert set(listed) == direct()
    assert all(len(reason.split()) >= 2 for _, reason in rows)


def test_every_pin_has_a_hash():
    for name in ("requirements.txt", "requirements-bench.txt", "requirements-docs.txt"):
        blocks = re.split(r"^(?=[A-Za-z0-9])", (ROOT / name).read_text(), flags=re.M)[1:]
        assert len(blocks) > 20
        for block in blocks:
            assert "==" in block and re.search(r"--hash=sha256:[0-9a-f]{64}", block), block.splitlines()[0]


def test_the_scan_that_is_documented_reads_the_pinned_file():
    (command,) = re.findall(r"^uvx pip-audit .*$", PAGE, flags=re.M)
    assert "--strict" in command and "--require-hashes" in command and (ROOT / command.split()[4]).exists()


def test_the_versions_that_are_tested_begin_where_the_range_does_and_hold_the_pinned_one():
    (tested,) = re.findall(r"^TORCH_VERSIONS \?= (.+)$", (ROOT / "Makefile").read_text(), flags=re.M)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (lowest,) = re.findall(r"torch>=(\S+)", " ".join(project["dependencies"]))
    (pinned,) = re.findall(r"torch==(\d+\.\d+)", " ".join(project["optional-dependencies"]["training"]))
    assert tested.split()[0] == lowest and pinned in tested.split()
