import shutil
import subprocess
from pathlib import Path

import pytest

from ternary_spike.system.files import read_json, sha256_of, write_json

REPOSITORY = Path(__file__).parents[2]
KEPT = REPOSITORY / "results/reference/rivals-w16"
PARTS = ("LICENSE", "CITATION.cff", "requirements.txt", "workflow", "config", "lib/ternary_spike/__init__.py")


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", folder, *who, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A small repository of this project's kind, with the kept results as those of its preset ``small``."""
    clone = tmp_path_factory.mktemp("archiving") / "clone"
    for part in PARTS:
        source, target = REPOSITORY / part, clone / part
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)
    (clone / ".gitignore").write_text("/results/\n__pycache__/\n")
    git(clone.parent, "init", "--quiet", str(clone))
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "all")
    # a call of the workflow on the kept results leaves its lock there, under logs
    shutil.copytree(KEPT, clone / "results/small", ignore=shutil.ignore_patterns("logs"))
    commit = git(clone, "rev-parse", "HEAD")
    for path in (clone / "results/small/runs").glob("*/*/run.json"):
        record = read_json(path)
        record["provenance"]["commit"] = commit
        write_json(path, record)
    return clone


@pytest.fixture
def clone(made, tmp_path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(made, tmp_path / "clone"))


def give_weights(run: Path) -> int:
    """Give a run networks of a few bytes, as its records then have them; returns the size of the trained one."""
    (run / "weights.safetensors").write_bytes(b"trained" * 100)
    (run / "folded.safetensors").write_bytes(b"folded" * 100)
    trained, folded = (sha256_of(run / f"{name}.safetensors") for name in ("weights", "folded"))
    for path in run.glob("*.json"):
        record = read_json(path)
        if path.name == "run.json":
            record["files"]["weights.safetensors"] = trained
        elif "trained_weights" in record:
            record["trained_weights"] = trained
        if path.name == "folded.json":
            record["weights"]["sha256"] = folded
        write_json(path, record)
    return 700
