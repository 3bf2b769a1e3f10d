"""Local tandem learning: examples worked out by hand, a plain loop, and that no gradient leaves a layer."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ternary_spike import UserError
from ternary_spike.configuration.recipe import Recipe
from ternary_spike.methods.base import Source, frozen
from ternary_spike.methods.local_tandem import targets
from ternary_spike.methods.registry import PAPERS_WAY, make_method
from ternary_spike.models.base import named_neurons
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.neurons.registry import make_neuron
from ternary_spike.training.step import TrainingStep
from tests.helpers.tiny import tiny_plan

TAU = math.exp(-1 / 10)
NEURON = {"threshold": 0.6, "decay": TAU, "surrogate": "rectangle", "window": 0.2}
RECIPE = Recipe("x", 1, 4, 0.1, 0.9, 0.0)
LABELS = torch.arange(6) % 4


def spikes(x: float, timesteps: int = 8) -> tuple[list[float], list[int]]:
    neuron, told = make_neuron("stbp", **NEURON), []
    neuron.observer = lambda u, b: told.append((u.tolist(), b.int().tolist()))
    neuron(torch.full((timesteps,), x, dtype=torch.float64))
    return told[0]


def test_worked_examples_of_the_neuron():
    u, b = spikes(0.25)
    assert u[:4] == pytest.approx([0.25, 0.476209, 0.680892, 0.25], abs=1e-6) and b == [0, 0, 1, 0, 0, 1, 0, 0]
    u, b = spikes(0.7)
    assert u == [0.7] * 8 and b == [1] * 8
    u, b = spikes(0.05, 200)
    assert u[-1] == pytest.approx(0.525417, abs=1e-6) and sum(b) == 0
    border = 0.6 * (1 - TAU)
    assert border == pytest.approx(0.057098, abs=1e-6)
    assert [sum(spikes(border + d, 300)[1]) > 0 for d in (-1e-6, 1e-6)] == [False, True]


def test_worked_example_of_targets_and_their_loss():
    """Of the rates 3/8, 1, 0, 5/8 at P = 2, which the 75th percentile is here."""
    activations = torch.tensor([1.0, 3.0, 0.0, 0.5, 2.0], dtype=torch.float64)
    wanted = targets(activations, 75.0)
    assert wanted.tolist() == [0.5, 1, 0, 0.25, 1]
    rates = torch.tensor([3 / 8, 1, 0, 5 / 8], dtype=torch.float64, requires_grad=True)
    loss = F.mse_loss(rates, wanted[:4])
    assert loss.item() == 0.0390625
    assert torch.autograd.grad(loss, rates)[0].tolist() == [-0.0625, 0, 0, 0.1875]


@pytest.mark.parametrize("percent", [99.9, 60.0])
def test_targets_lie_between_0_and_1_and_their_scale_says_nothing(percent):
    activations = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)).relu()
    wanted = targets(activations, percent)
    assert wanted.min() == 0 and wanted.max() == 1
    torch.testing.assert_close(targets(8.0 * activations, percent), wanted, rtol=0, atol=0)
    assert targets(torch.zeros(2, 3), percent).eq(0).all()


def network(neuron: str, **model) -> SpikingResNet:
    torch.manual_seed(1)
    options = {"neuron_options": NEURON} if neuron == "stbp" else {}
    return SpikingResNet(**tiny_plan(None, neuron).model | options | model)


def source(**model) -> Source:
    teacher = network("relu", timesteps=1, **model)
    torch.manual_seed(7)
    for p in teacher.parameters():
        p.data += 0.1 * torch.rand_like(p)
    return Source({"id": "teacher", "recipe": RECIPE.as_dict()}, frozen(teacher))


def stepping(name: str = "ltl", given: Source | None = None, neuron: str = "stbp", **options) -> TrainingStep:
    model = network(neuron, timesteps=4).train()
    given = (given or source()) if name == "ltl" else None
    return TrainingStep(model, make_method(name, **options), RECIPE, given)


def pictures() -> Tensor:
    return torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(2))


def owner(parameter: str, layers: list[str]) -> str:
    """The neuron layer behind a parameter: stages.0.1.conv2.weight is in front of stage1.block2.2."""
    if parameter.startswith("classifier"):
        return "classifier"
    if parameter.startswith("stem"):
        return f"stem{int(parameter.split('.')[1]) + 1}"
    _, stage, block, part = parameter.split(".")[:4]
    return f"stage{int(stage) + 1}.block{int(block) + 1}.{1 if part in ('conv1', 'bn1') else 2}"


def test_no_gradient_leaves_a_layer():
    """Neither to the one below nor to the one above; a block's shortcut is of the layer behind the sum."""
    step = stepping()
    layers = list(named_neurons(step.model))
    for layer in [*layers, "classifier"]:
        step.optimiser.zero_gradients()
        scores, _ = step.scores(pictures())
        if layer == "classifier":
            F.cross_entropy(scores, LABELS).backward()
        else:
            step.method.rates[layer].square().sum().backward()
        reached = {owner(name, layers) for name, p in step.model.named_parameters() if p.grad is not None}
        assert reached == {layer}


