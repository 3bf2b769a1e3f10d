"""Shipped sheets of converted networks through snakemake: a chain from a ReLU network to a report."""

import csv
import json

import pytest

from tests.workflow.running import HEAD, copied, smoke

ROWS = """digits,resnet6w4,1,relu,,,digits,0,demo,false,,
digits,resnet6w4,8,,,,digits,0,demo,false,spike_norm,digits-resnet6w4-T1-relu
digits,resnet6w4,40,,,,digits,0,demo,false,rmp_snn,digits-resnet6w4-T1-relu
digits,resnet6w4,4,,units,spike_value=threshold,digits,0,demo,false,hybrid_train,digits-resnet6w4-T40-if-rmp_snn
"""
SHORT = "-train_samples_200"


@pytest.mark.full
def test_a_chain_of_conversions_from_the_run_table_to_the_report(tmp_path):
    folder = copied(tmp_path, notebooks=("comparison",))
    for path in (folder / "config/methods").glob("*.yaml"):
        path.write_text(path.read_text().replace("calibration_timesteps: 1000", "calibration_timesteps: 10"))
    (folder / "table.csv").write_text(HEAD.replace("\n", ",method,source\n") + ROWS)
    done = smoke(folder)
    assert done.status == 0, done.text
    runs = folder / "results/smoke/runs"

    def record(name, file="run.json"):
        return json.loads((runs / name / "seed0" / file).read_text())

    relu, norm = f"digits-resnet6w4-T1-relu-e1{SHORT}", f"digits-resnet6w4-T8-if-spike_norm{SHORT}"
    rmp, tuned = f"digits-resnet6w4-T40-if-rmp_snn{SHORT}", f"digits-resnet6w4-T4-if-hybrid_train-units-e1{SHORT}"
    for name, source, timesteps in ((norm, relu, 8), (rmp, relu, 40), (tuned, rmp, 4)):
        assert record(name)["source"]["weights"] == record(source)["files"]["weights.safetensors"]
        assert len(record(name, "evaluation.json")["accuracy_percent_by_timestep"]) == timesteps
        assert record(name, "folded.json")["not_foldable"].startswith("its input is drawn at random")
    with (folder / "results/smoke/tables/runs.csv").open() as file:
        found = {row["id"]: row for row in csv.DictReader(file)}
    assert found[relu]["state"] == "done"
    assert all(row["state"].startswith("done; not foldable") for name, row in found.items() if name != relu)
    assert found[norm]["method"] == "Spike-Norm (partly)"
    assert (folder / f"results/smoke/report/runs/{tuned}.html").exists()
