"""Every shipped sheet trains: its neuron, network, method and recipe make a step that moves what is to be trained."""

from pathlib import Path

import pytest
import torch

from ternary_spike.configuration import method_sheet, recipe
from ternary_spike.data.loading import TrainingBatches
from ternary_spike.methods.base import Source, frozen
from ternary_spike.methods.registry import METHODS, PAPERS_WAY, make_method
from ternary_spike.models.registry import make_network
from ternary_spike.neurons.registry import NEURONS
from ternary_spike.planning.network_options import network_arguments
from ternary_spike.training.step import TrainingStep
from tests.helpers.tiny import SIZE, prepare_tiny

CONFIG = Path(__file__).parents[2] / "config"
SHEETS = sorted((CONFIG / "methods").glob("*.yaml"))
# small pictures of one channel
TINY = {"batch_size": 32, "crop_padding": 1, "autoaugment": "none", "cutout": 0, "mean": [0.3], "std": [0.25]}
#: methods that are done with the stem after half of the training
FROM_THE_FRONT = {"ptl"}
NETWORK = {"architecture": "resnet6w4", "num_classes": 4, "in_channels": 1, "image_size": SIZE}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepare_tiny(tmp_path_factory.mktemp("data"))


def network(neuron: str, sheet: method_sheet.MethodSheet, timesteps: int, options: dict):
    torch.manual_seed(0)
    typed = {"neuron_options": NEURONS.options(neuron, options, text=True)} if options else {}
    return make_network(
        **NETWORK, neuron=neuron, timesteps=timesteps, **network_arguments(sheet.network_options), **typed
    )


@pytest.mark.parametrize("path", SHEETS, ids=lambda path: path.stem)
def test_a_step_by_a_shipped_sheet_moves_the_network(path, data):
    sheet = method_sheet.load(path)
    training = sheet.training or PAPERS_WAY
    changed = recipe.load(CONFIG / "recipes" / "cifar10.yaml", {**sheet.recipe, **TINY})
    neuron, options = sheet.neuron_of("" if sheet.neuron else "binary", {})
    model = network(neuron, sheet, 2, options).train()
    source = None
    if METHODS[training].from_run:
        source = Source({"id": "relu", "recipe": changed.as_dict()}, frozen(network("relu", sheet, 1, {})))
    batches = TrainingBatches(data, changed, 0, torch.device("cpu"))
    how = METHODS.options(training, sheet.training_options, text=True)
    if how.get("calibration_timesteps"):
        how["calibration_timesteps"] = 5  # of 1000
    method = make_method(training, **how)
    step = TrainingStep(model, method, changed, source, batches)
    method.epoch(0.5)
    before = {name: p.clone() for name, p in model.named_parameters()}
    loss, _ = step(*next(batches.epoch(0)), changed.learning_rate)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert loss.isfinite() and "classifier.weight" in moved
    assert ("stem.0.conv.weight" in moved) == (training not in FROM_THE_FRONT)
    assert all(p.isfinite().all() for p in model.parameters())
