"""DSR's loss: the weighted mean of class scores; chains of layers; what it refuses."""

import math

import pytest
import torch
from torch.nn import functional as F

from ternary_spike import SpikingResNet, UserError
from ternary_spike.configuration.recipe import Recipe
from ternary_spike.methods.registry import make_method
from ternary_spike.models.base import named_neurons
from ternary_spike.models.registry import make_network
from ternary_spike.neurons.dsr import RepresentedIF
from ternary_spike.training.step import TrainingStep

PLAIN = Recipe("plain", 1, 4, 0.1, 0.9, 0.0)


def step_of(neuron: str, timesteps: int = 4, **options) -> TrainingStep:
    torch.manual_seed(0)
    model = SpikingResNet(
        "resnet6w4", neuron, timesteps, num_classes=4, in_channels=1, image_size=8, neuron_options=options
    )
    return TrainingStep(model, make_method("dsr"), PLAIN)


def test_the_loss_is_of_the_weighted_mean():
    scores = torch.randn(4, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(3)
    weights = [math.exp(-0.05 * (3 - t)) for t in range(4)]
    mean = sum(w * step for w, step in zip(weights, scores, strict=True)) / sum(weights)
    for neuron, expected in (("dsr_lif", mean), ("dsr_if", scores.mean(0))):
        loss = step_of(neuron).method.loss(scores, labels, {}, torch.empty(0))
        torch.testing.assert_close(loss, F.cross_entropy(expected, labels))


def test_on_the_authors_network_the_scores_are_the_trains_of_a_neuron_for_each_class():
    torch.manual_seed(0)
    model = make_network("resnet18_dsrw4", "dsr_lif", 3, num_classes=5, neuron_options={"threshold": 0.3, "step": 0.05})
    step, trains = TrainingStep(model.train(), make_method("dsr"), PLAIN), []
    list(named_neurons(model).values())[-1].register_forward_hook(lambda *passed: trains.append(passed[-1]))
    scores = model(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)), each_timestep=True)
    assert torch.equal(scores, trains[0].flatten(2)) and scores.shape == (3, 4, 5)
    assert scores.unique().tolist() == pytest.approx([0.0, 6.0])  # V_th / dt
    weights = [math.exp(-0.05 * (2 - t)) for t in range(3)]
    mean = sum(w * train for w, train in zip(weights, scores, strict=True)) / sum(weights)
    labels = torch.tensor([0, 1, 2, 3])
    torch.testing.assert_close(step.method.loss(scores, labels, {}, torch.empty(0)), F.cross_entropy(mean, labels))


def test_a_chain_of_layers_has_the_chain_rule_of_the_clamps():
    """Two layers with a weight between them: the gradient is that of clamp(w clamp(x)) for a shift of all timesteps."""
    first, second = RepresentedIF(1.0).double(), RepresentedIF(0.5).double()
    x = torch.linspace(-0.1, 1.3, 40, dtype=torch.float64).expand(6, 40).clone().requires_grad_()
    w = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    y = first(x)
    second(w * y).mean(0).sum().backward()
    mean, rate = x.detach().mean(0), y.detach().mean(0)
    inside, second_inside = (mean >= 0) & (mean <= 1), 0.7 * rate <= 0.5
    assert 0 < (inside & second_inside).sum() < second_inside.sum() < 40
    torch.testing.assert_close(x.grad.sum(0), 0.7 * (inside & second_inside).double())
    torch.testing.assert_close(w.grad, rate[second_inside].sum())


def test_thresholds_are_trained_by_the_optimiser_and_by_its_decay():
    step = step_of("dsr_if", threshold=0.5)
    thresholds = [p for n, p in step.model.named_parameters() if n.endswith("threshold")]
    assert len(thresholds) == 5
    before = [p.item() for p in thresholds]
    step(torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 4, 0.5)
    assert any(p.item() != was for p, was in zip(thresholds, before, strict=True))


def test_other_neurons_are_refused():
    with pytest.raises(UserError, match="TernaryLIF of layer stem1 has none; choose neuron dsr_lif or dsr_if"):
        step_of("ternary")
