"""Training: what it writes, that it learns, and that nothing is lost when it is stopped."""

import contextlib
import csv
import os
import pty
import random
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import torch

from ternary_spike import UserError
from ternary_spike.membrane import backends
from ternary_spike.system.files import read_json, read_tensors
from ternary_spike.training import checkpoints
from ternary_spike.training.loop import Interrupted, train
from ternary_spike.training.record import HISTORY, RECORD, WEIGHTS, load_model
from tests.helpers.kill_training import EPOCHS
from tests.helpers.tiny import prepare_tiny, tiny_plan

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepare_tiny(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    train(tiny_plan(data), out / "checkpoints", out, CPU, lambda _: None)
    return out


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_tensors(folder / WEIGHTS)[0]


def assert_same_result(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name
    columns = ("epoch", "train_loss", "train_accuracy_percent", "test_loss", "test_accuracy_percent")
    histories = [list(csv.DictReader((f / HISTORY).open())) for f in (one, other)]
    assert [[row[c] for c in columns] for row in histories[0]] == [[row[c] for c in columns] for row in histories[1]]


def test_a_training_learns_and_leaves_a_traceable_record(data, tmp_path):
    record = train(tiny_plan(data, epochs=20), tmp_path / "checkpoints", tmp_path, CPU, lambda _: None)
    assert record == read_json(tmp_path / RECORD)
    assert record["accuracy"]["last_epoch_percent"] > 60  # chance is 25
    history = list(csv.DictReader((tmp_path / HISTORY).open()))
    assert [int(row["epoch"]) for row in history] == list(range(1, 21))
    assert float(history[-1]["train_loss"]) < float(history[0]["train_loss"])
    best = max(float(row["test_accuracy_percent"]) for row in history)
    assert record["accuracy"]["best_epoch_percent"] == best
    assert float(history[record["accuracy"]["best_epoch"] - 1]["test_accuracy_percent"]) == best
    assert record["changed"] == {"epochs": 20}
    assert record["data"]["label"] == "tiny test pictures"
    assert record["provenance"]["versions"]["torch"] == torch.__version__.split("+")[0] or torch.__version__
    loaded, model = load_model(tmp_path)
    assert loaded == record and not model.training


def test_same_seed_same_result_another_seed_another(data, undisturbed, tmp_path):
    train(tiny_plan(data), tmp_path / "checkpoints", tmp_path / "again", CPU, lambda _: None)
    assert_same_result(undisturbed, tmp_path / "again")
    train(tiny_plan(data, seed=1), tmp_path / "checkpoints", tmp_path / "other", CPU, lambda _: None)
    name = "classifier.weight"
    assert not torch.equal(weights(undisturbed)[name], weights(tmp_path / "other")[name])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_saves_first_and_the_next_call_finishes_bit_equal(data, undisturbed, tmp_path, number):
    def stop_after_first_epoch(line):
        if "epoch 1/" in line:
            signal.raise_signal(number)

    with pytest.raises(Interrupted, match=rf"{number.name} at epoch 2, step 1"):
        train(tiny_plan(data), tmp_path / "checkpoints", tmp_path, CPU, stop_after_first_epoch)
    assert not (tmp_path / RECORD).exists()
    lines = []
    record = train(tiny_plan(data), tmp_path / "checkpoints", tmp_path, CPU, lines.append)
    assert "resuming at epoch 2, step 2" in lines[0]
    assert record["cost"]["resumed"] == 1
    assert_same_result(undisturbed, tmp_path)


def test_a_changed_recipe_never_resumes_an_old_state(data, tmp_path):
    with pytest.raises(Interrupted):
        train(tiny_plan(data), tmp_path / "c", tmp_path, CPU, lambda _: signal.raise_signal(signal.SIGTERM))
    lines = []
    train(tiny_plan(data, learning_rate=0.05), tmp_path / "c", tmp_path, CPU, lines.append)
    assert not any("resuming" in line for line in lines)


def test_a_second_process_on_the_same_run_is_turned_away(data, tmp_path):
    failures = []

    def start_another(_):
        if not failures:
            with pytest.raises(UserError, match=rf"process {os.getpid()} on .* is training this run") as caught:
                train(tiny_plan(data), tmp_path / "c", tmp_path / "b", CPU, lambda _: None)
            with pytest.raises(UserError, match="another process is training into it"):
                train(tiny_plan(data), tmp_path / "elsewhere", tmp_path / "a", CPU, lambda _: None)
            failures.append(caught.value)

    train(tiny_plan(data), tmp_path / "c", tmp_path / "a", CPU, start_another)
    train(tiny_plan(data), tmp_path / "c", tmp_path / "a", CPU, lambda _: None)  # the lock went with it
    assert failures and not (tmp_path / "b" / RECORD).exists()


def test_an_exploding_loss_stops_the_run_and_keeps_the_last_good_checkpoint(data, tmp_path):
    plan = tiny_plan(data, learning_rate=1e12)
    with pytest.raises(
        UserError, match=r"tiny-resnet6w4-T2-trainable, seed 0: the loss is .* at step \d+ of epoch \d+"
    ):
        train(plan, tmp_path / "c", tmp_path / "out", CPU, lambda _: None)
    assert not (tmp_path / "out" / RECORD).exists()
    for file in (tmp_path / "c").rglob(checkpoints.FILE):
        tensors, _ = checkpoints.load(file.parent)
        assert all(t.isfinite().all() for t in tensors.values() if t.is_floating_point())


def test_a_last_update_that_goes_wrong_is_found_too(data, tmp_path):
    plan = tiny_plan(data, learning_rate=1e300, epochs=1, batch_size=96)  # its only step's loss is fine
    with pytest.raises(UserError, match="weights are not finite after step 1 of epoch 1; there is no checkpoint yet"):
        train(plan, tmp_path / "c", tmp_path / "out", CPU, lambda _: None)
    assert not (tmp_path / "out" / RECORD).exists() and not list((tmp_path / "c").rglob(checkpoints.FILE))


def test_what_is_said_of_the_checkpoint_is_true(data, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ternary_spike.training.state.learning_rate", lambda recipe, epoch, part=1.0: 0.1 if epoch < 1 else 1e300
    )
    with pytest.raises(
        UserError, match=r"the loss is \w+ at step 2 of epoch 2; the checkpoint of epoch 2, step 0 is kept"
    ):
        train(tiny_plan(data), tmp_path / "c", tmp_path / "out", CPU, lambda _: None)
    (file,) = (tmp_path / "c").rglob(checkpoints.FILE)
    tensors, state = checkpoints.load(file.parent)
    assert (state["epoch"], state["step"]) == (1, 0)
    assert all(t.isfinite().all() for t in tensors.values() if t.is_floating_point())


def test_a_damaged_checkpoint_is_refused_by_name(data, tmp_path):
    with pytest.raises(Interrupted):
        train(tiny_plan(data), tmp_path / "c", tmp_path, CPU, lambda _: signal.raise_signal(signal.SIGTERM))
    (path,) = (tmp_path / "c").rglob(checkpoints.FILE)
    good = path.read_bytes()
    random.seed(0)
    for _ in range(200):
        damaged = bytearray(good)
        place = random.randrange(len(damaged))
        damaged[place] ^= 1 << random.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=checkpoints.FILE):
            checkpoints.load(path.parent)
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(UserError, match=checkpoints.FILE):
        checkpoints.load(path.parent)


def test_a_dead_layer_is_a_warning_in_the_record(data, tmp_path):
    plan = tiny_plan(data, neuron="ternary", epochs=1, learning_rate=1e-9)
    plan.model["neuron_options"] = {"threshold": 1e6}
    record = train(plan, tmp_path / "c", tmp_path, CPU, lambda _: None)
    assert record["warnings"][0] == "layer stem1 emits no spikes" and len(record["warnings"]) == 5


def start_training(data: Path, folder: Path) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'lib'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.helpers.kill_training", data, folder / "checkpoints", folder / "out"]
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def cut_at_random_moments(data: Path, folder: Path, most: int, seed: int) -> int:
    """Kill a training by SIGKILL, SIGTERM or SIGINT up to so often, then let it finish; how often it was cut short.

    Some are killed before their first sign of life. What a checkpoint keeps is not done again.
    """
    rng = random.Random(seed)
    cut = 0
    while cut < most:
        process = start_training(data, folder)
        if rng.random() < 0.8:
            process.stdout.readline()
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
        process.communicate(timeout=300)
        if process.returncode == 0:
            return cut
        cut += 1
    kept = list((folder / "checkpoints").rglob(checkpoints.FILE))
    said = finish(start_training(data, folder))
    assert ("resuming" in said) == bool(kept) and "%|" not in said
    return cut


@pytest.mark.parametrize("kills", [2, pytest.param(25, marks=pytest.mark.full)])
def test_killed_at_random_moments_the_result_is_bit_equal(data, tmp_path, kills):
    plan = tiny_plan(data, epochs=EPOCHS)
    train(plan, tmp_path / "c", tmp_path / "undisturbed", CPU, lambda _: None)
    done = attempt = 0
    while done < kills:
        folder = tmp_path / f"attempt{attempt}"
        done += cut_at_random_moments(data, folder, min(4, kills - done), seed=attempt)
        assert_same_result(tmp_path / "undisturbed", folder / "out")
        attempt += 1


def test_a_long_epoch_is_saved_within(data, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr("ternary_spike.training.loop.CHECKPOINT_SECONDS", 0)
    states = []
    save = checkpoints.save

    def lost_after_five(folder, tensors, state):
        save(folder, tensors, state)
        states.append((state["epoch"], state["step"]))
        if len(states) == 5:
            raise KeyboardInterrupt  # nothing is saved any more

    monkeypatch.setattr(checkpoints, "save", lost_after_five)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_plan(data), tmp_path / "c", tmp_path / "out", CPU, lambda _: None)
    assert states == [(0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]
    monkeypatch.setattr(checkpoints, "save", save)
    lines = []
    train(tiny_plan(data), tmp_path / "c", tmp_path / "out", CPU, lines.append)
    assert "resuming at epoch 2, step 2" in lines[0]
    assert_same_result(undisturbed, tmp_path / "out")


def test_a_resumed_run_stays_with_its_backend(data, tmp_path, monkeypatch):
    monkeypatch.setattr(backends, "choose", lambda *plan: "compiled")
    with pytest.raises(Interrupted):
        train(tiny_plan(data), tmp_path / "c", tmp_path, CPU, lambda _: signal.raise_signal(signal.SIGTERM))
    monkeypatch.undo()  # by itself so short a run would take the eager one
    try:
        assert train(tiny_plan(data), tmp_path / "c", tmp_path, CPU, lambda _: None)["cost"]["backend"] == "compiled"
    finally:
        backends.use("eager")


def test_a_terminal_shows_a_bar_with_the_time_left(data, tmp_path):
    """And a log none: what is piped is plain lines, as another test sees."""
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 100))
    command = [sys.executable, "-m", "tests.helpers.kill_training", data, tmp_path / "c", tmp_path / "out"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'lib'}{os.pathsep}{ROOT}"}
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=end) as process:
        os.close(end)
        shown = b""
        with contextlib.suppress(OSError):  # a terminal that nobody writes to any more
            while part := os.read(terminal, 4096):
                shown += part
    os.close(terminal)
    assert process.returncode == 0, shown
    assert re.search(rb"tiny-resnet6w4-T2-trainable seed 0: +\d+%\|.*\d+/36 \[\d\d:\d\d<\d\d:\d\d", shown), shown


