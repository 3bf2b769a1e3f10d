"""The benchmarks: the least time of a training step, and that they run and record what they measured."""

import csv
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks import resources, run
from benchmarks.records import without_places
from benchmarks.roofline import least_seconds
from torch.utils.flop_counter import FlopCounterMode

from ternary_spike import SpikingResNet
from ternary_spike.membrane import kernel
from ternary_spike.system.files import read_json, require_listed

ROOT = Path(__file__).resolve().parent.parent


def test_operations_are_those_that_torch_counts():
    found = least_seconds("resnet20w8", 2, torch.float32, 1.0, 1.0)
    model = SpikingResNet("resnet20w8", "ternary", 2).train()
    with FlopCounterMode(display=False) as counted:
        model(torch.randn(1, 3, 32, 32)).sum().backward()
    counts = counted.get_flop_counts()["Global"]
    convolutions = sum(number for name, number in counts.items() if "convolution" in str(name))
    assert found["flops"] == convolutions


def test_memory_traffic_is_that_of_the_layers():
    found = least_seconds("resnet6w4", 2, torch.bfloat16, 1e9, 1e30)
    # the stem's convolution once; two of 4 x 32 x 32 and three of 8 x 16 x 16, one of them a shortcut's, at T = 2
    elements = 4 * 1024 + 2 * (2 * 4 * 1024 + 3 * 8 * 256)
    added = 2 * (4 * 1024 + 8 * 256)
    assert found["elementwise_bytes"] == 2 * (8 * elements + 4 * added)
    assert found["elementwise_seconds"] == found["elementwise_bytes"] / 1e9
    # with arithmetic for nothing, a convolution takes the time of its input and output
    stem = 2 * (3 + 4) * 1024
    block = 3 * 2 * (4 + 4) * 1024 * 2
    second = 3 * 2 * (4 * 1024 + 8 * 256 + (8 + 8) * 256 + 4 * 1024 + 8 * 256)
    assert found["convolution_seconds"] == pytest.approx(2 * (stem + block + second) / 1e9, rel=0.05)


def read(table: Path) -> list[dict]:
    """A table's rows, once its checksum beside it holds."""
    assert table.with_name(f"{table.name}.sha256").exists()
    require_listed(table)
    with table.open() as file:
        return list(csv.DictReader(file))


def traceable(setting: dict, command: str) -> None:
    assert setting.keys() >= {"commit", "dirty", "hardware", "command", "started", "finished"}
    assert setting["command"][1] == command and setting["hardware"]["device"] == "cpu"


def test_records_do_not_say_where_a_machine_has_its_folders():
    assert without_places(["--out", "/somewhere/of/mine", "--rounds", "5"]) == ["--out", "mine", "--rounds", "5"]
    assert without_places(["--out=/somewhere/of/mine"]) == ["--out=mine"]
    assert without_places(["--out", "results/bench"]) == ["--out", "results/bench"]
    for path in (ROOT / "results/reference/bench").glob("*.json"):
        words = read_json(path)["command"]
        assert without_places(words) == words, path


