"""A call of the workflow is killed again and again; the next one simply goes on, and the weights are the same bits.

And a job that is killed says by which signal.
"""

import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ternary_spike.system.files import read_json
from tests.workflow.running import copied, smoke, surroundings

RUNS = [f"digits-resnet6w4-T{t}-{neuron}-e120-train_samples_400" for t, neuron in ((2, "ternary"), (1, "binary"))]
TARGETS = [f"results/smoke/runs/{run}/seed0/{file}" for run in RUNS for file in ("evaluation.json", "energy.json")]
KILLS = 7


def repository(folder: Path) -> Path:
    """The tiny preset with trainings of some seconds, long enough to be killed in their midst."""
    settings = copied(folder) / "smoke.yaml"
    settings.write_text(settings.read_text().replace("epochs: 1\n", "epochs: 120\n").replace("200", "400"))
    return folder


def start(folder: Path) -> subprocess.Popen:
    """A call of snakemake in a process group of its own, as a terminal or a scheduler has it."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "smoke.yaml", "--", *TARGETS]
    log = (folder / "calls.log").open("a")
    return subprocess.Popen(
        command, cwd=folder, env=surroundings(), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )


def epochs_done(folder: Path) -> int:
    return sum(path.read_text().count(": epoch ") for path in folder.glob("results/smoke/logs/train/*/seed0.log"))


def in_its_midst(folder: Path, process: subprocess.Popen, rng: random.Random) -> None:
    """Wait for a moment at random: while the call starts, or once a training has come some epochs further."""
    limit = time.monotonic() + 120
    if rng.random() < 0.25:
        limit = time.monotonic() + rng.uniform(0, 6)
    goal = rng.randrange(1, 8)
    while process.poll() is None and time.monotonic() < limit and epochs_done(folder) < goal:
        time.sleep(0.05)
    time.sleep(rng.uniform(0, 0.5))


def finished(folder: Path) -> bool:
    return all((folder / target).exists() for target in TARGETS)


def weights(folder: Path) -> list[bytes]:
    return [(folder / f"results/smoke/runs/{run}/seed0/weights.safetensors").read_bytes() for run in RUNS]


@pytest.mark.full
def test_killed_at_random_moments_the_next_call_goes_on(tmp_path):
    undisturbed = repository(tmp_path / "undisturbed")
    assert smoke(undisturbed, "--", *TARGETS).status == 0
    folder, rng = repository(tmp_path / "killed"), random.Random(1)
    signals = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGKILL]
    for attempt in range(KILLS):
        process = start(folder)
        in_its_midst(folder, process, rng)
        if process.poll() is None:
            os.killpg(process.pid, signals[attempt % len(signals)])
        try:
            process.wait(timeout=90)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if finished(folder):
            break
    assert attempt >= 3, "it was done before it had been killed often enough"
    last = smoke(folder, "--", *TARGETS)
    assert last.status == 0, (folder / "calls.log").read_text()[-3000:] + last.text
    assert "cannot be locked" not in (folder / "calls.log").read_text() + last.text
    assert weights(folder) == weights(undisturbed)
    assert not list((folder / "results/smoke/runs").rglob("*.partial"))
    assert not list((folder / "results/smoke/checkpoints").rglob("*.partial"))


def lock(folder: Path) -> Path:
    """A lock as Snakemake leaves it when it is killed."""
    path = folder / ".snakemake/locks/0.output.lock"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"{folder / target}\n{target}\n" for target in TARGETS))
    return path


def test_a_dead_call_s_lock_goes_and_a_living_one_s_stays(tmp_path):
    folder = repository(tmp_path / "repository")
    left = lock(folder)
    alive = folder / ".snakemake/alive"
    alive.write_text(os.uname().nodename)
    with alive.open() as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        refused = smoke(folder, "--touch", *TARGETS)
        assert refused.status == 1 and "lock" in refused.text and left.exists(), refused.text
    assert smoke(folder, "--dry-run", *TARGETS).status == 0
    assert not left.exists()
    left.parent.rmdir()
    lock(folder)
    alive.write_text("another machine")
    smoke(folder, "--dry-run", *TARGETS)
    assert left.exists()


def test_a_job_that_a_signal_ends_says_so_in_the_terminal_and_its_status(tmp_path):
    folder = copied(tmp_path / "repository")
    crashing = "import os, sys\nif 'prepare' in sys.orig_argv: os.kill(os.getpid(), 11)\n"
    (folder / "startup").mkdir()
    (folder / "startup/sitecustomize.py").write_text(crashing)
    data, log = "results/smoke/data/digits/manifest.json", "results/smoke/logs/prepare/digits.log"
    outcome = smoke(folder, "--retries", "0", "--", data, PYTHONPATH=str(folder / "startup"))
    assert outcome.status == 1
    assert f"prepare failed: killed by signal 11, segmentation fault; see {log}\n" in outcome.text, outcome.text
    statuses = list(folder.glob("results/smoke/status/*/seed0/prepare.json"))
    assert len(statuses) == len(RUNS)
    assert {read_json(path)["reason"] for path in statuses} == {"killed by signal 11, segmentation fault"}


def test_a_second_user_who_may_not_write_the_lock_can_look(tmp_path):
    folder = copied(tmp_path / "another user's clone")
    alive = folder / ".snakemake/alive"
    alive.parent.mkdir()
    alive.write_text(os.uname().nodename)
    alive.chmod(0o444)
    # without capabilities the administrator is a user like any other
    prefix = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.getuid() == 0 else []
    command = [*prefix, sys.executable, "-m", "snakemake", "--dry-run", "--configfile", "smoke.yaml"]
    looked = subprocess.run(command, cwd=folder, env=surroundings(), capture_output=True, text=True, check=False)
    assert looked.returncode == 0 and "train" in looked.stdout, looked.stderr
    assert alive.read_text() == os.uname().nodename
