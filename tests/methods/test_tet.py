"""TET against figures worked out by hand, a plain loop, and the limits in which it is something else."""

import math

import pytest
import torch
from torch.nn import functional as F

from ternary_spike.configuration.recipe import Recipe
from ternary_spike.methods.registry import PAPERS_WAY, make_method
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.training.step import TrainingStep
from tests.helpers.rivals import spikingjelly
from tests.helpers.tiny import tiny_plan

LABEL = torch.tensor([0])


def total(o: torch.Tensor, labels: torch.Tensor = LABEL, share: float = 0.0, **options) -> torch.Tensor:
    return make_method("tet", mse_share=share, **options).loss(o, labels, {}, torch.empty(0))


@pytest.fixture
def scores():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 8, 5, generator=generator, dtype=torch.float64), torch.arange(8) % 5


def test_a_worked_example():
    """Two classes, two timesteps: cross-entropies ln(1 + e^-2) and ln 2; every score is 1 away from phi."""
    o = torch.tensor([[[2.0, 0.0]], [[0.0, 0.0]]], dtype=torch.float64, requires_grad=True)
    assert total(o).item() == pytest.approx(0.410038, abs=1e-6)
    assert total(o, share=1.0).item() == 1.0
    assert total(o, share=0.05).item() == pytest.approx(0.439536, abs=1e-6)
    assert F.cross_entropy(o.mean(0), LABEL).item() == pytest.approx(0.313262, abs=1e-6)
    (gradient,) = torch.autograd.grad(total(o), o)
    expected = torch.tensor([[[-0.059601, 0.059601]], [[-0.25, 0.25]]], dtype=torch.float64)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-6)


def test_loss_and_gradients_are_those_of_a_plain_loop(scores):
    """And these are (softmax(O(t)) - onehot) / T and 2 (O(t) - phi) / (T K), of each picture of the batch."""
    o, labels = scores[0].requires_grad_(), scores[1]
    steps, batch, classes = o.shape
    expected = 0.0
    for t in range(steps):
        for b in range(batch):
            entropy = math.log(sum(math.exp(o[t, b, k].item()) for k in range(classes))) - o[t, b, labels[b]].item()
            square = sum((o[t, b, k].item() - 0.5) ** 2 for k in range(classes)) / classes
            expected += (0.8 * entropy + 0.2 * square) / (steps * batch)
    found = total(o, labels, 0.2, mse_target=0.5)
    assert found.item() == pytest.approx(expected, abs=1e-13)
    of_tet = (F.softmax(o, 2) - F.one_hot(labels, classes)) / (steps * batch)
    of_mse = 2 * (o - 0.5) / (steps * batch * classes)
    torch.testing.assert_close(torch.autograd.grad(found, o)[0], (0.8 * of_tet + 0.2 * of_mse).detach())


def test_it_bounds_the_papers_loss_and_is_that_where_all_timesteps_agree(scores):
    o, labels = scores
    assert total(o, labels) > F.cross_entropy(o.mean(0), labels)
    torch.testing.assert_close(total(o.flip(0), labels, 0.3), total(o, labels, 0.3))
    for same in (o[:1], o[:1].expand(4, -1, -1)):
        torch.testing.assert_close(total(same, labels), F.cross_entropy(same[0], labels))


def test_at_one_timestep_without_the_squares_it_is_the_papers_training_to_the_bit(tmp_path):
    gradients = []
    for method in (make_method(PAPERS_WAY), make_method("tet", mse_share=0.0)):
        torch.manual_seed(0)
        model = SpikingResNet(**tiny_plan(tmp_path).model | {"timesteps": 1})
        step = TrainingStep(model, method, Recipe("x", 1, 4, 0.1, 0.9, 0.0, label_smoothing=0.1))
        method.gradients(step, torch.randn(6, 1, 8, 8), torch.arange(6) % 4)
        gradients.append([p.grad for p in model.parameters()])
    assert all(map(torch.equal, *gradients))


@pytest.mark.full
def test_spikingjelly_agrees(scores):
    """Its function is L_TET alone: without squares, and without smoothed labels."""
    theirs, (o, labels) = spikingjelly("functional").temporal_efficient_training_cross_entropy, scores
    o.requires_grad_()
    squares = F.mse_loss(o, torch.ones_like(o))
    for found, expected in (
        (total(o, labels), theirs(o, labels)),
        (total(o, labels, 0.3), 0.7 * theirs(o, labels) + 0.3 * squares),
    ):
        torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)
        one, other = (torch.autograd.grad(loss, o, retain_graph=True)[0] for loss in (found, expected))
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15)
