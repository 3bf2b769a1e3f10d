"""The workflow through a real SLURM of one node, with the profile that users get."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.workflow.running import (
    FAILING_ROW,
    HEAD,
    REPOSITORY,
    SMOKE_CONFIG,
    SMOKE_ROWS,
    SMOKE_RUNS,
    Outcome,
    copied,
    snakemake,
)

pytestmark = pytest.mark.slurm
NODE = Path(__file__).parents[1] / "helpers/slurm_node.sh"
NEEDED = ("slurmctld", "slurmd", "munged", "sbatch", "srun")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A SLURM of one node in SLURM_CONF."""
    search = os.environ["PATH"] + ":/usr/sbin"
    if lacking := [name for name in NEEDED if shutil.which(name, path=search) is None]:
        pytest.skip(f"no SLURM can be started here: {', '.join(lacking)} missing")
    if os.geteuid() != 0:
        pytest.skip("no SLURM can be started here: it takes root")
    folder = tmp_path_factory.mktemp("slurm")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)  # munge's user must be able to pass
    environment = os.environ | {"PATH": search}
    subprocess.run([NODE, "up", folder], check=True, env=environment)
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    yield folder
    subprocess.run([NODE, "down", folder], check=False, env=environment)
    if before is None:
        del os.environ["SLURM_CONF"]
    else:
        os.environ["SLURM_CONF"] = before


def arguments(settings: str) -> tuple[str, ...]:
    profile = ("--workflow-profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "5")
    # the node may be a small one
    return (*profile, "--cores", "2", "--configfile", settings)


def submit(folder: Path, *more: str, settings: str = "smoke.yaml", timeout: float = 1200) -> Outcome:
    return snakemake(folder, *arguments(settings), *more, timeout=timeout)


def queued() -> list[str]:
    """What squeue knows of jobs that wait, run or are ending."""
    listed = subprocess.run(["squeue", "--noheader", "--format=%i %T"], capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def wait_for(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(0.5)
    return bool(met)


def test_a_failing_run_is_named_with_its_log_and_the_other_goes_through(slurm, tmp_path):
    folder = copied(tmp_path / "repository")
    (folder / "table.csv").write_text(HEAD + SMOKE_ROWS + FAILING_ROW)
    done = submit(folder, "--retries", "0")
    log = "results/smoke/logs/train/digits-resnet6w4-T1-ternary-failing-e1-train_samples_200/seed0.log"
    assert done.status == 1 and log in done.text, done.text
    assert "SLURM jobid" in done.text and (folder / "results/smoke/report/index.html").exists()
    assert "the loss is" in (folder / "results/smoke/tables/runs.csv").read_text()
    for run in SMOKE_RUNS:
        assert (folder / "results/smoke/runs" / run / "seed0/energy.json").exists()


# two minutes of training, in epochs of hundreds of steps
LONG_RUN = "results/long/runs/digits-resnet6w4-T1-binary-batch_size_4-e100/seed0/run.json"
LONG_CONFIG = SMOKE_CONFIG.replace("smoke", "long").replace("epochs: 1", "epochs: 100")
LONG_CONFIG = LONG_CONFIG.replace("train_samples: 200", "batch_size: 4")


def long_training(folder: Path) -> Path:
    copied(folder)
    (folder / "long.yaml").write_text(LONG_CONFIG)
    return folder


def test_a_training_killed_by_its_time_limit_goes_on_and_finishes(slurm, tmp_path):
    folder = long_training(tmp_path / "repository")
    # an attempt has as many minutes as it has number; the profile allows four
    done = submit(folder, "--set-resources", "train:runtime=attempt", "--", LONG_RUN, settings="long.yaml")
    assert done.status == 0, done.text
    assert "Time limit exhausted" in (slurm / "log/slurmctld.log").read_text()
    resumed = json.loads((folder / LONG_RUN).read_text())["cost"]["resumed"]
    # a failed job's log, with what its own Snakemakes said, is part of the output: submissions are counted, not rules
    submissions = re.findall(r"submitted with SLURM jobid \d+ \(log: \S*/rule_train/", done.text)
    assert resumed >= 1 and len(submissions) == resumed + 1
    asked = [set(re.findall(rf"mem_mb=(\d+),.* runtime={attempt},", done.text)) for attempt in (1, 2)]
    (first,), (second,) = asked
    assert int(second) == 2 * int(first)
    (log,) = folder.glob("results/long/logs/train/*/*.log")
    epoch, step = map(int, re.search(r"resuming at epoch (\d+), step (\d+)", log.read_text()).groups())
    # within an epoch: saved at the signal, not at the last epoch's end
    assert epoch > 1 and step > 1
    with (folder / LONG_RUN).with_name("history.csv").open() as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == list(range(1, 101))


def test_ctrl_c_cancels_what_was_submitted(slurm, tmp_path):
    folder = long_training(tmp_path / "repository")
    command = [sys.executable, "-m", "snakemake", *arguments("long.yaml"), "--", LONG_RUN]
    with (folder / "output").open("w") as output:
        # a group of its own, as a shell gives to what it starts in a terminal
        called = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, start_new_session=True)
    try:
        trains = wait_for(lambda: list(folder.glob("results/long/checkpoints/**/*.safetensors")), 300)
        assert trains and queued(), (folder / "output").read_text()
        os.killpg(called.pid, signal.SIGINT)
        assert called.wait(timeout=120) != 0
    finally:
        if called.poll() is None:
            os.killpg(called.pid, signal.SIGKILL)
    assert wait_for(lambda: not queued(), 60), queued()
    assert not (folder / LONG_RUN).exists()
    assert "report of what is finished" not in (folder / "output").read_text()
    # nothing is locked, and the checkpoint waits for the next call
    assert list(folder.glob("results/long/checkpoints/**/*.safetensors"))
    assert snakemake(folder, "--configfile", "long.yaml", "--dry-run", "--", LONG_RUN).jobs("train")


def test_the_demo_through_the_queue(slurm, tmp_path):
    notebooks = tuple(path.stem for path in (REPOSITORY / "notebooks").glob("*.py"))
    folder = copied(tmp_path / "repository", notebooks)
    begun = time.monotonic()
    done = submit(folder, settings="config/demo.yaml", timeout=3000)
    print(f"the demo through SLURM took {time.monotonic() - begun:.0f} s")
    assert done.status == 0, done.text
    assert (folder / "results/demo/report/index.html").exists()
    with (folder / "results/demo/tables/runs.csv").open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == 9 * ["done"]
