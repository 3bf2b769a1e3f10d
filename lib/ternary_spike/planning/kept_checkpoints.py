"""The checkpoint of a finished training, which stays until its results have been accepted.

A training may outlive the workflow that began it: the workflow was killed, or the cluster's job goes on without it. The
next call then finds results that Snakemake calls incomplete, and deletes them. From the checkpoint the same training
writes the same results again, in seconds. It goes once an evaluation of the run is there, which Snakemake begins only
when the training's results count as complete.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from ternary_spike.planning.run_files import run_folder

#: set by the workflow for its jobs: a training then keeps its checkpoint, and waits for another process that trains it
IN_WORKFLOW = "TERNARY_SPIKE_IN_WORKFLOW"
CHECKPOINT = "checkpoint.safetensors"
#: a file beside it that says that the training has reached its last epoch
FINISHED = "finished"
_WITH_IT = (FINISHED, CHECKPOINT, "history.csv")


def in_workflow() -> bool:
    """Whether the workflow has started this process."""
    return bool(os.environ.get(IN_WORKFLOW))


def checkpoint_root(results: Path, run: str, seed: int | str) -> Path:
    """Where the checkpoints of one run and seed lie, in results/<preset>; each training has a folder in it."""
    return Path(results) / "checkpoints" / run / f"seed{seed}"


def release(results: Path, runs: Iterable[tuple[str, int | str]]) -> list[Path]:
    """Remove the checkpoints of finished trainings whose results have been evaluated.

    Args:
        results: results/<preset>.
        runs: ids and seeds.

    Returns:
        The folders that they lay in.
    """
    released = []
    for run, seed in runs:
        folder = run_folder(results, run, seed)
        if _time(folder / "evaluation.json") > _time(folder / "run.json") > 0:
            for mark in checkpoint_root(results, run, seed).glob(f"*/{FINISHED}"):
                # the mark goes first: what is left without it is a checkpoint as any other
                for name in _WITH_IT:
                    (mark.parent / name).unlink(missing_ok=True)
                released.append(mark.parent)
    return released


def _time(path: Path) -> int:
    """When a file was written, in nanoseconds; 0 if it is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
