"""A training that outlives its workflow is not trained again, nor one that another copy of the repository works at."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ternary_spike.planning.kept_checkpoints import CHECKPOINT
from ternary_spike.system.files import sha256_of
from tests.workflow.running import HEAD, copied, smoke, surroundings

RUN = "digits-resnet6w4-T1-binary-e60-train_samples_400"
FOLDER = f"results/smoke/runs/{RUN}/seed0"
EVALUATION = f"{FOLDER}/evaluation.json"
LOG = f"results/smoke/logs/train/{RUN}/seed0.log"


def repository(folder: Path) -> Path:
    """One training of some seconds."""
    settings = copied(folder) / "smoke.yaml"
    settings.write_text(settings.read_text().replace("epochs: 1\n", "epochs: 60\n").replace("200", "400"))
    (folder / "table.csv").write_text(HEAD + "digits,resnet6w4,1,binary,,,digits,0,demo,false\n")
    return folder


def start(folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", "smoke.yaml", "--", EVALUATION]
    log = (folder / "calls.log").open("a")
    return subprocess.Popen(command, cwd=folder, env=surroundings(), stdout=log, stderr=subprocess.STDOUT)


def wait_for(what, seconds: float = 180) -> None:
    limit = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < limit, "it did not come in time"
        time.sleep(0.1)


def epochs(folder: Path) -> int:
    log = folder / LOG
    return log.read_text().count(": epoch ") if log.exists() else 0


@pytest.mark.full
def test_a_training_that_outlives_its_workflow_is_taken_up_in_seconds(tmp_path):
    folder = repository(tmp_path / "repository")
    workflow = start(folder)
    wait_for(lambda: epochs(folder) >= 2)
    workflow.send_signal(signal.SIGKILL)  # the workflow alone: its jobs go on
    workflow.wait()
    assert not (folder / FOLDER / "run.json").exists(), "it was done before the workflow was killed"
    wait_for((folder / FOLDER / "run.json").exists)
    trained = sha256_of(folder / FOLDER / "weights.safetensors")
    (checkpoint,) = (folder / "results/smoke/checkpoints").rglob(CHECKPOINT)
    again = smoke(folder, "--", EVALUATION)
    assert again.status == 0 and "rule train" in again.text, again.text  # Snakemake calls what it finds incomplete
    assert epochs(folder) == 0, (folder / LOG).read_text()
    assert sha256_of(folder / FOLDER / "weights.safetensors") == trained
    assert not checkpoint.exists()
    assert "Nothing to be done" in smoke(folder, "--", EVALUATION).text


@pytest.mark.full
def test_another_copy_with_the_same_results_is_refused_and_deletes_nothing(tmp_path):
    first, second = repository(tmp_path / "first"), repository(tmp_path / "second")
    (first / "results").mkdir(exist_ok=True)
    (second / "results").symlink_to(first / "results")
    workflow = start(first)
    wait_for(lambda: epochs(first) >= 2)
    refused = smoke(second, "--", EVALUATION)
    assert refused.status == 1 and workflow.poll() is None
    line = next(line for line in refused.text.splitlines() if line.startswith("error: "))
    assert f"in use by another copy of this repository: process {workflow.pid} on {os.uname().nodename}" in line
    assert "removing output files" not in refused.text.lower()
    assert smoke(second, "--dry-run", "--", EVALUATION).status == 0  # to look is no harm
    assert workflow.wait(timeout=180) == 0, (first / "calls.log").read_text()
    assert epochs(first) == 60


@pytest.mark.full
def test_a_job_waits_for_the_process_that_trains_its_run_already(tmp_path):
    folder = repository(tmp_path / "repository")
    workflow = start(folder)
    wait_for(lambda: epochs(folder) >= 2)
    workflow.send_signal(signal.SIGKILL)
    workflow.wait()
    again = smoke(folder, "--", EVALUATION)
    assert again.status == 0, again.text
    log = (folder / LOG).read_text()
    # the other process trained all epochs; this one wrote its results again and trained none
    assert "this job of the workflow waits for it" in log and "resuming at epoch 61" in log
    assert epochs(folder) == 0 and (folder / EVALUATION).exists()