@pytest.mark.full
def test_the_roofline_is_measured_and_says_of_what(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks/roofline.py"), "--out", str(tmp_path), "--device", "cpu"]
    command += ["--architecture", "resnet6w4", "--batch", "4", "--rounds", "2", "--precision", "float32"]
    subprocess.run(command, check=True, capture_output=True)
    rows = {row["variant"]: row for row in read(tmp_path / "roofline.csv")}
    assert set(rows) == {
        "plain loop",
        "torch.compile of the plain loop",
        "ternary, eager",
        "ternary, compiled",
        "convolutions alone",
    }
    assert float(rows["convolutions alone"]["times_convolutions_alone"]) == 1
    for row in rows.values():
        share = 100 * float(row["images_per_second"]) / float(row["roofline_images_per_second"])
        assert float(row["percent_of_roofline"]) == pytest.approx(share, rel=2e-3)
    listed = read(tmp_path / "roofline_profile.csv")
    assert any("convolution" in row["operation"] for row in listed)
    assert sum(float(row["percent"]) for row in listed) <= 100.1
    setting = read_json(tmp_path / "roofline.json")
    traceable(setting, "benchmarks/roofline.py")
    assert setting["ceilings"]["float32"]["copy_bytes_per_second"] > 1e8


def test_an_interrupted_measurement_keeps_what_it_has_measured(tmp_path, monkeypatch):
    """Of the second part nothing is there yet; what the first one gave is, with the record of its making."""

    def neuron(bench, timesteps):
        if timesteps == 4:
            raise KeyboardInterrupt
        return [{"device": bench.device, "timesteps": timesteps, "variant": "copy", "milliseconds": 1.5}]

    monkeypatch.setattr(run, "bench_neuron", neuron)
    monkeypatch.setattr(run.allocator, "keep_freed_memory", lambda: None)  # would hold for the tests that follow
    words = ["benchmarks/run.py", "--out", str(tmp_path / "bench"), "--device", "cpu", "--only", "neuron"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(KeyboardInterrupt):
        run.main()
    rows = read(tmp_path / "bench/neuron.csv")
    assert rows == [{"device": "cpu", "timesteps": "2", "variant": "copy", "milliseconds": "1.5"}]
    traceable(read_json(tmp_path / "bench/benchmark.json"), "benchmarks/run.py")


def test_an_interrupted_measurement_of_stages_replaces_its_own_cases_only(tmp_path):
    path = tmp_path / "resources.csv"
    for case, value in ((2, "old"), (1, "old"), (0, "old"), (1, "new")):
        dataset, architecture, *_ = resources.CASES[case]
        rows = [{"dataset": dataset, "architecture": architecture, "stage": s, "value": value} for s in ("a", "b")]
        resources.replace_rows(path, rows)
    with path.open() as file:
        found = list(csv.DictReader(file))
    assert [(row["dataset"], row["architecture"]) for row in found[::2]] == [case[:2] for case in resources.CASES[:3]]
    assert [row["value"] for row in found] == ["old", "old", "new", "new", "old", "old"]


OURS = {"ternary, eager", "ternary, compiled"}


@pytest.mark.full
def test_neuron_step_and_epoch_are_measured_beside_what_is_installed(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks/run.py"), "--out", str(tmp_path), "--device", "cpu"]
    command += ["--only", "neuron", "training", "epoch", "--timesteps", "2", "--rounds", "1", "--neuron-rounds", "3"]
    command += ["--epoch-rounds", "1", "--batch", "4"]
    subprocess.run(command, check=True, capture_output=True)
    rivals = {"plain loop"}
    if importlib.util.find_spec("spikingjelly"):
        rivals |= {"SpikingJelly TernaryLIFNode", "SpikingJelly LIFNode (binary)"}
    if importlib.util.find_spec("snntorch"):
        rivals |= {"snnTorch Leaky (binary)"}

    neuron = {row["variant"]: row for row in read(tmp_path / "neuron.csv")}
    others = {f"{name}, {backend}" for name in ("binary", "trainable") for backend in ("eager", "compiled")}
    assert set(neuron) == rivals | OURS | others | {"torch.compile of the plain loop", "copy"}
    assert float(neuron["copy"]["times_five_memory_passes"]) == 0.4
    timestep = 32 * 64 * 32 * 32  # elements
    assert timestep >= 8 * kernel.PIECE  # several pieces, or the next bound would say nothing
    for name in OURS | others:
        assert float(neuron[name]["saved_bytes_per_element"]) == 4  # its input
        # input's gradient and spikes, and in eager a piece's intermediates: ten tensors of it at most
        pieces = 10 * 4 * kernel.PIECE / (2 * timestep) if name.endswith("eager") else 0
        assert 8 <= float(neuron[name]["peak_bytes_per_element"]) <= 8.01 + pieces

    steps = read(tmp_path / "training_step.csv")
    for dtype in {row["dtype"] for row in steps}:
        found = {row["variant"]: row for row in steps if row["dtype"] == dtype}
        assert set(found) == rivals | OURS | {"convolutions alone"}
        kept = {name: float(row["saved_mib_per_image"]) for name, row in found.items()}
        assert all(kept["convolutions alone"] < kept[ours] < kept[rival] for ours in OURS for rival in rivals)
        assert float(found["plain loop"]["speed_over_plain"]) == 1

    epoch = {row["variant"]: float(row["times_steps_alone"]) for row in read(tmp_path / "epoch.csv")}
    assert epoch.keys() == {"steps alone", "epoch"} and epoch["steps alone"] == 1
    traceable(read_json(tmp_path / "benchmark.json"), "benchmarks/run.py")


@pytest.mark.full
def test_a_step_of_every_prior_method_is_measured(tmp_path):
    """Every trained row of the comparison on the digits, on a tiny network; those that start from a source too."""
    command = [
        sys.executable,
        str(ROOT / "benchmarks/methods.py"),
        "--out",
        str(tmp_path),
        "--architecture",
        "resnet6w4",
    ]
    command += ["--batch", "2", "--rounds", "1", "--backend", "eager"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "left out" not in done.stderr
    found = {row["id"]: row for row in read(tmp_path / "methods.csv")}
    lines = (ROOT / "config/rivals-digits.csv").read_text().splitlines()
    rows = [line for line in lines if line.startswith("digits,")]
    # networks without spikes and conversions that train nothing have no step of their own
    assert len(found) == len([row for row in rows if not {"relu", "spike_norm", "rmp_snn"} & set(row.split(","))])
    assert all(float(row["times_ternary_step"]) > 0 and float(row["milliseconds"]) > 0 for row in found.values())
    kept = {row["id"] for row in read(ROOT / "results/reference/bench/methods.csv")}
    assert kept == found.keys()
    traceable(read_json(tmp_path / "methods.json"), "benchmarks/methods.py")
