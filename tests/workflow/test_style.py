"""The workflow's files are in the form that its own tools ask for."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflow.running import REPOSITORY, snakemake


def test_snakefmt_would_change_nothing():
    tool = shutil.which("snakefmt", path=Path(sys.executable).parent)
    arguments = [tool, "--check", "--no-format-shell", "Snakefile", "workflow"]
    done = subprocess.run(arguments, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [(), ("--configfile", "config/demo.yaml")], ids=["paper", "demo"])
def test_snakemake_s_linter_finds_nothing(arguments):
    outcome = snakemake(REPOSITORY, "--lint", *arguments)
    assert outcome.status == 0 and "good condition" in outcome.text, outcome.text


def test_rules_are_short():
    for path in (REPOSITORY / "workflow/rules").glob("*.smk"):
        for rule in path.read_text().split("\nrule ")[1:]:
            assert len([line for line in rule.splitlines() if line.strip()]) <= 45, rule.partition(":")[0]
