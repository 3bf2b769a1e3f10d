"""Running the workflow on a copy of the repository, small enough for a test."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.forked import forked

REPOSITORY = Path(__file__).parents[2]
# what a call of snakemake imports of other packages
WARM = ("snakemake.cli", "snakemake.profiles", "snakemake.report.html_reporter", "smart_open", "jsonschema")
PARTS = ("Snakefile", "workflow", "lib", "config", "notebooks", "profiles", "envs")
HEAD = "dataset,architecture,timesteps,neuron,variant,neuron_options,recipe,seeds,tables,control\n"
SMOKE_ROWS = """digits,resnet6w4,2,ternary,,,digits,0,demo,false
digits,resnet6w4,1,binary,,,digits,0,demo,false
"""
# nothing is wrong with it before its loss explodes
FAILING_ROW = "digits,resnet6w4,1,ternary,failing,,exploding,0,demo,false\n"
SMOKE_CONFIG = """preset: smoke
experiments: table.csv
data:
  digits: {source: scikit-learn}
epochs: 1
recipe_changes: {train_samples: 200}
verify_samples: 16
measure_costs: false
"""
SMOKE_RUNS = {"digits-resnet6w4-T2-ternary-e1-train_samples_200", "digits-resnet6w4-T1-binary-e1-train_samples_200"}


@dataclass(frozen=True)
class Outcome:
    """How a call of snakemake ended, and everything that it printed."""

    status: int
    text: str

    def jobs(self, rule: str) -> set[str]:
        """The runs that a dry run would run a rule for."""
        found, current = set(), None
        for line in self.text.splitlines():
            if match := re.match(r"\s*(?:local)?rule (\w+):", line):
                current = match[1]
            elif current == rule and (match := re.match(r"\s*wildcards: run=([^,]+)(?:, seed=\d+)?$", line)):
                found.add(match[1])
        return found


def copied(folder: Path, notebooks: tuple[str, ...] = ("comparison",)) -> Path:
    """A copy of what the workflow consists of, with the named notebooks only.

    With the bytecode, which a changed file does without: a call need not compile the library again.
    """
    ignored = shutil.ignore_patterns("*.pyc.*")  # bytecode that another process is about to write
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        source = REPOSITORY / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=ignored)
        else:
            shutil.copy2(source, folder / part)
    for notebook in (folder / "notebooks").glob("*.py"):
        if notebook.stem not in notebooks:
            notebook.unlink()
    recipe = (folder / "config/recipes/digits.yaml").read_text()
    exploding = re.sub("learning_rate: .*", "learning_rate: 1.0e+30", recipe, count=1)
    (folder / "config/recipes/exploding.yaml").write_text(exploding)
    (folder / "table.csv").write_text(HEAD + SMOKE_ROWS)
    (folder / "smoke.yaml").write_text(SMOKE_CONFIG)
    return folder


def surroundings() -> dict[str, str]:
    """The environment of a call: nothing of the tests' own, one thread for whatever it starts, no GPU."""
    own = ("PYTHONPATH", "SNAKEMAKE_PROFILE")
    kept = {key: value for key, value in os.environ.items() if key not in own}
    return kept | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def snakemake(folder: Path, *arguments: str, timeout: float = 1800, devices: str = "", **environment: str) -> Outcome:
    """Call snakemake in a copy of the repository, with one thread for whatever it starts; ``devices`` are its GPUs.

    A call whose environment has more in it is a new process, since Python and packages read theirs when they start.
    """
    around = surroundings() | {"CUDA_VISIBLE_DEVICES": devices}
    if not environment:
        return Outcome(*forked(*WARM).run(folder, around, "snakemake", *arguments, timeout=timeout))
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=folder,
        env=around | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Outcome(done.returncode, done.stdout)


def smoke(folder: Path, *arguments: str, **keywords) -> Outcome:
    """The tiny preset of :func:`copied`; keywords as for :func:`snakemake`."""
    return snakemake(folder, "--cores", "2", "--configfile", "smoke.yaml", *arguments, **keywords)
