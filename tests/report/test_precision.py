"""Pairs of trainings that differ in precision, and the page on speed that shows them."""

import json
from pathlib import Path

import pandas as pd
import pytest

from ternary_spike import UserError
from ternary_spike.report.benchmarks import benchmark_files
from ternary_spike.report.precision import paired
from ternary_spike.report.results import Results
from ternary_spike.system.files import write_listed
from tests.helpers.notebook import written

NOTEBOOK = Path(__file__).parents[2] / "notebooks/speed.py"
KINDS = ("float32", "bfloat16")


def trainings(*rows):
    return pd.DataFrame(rows, columns=["neuron", "precision", "seed", "last_epoch_percent"])


def test_differences_are_taken_within_a_seed():
    # the seeds differ by ten points, the precisions by one on average
    rows = [("binary", "float32", seed, 80.0 + 10 * seed) for seed in range(3)]
    rows += [("binary", "bfloat16", seed, 81.0 + 10 * seed + (seed - 1) * 0.1) for seed in range(3)]
    row = paired(trainings(*rows)).iloc[0]
    assert row["difference_points"] == pytest.approx(1.0)
    # Student's t with two degrees of freedom
    assert row["interval_points"] == pytest.approx(4.302653 * 0.1 / 3**0.5)
    assert (row["float32_percent"], row["n"]) == (90.0, 3)


def test_a_seed_without_its_partner_does_not_count():
    rows = [("ternary", "float32", 0, 90.0), ("ternary", "bfloat16", 0, 89.0), ("ternary", "float32", 1, 10.0)]
    row = paired(trainings(*rows)).iloc[0]
    assert (row["difference_points"], row["n"]) == (-1.0, 1)
    assert row["interval_points"] is None


def benchmark(folder, slowest):
    """Made-up files of `make bench`."""
    folder.mkdir(parents=True)
    setting = {
        "processor": "made-up",
        "torch": "0",
        "python": "3",
        "time": "CPU time",
        "rounds": 1,
        "load_average": 0.0,
    }
    setting |= {"cores": 2, "bfloat16_instructions": False, "spikingjelly": "0", "snntorch": None}
    (folder / "benchmark.json").write_text(json.dumps(setting))
    neuron = [("ternary, compiled", 5.0, slowest, 14.0), ("SpikingJelly TernaryLIFNode", 70.0, 16.0, 1.0)]
    columns = ["variant", "milliseconds", "times_five_memory_passes", "speed_over_spikingjelly"]
    frame = pd.DataFrame(neuron, columns=columns).assign(device="cpu", dtype="float32", timesteps=2)
    for name in ("speed_over_plain", "saved_bytes_per_element", "peak_bytes_per_element"):
        frame[name] = 1.0
    frame.to_csv(folder / "neuron.csv", index=False)
    rows = [(name, kind, seed, 90 + seed) for name in ("binary", "ternary") for kind in KINDS for seed in range(3)]
    trainings(*rows).to_csv(folder / "precision.csv", index=False)
    steps = {"architecture": "resnet6w8", "timesteps": 2, "batch": 64, "one_thread_milliseconds": 10.0, "threads": 2}
    pd.DataFrame([steps | {"milliseconds": 8.0, "times_as_fast": 1.25}]).to_csv(folder / "threads.csv", index=False)
    case = {"device": "cuda", "dtype": "bfloat16", "architecture": "resnet20", "timesteps": 2, "batch": 128}
    whole = {"variant": "ternary, compiled", "images_per_second": 41_000.0, "percent_of_roofline": 31.0}
    whole |= {"times_convolutions_alone": 1.4, "speed_over_plain": 4.5, "roofline_images_per_second": 133_000.0}
    pd.DataFrame([case | whole]).to_csv(folder / "roofline.csv", index=False)
    operations = [("made-up kernel", 20, 5.0, 60.0), ("rare kernel", 1, 0.01, 0.1)]
    profile = pd.DataFrame(operations, columns=["operation", "calls", "milliseconds", "percent"]).assign(**case)
    profile.to_csv(folder / "roofline_profile.csv", index=False)
    ceilings = {"bfloat16": {"copy_bytes_per_second": 3.0e12, "product_flops_per_second": 7.98e14}}
    device = {"processor": "made-up GPU", "torch": "0", "time": "time of the device", "rounds": 1, "notices": []}
    (folder / "roofline.json").write_text(json.dumps(device | {"ceilings": ceilings}))
    return folder.parent


def test_a_damaged_measurement_is_refused_by_name(tmp_path):
    folder = tmp_path / "kept/bench"
    benchmark(folder, 1.23)
    results = Results(tmp_path / "results/demo")
    for name in ("neuron.csv", "roofline_profile.csv", "threads.csv"):
        path = folder / name
        write_listed(path, path.read_text())
        assert benchmark_files(results, tmp_path / "kept")[name] == path
        path.write_text(path.read_text().replace("1", "7", 1))
        with pytest.raises(UserError, match=name):
            benchmark_files(results, tmp_path / "kept")
        write_listed(path, path.read_text())


@pytest.mark.full
def test_the_page_follows_the_files_and_this_machines_come_first(tmp_path):
    kept, own = benchmark(tmp_path / "kept/bench", 1.23), tmp_path / "results/demo"
    body = written(NOTEBOOK, own, tmp_path / "out", kept).read_text()
    assert "at most 1.23 times five memory passes and are 14.0 to 14.0 times as fast" in body
    assert "No change of the accuracy on the digits by bfloat16" in body
    assert "Measured on made-up GPU" in body and "bfloat16: 3,000 GB/s copied, 798,000 GFLOP/s multiplied" in body
    assert "roofline 133,000 images a second" in body and "made-up kernel" in body and "rare kernel" not in body
    assert "2 threads make a training step 1.25 to 1.25 times as fast" in body
    benchmark(tmp_path / "results/bench", 1.11)
    assert "at most 1.11 times five memory passes" in written(NOTEBOOK, own, tmp_path / "out", kept).read_text()
    nothing = written(NOTEBOOK, tmp_path / "elsewhere/demo", tmp_path / "out", tmp_path / "empty").read_text()
    assert "Nothing has been measured" in nothing and "<table" not in nothing