def test_loss_and_gradients_are_those_of_a_plain_loop():
    """Layer after layer on the spikes of the last one, each with autograd of its own."""
    given, x = source(), pictures().double()
    step = stepping(given=given, weight=0.7, percent=95.0)
    step.model.double()
    given.network.double()
    loss, scores = step.method.gradients(step, x, LABELS)
    found = {name: p.grad.clone() for name, p in step.model.named_parameters()}
    taught: dict[str, Tensor] = {}
    teacher, plain = frozen(source().network.double()), network("stbp", timesteps=4).train().double()
    for name, layer in named_neurons(teacher).items():
        layer.register_forward_hook(lambda _m, _i, out, name=name: taught.update({name: out[0]}))
    teacher(x)

    def fire(current: Tensor) -> Tensor:
        v, emitted = torch.zeros_like(current[0]), []
        for now in current:
            u = TAU * v + now
            smooth = 2.5 * (u - u.detach()) * ((u.detach() - 0.6).abs() <= 0.2)
            b = (u.detach() >= 0.6).double() + smooth
            v = u * (1 - b)
            emitted.append(b)
        return torch.stack(emitted)

    total = torch.zeros(())

    def layer(name: str, current: Tensor) -> Tensor:
        nonlocal total
        spikes, a = fire(current), taught[name].flatten()
        highest = a.sort().values[round(0.95 * (len(a) - 1))]
        total = total + 0.7 * ((spikes.mean(0) - (taught[name] / highest).clamp(0, 1)) ** 2).mean()
        return spikes.detach()

    here = x.expand(4, *x.shape)
    for i, unit in enumerate(plain.stem):
        here = layer(f"stem{i + 1}", unit.bn(unit.conv(here)))
    for s, stage in enumerate(plain.stages):
        for b, block in enumerate(stage):
            inside = layer(f"stage{s + 1}.block{b + 1}.1", block.bn1(block.conv1(here)))
            added = here if block.shortcut is None else block.shortcut(here)
            here = layer(f"stage{s + 1}.block{b + 1}.2", block.bn2(block.conv2(inside)) + added)
    expected = plain.classifier(here.mean((0, 3, 4)))
    total = total + F.cross_entropy(expected, LABELS)
    total.backward()
    torch.testing.assert_close(scores, expected.float())
    torch.testing.assert_close(loss, total.float())
    for name, p in plain.named_parameters():
        torch.testing.assert_close(found[name], p.grad, rtol=1e-5, atol=1e-7, msg=name)
    assert found["stem.0.conv.weight"].abs().max() > 1e-6


def permute_inner_units(model: SpikingResNet, order: Tensor) -> None:
    """Other places for the units of a block's inner layer: the network computes the same."""
    block = model.stages[0][0]
    with torch.no_grad():
        for tensor in (block.conv1.weight, *block.bn1.parameters(), *block.bn1.buffers()):
            if tensor.dim():
                tensor.copy_(tensor[order].clone())
        block.conv2.weight.copy_(block.conv2.weight[:, order].clone())


def test_the_match_is_unit_to_unit():
    """A student of other places has the same class scores and another loss, until its teacher's are those, too."""
    step, order = stepping(), torch.tensor([2, 3, 1, 0])
    for one in (step.model, step.method.teacher):
        one.double()

    def found() -> tuple[Tensor, float]:
        with torch.no_grad():
            scores, _ = step.scores(pictures().double())
            return scores, step.method.loss(scores, LABELS, {}, pictures().double()).item()

    scores, loss = found()
    permute_inner_units(step.model, order)
    permuted, other = found()
    torch.testing.assert_close(permuted, scores)
    assert abs(other - loss) > 1e-3
    permute_inner_units(step.method.teacher, order)
    assert found()[1] == pytest.approx(loss, abs=1e-6)


def test_without_a_weight_the_classifier_alone_learns_and_spikes_are_those_of_plain_training():
    step, plain = stepping(weight=0.0), stepping(PAPERS_WAY)
    loss, scores = step.method.gradients(step, pictures(), LABELS)
    expected, of_plain = plain.method.gradients(plain, pictures(), LABELS)
    assert torch.equal(scores, of_plain) and torch.equal(loss, expected)
    grads = {name: p.grad for name, p in step.model.named_parameters()}
    assert torch.equal(grads["classifier.weight"], plain.model.classifier.weight.grad)
    assert all(g.abs().sum() == 0 for name, g in grads.items() if not name.startswith("classifier"))


def test_the_teacher_and_the_random_stream_stay_as_they_are():
    given = source()
    before = {key: tensor.clone() for key, tensor in given.network.state_dict().items()}
    drawn = []
    for name in (PAPERS_WAY, "ltl"):
        step = stepping(name, given)
        torch.manual_seed(0)
        step(pictures(), LABELS, 0.1)
        drawn.append(torch.randn(3))
    assert torch.equal(*drawn)
    assert all(torch.equal(tensor, before[key]) for key, tensor in given.network.state_dict().items())
    assert all(p.grad is None for p in given.network.parameters())


def test_evaluation_is_not_listened_to():
    step = stepping()
    step.scores(pictures())
    step.method.rates.clear()
    plain = network("stbp", timesteps=4)
    plain.load_state_dict(step.model.state_dict())
    assert torch.equal(step.model.eval()(pictures()), plain.eval()(pictures()))
    assert step.method.rates == {}


@pytest.mark.parametrize("neuron", ["ternary", "trainable", "plif", "if"])
def test_any_neuron_learns(neuron):
    step = stepping(neuron=neuron)
    step(pictures(), LABELS, 0.1)
    assert all(p.grad is not None for name, p in step.model.named_parameters())
    assert step.model.stem[0].conv.weight.grad.abs().sum() > 0


def test_a_teacher_of_other_layers_is_refused():
    with pytest.raises(
        UserError, match=r"but only one of network and source teacher has a layer stage3\.block1\.1; choose a"
    ):
        stepping(given=source(architecture="resnet8w4"))
    step = stepping(given=source(architecture="resnet6w8"))
    with pytest.raises(UserError, match="layer stem1 is 4x8x8 in the network and 8x8x8 in its source"):
        step(pictures(), LABELS, 0.1)
