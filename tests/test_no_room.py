"""Disk full, quota, read-only folder: one line, the last good state kept, nothing half-written under a final name."""

import dataclasses
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from ternary_spike import UserError
from ternary_spike.data.prepared import Split, write_prepared
from ternary_spike.planning import failures
from ternary_spike.planning.partial_report import ASIDE, FRONT_PAGE, after_failure
from ternary_spike.report.results import Results
from ternary_spike.system.files import read_tensors
from ternary_spike.tables import collect
from ternary_spike.training import checkpoints
from ternary_spike.training.loop import train
from ternary_spike.training.record import HISTORY, RECORD, WEIGHTS, load_model
from tests.helpers.tiny import prepare_tiny, tiny_plan
from tests.planning.test_failures import RUN
from tests.workflow.running import copied, smoke

CPU = torch.device("cpu")
MEGABYTES = 40
ROOT = Path(__file__).parents[1]


class Mounted:
    """A small disk of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        with (self.path / "ballast").open("wb") as ballast:
            ballast.write(bytes(shutil.disk_usage(self.path).free))

    def empty(self) -> None:
        (self.path / "ballast").unlink()

    def read_only(self) -> None:
        subprocess.run(["mount", "-o", "remount,ro", self.path], check=True)


class Limited:
    """A folder on a disk of others: where nothing can be mounted, a limit on the size of files is the quota."""

    def __init__(self, path: Path) -> None:
        self.path, self.before = path, resource.getrlimit(resource.RLIMIT_FSIZE)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, self.before[1]))

    def empty(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)

    def read_only(self) -> None:
        if os.geteuid() == 0:
            pytest.skip("nothing can be mounted here, and no folder is read-only for root")
        for folder in (self.path, *self.path.rglob("*/")):
            folder.chmod(0o555)


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", folder]
    mounted = os.geteuid() == 0 and subprocess.run(["mount", *options], capture_output=True).returncode == 0
    found = Mounted(folder) if mounted else Limited(folder)
    yield found
    if mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)
    else:
        found.empty()
        for path in (folder, *folder.rglob("*/")):
            path.chmod(0o755)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepare_tiny(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory) -> dict[str, torch.Tensor]:
    out = tmp_path_factory.mktemp("undisturbed")
    train(tiny_plan(data), out / "checkpoints", out, CPU, lambda _: None)
    return read_tensors(out / WEIGHTS)[0]


def left_over(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".")]


def assert_goes_on(data, undisturbed, checkpoint_root, out, epoch):
    """The next call resumes at an epoch and ends with the undisturbed run's weights."""
    lines = []
    train(tiny_plan(data), checkpoint_root, out, CPU, lines.append)
    assert f"resuming at epoch {epoch}, step 1" in lines[0]
    _, model = load_model(out)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, undisturbed[name]), name


def test_a_full_disk_at_a_checkpoint(data, undisturbed, disk, tmp_path):
    def fill(line):
        if "epoch 1/" in line:
            disk.fill()

    with pytest.raises(UserError, match=r"cannot write .*(checkpoint\.safetensors|history\.csv): .*make room"):
        train(tiny_plan(data), disk.path / "c", tmp_path / "out", CPU, fill)
    (kept,) = disk.path.rglob(checkpoints.FILE)
    _, state = checkpoints.load(kept.parent)
    assert state["epoch"] == 1
    assert not left_over(disk.path) and not (tmp_path / "out" / RECORD).exists()
    disk.empty()
    assert_goes_on(data, undisturbed, disk.path / "c", tmp_path / "out", epoch=2)


def test_a_full_disk_at_the_weights(data, undisturbed, disk, tmp_path):
    plan = tiny_plan(data)

    def fill(line):
        if f"epoch {plan.recipe.epochs}/" in line:
            disk.fill()

    with pytest.raises(UserError, match=r"cannot write .*weights\.safetensors: .*make room"):
        train(plan, tmp_path / "c", disk.path / "out", CPU, fill)
    assert not {WEIGHTS, HISTORY, RECORD} & {path.name for path in (disk.path / "out").iterdir()}
    assert not left_over(disk.path)
    disk.empty()
    assert_goes_on(data, undisturbed, tmp_path / "c", disk.path / "out", epoch=plan.recipe.epochs + 1)


