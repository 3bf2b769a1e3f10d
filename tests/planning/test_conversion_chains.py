"""Rows of converted networks by shipped sheets: each with its own T, one building on another."""

from pathlib import Path

import pytest

from ternary_spike.configuration import run_table
from ternary_spike.planning import plan
from ternary_spike.planning.run import NOT_RUN, RUNNABLE

CONFIG = Path(__file__).parents[2] / "config"
TABLE = """dataset,architecture,timesteps,neuron,method,variant,neuron_options,recipe,seeds,tables,control,source
cifar10,vgg16,1,relu,,,,cifar10,0;1,,false,
cifar10,vgg16,2500,,spike_norm,,,cifar10,0;1,,false,cifar10-vgg16-T1-relu
cifar10,vgg16,2048,,rmp_snn,,,cifar10,0,,false,cifar10-vgg16-T1-relu
cifar10,vgg16,200,,hybrid_train,,,cifar10,1,,false,cifar10-vgg16-T2500-if-spike_norm
cifar10,resnet20,200,,hybrid_train,units,spike_value=threshold,cifar10,0,,false,cifar10-resnet20-T1-relu
cifar10,resnet20,1,relu,,,,cifar10,0,,false,
"""


@pytest.fixture
def planned(tmp_path):
    (tmp_path / "table.csv").write_text(TABLE)
    rows = run_table.read_experiments(tmp_path / "table.csv", CONFIG / "methods")
    sources = {"cifar10": plan.DataSource("cifar10", "torchvision", "/data")}

    def made(**selection):
        chosen = plan.Selection(**selection)
        runs = plan.make_plan(rows, chosen, sources, CONFIG / "recipes", {"epochs": 3}, lambda source: None)
        return {run.folder: run for run in runs}

    return made


def test_a_conversion_trains_nothing_for_its_own_t_and_fine_tuning_follows_it(planned):
    runs = planned()
    converted, tuned = (
        runs["cifar10-vgg16-T2500-if-spike_norm/seed1"],
        runs["cifar10-vgg16-T200-if-hybrid_train-e3/seed1"],
    )
    assert (converted.timesteps, converted.values["epochs"], converted.reduced) == (2500, 0, "")
    assert converted.source_folder == "cifar10-vgg16-T1-relu-e3/seed1"
    assert (tuned.timesteps, tuned.reduced) == (200, "3 of 20 epochs")
    assert tuned.source_folder == converted.folder
    assert converted.neuron_options["reset"] == "hard" and tuned.neuron_options["spike_value"] == "one"
    assert runs["cifar10-resnet20-T200-if-hybrid_train-units-e3/seed0"].neuron_options["spike_value"] == "threshold"
    assert converted.method.training_options["input"] == "poisson" and {run.status for run in runs.values()} == {
        RUNNABLE
    }


def test_a_chain_without_its_beginning_is_not_run(planned):
    runs = planned(methods=("hybrid_train",))
    reasons = {run.reason for run in runs.values()}
    assert {run.status for run in runs.values()} == {NOT_RUN}
    assert "it starts from cifar10-vgg16-T2500-if-spike_norm, which is not planned" in reasons
