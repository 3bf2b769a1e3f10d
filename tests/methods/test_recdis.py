"""The candidates for RecDis-SNN's loss against figures worked out by hand, and what must not change them."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from ternary_spike import BinaryLIF
from ternary_spike.configuration.recipe import Recipe
from ternary_spike.membrane.potential_terms import means
from ternary_spike.methods.recdis import TINY, channel_penalties
from ternary_spike.methods.registry import PAPERS_WAY, make_method
from ternary_spike.models.blocks import ConvUnit
from ternary_spike.models.recording import recording
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.training.step import TrainingStep
from tests.helpers.tiny import tiny_plan

DING = {"low": -2.0, "high": 2.0, "deviations": 1.0}
FORMS = ("channels", "bimodal")


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def candidate(form: str, **options):
    method = make_method("recdis_candidate", form=form, **options)
    method.run = SimpleNamespace(mean=lambda part: part)
    return method


def on(method, *layers: Tensor) -> Tensor:
    """The loss of the potentials [T, B, C, H, W] of layers of binary spikes."""
    return method.on([means(u, method.terms, signed=False) for u in layers])


@pytest.mark.parametrize(
    ("constants", "mean", "deviation", "expected"),
    [
        (DING, 0.0, 1.0, (1, 0, 0)),
        (DING, 0.0, 5.0, (0, 1, 0)),
        (DING, 1.5, 1.0, (0, 0, 1.25)),
        (DING, 3.0, 1.0, (0, 0, 8)),
        ({}, 0.5, 1.0, (0.0625, 0, 0)),
        ({}, 2.0, 1.0, (0, 0, 1.25)),
    ],
)
def test_worked_examples_of_the_penalties(constants, mean, deviation, expected):
    found = channel_penalties(double(mean), double(deviation), **constants)
    assert [penalty.item() for penalty in found] == pytest.approx(expected, abs=1e-15)


def test_a_worked_example_of_the_bimodal_form():
    u = double(0.3, 0.8).view(2, 1, 1, 1, 1).requires_grad_()
    found = on(candidate("bimodal"), u)
    assert found.item() == pytest.approx(0.0675, abs=1e-15)
    assert torch.autograd.grad(found, u)[0].flatten().tolist() == pytest.approx([0.35, -0.15])
    # layers are added up
    assert on(candidate("bimodal"), u, u).item() == pytest.approx(2 * 0.0675, abs=1e-15)


def potentials(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_channels_count_alike_and_have_statistics_of_their_own():
    """A plain loop over channels: one that hardly fires, one that is spread, one within the window."""
    u = potentials(3, 4, 3, 5, 5) * double(0.1, 3.0, 0.2).view(3, 1, 1) + double(-2, 0, 0.5).view(3, 1, 1)
    total, active = 0.0, [0, 0, 0]
    for c in range(3):
        values = u[:, :, c].flatten()
        mean, deviation = values.mean().item(), (values.var(correction=0) + TINY).sqrt().item()
        terms = (
            max(min(1 - mean - 0.25 * deviation, mean - 0.25 * deviation), 0) ** 2,
            max(deviation - 4, 0) ** 2,
            max((mean - 0.5) ** 2 - deviation**2, 0),
        )
        active = [a + (term > 0) for a, term in zip(active, terms, strict=True)]
        total += sum(terms) / 3
    assert min(active) > 0
    assert on(candidate("channels"), u).item() == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_where_and_when_a_potential_stands_does_not_matter(form):
    u = 0.5 + 0.3 * potentials(3, 4, 2, 5, 5)
    shuffled = u.transpose(1, 2).flip(0)[:, :, torch.tensor([2, 0, 3, 1])].roll(2, -1).transpose(1, 2)
    found = on(candidate(form), u)
    assert found > 0
    torch.testing.assert_close(on(candidate(form), shuffled), found)


@pytest.mark.parametrize("form", FORMS)
def test_statistics_are_of_the_whole_batch_where_processes_hold_parts_of_it(form):
    """Each process has half; what it hands over is averaged with the other's."""
    halves, given, method = (0.5 + 0.3 * potentials(3, 8, 2, 5, 5)).split(4, 1), [], candidate(form)
    method.run.mean = lambda part: given.append(part) or part
    for half in halves:
        on(method, half)
    method.run.mean = lambda _part: (given[0] + given[1]) / 2
    found = sum(on(method, half) for half in halves) / 2
    torch.testing.assert_close(found, on(candidate(form), torch.cat(halves, 1)))


@pytest.mark.parametrize("form", FORMS)
def test_gradients_agree_with_finite_differences(form):
    u = (0.5 + 0.3 * potentials(2, 2, 2, 2, 2)).requires_grad_()
    assert on(candidate(form), u) > 0.01
    assert torch.autograd.gradcheck(lambda x: on(candidate(form), x), u)
    silent = torch.zeros(2, 2, 2, 2, 2, requires_grad=True)
    on(candidate(form), silent).backward()
    assert silent.grad.isfinite().all()


def test_at_one_timestep_behind_batch_norm_channel_penalties_move_its_affine_parameters_alone():
    torch.manual_seed(0)
    unit, told = ConvUnit(2, 3, 3, 1, lambda _: BinaryLIF()).double(), []
    unit.bn.eps = 1e-30
    unit.bn.weight.data.fill_(0.5)
    unit.bn.bias.data.fill_(0.4)
    model = nn.Sequential(unit)
    model.units = lambda: [("stem", unit)]
    with recording(model, lambda _name, u, _b: told.append(u)):
        model(torch.randn(1, 4, 2, 6, 6, dtype=torch.float64))
    on(candidate("channels"), *told).backward()
    assert unit.conv.weight.grad.abs().max() < 1e-9 < unit.bn.weight.grad.abs().max()


def gradients(method) -> list[Tensor]:
    torch.manual_seed(0)
    model = SpikingResNet(**tiny_plan(None, "binary").model)
    step = TrainingStep(model, method, Recipe("x", 1, 4, 0.1, 0.9, 0.0))
    method.gradients(step, torch.randn(6, 1, 8, 8), torch.arange(6) % 4)
    return [p.grad for p in model.parameters()]


@pytest.mark.parametrize("form", FORMS)
def test_without_weight_it_is_the_papers_training_to_the_bit(form):
    expected = gradients(make_method(PAPERS_WAY))
    assert all(map(torch.equal, gradients(make_method("recdis_candidate", weight=0.0, form=form)), expected))
    assert not all(map(torch.equal, gradients(make_method("recdis_candidate", form=form)), expected))
