"""KDSNN against figures worked out by hand, a plain loop, plain training, and what a teacher must leave alone."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ternary_spike import UserError
from ternary_spike.configuration.recipe import Recipe
from ternary_spike.methods.base import Source, frozen
from ternary_spike.methods.registry import PAPERS_WAY, make_method
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.training.step import TrainingStep
from tests.helpers.tiny import tiny_plan

LABEL = torch.tensor([0])
RECIPE = Recipe("x", 1, 4, 0.1, 0.9, 0.0, label_smoothing=0.1)
RESPONSE, FEATURE = "kdsnn", "kdsnn_feature_candidate"
WEIGHT = {RESPONSE: "share", FEATURE: "weight"}


def double(*rows) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def source(network, recipe: Recipe = RECIPE) -> Source:
    return Source({"id": "teacher", "recipe": recipe.as_dict()}, network)


def run_of(model, teacher, frames: int | None = None) -> SimpleNamespace:
    batches = SimpleNamespace(manifest=SimpleNamespace(frames=frames))
    return SimpleNamespace(model=model, source=source(teacher), recipe=RECIPE, batches=batches)


class Given(nn.Module):
    """A teacher whose class scores are its input."""

    in_channels = 1

    def forward(self, x: Tensor) -> Tensor:
        return x


def response(z: Tensor, of_teacher: Tensor, labels: Tensor = LABEL, share: float = 1.0, **options) -> Tensor:
    method = make_method(RESPONSE, share=share, **options)
    method.begin(run_of(Given(), Given()))
    return method.loss(z, labels, {}, of_teacher)


@pytest.fixture
def scores():
    generator = torch.Generator().manual_seed(0)
    z, of_teacher = torch.randn(2, 6, 4, dtype=torch.float64, generator=generator)
    return z.requires_grad_(), of_teacher, torch.arange(6) % 4


def test_a_worked_example_of_scores():
    """tau = 2: q^S = (.731059, .268941), and q^T the other way round."""
    z, of_teacher = double([2, 0]).requires_grad_(), double([0, 2])
    found = response(z, of_teacher, temperature=2.0)
    assert found.item() == pytest.approx(4 * 0.462117, abs=2e-6)
    gradient = torch.autograd.grad(found, z)[0]
    torch.testing.assert_close(gradient, double([0.924234, -0.924234]), rtol=0, atol=1e-6)
    assert response(z, of_teacher, share=0.0).item() == pytest.approx(0.126928, abs=1e-6)
    mixed = response(z, of_teacher, share=0.25, temperature=2.0).item()
    assert mixed == pytest.approx(0.75 * 0.126928 + 0.25 * 1.848469, abs=1e-6)


def test_where_the_teacher_says_the_same_it_teaches_nothing(scores):
    """A constant added to all classes says nothing."""
    z, of_teacher, labels = scores
    same = response(z, z.detach() + 3, labels)
    torch.testing.assert_close(same, torch.zeros_like(same))
    torch.testing.assert_close(torch.autograd.grad(same, z)[0], torch.zeros_like(z))
    torch.testing.assert_close(response(z, of_teacher - 5, labels), response(z, of_teacher, labels))


@pytest.mark.parametrize(("temperature", "gradient"), [(2.0, 0.924234), (10.0, 0.996680), (100.0, 0.999967)])
def test_at_a_high_temperature_scores_themselves_are_compared(temperature, gradient):
    """(d - mean d) / K of their differences d = (2, -2): (1, -1)."""
    z = double([2, 0]).requires_grad_()
    found = torch.autograd.grad(response(z, double([0, 2]), temperature=temperature), z)[0]
    torch.testing.assert_close(found, double([gradient, -gradient]), rtol=0, atol=1e-6)


def test_a_teacher_without_doubt_is_a_label(scores):
    z, of_teacher, labels = scores
    found = response(z, 1e5 * of_teacher, labels, temperature=1.0)
    torch.testing.assert_close(found, F.cross_entropy(z, of_teacher.argmax(1)))


def test_loss_and_gradients_are_those_of_a_plain_loop(scores):
    """The gradient is linear in alpha, from that of cross-entropy to tau (q^S - q^T); none flows into the teacher."""
    z, of_teacher, labels = scores
    of_teacher.requires_grad_()
    alpha, tau, batch = 0.3, 3.0, len(labels)
    expected = 0.0
    for row, taught, label in zip(z.tolist(), of_teacher.tolist(), labels.tolist(), strict=True):
        p, q, q_teacher = (
            [math.exp(e / t) / sum(math.exp(other / t) for other in logits) for e in logits]
            for logits, t in ((row, 1), (row, tau), (taught, tau))
        )
        divergence = sum(b * math.log(b / a) for a, b in zip(q, q_teacher, strict=True))
        expected += (-(1 - alpha) * math.log(p[label]) + alpha * tau**2 * divergence) / batch
    found = response(z, of_teacher, labels, alpha, temperature=tau)
    assert found.item() == pytest.approx(expected, abs=1e-13)
    of_labels = F.softmax(z, 1) - F.one_hot(labels, 4)
    of_distance = tau * (F.softmax(z / tau, 1) - F.softmax(of_teacher / tau, 1))
    found.backward()
    torch.testing.assert_close(z.grad, (((1 - alpha) * of_labels + alpha * of_distance) / batch).detach())
    assert of_teacher.grad is None


class Staged(nn.Module):
    """Stages that pass on what they get, each its own: [T, B, C, H, W]."""

    in_channels = 1

    def __init__(self, stages: int, outputs: list[Tensor] | None = None) -> None:
        super().__init__()
        self.blocks, self.outputs = nn.ModuleList(nn.Identity() for _ in range(2 * stages)), outputs

    def units(self):
        yield "stem1", nn.Identity()
        for i, block in enumerate(self.blocks):
            yield f"stage{i // 2 + 1}.block{i % 2 + 1}", block

    def forward(self, x):
        for first, last, features in zip(self.blocks[::2], self.blocks[1::2], self.outputs or x, strict=True):
            first(features + 7)
            last(features)


def features(students: list[Tensor], teachers: list[Tensor], **options) -> Tensor:
    """What the method adds to a cross-entropy of 0."""
    student, teacher = Staged(len(students)), frozen(Staged(len(teachers), teachers))
    method = make_method(FEATURE, **options)
    method.begin(run_of(student, teacher))
    student(students)
    student.eval()(students[::-1])  # an evaluation in between is nothing to it
    return method.loss(torch.zeros(1, 1, dtype=torch.float64), LABEL, {}, torch.empty(0))


def through_time(*steps) -> Tensor:
    """Of one picture, one row of neurons at each timestep: [T, 1, 1, 1, W]."""
    return torch.tensor(steps, dtype=torch.float64)[:, None, None, None]


@pytest.mark.parametrize("highest", [1.0, 3.0])
def test_a_worked_example_of_features(highest):
    """Rates 3/4 and 2/4 for features 1, or anything above the ceiling, and 1/2."""
    spikes = through_time([1, 1], [1, 0], [0, 0], [1, 1]).requires_grad_()
    teacher = through_time([highest, 0.5])  # of one timestep
    found = features([spikes], [teacher], weight=1.0)
    assert found.item() == 0.0625
    expected = through_time(*[[-0.125, 0.0]] * 4)
    torch.testing.assert_close(torch.autograd.grad(found, spikes)[0], expected, rtol=0, atol=0)
    other = features([spikes, spikes], [teacher, spikes.detach()], weight=2.0)
    assert other.item() == 2 * 0.0625


def test_features_are_summed_over_places_and_stages_and_averaged_over_the_batch():
    generator = torch.Generator().manual_seed(1)
    shapes = [(3, 2, 4, 5, 5), (3, 2, 6, 2, 2)]
    students, teachers = ([torch.rand(s, dtype=torch.float64, generator=generator) for s in shapes] for _ in range(2))
    expected = 0.0
    for s, t in zip(students, teachers, strict=True):
        for b in range(2):
            rates, wanted = sum(s[:, b]) / 3, sum(t[:, b]) / 3
            differences = zip(rates.flatten().tolist(), wanted.flatten().tolist(), strict=True)
            expected += sum((one - min(other, 0.6)) ** 2 for one, other in differences) / 2
    found = features(students, teachers, weight=0.1, ceiling=0.6)
    assert found.item() == pytest.approx(0.1 * expected, abs=1e-13)


def network(neuron: str, **model) -> SpikingResNet:
    torch.manual_seed(1)
    return SpikingResNet(**tiny_plan(None, neuron).model | model)


def stepped(name: str, teacher: SpikingResNet | None = None, **options) -> dict[str, Tensor]:
    """All of the student after two steps, its gradients, and what its random stream draws next."""
    model = network("trainable")
    torch.manual_seed(0)
    given = None if teacher is None else source(frozen(teacher))
    step = TrainingStep(model, make_method(name, **options), RECIPE, given)
    for _ in range(2):
        step(torch.randn(6, 1, 8, 8), torch.arange(6) % 4, 0.1)
    found = dict(model.state_dict()) | {f"gradient.{n}": p.grad for n, p in model.named_parameters()}
    return found | {"drawn": torch.randn(3)}


@pytest.mark.parametrize("name", [RESPONSE, FEATURE])
def test_a_teacher_without_a_share_changes_no_bit_and_nothing_changes_the_teacher(name):
    """Nor does one with a share change a bit of the random stream."""
    teacher = network("relu", timesteps=1)
    before = {key: tensor.clone() for key, tensor in teacher.state_dict().items()}
    plain = stepped(PAPERS_WAY)
    without = stepped(name, teacher, **{WEIGHT[name]: 0.0})
    assert [key for key in plain if not torch.equal(plain[key], without[key])] == []
    taught = stepped(name, teacher, **{WEIGHT[name]: 0.5})
    assert torch.equal(plain["drawn"], taught["drawn"])
    assert not torch.equal(plain["gradient.stem.0.conv.weight"], taught["gradient.stem.0.conv.weight"])
    assert all(torch.equal(tensor, before[key]) for key, tensor in teacher.state_dict().items())
    assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize("name", [RESPONSE, FEATURE])
def test_a_teacher_of_other_pictures_is_refused(name):
    method, model, teacher = make_method(name), network("binary"), network("relu")
    normalised = Recipe("x", 1, 4, 0.1, 0.9, 0.0, mean=(0.5,), std=(0.25,))
    with pytest.raises(UserError, match=r"mean is None in the recipe, but source teacher was trained with \[0\.5\]"):
        TrainingStep(model, method, RECIPE, source(teacher, normalised))
    with pytest.raises(UserError, match=r"the data has 1 channels, but source teacher takes 3"):
        method.begin(run_of(model, network("relu", in_channels=3)))
    with pytest.raises(UserError, match=r"the data has 2 frames, but source teacher takes 1"):
        method.begin(run_of(model, network("relu", timesteps=1), frames=2))


def test_features_of_other_stages_or_shapes_are_refused():
    ones = [torch.ones(1, 1, 1, 1, 2)]
    with pytest.raises(UserError, match=r"are stage1 and stage1, stage2; choose a source of an architecture with the"):
        features(ones, 2 * ones)
    with pytest.raises(UserError, match=r"are none and none"):
        features([], [])
    with pytest.raises(UserError, match=r"at the end of stage1 are 1x1x2 in the network and 3x1x2 in its source"):
        features(ones, [torch.ones(1, 1, 3, 1, 2)])