def test_a_full_disk_at_the_tables_keeps_the_old_ones(disk):
    def tables(value):
        frame = pd.DataFrame({"id": ["a"] * 20_000, "n": [value] * 20_000})
        return dict.fromkeys(("summary", "history", "runs"), frame)

    collect.write_tables(tables(1), disk.path / "tables")
    before = {path.name: path.read_bytes() for path in (disk.path / "tables").iterdir()}
    with (disk.path / "more").open("wb") as more:  # room for one of the three
        more.write(bytes(max(0, shutil.disk_usage(disk.path).free - 150_000)) if isinstance(disk, Mounted) else b"")
    if isinstance(disk, Limited):
        disk.fill()
    with pytest.raises(UserError, match=r"cannot write .*\.csv: .*make room"):
        collect.write_tables(tables(22), disk.path / "tables")
    assert {path.name: path.read_bytes() for path in (disk.path / "tables").iterdir()} == before
    assert (Results(disk.path).table("summary")["n"] == 1).all()


def test_where_not_even_a_log_can_be_written_the_terminal_has_disk_and_file(data, disk, tmp_path):
    """The log lies on the full disk: what failed is said by the process itself, and by the handler of failures."""
    if not isinstance(disk, Mounted):
        pytest.skip("nothing can be mounted here, so no disk can be full")
    run = dataclasses.replace(RUN, seed=0)
    log = disk.path / "logs/evaluate" / f"{run.folder}.log"
    log.parent.mkdir(parents=True)
    disk.fill()
    words = ["--run", tmp_path / "absent", "--data", data, "--out", disk.path / "evaluation.json"]
    call = f"set -euo pipefail; {failures.SHELL_FUNCTION} python -m ternary_spike evaluate {' '.join(map(str, words))}"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"{call} > {log} 2>&1"],
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT / "lib")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and log.read_text() == ""
    assert done.stderr == f"error: {tmp_path}/absent/run.json is missing; run the stage that writes it first\n"
    (line,) = failures.described([run], disk.path)
    said = f"its log could not be written on the disk at {disk.path}: No space left on device; make room there"
    assert line == f"evaluate failed: {said}; see {log}"
    disk.empty()
    (line,) = failures.described([run], disk.path)
    assert "it ended without a message, as if killed" in line


def test_a_call_of_the_workflow_on_a_full_disk_names_it_and_writes_nothing(disk):
    if not isinstance(disk, Mounted):
        pytest.skip("nothing can be mounted here, so no disk can be full")
    folder = copied(disk.path / "repository", notebooks=())
    disk.fill()
    outcome = smoke(folder)
    assert outcome.status == 1 and "Traceback" not in outcome.text, outcome.text
    said = f"on the disk at {disk.path}: No space left on device; make room there"
    assert [line for line in outcome.text.splitlines() if line.startswith("error: ")] == [
        f"error: .snakemake takes nothing more, {said}"
    ]
    assert not (folder / "results").exists()


def test_the_handler_of_failures_ends_in_one_line_on_a_full_disk(disk, capsys):
    run = dataclasses.replace(RUN, seed=0)
    for name in (f"logs/train/{run.folder}.log", "plan.csv", FRONT_PAGE):
        (disk.path / name).parent.mkdir(parents=True, exist_ok=True)
        (disk.path / name).write_text("error: the loss is nan\n")
    disk.fill()
    assert not after_failure([run], disk.path, "{}", ["false"])
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("train failed: the loss is nan; see ")
    assert last.startswith(f"error: the report of what is finished could not be made: cannot write {disk.path}/status/")
    assert "make room" in last and last.endswith(f"that of an earlier call is now {disk.path / ASIDE}")
    assert (disk.path / ASIDE).exists() and not (disk.path / FRONT_PAGE).exists()


def test_a_read_only_folder_is_named_before_any_work(data, disk, tmp_path):
    pixels = torch.zeros(4, 1, 4, 4, dtype=torch.uint8)
    splits = dict.fromkeys(("train", "test"), Split(pixels, torch.zeros(4, dtype=torch.int64)))
    write_prepared(disk.path / "data", "x", "X", {}, 1, splits)
    (disk.path / "c").mkdir()
    disk.read_only()
    steps = []
    for words, work in (
        ("/c", lambda: train(tiny_plan(data), disk.path / "c", tmp_path / "out", CPU, steps.append)),
        ("/out", lambda: train(tiny_plan(data), tmp_path / "c", disk.path / "out", CPU, steps.append)),
        ("/tables", lambda: collect.write_tables({"runs": pd.DataFrame({"id": []})}, disk.path / "tables")),
        ("/data", lambda: write_prepared(disk.path / "data", "x", "X", {}, 1, splits)),
    ):
        with pytest.raises(UserError, match=rf"cannot (write|replace) .*{words}"):
            work()
    assert not steps
    assert (disk.path / "data" / "manifest.json").exists()
