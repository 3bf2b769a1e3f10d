"""What a run would cost is measured, kept, and extrapolated."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from ternary_spike.configuration import method_sheet, run_table
from ternary_spike.data import registry
from ternary_spike.methods.membrane_losses import RMPLoss
from ternary_spike.methods.registry import METHODS
from ternary_spike.planning import plan
from ternary_spike.system.files import read_json
from ternary_spike.training import costs
from tests.helpers.tiny import NEURON_OF, NEURON_OPTIONS_OF

SHEETS = Path(__file__).parents[2] / "config" / "methods"
RECIPE = """name: short
epochs: 10
batch_size: 8
learning_rate: 0.1
momentum: 0.9
weight_decay: 0.0001
train_samples: 360
"""


@pytest.fixture
def planned(tmp_path):
    (tmp_path / "short.yaml").write_text(RECIPE)
    table = "dataset,architecture,timesteps,neuron,variant,neuron_options,recipe,seeds,tables,control\n"
    rows = "digits,resnet6w4,1,binary,,,short,0;1,demo,false\ndigits,resnet6w4,2,ternary,,,short,0,demo,false\n"
    (tmp_path / "table.csv").write_text(table + rows)
    sources = {"digits": plan.DataSource("digits", "scikit-learn")}
    rows = run_table.read_experiments(tmp_path / "table.csv")
    return plan.make_plan(rows, plan.Selection(), sources, tmp_path, {}, lambda source: None)


def estimated(planned, tmp_path, limit=60.0):
    return costs.estimate(planned, torch.device("cpu"), tmp_path / "costs.json", limit)


def test_hours_follow_from_the_measured_speed_and_the_recipe(planned, tmp_path):
    found = estimated(planned, tmp_path)
    assert set(found) == {run.id for run in planned}
    for cost in found.values():
        assert cost.projected_hours == pytest.approx(10 * 360 / cost.images_per_second / 3600)
        assert cost.disk_megabytes > 0


def by_method(run, name, **changes):
    sheet = dataclasses.replace(method_sheet.load(SHEETS / f"{name}.yaml"), **changes)
    return dataclasses.replace(run, id=name, neuron=sheet.neuron, neuron_options=sheet.neuron_options, method=sheet)


def test_a_run_of_a_published_method_is_timed_as_it_is(planned, tmp_path):
    run = by_method(planned[0], "im_loss")
    step, _ = costs.step_of(run)
    assert (step.neuron, step.method) == ("stbp", "im_loss") and '"esg": true' in step.options
    assert "tanh_unclipped" in step.options and step.in_the_papers_way == costs.step_of(planned[0])[0]
    assert set(estimated([run], tmp_path)) == {"im_loss"}
    timed = read_json(tmp_path / "costs.json")
    assert sorted("im_loss" in key for key in timed) == [False, True]


@pytest.mark.parametrize("name", [name for name, part in METHODS.items() if not part.from_run])
def test_every_method_that_starts_from_no_other_run_can_be_timed(name):
    options = json.dumps({"network": {"neuron_options": NEURON_OPTIONS_OF.get(name, {})}})
    step = costs.Step("resnet6w4", 1, 1, 8, "float32", 4, NEURON_OF.get(name, "ternary"), name, options)
    assert costs.measure(step, torch.device("cpu"))["images_per_second"] > 0


@pytest.mark.parametrize("training", ["tests.helpers.methods:NeedsData", "kdsnn"])
def test_a_method_that_cannot_be_timed_counts_as_the_papers_way(planned, tmp_path, training):
    run = by_method(planned[0], "tet", training=training, training_options={})
    found = estimated([planned[0], run], tmp_path)
    assert len(read_json(tmp_path / "costs.json")) == 1
    assert found["tet"] == found[planned[0].id]


def test_a_conversion_of_thousands_of_timesteps_is_not_timed_for_so_many(planned, tmp_path):
    """It trains nothing: no step of 2500 timesteps is made, which no memory would hold."""
    run = by_method(dataclasses.replace(planned[0], timesteps=2500), "spike_norm")
    run = dataclasses.replace(run, values={**run.values, "epochs": 0})
    assert costs.step_of(run)[0].timesteps == 1
    found = estimated([run], tmp_path)["spike_norm"]
    assert found.projected_hours == 0 and found.disk_megabytes > 0


@pytest.mark.parametrize(("options", "size"), [({}, 48), ({"size": "32"}, 32)])
def test_a_step_has_the_size_and_channels_of_the_prepared_pictures(planned, tmp_path, options, size):
    source = plan.DataSource("cifar10dvs", "tonic", None, options)
    step, _ = costs.step_of(dataclasses.replace(planned[0], dataset="cifar10dvs", data=source))
    assert (step.image_size, step.channels) == (size, 2)


def test_a_dataset_that_nobody_has_counted_is_left_out(planned, tmp_path, monkeypatch):
    planned = [dataclasses.replace(run, values={**run.values, "train_samples": None}) for run in planned]
    assert set(estimated(planned, tmp_path)) == {run.id for run in planned}
    unknown = dataclasses.replace(registry.describe("digits"), train_samples=None)
    monkeypatch.setattr(registry, "describe", lambda name: unknown)
    assert estimated(planned, tmp_path) == {}


def test_a_measurement_is_kept_and_not_repeated(planned, tmp_path):
    before = estimated(planned, tmp_path)
    # no time for measurements: what is known must come from the file
    assert estimated(planned, tmp_path, limit=0) == before
    content = read_json(tmp_path / "costs.json")
    assert len(content) == 2


def test_a_step_without_time_is_taken_from_the_same_network_with_another_t(planned, tmp_path):
    short = [run for run in planned if run.timesteps == 1]
    known = estimated(short, tmp_path)[short[0].id]
    found = estimated(planned, tmp_path, limit=0)
    longer = found.pop(next(run.id for run in planned if run.timesteps == 2))
    assert found == {short[0].id: known}
    assert longer.projected_hours == pytest.approx(2 * known.projected_hours)


def test_no_time_and_a_damaged_file_give_no_estimate(planned, tmp_path):
    (tmp_path / "costs.json").write_text("{")
    assert estimated(planned, tmp_path, limit=0) == {}


def test_a_loss_that_grows_from_nothing_is_timed_with_a_weight(monkeypatch):
    """RMP-Loss has none in the first epoch, and a step is then the paper's, in little more than half of the time."""
    lambdas, loss = [], RMPLoss.loss
    monkeypatch.setattr(RMPLoss, "loss", lambda self, *args: lambdas.append(self.weight) or loss(self, *args))
    costs.measure(costs.Step("resnet6w2", 1, 1, 8, "float32", 4, method="rmp_loss"), torch.device("cpu"))
    assert lambdas and all(found > 0 for found in lambdas)
