"""Joint A-SNN: examples worked out by hand, published sizes, the factors' chain rule, and what is left at the end."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ternary_spike import UserError
from ternary_spike.configuration.recipe import Recipe
from ternary_spike.methods.joint_a_snn import PLAIN, SPIKING, Factors, Head, JointASNN
from ternary_spike.methods.registry import make_method
from ternary_spike.models.base import SpikingNetwork
from ternary_spike.models.registry import make_network
from ternary_spike.neurons.registry import make_neuron
from ternary_spike.training.step import TrainingStep

NEURON = {"threshold": 0.5, "decay": 0.25, "surrogate": "rectangle", "window": 0.5}
LABELS = torch.arange(6) % 4


def double(*rows) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_worked_example_of_factors():
    """Singular values of the network with spikes are its own; U and V are those of both."""
    factors = Factors(double([1.2, 0.8], [-1.6, 0.6]).view(2, 2, 1, 1))
    factors.u.data, factors.v.data = double([[0.6, 0.8], [-0.8, 0.6]]), double([[1, 0], [0, 1]])
    factors.sigma[SPIKING].data, factors.sigma[PLAIN].data = double([2, 0.5]), double([2, 1])
    torch.testing.assert_close(factors.weight(SPIKING).flatten(1), double([1.2, 0.4], [-1.6, 0.3]))
    torch.testing.assert_close(factors.weight(PLAIN).flatten(1), double([1.2, 0.8], [-1.6, 0.6]))


@pytest.mark.parametrize("shape", [(5, 3, 3, 3), (3, 7, 1, 1), (4, 4, 2, 2)])
def test_factors_begin_as_the_weight_at_each_place_of_the_kernel(shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    factors = Factors(weight)
    for mode in (SPIKING, PLAIN):
        torch.testing.assert_close(factors.weight(mode), weight, rtol=0, atol=2e-6)
    places, rank = shape[2] * shape[3], min(shape[:2])
    assert factors.u.shape == (places, shape[0], rank) and factors.v.shape == (places, rank, shape[1])


def spikes(x: float, timesteps: int = 8) -> tuple[list[float], list[int]]:
    neuron, told = make_neuron("stbp", **NEURON), []
    neuron.observer = lambda u, b: told.append((u.tolist(), b.int().tolist()))
    neuron(torch.full((timesteps,), x))
    return told[0]


def test_worked_examples_of_the_neuron():
    u, b = spikes(0.25)
    assert u[:3] == [0.25, 0.3125, 0.328125] and u[-1] == pytest.approx(1 / 3, abs=1e-4) and sum(b) == 0
    assert spikes(0.375, 14)[1].index(1) == 12  # 1/2 is reached by rounding alone, in the 13th timestep
    u, b = spikes(0.46875, 4)
    assert u[:2] == [0.46875, 0.5859375] and b == [0, 1, 0, 1]
    assert spikes(0.5)[1] == [1] * 8


def heads(scores: list[Tensor], features: list[Tensor] | None = None) -> list[Head]:
    features = features or [torch.zeros(1, 1, dtype=torch.float64)] * len(scores)
    return [Head(z, f) for z, f in zip(scores, features, strict=True)]


def test_worked_example_of_features():
    """Where neither has any, as in the second place, nothing is compared; the loss is a sum."""
    spiking, plain = double([2.0, 0.0, 0.0, 1.0]).requires_grad_(), double([1.0, 0.0, 1.5, 1.0]).requires_grad_()
    nothing = [double([0.0])]
    method = make_method("joint_a_snn", share=0.0, weight=1.0)
    found = method.joint_loss(heads(nothing, [spiking]), heads(nothing, [plain]), torch.tensor([0]))
    assert found.item() == 3.25
    found.backward()
    assert spiking.grad.tolist() == [[2, 0, -3, 0]] and plain.grad is None
    twice = [torch.cat([spiking, spiking]), torch.cat([plain, plain])]
    both = method.joint_loss(*(heads([torch.zeros(2, 1)], [f]) for f in twice), torch.tensor([0, 0]))
    assert both.item() == 6.5
    negative = method.joint_loss(heads(nothing, [double([-2.0])]), heads(nothing, [double([-1.0])]), torch.tensor([0]))
    assert negative.item() == 0


@pytest.mark.parametrize(("of_teacher", "entropy", "gradient"), [((0, 2), 7.693869, 0.964538), ((2, 0), 5.764793, 0)])
def test_worked_example_of_softened_scores(of_teacher, entropy, gradient):
    method, z = make_method("joint_a_snn"), double([2.0, 0.0]).requires_grad_()
    teacher, student = heads([double(of_teacher)])[0], heads([z])[0]
    found = 9 * method.soft_entropy(teacher, student)
    assert found.item() == pytest.approx(entropy, abs=2e-6)
    expected = double([gradient, -gradient])
    torch.testing.assert_close(torch.autograd.grad(found, z)[0], expected, rtol=0, atol=2e-6)


def test_the_loss_is_that_of_a_plain_loop_and_teachers_learn_nothing_from_teaching():
    generator = torch.Generator().manual_seed(1)
    z, z_plain, f, f_plain = (torch.randn(4, 6, 5, dtype=torch.float64, generator=generator) for _ in range(4))
    z.requires_grad_(), z_plain.requires_grad_()
    alpha, beta, theta = 0.3, 0.01, 2.5
    method = make_method("joint_a_snn", share=alpha, weight=beta, temperature=theta)
    found = method.joint_loss(heads([*z], [*f]), heads([*z_plain], [*f_plain]), LABELS)

    def softened(row: list[float], by: float) -> list[float]:
        exponentials = [math.exp(e / by) for e in row]
        return [e / sum(exponentials) for e in exponentials]

    entropies = distilled = distances = 0.0
    for b, label in enumerate(LABELS.tolist()):
        for i in range(4):
            ours, theirs, best = z[i, b].tolist(), z_plain[i, b].tolist(), z_plain[0, b].tolist()
            entropies -= (math.log(softened(ours, 1)[label]) + math.log(softened(theirs, 1)[label])) / 6
            pairs = [(theirs, ours)] + ([(best, theirs)] if i else [])
            for teacher, student in pairs:
                q, p = softened(teacher, theta), softened(student, theta)
                distilled -= theta**2 * sum(a * math.log(s) for a, s in zip(q, p, strict=True)) / 6
            for s, t in zip(f[i, b].tolist(), f_plain[i, b].tolist(), strict=True):
                distances += (s - t) ** 2 if s > 0 or t > 0 else 0
    assert found.item() == pytest.approx((1 - alpha) * entropies + alpha * distilled + beta * distances, abs=1e-10)
    alone = make_method("joint_a_snn", share=1.0, weight=0.0)
    of_spiking, of_plain = torch.autograd.grad(
        alone.joint_loss(heads([*z], [*f]), heads([*z_plain], [*f_plain]), LABELS), (z, z_plain)
    )
    assert of_plain[0].abs().max() == 0  # the best head has nothing but the labels
    assert all(of_plain[i].abs().max() > 0 for i in (1, 2, 3)) and of_spiking.abs().amax((1, 2)).min() > 0


RECIPE = Recipe("x", 4, 6, 0.1, 0.0, 5e-4, weight_decay_on="all")


def stepping(architecture: str = "resnet8w4", neuron: str = "stbp", side: int = 8, **options) -> TrainingStep:
    torch.manual_seed(2)
    sizes = {"num_classes": 4, "in_channels": 1, "image_size": side}
    model = make_network(architecture, neuron, 3, neuron_options=NEURON if neuron == "stbp" else options, **sizes)
    return TrainingStep(model.train(), make_method("joint_a_snn"), RECIPE)


def pictures(side: int = 8) -> Tensor:
    return torch.randn(6, 1, side, side, generator=torch.Generator().manual_seed(3))


def count(parameters) -> int:
    return sum(p.numel() for p in {*parameters})


def test_its_sizes_are_the_published_ones():
    """Of the factorised ResNet18 with both modes, and of its branches; the stored weights are not counted."""
    with torch.device("meta"):
        model = make_network("resnet18_cifar", "stbp", 4)
        method = TrainingStep(model, make_method("joint_a_snn"), RECIPE).method
    trunk = method.companion["trunk"]
    stored = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Conv2d))
    assert count(model.parameters()) == 11_173_962
    assert count([*model.parameters(), *trunk.parameters()]) - stored == 21_548_113
    branches = [m for name, m in method.companion.items() if name != "trunk"]
    assert count(p for m in branches for p in m.parameters()) == 3_155_358


def test_what_is_stored_is_the_product_and_a_plain_network_computes_with_it():
    step = stepping()
    sizes = {"num_classes": 4, "in_channels": 1, "image_size": 8}
    plain = make_network("resnet8w4", "stbp", 3, neuron_options=NEURON, **sizes)
    assert step.model.state_dict().keys() == plain.state_dict().keys()
    before = {name: p.clone() for name, p in step.method.companion.named_parameters()}
    untrained = step.model.stem[0].conv.weight.clone()
    for _ in range(2):
        step(pictures(), LABELS, 0.1)
    assert [name for name, p in step.method.companion.named_parameters() if torch.equal(p, before[name])] == []
    trunk = step.method.companion["trunk"]
    for name, factors in zip(trunk.names, trunk.factors, strict=True):
        assert torch.equal(step.model.get_submodule(name).weight, factors.weight(SPIKING))
        assert not torch.equal(factors.weight(PLAIN), factors.weight(SPIKING))
    assert not torch.equal(step.model.stem[0].conv.weight, untrained)
    plain.load_state_dict(step.model.state_dict())
    assert torch.equal(plain.eval()(pictures()), step.model.eval()(pictures()))


def test_factors_have_the_gradients_of_the_chain_rule():
    """dL/dsigma_j = u_j^T dL/dW v_j; dL/dU = dL/dW V^T diag(sigma) of both networks, and V's alike."""
    step = stepping()
    trunk, model = step.method.companion["trunk"], step.model
    plain = step.method.companion["trunk"].plain
    for factors in trunk.factors:
        factors.sigma[PLAIN].data *= 1.25
    spiking_scores = step.method.heads(SPIKING, pictures())[0].scores
    plain_scores = step.method.heads(PLAIN, pictures())[0].scores
    (F.cross_entropy(spiking_scores, LABELS) + 2 * F.cross_entropy(plain_scores, LABELS)).backward()
    found = [(f.u.grad, f.v.grad, f.sigma[SPIKING].grad, f.sigma[PLAIN].grad) for f in trunk.factors]
    F.cross_entropy(3 * model(pictures()), LABELS).backward()  # of the stored weights, and scores summed over time
    for name, factors in zip(trunk.names, trunk.factors, strict=True):
        plain.get_submodule(name).weight = nn.Parameter(factors.weight(PLAIN).detach())
    plain.classifier.bias = nn.Parameter(model.classifier.bias.detach())
    (2 * F.cross_entropy(plain(pictures()), LABELS)).backward()
    for name, factors, (of_u, of_v, *of_sigma) in zip(trunk.names, trunk.factors, found, strict=True):
        total_u, total_v = torch.zeros_like(of_u), torch.zeros_like(of_v)
        for mode, network, gradient in zip((SPIKING, PLAIN), (model, plain), of_sigma, strict=True):
            of_weight = network.get_submodule(name).weight.grad.permute(2, 3, 0, 1).flatten(0, 1)
            sigma = factors.sigma[mode].detach()
            expected = torch.einsum("poj,poi,pji->pj", factors.u, of_weight, factors.v)
            torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6)
            total_u += torch.einsum("poi,pji,pj->poj", of_weight, factors.v, sigma)
            total_v += torch.einsum("poj,poi,pj->pji", factors.u, of_weight, sigma)
        torch.testing.assert_close(of_u, total_u, rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(of_v, total_v, rtol=1e-3, atol=1e-6)


def test_heads_begin_alike_and_sum_over_time():
    """A twin is the network without spikes; branches see what stages put out, in three steps of 8, 4 and 2 there."""
    step, x = stepping("resnet20w4", side=16), pictures(16)
    spiking, plain = (step.method.heads(mode, x) for mode in (SPIKING, PLAIN))
    assert len(spiking) == len(plain) == 4
    torch.testing.assert_close(spiking[0].scores, 3 * step.model(x))
    assert {head.scores.shape for head in spiking + plain} == {(6, 4)}
    assert {head.features.shape for head in spiking + plain} == {(6, 32)}
    kernels = [b.modes[SPIKING].units[1].conv.kernel_size[0] for b in step.method.branches]
    assert kernels == [8, 4, 2]
    assert all(head.features.min() >= 0 for head in plain) and not torch.equal(spiking[1].scores, plain[1].scores)


def test_the_classifier_has_two_weights_and_one_bias():
    step = stepping()
    step(pictures(), LABELS, 0.1)
    trunk = step.method.companion["trunk"]
    assert not torch.equal(trunk.plain.classifier.weight, step.model.classifier.weight)
    before = step.method.heads(PLAIN, pictures())[0].scores
    step.model.classifier.bias.data += 1
    torch.testing.assert_close(step.method.heads(PLAIN, pictures())[0].scores, before + 1)


@pytest.mark.parametrize(("architecture", "count"), [("cifarnet_tlw4", 0), ("resnet6w4", 1), ("resnet19w4", 2)])
def test_there_is_a_branch_for_each_stage_but_the_last(architecture, count):
    step = stepping(architecture)
    step(pictures(), LABELS, 0.1)
    assert len(step.method.branches) == count and step.model.classifier.weight.grad is not None


def test_each_timestep_is_normalised_by_itself():
    step = stepping()
    bn = step.model.stages[0][0].bn1
    step(pictures(), LABELS, 0.1)
    assert bn.per_step and bn.num_batches_tracked == 3
    assert step.method.companion["trunk"].plain.stages[0][0].bn1.num_batches_tracked == 1


def test_frames_reach_the_twin_as_their_mean():
    step = stepping()
    frames = torch.randn(6, 3, 1, 8, 8, generator=torch.Generator().manual_seed(4))
    loss, _ = step(frames, LABELS, 0.1)
    assert loss.isfinite()


@pytest.mark.parametrize(
    ("neuron", "options", "kind"),
    [("relu", {}, "ReLU"), ("trainable", {"amplitude_per": "channel"}, "TrainableTernaryLIF")],
)
def test_neurons_that_branches_cannot_have_are_refused(neuron, options, kind):
    with pytest.raises(UserError, match=f"are those of layer stage3.block1.2, and {kind} there has no spikes, or"):
        stepping(neuron=neuron, **options)


def test_pictures_that_are_too_small_for_the_branches_are_refused():
    with pytest.raises(UserError, match="a branch takes stages of 8x8 places at least, and this one has 4x4; choose"):
        stepping("resnet20w4")(pictures(), LABELS, 0.1)


def test_it_trains_in_one_process():
    assert JointASNN.one_process


def test_a_network_is_no_part_of_its_companion():
    """A checkpoint has it already, and the weights that are published are the network's alone."""
    step = stepping()
    assert not any(isinstance(m, SpikingNetwork) and m is step.model for m in step.method.companion.modules())
    names = step.method.tensors()
    assert any("factors.0.sigma" in name for name in names) and not any("conv.weight" in name for name in names)
