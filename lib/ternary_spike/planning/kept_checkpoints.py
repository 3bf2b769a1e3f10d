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
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import read_json

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
        marks = list(checkpoint_root(results, run, seed).glob(f"*/{FINISHED}"))
        if marks and _evaluated(run_folder(results, run, seed)):
            for mark in marks:
                # the mark goes first: what is left without it is a checkpoint as any other
                for name in _WITH_IT:
                    (mark.parent / name).unlink(missing_ok=True)
                released.append(mark.parent)
    return released


def _evaluated(folder: Path) -> bool:
    """Whether the evaluation in a run's folder is of the training there, and was made since.

    Times alone may have been touched, and the weights alone may be those of an earlier, equal training.
    """
    record, evaluation = folder / "run.json", folder / "evaluation.json"
    try:
        weights = read_json(record)["files"]["weights.safetensors"]
        of_it = read_json(evaluation)["trained_weights"] == weights
        return of_it and evaluation.stat().st_mtime_ns > record.stat().st_mtime_ns
    except (OSError, UserError, KeyError, TypeError):
        return False
