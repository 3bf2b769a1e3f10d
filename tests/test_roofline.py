"""The benchmark of a whole training step: its least time, and that it runs."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.roofline import least_seconds
from torch.utils.flop_counter import FlopCounterMode

from ternary_spike import SpikingResNet
from ternary_spike.files import read_json, require_listed

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


@pytest.mark.full
def test_the_benchmark_runs_and_says_what_it_measured(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks/roofline.py"), "--out", str(tmp_path), "--device", "cpu"]
    command += ["--architecture", "resnet6w4", "--batch", "4", "--rounds", "2", "--precision", "float32"]
    subprocess.run(command, check=True, capture_output=True)
    with (tmp_path / "roofline.csv").open() as file:
        rows = {row["variant"]: row for row in csv.DictReader(file)}
    assert set(rows) == {
        "plain loop, image repeated",
        "torch.compile of the plain loop",
        "ternary, eager",
        "ternary, compiled",
        "convolutions alone",
    }
    assert float(rows["convolutions alone"]["times_convolutions_alone"]) == 1
    for row in rows.values():
        share = 100 * float(row["images_per_second"]) / float(row["roofline_images_per_second"])
        assert float(row["percent_of_roofline"]) == pytest.approx(share, rel=2e-3)
    with (tmp_path / "roofline_profile.csv").open() as file:
        listed = list(csv.DictReader(file))
    assert any("convolution" in row["operation"] for row in listed)
    assert sum(float(row["percent"]) for row in listed) <= 100.1
    for name in ("roofline.csv", "roofline_profile.csv"):
        assert (tmp_path / f"{name}.sha256").exists()
        require_listed(tmp_path / name)
    setting = read_json(tmp_path / "roofline.json")
    assert setting.keys() >= {"commit", "dirty", "hardware", "command", "started", "finished"}
    assert setting["command"][1] == "benchmarks/roofline.py" and setting["hardware"]["device"] == "cpu"
    assert setting["ceilings"]["float32"]["copy_bytes_per_second"] > 1e8
