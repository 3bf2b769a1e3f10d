"""RMP-Loss and IM-Loss against figures worked out by hand, a plain loop, and plain training."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from ternary_spike import BinaryLIF, TernaryLIF, UserError
from ternary_spike.configuration.recipe import Recipe
from ternary_spike.membrane.potential_terms import means
from ternary_spike.methods.registry import PAPERS_WAY, make_method
from ternary_spike.models.base import named_neurons
from ternary_spike.models.blocks import ConvUnit
from ternary_spike.models.recording import gauging
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.neurons.base import SpikingNeuron
from ternary_spike.neurons.stbp import IterativeLIF
from ternary_spike.training.step import TrainingStep
from tests.helpers.tiny import tiny_plan

NO_SCORES = torch.zeros(1, 1, dtype=torch.float64)  # of one class: their cross-entropy is 0
LABEL, NO_INPUT = torch.tensor([0]), torch.empty(0)


class Alone(nn.Module):
    """Neuron layers side by side: each gets its own current, and each is a unit."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def units(self):
        return [(f"layer{i}", SimpleUnit(layer)) for i, layer in enumerate(self.layers)]

    def forward(self, *currents: Tensor) -> list[Tensor]:
        return [layer(x) for layer, x in zip(self.layers, currents, strict=True)]


