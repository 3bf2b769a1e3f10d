"""DIET-SNN: conversion of a ReLU network layer by layer, the loss on scores' sums, dropout through time."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ternary_spike import UserError
from ternary_spike.configuration.recipe import Recipe
from ternary_spike.data.loading import TrainingBatches
from ternary_spike.methods.base import Source, frozen
from ternary_spike.methods.calibration import pictures
from ternary_spike.methods.diet import before_a_convolution
from ternary_spike.methods.registry import PAPERS_WAY, make_method
from ternary_spike.models.base import SpikingNetwork, named_neurons
from ternary_spike.models.blocks import ConvUnit
from ternary_spike.models.chain_units import Dropout
from ternary_spike.models.registry import make_network
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.training.step import TrainingStep
from tests.helpers.tiny import prepare_tiny, tiny_plan

OWN = f"{__name__}:WithDropout"
FEW = {"pictures": 24, "timesteps": 9, "percent": 99.0, "dropout": 0.0}


class WithDropout(SpikingNetwork):
    """Two convolutions, with dropout of half of the spikes between them."""

    def __init__(self, neuron, norm, timesteps, num_classes=4, in_channels=1, image_size=8):
        super().__init__(timesteps, in_channels, image_size)
        self.first, self.second = (ConvUnit(c, 4, 3, 1, neuron, norm) for c in (in_channels, 4))
        self.dropout = Dropout(0.5)
        self.classifier = nn.Linear(4, num_classes)
        self.initialise()

    def units(self):
        return [("first", self.first), ("dropout", self.dropout), ("second", self.second)]


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    data = prepare_tiny(tmp_path_factory.mktemp("data"))
    plan = tiny_plan(data)
    return TrainingBatches(data, plan.recipe, 0, torch.device("cpu")), plan.recipe


def network(neuron: str, seed: int = 0, **model) -> SpikingResNet:
    torch.manual_seed(seed)
    return make_network(**tiny_plan(None, neuron).model | {"normalisation": "none"} | model)


def converted(batches, source: SpikingResNet, model: SpikingResNet, **options) -> TrainingStep:
    given = Source({"id": "relu", "recipe": batches[1].as_dict()}, frozen(source))
    return TrainingStep(model, make_method("diet", **FEW | options), batches[1], given, batches[0])


def kth_largest(currents: list[Tensor]) -> float:
    """The 99th percentile at each timestep, the largest of them."""
    n = currents[0].numel()
    return max(current.flatten().sort().values[round(0.99 * (n - 1))].item() for current in currents)


def test_thresholds_are_percentiles_of_what_earlier_layers_spikes_cause(batches):
    """Layer by layer by hand, of a network that does not leak: thresholds are scaled when all of them are known."""
    source, model = network("relu", seed=1), network("diet", neuron_options={"decay": 0.8})
    run = converted(batches, source, model, scaling=0.4)
    x, thresholds = pictures(run, 24), []

    def fire(currents: list[Tensor]) -> list[Tensor]:
        thresholds.append(kth_largest(currents))
        v, spikes = torch.zeros_like(currents[0]), []
        for current in currents:
            u = v + current
            spikes.append((u > thresholds[-1]).float())
            v = u - thresholds[-1] * spikes[-1]
        return spikes

    with torch.no_grad():
        spikes = fire([source.stem[0].conv(x)] * 9)
        for stage in source.stages:
            block = stage[0]
            inside = fire([block.conv1(s) for s in spikes])
            past = spikes if block.shortcut is None else [block.shortcut(s) for s in spikes]
            spikes = fire([block.conv2(s) + p for s, p in zip(inside, past, strict=True)])
    layers = list(named_neurons(model).values())
    found = [layer.threshold.item() for layer in layers]
    assert found == pytest.approx([0.4 * threshold for threshold in thresholds], rel=1e-5) and min(found) > 0.01
    assert [layer.decay.item() for layer in layers] == pytest.approx([0.8] * len(layers))
    assert model.timesteps == 2 and model.training
    for name, weight in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight)


def test_batch_norm_is_taken_over_and_normalises_while_thresholds_are_measured(batches):
    """Its running statistics stay the source's. What normalises is of the very currents: their size matters not."""
    thresholds = []
    for size in (1.0, 10.0):
        source, model = network("relu", 1, normalisation="batch_norm"), network("diet", normalisation="batch_norm")
        with torch.no_grad():
            source.train()(torch.randn(8, 1, 8, 8))
            for conv in (module for module in source.modules() if isinstance(module, nn.Conv2d)):
                conv.weight *= size
        converted(batches, source, model, scaling=1.0)
        state = model.state_dict()
        assert all(torch.equal(state[name], t) for name, t in source.state_dict().items())
        thresholds.append([layer.threshold.item() for layer in named_neurons(model).values()])
    assert thresholds[0] == pytest.approx(thresholds[1], rel=0.02) and min(thresholds[0]) > 1


