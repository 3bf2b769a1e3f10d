"""What `watch` says of runs that are really there: one is finished, one fails, one trains and is killed, one waits."""

import contextlib
import csv
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass, replace
from fcntl import ioctl
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console

from ternary_spike.cli import main
from ternary_spike.cli._watched import duration, fitting, printed
from ternary_spike.planning import plan_file
from ternary_spike.planning.run_files import run_folder
from ternary_spike.planning.watching import FAILED, FINISHED, TRAINING, WAITING, Seen, Watched
from ternary_spike.system.files import read_json, write_json
from ternary_spike.training.loop import Interrupted, train
from tests.cli.test_verbs import RECIPE, mistake
from tests.helpers.tiny import prepare_tiny, tiny_plan

CPU = torch.device("cpu")
EPOCHS = 5000  # many more than the time of a test allows


@dataclass(frozen=True)
class Preset:
    """results/<preset> with trainings of a tiny network, and what may be done to them."""

    results: Path
    recipe: Path

    def words(self, run: str, **changes) -> list[str]:
        """The command line of a training, as the workflow writes it."""
        out = run_folder(self.results, run, 0)
        options = {"data": self.results / "data" / "tiny", "recipe": self.recipe, "out": out, "id": run}
        options |= {"checkpoints": self.checkpoints(run), "architecture": "resnet6w4", "neuron": "ternary"}
        options |= {"timesteps": 1, "seed": 0, "threads": 1, "device": "cpu"}
        words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
        return ["train", *words, *(word for pair in changes.items() for word in ("--set", "{}={}".format(*pair)))]

    def checkpoints(self, run: str) -> Path:
        return self.results / "checkpoints" / run / "seed0"

    def log(self, run: str) -> Path:
        path = self.results / "logs" / "train" / run / "seed0.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def seen(self, run: str) -> Seen:
        (found,) = (seen for seen in Watched(self.results).look() if seen.id == run)
        return found


def row(run: str, **cells: str) -> dict[str, str]:
    known = {"id": run, "seed": 0, "dataset": "tiny", "data": "tiny", "timesteps": 1, "neuron": "ternary"}
    return dict.fromkeys(plan_file.PLAN_COLUMNS, "") | known | {"status": "runnable"} | cells


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    root = tmp_path_factory.mktemp("watched")
    preset = Preset(root / "results" / "tiny", root / "tiny.yaml")
    preset.recipe.write_text(yaml.safe_dump(RECIPE))
    prepare_tiny(preset.results / "data" / "tiny")
    rows = [row(name) for name in ("finished", "mistaken", "stopped", "waiting")]
    rows += [row("long", changes=f"epochs={EPOCHS}", projected_hours="0.5")]
    rows += [row("elsewhere", status="not run", reason="imagenet: no path is set")]
    plan_file.write_rows(preset.results / "plan.csv", rows)

    main(preset.words("finished"))

    with preset.log("mistaken").open("w") as log, contextlib.redirect_stderr(log), pytest.raises(SystemExit):
        main(preset.words("mistaken", learning_rate="1e30"))

    with preset.log("stopped").open("w") as log:
        plan = tiny_plan(preset.results / "data" / "tiny", epochs=3)

        def stop_after_an_epoch(line: str) -> None:
            print(line, file=log)
            if "epoch 1/3" in line:
                os.kill(os.getpid(), signal.SIGTERM)

        with pytest.raises(Interrupted) as stopped:
            train(plan, preset.checkpoints("stopped"), root / "stopped", CPU, stop_after_an_epoch)
        print(stopped.value, file=log)
    return preset


@pytest.fixture(scope="module")
def training(preset):
    """The process of a training that does not end by itself, some epochs after its beginning."""
    with preset.log("long").open("w") as log:
        words = [sys.executable, "-m", "ternary_spike", *preset.words("long", epochs=EPOCHS)]
        process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT)
    try:
        limit = time.monotonic() + 120
        while not any(len(path.read_text().splitlines()) > 3 for path in histories(preset)):
            assert process.poll() is None and time.monotonic() < limit, preset.log("long").read_text()
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def histories(preset: Preset) -> list[Path]:
    return list(preset.checkpoints("long").glob("*/history.csv"))


