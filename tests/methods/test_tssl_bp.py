"""TSSL-BP's loss and update: target trains, sums over the batch, weights that are cut off, what it refuses."""

import math

import pytest
import torch

from ternary_spike import SpikingResNet, UserError
from ternary_spike.configuration.recipe import Recipe
from ternary_spike.methods.registry import make_method
from ternary_spike.methods.tssl_bp import target_spikes
from ternary_spike.models.registry import make_network
from ternary_spike.neurons.tssl import TSSL
from ternary_spike.training.step import TrainingStep

PLAIN = Recipe("plain", 1, 4, 0.1, 0.0, 0.0)


def step_of(neuron: str = "tssl", timesteps: int = 5, recipe: Recipe = PLAIN, **options) -> TrainingStep:
    torch.manual_seed(0)
    model = SpikingResNet("resnet6w4", neuron, timesteps, num_classes=4, in_channels=1, image_size=8)
    return TrainingStep(model, make_method("tssl_bp", **options), recipe)


def batch(size: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(size, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(size) % 4


@pytest.mark.parametrize(
    ("twice", "expected"),
    [(False, (0, 0.3333, 0.5556, 0.7037, 0.8025)), (True, (0, 0.1111, 0.2593, 0.4074, 0.5391))],
)
def test_the_target_s_potentials(twice, expected):
    d = step_of(filter_twice=twice).method.target(torch.zeros(5, 1, 1))
    assert d.tolist() == pytest.approx(expected, abs=5e-5)


def test_the_target_s_spikes():
    assert target_spikes(5) == [0, 1, 1, 1, 1] and target_spikes(2) == [0, 1]
    assert target_spikes(7) == [0, 1, 1, 1, 1, 0, 1] and target_spikes(12) == [0, 1] * 6


def test_the_loss_is_half_the_squared_distance_of_output_trains():
    """Two pictures and two classes: one neuron that fires at each timestep, one that is silent."""
    method = step_of(filter_twice=False).method
    scores = torch.zeros(5, 2, 2, dtype=torch.float64)
    scores[:, :, 0] = 2.0
    a, d = TSSL()(scores[:, 0, 0]), method.target(scores)
    right = (a - d).square().sum() / 2
    wrong = (a.square().sum() + d.square().sum()) / 2
    loss = method.loss(scores, torch.tensor([0, 1]), {}, torch.empty(0))
    torch.testing.assert_close(loss, (right + wrong) / 2)
    assert right.item() == pytest.approx(sum((1 / 3 * (2 / 3) ** t) ** 2 for t in range(5)) / 2, abs=1e-12)


def test_the_gradient_is_the_sum_s_over_the_batch():
    """Each picture twice: twice the gradient, and the mean loss is the same."""
    x, labels = batch()
    moved = []
    for size in (1, 2):
        step = step_of()
        before = step.model.classifier.weight.detach().clone()
        step.model.eval()  # batch norm would see another variance
        loss, _ = step(x.repeat(size, 1, 1, 1), labels.repeat(size), 0.01)
        moved.append((step.model.classifier.weight.detach() - before, loss))
    torch.testing.assert_close(moved[1][0], 2 * moved[0][0], rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(moved[1][1], moved[0][1])
    assert moved[0][0].abs().max() > 1e-6


def test_weights_are_cut_off_behind_each_update_and_nothing_is_updated_twice():
    step = step_of(recipe=Recipe("adam", 1, 4, 0.1, 0.9, 0.0, optimiser="adam", gradient_clipping=1.0))
    step.model.classifier.weight.data[0, 0] = 9.0
    step.model.stem[0].bn.weight.data[0] = 9.0
    step(*batch(), 0.001)
    assert step.model.classifier.weight[0, 0].item() == 4.0 and step.model.stem[0].bn.weight[0].item() > 8
    assert step.optimiser.tensors()["updates.classifier.weight"].item() == 1


def test_it_learns_a_batch_by_heart():
    step = step_of(recipe=Recipe("adam", 1, 4, 0.1, 0.9, 0.0, optimiser="adamw", gradient_clipping=1.0))
    x, labels = batch(8)
    losses = [step(x, labels, 0.01)[0].item() for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]


def test_a_neuron_for_each_class_is_its_output_neuron():
    """The authors' network: class scores are post-synaptic potentials already."""
    torch.manual_seed(0)
    model = make_network("cifarnet_tssl_smallw4", "tssl", 5, num_classes=4, image_size=8)
    step = TrainingStep(model, make_method("tssl_bp"), PLAIN)
    a = 2 * torch.rand(5, 2, 4)  # as currents they would make output neurons fire
    target = torch.zeros_like(a)
    target[:, 0, 3] = target[:, 1, 2] = step.method.target(a)
    expected = (a - target).square().sum() / 4
    torch.testing.assert_close(step.method.loss(a, torch.tensor([3, 2]), {}, torch.empty(0)), expected)
    assert step(torch.randn(2, 3, 8, 8), torch.tensor([3, 2]), 0.1)[0].isfinite()


def test_training_begins_with_the_authors_weights():
    torch.manual_seed(0)
    model = make_network("cifarnet_tssl_smallw32", "tssl", 5, image_size=8)
    TrainingStep(model, make_method("tssl_bp"), PLAIN)
    conv, linear = model.layers["conv2"].conv, model.layers["fc1"].linear
    bound = 5 / math.sqrt(9 * 32)
    assert 0.99 * bound < conv.weight.max().item() <= bound
    assert conv.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert linear.weight.std().item() == pytest.approx(math.sqrt(2 / linear.in_features), rel=0.02)


def test_other_neurons_are_refused():
    with pytest.raises(UserError, match="TernaryLIF of layer stem1 has none; choose neuron tssl"):
        step_of("ternary")