def gradients(batches, name: str, timesteps: int, dropout: float = 0.0, seed: int = 0) -> list[Tensor]:
    model = network("diet", neuron_options={"threshold": 0.3}, timesteps=timesteps)
    source = Source({"id": "relu", "recipe": batches[1].as_dict()}, frozen(network("relu", timesteps=timesteps)))
    options = {"dropout": dropout} if name == "diet" else {}
    step = TrainingStep(model, make_method(name, **options), batches[1], source)  # without batches: no calibration
    torch.manual_seed(seed)
    x, labels = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 4
    step.method.gradients(step, x, labels)
    return [p.grad for p in model.parameters()]


def test_at_one_timestep_and_without_dropout_it_is_the_papers_training_to_the_bit(batches):
    assert all(map(torch.equal, gradients(batches, "diet", 1), gradients(batches, PAPERS_WAY, 1)))
    assert not all(map(torch.equal, gradients(batches, "diet", 2), gradients(batches, PAPERS_WAY, 2)))
    assert not all(map(torch.equal, gradients(batches, "diet", 1, 0.5), gradients(batches, PAPERS_WAY, 1)))
    assert not all(map(torch.equal, gradients(batches, "diet", 1, 0.5), gradients(batches, "diet", 1, 0.5, seed=1)))


def test_the_loss_is_of_the_scores_sum_over_time(batches):
    run = converted(batches, network("relu", timesteps=3), network("diet", timesteps=3))
    scores, labels = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 4
    torch.testing.assert_close(run.method.loss(scores, labels, {}, scores), F.cross_entropy(3 * scores, labels))


def test_dropout_takes_the_same_spikes_at_each_timestep_and_none_in_evaluation(batches):
    model = network("diet", architecture="resnet20w2")
    layers = {id(layer): name for name, layer in named_neurons(model).items()}
    dropped = [layers[id(layer)] for layer in before_a_convolution(model)]
    assert dropped[:3] == ["stem1", "stem2", "stage1.block1.1"] and len(dropped) == 2 + 8
    assert all(name.endswith(".1") for name in dropped[2:])
    source, model = network("relu"), network("diet")
    converted(batches, source, model, dropout=0.5)
    layer = model.stages[0][0].neuron1
    x = 100 + torch.rand(2, 5, 4, 8, 8)  # everything fires
    with torch.no_grad():
        first, second = layer(x)
        assert torch.equal(first, second) and first.unique().tolist() == [0, 2]
        assert 0.4 < first.bool().float().mean() < 0.6
        assert not torch.equal(layer(x)[0], first)
        assert (model.stages[0][0].neuron2(x) == 1).all() and (layer.eval()(x) == 1).all()


def test_a_network_that_drops_spikes_itself_does_so_in_training_and_not_while_thresholds_are_measured(batches):
    source, models = network("relu", architecture=OWN), [network("diet", architecture=OWN) for _ in range(2)]
    for seed, model in enumerate(models):
        torch.manual_seed(seed)
        converted(batches, source, model, dropout=0.5)
    found, other = ([layer.threshold.item() for layer in named_neurons(model).values()] for model in models)
    assert found == other
    assert not any(layer._forward_hooks for layer in named_neurons(models[0]).values())


def test_neurons_without_a_threshold_to_train_are_refused(batches):
    with pytest.raises(UserError, match=r"BinaryLIF of layer stem1 has none that it knows; choose neuron diet"):
        converted(batches, network("relu"), network("binary"))
    other = Recipe(**batches[1].as_dict() | {"mean": (0.5,)})
    with pytest.raises(UserError, match=r"was trained with \[0\.5\], and both see the same pictures"):
        TrainingStep(
            network("diet"),
            make_method("diet"),
            batches[1],
            Source({"id": "relu", "recipe": other.as_dict()}, network("relu")),
        )
