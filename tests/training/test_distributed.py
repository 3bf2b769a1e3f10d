"""Two processes on a CPU compute what one does: synchronised batch norm, averaged gradients, a whole training."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ternary_spike import SpikingResNet, UserError
from ternary_spike.cli import main
from ternary_spike.configuration.recipe import Recipe
from ternary_spike.membrane import backends
from ternary_spike.system.files import read_json, read_tensors
from ternary_spike.training.distributed import Processes
from ternary_spike.training.step import TrainingStep
from tests.cli.test_verbs import recipe, train_words  # noqa: F401
from tests.helpers.methods import OneProcess
from tests.helpers.tiny import NEURON_OF, prepare_tiny
from tests.helpers.two_processes import batch, gradients

ROOT = Path(__file__).parents[2]


def test_batch_norm_that_cannot_be_synchronised_is_refused_by_name(monkeypatch):
    processes = Processes(torch.device("cpu"))
    monkeypatch.setattr(processes, "count", 2)
    model = SpikingResNet("resnet6w4", "ternary", 2)
    model.stages[0][0].bn2.momentum = None
    with pytest.raises(ValueError, match=r"stages\.0\.0\.bn2 cannot be synchronised.*momentum"):
        processes.wrap(model, torch.device("cpu"))


def test_a_method_for_one_process_is_refused_in_two(monkeypatch):
    processes = Processes(torch.device("cpu"))
    model, plain = SpikingResNet("resnet6w4", "ternary", 2), Recipe("x", 1, 4, 0.1, 0.9, 0.0)
    TrainingStep(model, OneProcess(), plain, processes=processes)
    monkeypatch.setattr(processes, "count", 2)
    with pytest.raises(UserError, match="OneProcess trains in one process, and here are 2; start it without torchrun"):
        TrainingStep(model, OneProcess(), plain, processes=processes)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"WORLD_SIZE": "4", "RANK": "2"}, "WORLD_SIZE=4 and RANK=2 without MASTER_ADDR and MASTER_PORT"),
        ({"WORLD_SIZE": "4"}, "WORLD_SIZE=4 without RANK"),
        ({"RANK": "2"}, "RANK=2, but ranks go from 0"),
        ({"WORLD_SIZE": "4", "RANK": "4", "MASTER_ADDR": "x", "MASTER_PORT": "1"}, "RANK=4, but ranks go from 0"),
        ({"WORLD_SIZE": "many"}, "WORLD_SIZE=many, which are no numbers"),
    ],
)
def test_one_process_of_several_that_nobody_started_is_one_line(given, words, monkeypatch, capsys, recipe, tmp_path):  # noqa: F811
    for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stopped:
        main(train_words(tmp_path / "no data", recipe, tmp_path))
    (line,) = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2 and line.startswith("error: the environment has ") and words in line
    assert "by torchrun, or unset" in line


def torchrun(module: str, words: list[str]) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return [*launcher, "-m", module, *words]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{ROOT / 'lib'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}


def run(command: list[str]) -> None:
    done = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


# with the compiler, of pictures large enough for it
@pytest.mark.parametrize(
    "backend, size, neurons",
    [
        ("eager", 10, ["trainable", "mpbn"]),
        pytest.param("compiled", 40, ["trainable"], marks=pytest.mark.full),
    ],
)
def test_gradients_and_statistics_of_unequal_parts_are_those_of_one_batch(tmp_path, backend, size, neurons):
    if backend == "compiled" and not backends.compiler_works("cpu"):
        pytest.skip("no C++ compiler here")
    run(torchrun("tests.helpers.two_processes", [str(tmp_path), backend, str(size), *neurons]))
    for neuron in neurons:
        two, _ = read_tensors(tmp_path / f"{neuron}.safetensors")
        one = gradients([batch(size)], None, neuron)
        assert two.keys() == one.keys()
        for name, expected in one.items():
            torch.testing.assert_close(two[name], expected, rtol=1e-9, atol=1e-12, msg=f"{neuron}: {name}")
        assert any(expected.abs().max() > 1e-3 for name, expected in one.items() if "gradient.stem" in name)


@pytest.mark.full
@pytest.mark.parametrize(
    "method",
    [
        "cross_entropy",
        "im_loss",
        "tandem",
        "ottt",
        "dsr",
        *(f"tests.helpers.methods:{m}" for m in ("AtEachTimestep", "ClassifierAlone", "Projected")),
    ],
)
def test_a_training_by_two_processes_is_that_of_one(recipe, tmp_path, method):  # noqa: F811
    data = prepare_tiny(tmp_path / "data", train=90)  # the last batch, of 26, splits evenly, 90 does not divide by 4
    parts = {"method": method, "neuron": NEURON_OF.get(method, "trainable")}
    main(train_words(data, recipe, tmp_path / "one", **parts))
    run(torchrun("ternary_spike", train_words(data, recipe, tmp_path / "two", **parts)))
    one, two = (read_json(tmp_path / n / "run" / "run.json") for n in ("one", "two"))
    assert two["cost"]["processes"] == 2 and one["cost"]["processes"] == 1
    rows = [list(csv.DictReader((tmp_path / n / "run" / "history.csv").open())) for n in ("one", "two")]
    for first, second in zip(*rows, strict=True):
        assert float(first["train_loss"]) == pytest.approx(float(second["train_loss"]), rel=1e-4)
    weights = [read_tensors(tmp_path / n / "run" / "weights.safetensors")[0] for n in ("one", "two")]
    for name, expected in weights[0].items():
        torch.testing.assert_close(weights[1][name].double(), expected.double(), rtol=1e-2, atol=1e-3, msg=name)


@pytest.mark.full
def test_a_distributed_training_stops_and_resumes(recipe, tmp_path):  # noqa: F811
    data = prepare_tiny(tmp_path / "data")
    words = [*train_words(data, recipe, tmp_path), "--set", "epochs=40"]
    process = subprocess.Popen(
        torchrun("ternary_spike", words), env=environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert "epoch 1/40" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=300)
    assert not (tmp_path / "run" / "run.json").exists()
    time.sleep(0.5)
    run(torchrun("ternary_spike", words))
    record = read_json(tmp_path / "run" / "run.json")
    assert record["cost"]["resumed"] == 1
    rows = list(csv.DictReader((tmp_path / "run" / "history.csv").open()))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 41))
