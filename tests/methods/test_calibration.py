"""Calibration: percentiles of input currents, of spikes that earlier layers emit, and weights taken from a source."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from ternary_spike import UserError
from ternary_spike.configuration.recipe import Recipe
from ternary_spike.data.loading import TrainingBatches
from ternary_spike.methods.calibration import input_current, percentile, pictures, trial
from ternary_spike.methods.sources import take_over_weights, without_neurons
from ternary_spike.models.base import named_neurons
from ternary_spike.models.resnet import SpikingResNet
from tests.helpers.tiny import prepare_tiny, tiny_plan

LAYERS = ["stem1", "stage1.block1.1", "stage1.block1.2", "stage2.block1.1", "stage2.block1.2"]
PICTURES = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def network(neuron: str = "binary", seed: int = 0, **model) -> SpikingResNet:
    torch.manual_seed(seed)
    return SpikingResNet(**tiny_plan(None, neuron).model | model)


class Alone(nn.Module):
    """One neuron layer that receives what the network is given, [B, T, C, H, W]."""

    timesteps = 1

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.ReLU()

    def units(self):
        unit = nn.Module()
        unit.neurons = lambda name: {name: self.layer}
        return [("only", unit)]

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.transpose(0, 1))


@pytest.mark.parametrize("at_once", [1, 2, 5, 8])
@pytest.mark.parametrize(("percent", "rank"), [(0, 1), (40, 41), (99, 99), (99.7, 100), (100, 100)])
def test_the_percentile_is_the_largest_of_the_timesteps_whatever_goes_through_together(at_once, percent, rank):
    """100 currents a timestep, 1 to 100 and half of that, shuffled over five pictures: rank 1 + round(q (n - 1))."""
    values = torch.arange(1.0, 101.0)[torch.randperm(100, generator=torch.Generator().manual_seed(0))]
    x = torch.stack([values / 2, values, values / 4]).view(3, 5, 1, 4, 5).transpose(0, 1)
    assert percentile(Alone(), "only", x, percent, at_once) == rank


@pytest.mark.parametrize("neuron", ["relu", "binary"])
def test_the_current_of_a_layer_is_what_it_receives_in_a_whole_run(neuron):
    """Of a block's last layer it is made of convolution, batch norm and shortcut."""
    model, received = network(neuron).eval(), {}
    handles = [
        layer.register_forward_pre_hook(lambda _m, inputs, name=name: received.update({name: inputs[0]}))
        for name, layer in named_neurons(model).items()
    ]
    with torch.no_grad():
        model(PICTURES)
    for handle in handles:
        handle.remove()
    assert list(received) == LAYERS
    for name in LAYERS:
        assert torch.equal(input_current(model, name, PICTURES), received[name])
        assert percentile(model, name, PICTURES, 100, at_once=4) == pytest.approx(received[name].max().item(), rel=1e-6)


def test_a_trial_leaves_the_network_as_it_was():
    model = network().train()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    with trial(model, timesteps=7, training=True):
        assert model.training and input_current(model, "stage2.block1.1", PICTURES).shape[0] == 7
        assert not torch.equal(model.stem[0].bn.running_mean, before["stem.0.bn.running_mean"])
    with trial(model, batch_statistics=True):
        assert [type(module).__name__ for module in model.modules() if module.training] == ["BatchNorm2d"] * 6
        input_current(model, "stage2.block1.1", PICTURES)
        assert not torch.equal(model.stem[0].bn.running_mean, before["stem.0.bn.running_mean"])
    with trial(model):
        assert not model.training and model.timesteps == 2
        assert input_current(model, "stem1", PICTURES).shape == (2, 6, 4, 8, 8)
    assert all(module.training for module in model.modules()) and model.timesteps == 2
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert not any(layer._forward_pre_hooks for layer in named_neurons(model).values())


def test_what_was_done_to_earlier_layers_counts():
    model = network("plif").eval()
    before = percentile(model, "stage1.block1.1", PICTURES, 90)
    named_neurons(model)["stem1"].firing = type(model.stem[0].neuron.firing)(False, 1e6)  # the stem is silent now
    assert percentile(model, "stage1.block1.1", PICTURES, 90) == pytest.approx(0, abs=1e-6) and before > 0.1


def test_pictures_are_the_first_of_the_training_split(tmp_path):
    data = prepare_tiny(tmp_path / "tiny", train=80, test=8)
    batches = TrainingBatches(data, tiny_plan(data).recipe, 0, "cpu")
    first = torch.cat([x for x, _ in batches.epoch(0)])
    run = SimpleNamespace(batches=batches)
    assert torch.equal(pictures(run, 40), first[:40])
    assert torch.equal(pictures(run, 1000), first) and len(first) == 80


def run_of(model: nn.Module, source: nn.Module) -> SimpleNamespace:
    recipe = Recipe("x", 1, 4, 0.1, 0.9, 0.0)
    record = {"id": "other", "recipe": recipe.as_dict()}
    return SimpleNamespace(
        model=model, recipe=recipe, batches=None, source=SimpleNamespace(record=record, network=source)
    )


def test_weights_are_taken_over_and_neurons_are_not():
    model, source = network("trainable"), network("relu", seed=1, timesteps=1)
    source.train()(PICTURES)  # moves its running statistics
    neurons = {name: t.clone() for name, t in model.state_dict().items() if "amplitude" in name}
    take_over_weights(run_of(model, source))
    found = model.state_dict()
    assert all(torch.equal(found[name], t) for name, t in source.state_dict().items())
    assert neurons and all(torch.equal(found[name], t) for name, t in neurons.items())
    assert found.keys() == without_neurons(model).keys() | neurons.keys()
    # of a source with spikes, what belongs to its neurons stays behind
    take_over_weights(run_of(network("relu"), model))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            {"architecture": "resnet6w8"},
            r"classifier.weight is of shape \(4, 8\) in the network and of shape \(4, 16\)",
        ),
        ({"architecture": "resnet8w4"}, r"is of shape \(4, 8\) in the network and of shape \(4, 16\) in the source"),
        ({"in_channels": 3}, r"the data has 1 channels, but source other takes 3"),
    ],
)
def test_a_source_of_another_kind_is_refused(source, message):
    with pytest.raises(UserError, match=message):
        take_over_weights(run_of(network(), network("relu", **source)))
