"""A training spread over two processes by its rule gives the result of one."""

import csv
import json
import subprocess
import sys

import pytest
import torch

from ternary_spike.system.files import read_tensors
from tests.workflow.running import SMOKE_CONFIG, SMOKE_RUNS, copied, snakemake, surroundings

# one step: in several, a spike at the threshold that falls to the other side by rounding would grow to a difference
ONE_STEP = SMOKE_CONFIG.replace("train_samples: 200", "train_samples: 64")
RUNS = sorted(run.replace("train_samples_200", "train_samples_64") for run in SMOKE_RUNS)


@pytest.mark.full
def test_two_processes_give_the_result_of_one(tmp_path):
    folder = copied(tmp_path / "repository")
    for preset, gpus in (("one", ""), ("two", "gpus: {digits: 2}\n")):
        (folder / f"{preset}.yaml").write_text(ONE_STEP.replace("smoke", preset) + gpus)
        wanted = [f"results/{preset}/runs/{run}/seed0/run.json" for run in RUNS]
        done = snakemake(folder, "--cores", "2", "--configfile", f"{preset}.yaml", "--printshellcmds", "--", *wanted)
        assert done.status == 0, done.text
        assert ("--nproc-per-node 2" in done.text) == (preset == "two")
    two_weights = {}
    for run in RUNS:
        one, two = (folder / f"results/{preset}/runs/{run}/seed0" for preset in ("one", "two"))
        records = [json.loads((folder_of_run / "run.json").read_text()) for folder_of_run in (one, two)]
        assert [record["cost"]["processes"] for record in records] == [1, 2]
        two_weights[run] = records[1]["files"]["weights.safetensors"]
        assert records[0]["recipe"] == records[1]["recipe"] and records[0]["model"] == records[1]["model"]
        (first,), (second,) = (
            list(csv.DictReader((folder_of_run / "history.csv").open())) for folder_of_run in (one, two)
        )
        assert float(second["train_loss"]) == pytest.approx(float(first["train_loss"]), rel=1e-3)
        weights, same = (read_tensors(folder_of_run / "weights.safetensors")[0] for folder_of_run in (one, two))
        assert weights.keys() == same.keys()
        for name, expected in weights.items():
            torch.testing.assert_close(same[name].double(), expected.double(), rtol=1e-2, atol=1e-3, msg=name)
    # what the record says repeats it, processes included
    (folder / f"results/two/runs/{RUNS[0]}/seed0/weights.safetensors").unlink()
    command = json.loads((folder / f"results/two/runs/{RUNS[0]}/seed0/run.json").read_text())["provenance"]["command"]
    environment = surroundings() | {"PYTHONPATH": "lib"}
    subprocess.run([sys.executable, *command[1:]], cwd=folder, env=environment, check=True, capture_output=True)
    again = json.loads((folder / f"results/two/runs/{RUNS[0]}/seed0/run.json").read_text())
    one = json.loads((folder / f"results/one/runs/{RUNS[0]}/seed0/run.json").read_text())
    assert again["cost"]["processes"] == 2 and again["provenance"]["command"] == command
    assert again["files"]["weights.safetensors"] == two_weights[RUNS[0]] != one["files"]["weights.safetensors"]