def test_the_history_can_be_watched_while_the_training_runs(data, tmp_path):
    seen = []

    def look(line):
        for path in (tmp_path / "c").rglob(HISTORY):
            seen.append(list(csv.DictReader(path.open())))

    train(tiny_plan(data, epochs=3), tmp_path / "c", tmp_path / "out", CPU, look)
    assert [len(rows) for rows in seen] == [1, 2, 3]
    last = seen[-1][-1]
    assert float(last["images_per_second"]) > 0 and int(last["peak_memory_bytes"]) > 1e7
    assert list(csv.DictReader((tmp_path / "out" / HISTORY).open())) == seen[-1]
    assert not list((tmp_path / "c").rglob(HISTORY))


def test_deterministic_algorithms_suffice_for_a_training(data, undisturbed, tmp_path):
    """On a CPU they are the usual ones: the setting changes no bit, and is recorded."""
    code = "from ternary_spike.system import devices; devices.make_deterministic(); import runpy; runpy.run_module("
    code += "'tests.helpers.kill_training', run_name='__main__')"
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'lib'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, data, tmp_path / "c", tmp_path / "out"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    train(tiny_plan(data, epochs=EPOCHS), tmp_path / "c2", tmp_path / "usual", CPU, lambda _: None)
    assert_same_result(tmp_path / "usual", tmp_path / "out")
    recorded = [read_json(tmp_path / name / RECORD)["cost"]["deterministic"] for name in ("out", "usual")]
    assert recorded == [True, False]


@pytest.mark.full
def test_a_power_cut_within_a_checkpoint_s_write(data, tmp_path):
    """Killed while the new checkpoint is half-written: the old one counts, and what was left of the new one goes."""
    train(tiny_plan(data, epochs=EPOCHS), tmp_path / "c", tmp_path / "undisturbed", CPU, lambda _: None)
    folder = tmp_path / "cut"
    for _ in range(10):
        process = start_training(data, folder)
        process.stdout.readline()
        (run,) = (folder / "checkpoints").iterdir()
        while process.poll() is None and not unfinished(run):
            pass
        process.kill()
        process.communicate(timeout=300)
        if unfinished(run):
            break
    assert unfinished(run), "no kill met a write"
    finish(start_training(data, folder))
    assert_same_result(tmp_path / "undisturbed", folder / "out")
    assert not unfinished(run)


def unfinished(run: Path) -> list[Path]:
    return list(run.glob(f".{checkpoints.FILE}.*"))