class SimpleUnit(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def neurons(self, name: str) -> dict[str, nn.Module]:
        return {name: self.layer}


def added(method, model: nn.Module, *inputs: Tensor) -> Tensor:
    """What a method adds to the cross-entropy."""
    membranes = {}
    method.begin(SimpleNamespace(model=model, mean=lambda part: part))
    with gauging(model, method.terms, lambda name, means: membranes.update({name: means})):
        model(*inputs)
    return method.loss(NO_SCORES, LABEL, membranes, NO_INPUT)


def rmp(share: float = 1.0, **options):
    method = make_method("rmp_loss", **options)
    method.epoch(share)
    return method


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def distance(u: Tensor) -> Tensor:
    return means(u, ["distance"], signed=False)["distance"]


def test_rmp_loss_on_a_worked_example():
    """At the kink, 1/2, no gradient: both spikes are as near."""
    u = double(0.3, 0.8, 1.4, -0.2, 0.5)
    found = distance(u)
    assert found.item() == pytest.approx(0.116, abs=1e-15)
    expected = double(0.12, -0.08, 0.16, -0.08, 0.0)
    torch.testing.assert_close(torch.autograd.grad(found, u)[0], expected.detach())
    torch.testing.assert_close(distance(1 - u), found)


def test_the_weight_of_rmp_loss_grows_from_nothing():
    assert [rmp(n / 400).weight for n in (0, 200, 400)] == pytest.approx([0, 0.1, 0.2], abs=1e-15)
    assert not rmp(0.0).watches and rmp(1 / 400).watches


@pytest.mark.parametrize(("neuron", "gradient"), [(IterativeLIF, [0.46, 0.4]), (BinaryLIF, [0.5, 0.4])])
def test_rmp_loss_flows_back_in_time(neuron, gradient):
    """u = 0.4, 0.4, with dv/du = 1 - u or 1."""
    x = double(0.4, 0.3)
    found = added(rmp(k=0.5), Alone(neuron()), x)  # lambda is 1
    assert found.item() == pytest.approx(0.16, abs=1e-15)
    torch.testing.assert_close(torch.autograd.grad(found, x)[0], double(*gradient).detach())


@pytest.mark.parametrize("neuron", [BinaryLIF, TernaryLIF])
def test_at_the_papers_threshold_rmp_loss_is_the_square_of_what_firing_changes(neuron):
    """(u - b)^2 with no gradient through b; with the sign's spike b for a ternary neuron."""
    x = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    u, b, _ = neuron().update(x, None)
    square = (u - b.detach()).square().mean()
    found = added(rmp(k=0.5), Alone(neuron()), x[None])
    torch.testing.assert_close(found, square)
    torch.testing.assert_close(torch.autograd.grad(found, x)[0], torch.autograd.grad(square, x)[0])


def test_im_loss_on_worked_examples():
    """Layers with means 0.3 and 0.6, at one timestep: 0.04 + 0.01, times lambda 2."""
    x, y = double(0.1, 0.2, 0.3, 0.6), double(0.5, 0.7)
    found = added(make_method("im_loss"), Alone(BinaryLIF(), BinaryLIF()), x[None], y[None])
    assert found.item() == pytest.approx(0.10, abs=1e-15)
    of_x, of_y = torch.autograd.grad(found, (x, y))
    torch.testing.assert_close(of_x, torch.full_like(of_x, -0.2))
    torch.testing.assert_close(of_y, torch.full_like(of_y, 0.2))
    higher = added(make_method("im_loss", weight=1.0), Alone(BinaryLIF(threshold=0.8)), x[None])
    assert higher.item() == pytest.approx(0.25, abs=1e-15)


def test_im_loss_moves_batch_norms_bias_alone():
    """At one timestep the mean potential is the mean of the biases."""
    torch.manual_seed(0)
    unit = ConvUnit(2, 3, 3, 1, lambda _: BinaryLIF()).double()
    model = nn.Sequential(unit)
    model.units = lambda: [("stem", unit)]
    added(make_method("im_loss"), model, torch.randn(1, 4, 2, 6, 6, dtype=torch.float64)).backward()
    assert unit.conv.weight.grad.abs().max() < 1e-12
    torch.testing.assert_close(unit.bn.bias.grad, torch.full_like(unit.bn.bias, 2 * 2 * -0.5 / 3))


def plain(neuron: SpikingNeuron, x: Tensor) -> list[Tensor]:
    """Potentials of a plain loop, with the clamp as the surrogate gradient."""
    v, found = torch.zeros_like(x[0]), []
    for current in x:
        u = neuron.decay * v + current
        soft = u.clamp(-1 if neuron.signed else 0, 1)
        hard = u.sign() * (u.abs() >= neuron.threshold) if neuron.signed else (u >= neuron.threshold).double()
        b = soft + (hard - soft).detach()
        v = u * (1 - b.abs())
        found.append(u)
    return found


def plain_rmp(layers: list[tuple[SpikingNeuron, list[Tensor]]]) -> Tensor:
    values = []
    for neuron, potentials in layers:
        spikes = (-1, 0, 1) if neuron.signed else (0, 1)
        squares = [min((e - s) ** 2 for s in spikes) for u in potentials for e in u.flatten()]
        values.append(sum(squares) / len(squares))
    return 0.2 * sum(values) / len(values)


def plain_im(layers: list[tuple[SpikingNeuron, list[Tensor]]]) -> Tensor:
    total = 0.0
    for neuron, potentials in layers:
        elements = [abs(e) if neuron.signed else e for u in potentials for e in u.flatten()]
        total = total + (sum(elements) / len(elements) - neuron.threshold) ** 2
    return 2 * total


@pytest.mark.parametrize(("name", "loss"), [("rmp_loss", plain_rmp), ("im_loss", plain_im)])
def test_loss_and_gradients_are_those_of_a_plain_loop(name: str, loss: Callable):
    """In float64, through three timesteps of a binary and a ternary layer of different sizes."""
    generator = torch.Generator().manual_seed(3)
    inputs = [torch.randn(3, 2, n, dtype=torch.float64, generator=generator).requires_grad_() for n in (2, 5)]
    layers = [BinaryLIF(decay=0.5), TernaryLIF(threshold=0.7)]
    method = make_method(name)
    method.epoch(1.0)
    found = added(method, Alone(*layers), *inputs)
    expected = loss([(layer, plain(layer, x)) for layer, x in zip(layers, inputs, strict=True)])
    torch.testing.assert_close(found, expected)
    for one, other in zip(torch.autograd.grad(found, inputs), torch.autograd.grad(expected, inputs), strict=True):
        torch.testing.assert_close(one, other)
        assert one.any(0).all()  # to each current, whether it is near the threshold or far


def gradients(method, tmp_path, neuron: str = "ternary", share: float = 0.5, **options) -> list[Tensor]:
    torch.manual_seed(0)
    model = SpikingResNet(**tiny_plan(tmp_path, neuron).model | {"neuron_options": options})
    step = TrainingStep(model, method, Recipe("x", 1, 4, 0.1, 0.9, 0.0, label_smoothing=0.1))
    method.epoch(share)
    method.gradients(step, torch.randn(6, 1, 8, 8), torch.arange(6) % 4)
    return [p.grad for p in model.parameters()]


def test_without_weight_it_is_the_papers_training_to_the_bit(tmp_path):
    expected = gradients(make_method(PAPERS_WAY), tmp_path)
    for method in (make_method("rmp_loss", k=0.0), make_method("im_loss", weight=0.0)):
        assert all(map(torch.equal, gradients(method, tmp_path), expected))
    assert all(map(torch.equal, gradients(rmp(), tmp_path, share=0.0), expected))
    assert not all(map(torch.equal, gradients(rmp(0.5), tmp_path), expected))


ESG = {"surrogate": "tanh_unclipped", "window": 0.5}


def test_esg_grows_from_its_first_to_its_last_temperature():
    layers = Alone(BinaryLIF(**ESG), BinaryLIF(**ESG))
    method = make_method("im_loss", esg=True)
    method.begin(SimpleNamespace(model=layers))
    for share, k in ((0, 1), (0.5, 3.162278), (1, 10)):
        method.epoch(share)
        assert [layer.temperature.item() for layer in layers.layers] == pytest.approx([k, k], abs=5e-7)
    narrow = make_method("im_loss", esg=True, k_min=2.0, k_max=11.0)
    narrow.begin(SimpleNamespace(model=layers))
    narrow.epoch(0.5)
    assert layers.layers[0].temperature.item() == pytest.approx(2 + (10**0.5 - 1), abs=1e-6)


def test_esg_alone_at_one_temperature_is_plain_training_to_the_bit(tmp_path):
    for k in (3.0, 0.5):
        expected = gradients(make_method(PAPERS_WAY), tmp_path, "binary", temperature=k, **ESG)
        alone = make_method("im_loss", weight=0.0, esg=True, k_min=k, k_max=k)
        assert all(map(torch.equal, gradients(alone, tmp_path, "binary", **ESG), expected))
    moved = make_method("im_loss", weight=0.0, esg=True)
    assert not all(map(torch.equal, gradients(moved, tmp_path, "binary", **ESG), expected))
    still = make_method("im_loss", weight=0.0)
    assert all(map(torch.equal, gradients(still, tmp_path, "binary", temperature=0.5, **ESG), expected))


def test_esg_needs_a_temperature(tmp_path):
    with pytest.raises(UserError, match=r"IM-Loss with esg moves the temperature .* layer stem\S* has none"):
        gradients(make_method("im_loss", esg=True), tmp_path)


def test_im_loss_leaves_out_what_lies_inside_a_block(tmp_path):
    model = SpikingResNet(**tiny_plan(tmp_path).model)
    names = set(named_neurons(model))
    inside = {name for name in names if name.endswith(".1")}
    assert inside and set(make_method("im_loss").layers_of(model)) == names - inside
    assert set(make_method("rmp_loss").layers_of(model)) == names


class Unnamed(SpikingNeuron):
    """A neuron whose threshold has no name."""

    def update(self, x, v):
        b = (x > 1).to(x.dtype)
        return x, b, x * (1 - b)


def test_what_has_no_potential_or_no_threshold_is_refused(tmp_path):
    for name in ("rmp_loss", "im_loss"):
        with pytest.raises(UserError, match=r"a loss on membrane potentials, and this network's neurons have none"):
            gradients(make_method(name), tmp_path, "relu")
    with pytest.raises(UserError, match=r"Unnamed of layer layer0 has no attribute `threshold`"):
        added(make_method("im_loss"), Alone(Unnamed()), torch.ones(1, 1))