def test_a_finished_run_has_the_figures_of_its_record(preset):
    seen = preset.seen("finished")
    record = read_json(run_folder(preset.results, "finished", 0) / "run.json")
    with (run_folder(preset.results, "finished", 0) / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert (seen.state, seen.epoch, seen.epochs) == (FINISHED, 2, 2)
    assert seen.accuracy_percent == record["accuracy"]["last_epoch_percent"]
    assert seen.images_per_second == record["cost"]["images_per_second"]
    assert seen.loss == float(history[-1]["train_loss"])
    assert seen.note == "" and seen.seconds_left is None


def test_a_mistake_is_said_with_its_log(preset):
    seen = preset.seen("mistaken")
    assert seen.state == FAILED
    assert "lower learning_rate in the recipe; see " in seen.note and "error: " not in seen.note
    assert seen.note.endswith(str(preset.log("mistaken")))


def test_a_training_that_was_asked_to_stop_waits_for_the_next_call(preset):
    seen = preset.seen("stopped")
    assert (seen.state, seen.epoch) == (WAITING, 1)
    assert seen.note.startswith("stopped by SIGTERM at epoch 2") and seen.note.endswith("goes on there")


def test_what_has_not_begun_waits_and_what_cannot_run_says_why(preset):
    assert preset.seen("waiting") == Seen("waiting", 0, WAITING)
    assert preset.seen("elsewhere") == Seen("elsewhere", 0, "not run", note="imagenet: no path is set")


def test_a_training_says_how_far_it_is_and_one_that_was_killed_how_far_it_came(preset, training):
    before = time.monotonic()
    seen = preset.seen("long")
    assert (seen.state, seen.epochs, seen.note) == (TRAINING, EPOCHS, "")
    assert 3 <= seen.epoch < EPOCHS and 0 < seen.loss < 10 and 0 <= seen.accuracy_percent <= 100
    history = max(histories(preset)).read_text().splitlines()
    pace = sum(float(line.split(",")[6]) for line in history[1:]) / (len(history) - 1)
    # at least what its epochs took; scoring and saving come on top
    assert pace * (EPOCHS - len(history) - 50) < seen.seconds_left < 3600
    first = seen.epoch
    while preset.seen("long").epoch == first:
        assert time.monotonic() < before + 60
    for text in (preset.results, "--once"), (preset.results,):
        done = watch(*text)
        assert done.returncode == 0 and not done.stderr, done.stderr
        (line,) = (line for line in done.stdout.splitlines() if line.startswith("long"))
        left = r"(\d+ h )?\d+ (min|s)"
        assert re.search(rf"^long +0 +training +\d+/{EPOCHS} +\d\.\d{{4}} +\d+\.\d\d % +\d+ +{left}$", line)
    in_a_terminal(preset)
    training.kill()
    training.wait()
    seen = preset.seen("long")
    assert seen.state == FAILED and seen.epoch >= 3 and seen.seconds_left is None
    assert seen.note.startswith(f"killed: process {training.pid} is gone") and str(preset.log("long")) in seen.note


def watch(*words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "ternary_spike", "watch", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def in_a_terminal(preset: Preset) -> None:
    """While a run trains: it refreshes by itself, fits in, and Ctrl-C ends it as its user wants."""
    narrow, wide = terminal(preset, 60), terminal(preset, 150)
    assert max(map(len, narrow)) <= 60
    assert "long seed 0" in narrow and any(re.fullmatch(r"run +seed +state .* time left", line) for line in wide)
    for lines in (narrow, wide):
        text = "\n".join(lines)
        for name in ("finished", "mistaken", "stopped", "waiting", "long", "elsewhere"):
            assert name in text
        assert "lower learning_rate" in " ".join(text.split())
        epochs = {int(epoch) for epoch in re.findall(rf"(\d+)/{EPOCHS}", text)}
        assert len(epochs) > 1, "it shows one moment only"


def terminal(preset: Preset, columns: int) -> list[str]:
    """The lines that `watch` wrote to a terminal of a width before Ctrl-C, without colours and movements."""
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 60, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "ternary_spike", "watch", str(preset.results), "--every", "0.2"]
    process = subprocess.Popen(
        command,
        stdout=slave,
        stderr=slave,
        env=environment | {"TERM": "xterm"},
        # whoever runs the tests in the background of a script has Ctrl-C ignored, and a process inherits that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(slave)
    written, end = b"", time.monotonic() + 60
    while written.count(b"6 runs: ") < 3 and time.monotonic() < end:
        written += os.read(master, 65536)
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # a terminal whose last process has ended
        while True:
            written += os.read(master, 65536)
    assert process.wait(60) == 0, written.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode()).replace("\r", "").splitlines()


def test_a_silent_log_is_a_failure_once_it_is_old_and_a_beginning_before(preset):
    log = preset.log("waiting")
    try:
        log.write_text("")
        assert (preset.seen("waiting").state, preset.seen("waiting").note) == (TRAINING, "starting")
        os.utime(log, (time.time() - 3600,) * 2)
        assert preset.seen("waiting").state == FAILED
        assert preset.seen("waiting").note == f"it ended without a message, as if killed; see {log}"
    finally:
        log.unlink()


def test_a_later_stage_fails_when_its_log_or_the_workflow_says_so(preset):
    log = preset.results / "logs" / "evaluate" / "finished" / "seed0.log"
    status = preset.results / "status" / "finished" / "seed0" / "evaluate.json"
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        log.write_text("it is being evaluated\n")
        assert preset.seen("finished").state == FINISHED
        log.write_text("error: data/tiny holds other data\n")
        assert preset.seen("finished").note == f"evaluate: data/tiny holds other data; see {log}"
        log.write_text("")
        write_json(status, {"state": "failed", "reason": "killed by signal 15", "log": str(log)})
        assert (preset.seen("finished").state, preset.seen("finished").accuracy_percent) == (FAILED, None)
        assert preset.seen("finished").note == f"evaluate: killed by signal 15; see {log}"
    finally:
        log.unlink()
        status.unlink(missing_ok=True)


def test_a_number_that_another_process_has_by_now_is_no_training(preset, tmp_path):
    lock = preset.checkpoints("waiting") / "key" / "lock"
    lock.parent.mkdir(parents=True)
    try:
        lock.write_text(f"{os.getpid()} on {os.uname().nodename}")
        assert preset.seen("waiting").state == TRAINING
        os.utime(lock, (1e9, 1e9))  # this process began later
        assert preset.seen("waiting").state == FAILED
        lock.write_text("1 on some-other-machine")
        assert preset.seen("waiting").state == TRAINING
        assert preset.seen("waiting").note.startswith("on some-other-machine, last heard of 20")
    finally:
        lock.unlink()


def test_a_damaged_record_spoils_its_own_run_alone(preset):
    record = run_folder(preset.results, "finished", 0) / "run.json"
    whole = record.read_text()
    try:
        record.write_text(whole.replace('"epochs": 2', '"epochs": 3', 1))
        assert (
            preset.seen("finished").state == FAILED
            and "was changed after it was written" in preset.seen("finished").note
        )
        assert preset.seen("mistaken").state == FAILED
    finally:
        record.write_text(whole)


def test_a_folder_or_a_plan_that_is_not_there_is_one_line(preset, tmp_path, capsys):
    assert "is no folder; name that of a preset: " + str(preset.results) in mistake(
        capsys, ["watch", str(preset.results.with_name("nothing"))]
    )
    line = mistake(capsys, ["watch", str(preset.results.parent)])
    assert "plan.csv is missing; it is among the first files" in line and line.endswith(str(preset.results))
    assert "there is none in" in mistake(capsys, ["watch", str(tmp_path)])
    assert "--every" in mistake(capsys, ["watch", str(preset.results), "--every", "0"])


def test_it_starts_without_what_takes_seconds_to_import(preset):
    code = "import sys; from ternary_spike.cli import main; main(sys.argv[1:]); print(*sorted(sys.modules))"
    words = [sys.executable, "-c", code, "watch", str(preset.results), "--once"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert not {"torch", "pandas", "numpy"} & set(done.stdout.splitlines()[-1].split())


def test_where_not_all_fit_those_that_train_are_shown():
    runs = [Seen(f"run{number}", 0, WAITING) for number in range(900)]
    runs[700] = replace(runs[700], state=TRAINING, epoch=3)
    runs[800] = replace(runs[800], state=FAILED, note="the loss is nan\x1b[2J; see a.log")
    console = Console(width=100, height=24, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(fitting(runs, console))
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert 20 <= len(lines) < 24
    assert "run700" in "\n".join(lines) and "run899" not in "\n".join(lines)
    assert "and 881 more, which do not fit here" in lines
    assert "failed: run800 seed 0: the loss is nan [2J; see a.log" in lines
    assert lines[-1] == "900 runs: 1 training, 1 failed, 898 waiting"
    assert len(printed(runs).splitlines()) == 900 + 3


@pytest.mark.parametrize(
    "seconds, words",
    [(0.4, "0 s"), (59, "59 s"), (61, "1 min"), (3599, "1 h 00 min"), (7500, "2 h 05 min"), (190000, "2 d 04 h")],
)
def test_durations_are_as_exact_as_one_wants_to_know(seconds, words):
    assert duration(seconds) == words
