"""The demo as a user gets it, but for two of its three seeds."""

import csv

import pytest

from tests.workflow.running import copied, snakemake

pytestmark = pytest.mark.full


def test_the_demo_ends_with_a_report_and_a_second_call_does_nothing(tmp_path):
    folder = copied(tmp_path / "demo", notebooks=("comparison", "folding"))
    call = ("--cores", "all", "--configfile", "config/demo.yaml", "--config", "seeds=0")
    done = snakemake(folder, *call, timeout=2400)
    assert done.status == 0, done.text
    assert (folder / "results/demo/report/index.html").exists()
    with (folder / "results/demo/tables/summary.csv").open() as file:
        accuracy = {row["neuron"]: float(row["last_epoch_mean_percent"]) for row in csv.DictReader(file)}
    assert accuracy.keys() == {"binary", "ternary", "trainable"} and min(accuracy.values()) > 60
    assert accuracy["binary"] < accuracy["ternary"]
    again = snakemake(folder, *call)
    assert again.status == 0 and "Nothing to be done" in again.text
