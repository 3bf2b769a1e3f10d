"""OTTT against a worked example, a plain loop over timesteps, the limits in which it is BPTT, and its memory."""

import pytest
import torch
from torch import nn

from ternary_spike import SpikingResNet, UserError
from ternary_spike.configuration.recipe import Recipe
from ternary_spike.methods.registry import make_method
from ternary_spike.models.base import SpikingNetwork
from ternary_spike.models.blocks import ConvUnit
from ternary_spike.models.chain_units import Dropout
from ternary_spike.models.registry import make_network
from ternary_spike.models.streaming import streaming
from ternary_spike.neurons.lif import BinaryLIF
from ternary_spike.neurons.soft_reset import SoftResetLIF
from ternary_spike.training.step import TrainingStep
from tests.helpers.rivals import spikingjelly
from tests.helpers.saved import peak_saved_bytes

PLAIN = Recipe("plain", 1, 4, 0.1, 0.0, 0.0)


class Two(SpikingNetwork):
    """Two convolutions without normalisation, each with a neuron layer, on pictures of ``size`` pixels a side."""

    def __init__(self, neurons, timesteps, channels=(1, 1), size=1, kernel=1, classes=1):
        super().__init__(timesteps, 1, size)
        first, second = (lambda _channels, neuron=neuron: neuron for neuron in neurons)
        norm = lambda channels: nn.Identity()  # noqa: E731
        self.first = ConvUnit(1, channels[0], kernel, 1, first, norm)
        self.second = ConvUnit(channels[0], channels[1], kernel, 1, second, norm)
        self.classifier = nn.Linear(channels[1], classes)
        self.double()

    def units(self):
        return [("first", self.first), ("second", self.second)]


def resnet(timesteps: int, neuron: str = "soft_reset") -> SpikingResNet:
    torch.manual_seed(0)
    model = SpikingResNet("resnet6w4", neuron, timesteps, num_classes=4, in_channels=1, image_size=8)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.bias, 0.5)  # so that most layers fire
    return model.double()


def batch(size: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size, 1, 8, 8, generator=generator, dtype=torch.float64), torch.arange(size) % 4


def gradients(model: nn.Module, method, x, labels) -> dict[str, torch.Tensor]:
    step = TrainingStep(model, method, PLAIN)
    loss, scores = method.gradients(step, x, labels)
    assert not loss.requires_grad or method.__class__.__name__ != "OnlineTraining"
    assert scores.shape[:2] == (model.timesteps, len(x))
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def plain_loop(model: SpikingResNet, method, x, labels) -> dict[str, torch.Tensor]:
    """OTTT of a ResNet6 by its definition: gradients at the convolutions' outputs, times traces of their inputs."""
    states, traces, found = {}, {}, {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    names = {layer: name for name, layer in model.named_modules()}

    for _ in range(model.timesteps):
        fed = []

        def linear(layer, s, fed=fed):
            y = layer(s)
            y.retain_grad()
            fed.append((layer, s.detach(), y))
            return y

        def fire(neuron, current):
            s, v = neuron.step(current, states.get(neuron))
            states[neuron] = v.detach()
            return s

        unit = model.stem[0]
        s = fire(unit.neuron, unit.bn(unit.conv(x).unsqueeze(0))[0])
        for (block,) in model.stages:
            inner = fire(block.neuron1, block.bn1(linear(block.conv1, s).unsqueeze(0))[0])
            current = block.bn2(linear(block.conv2, inner).unsqueeze(0))[0]
            if block.shortcut is not None:
                s = block.shortcut.bn(linear(block.shortcut.conv, s).unsqueeze(0))[0]
            s = fire(block.neuron2, current + s)
        scores = linear(model.classifier, s.mean((2, 3)))
        model.zero_grad()
        (method.loss(scores.float().unsqueeze(0), labels, {}, x) / model.timesteps).backward()
        traced = set()
        for layer, s, y in fed:
            a = traces[layer] = 0.5 * traces.get(layer, 0) + s
            weight = names[layer] + ".weight"
            traced.add(weight)
            if layer is model.classifier:
                found[weight] += y.grad.T @ a
            else:
                found[weight] += nn.grad.conv2d_weight(a, layer.weight.shape, y.grad, layer.stride, layer.padding)
        for name, p in model.named_parameters():
            if name not in traced:
                found[name] += p.grad
    return found


def test_a_worked_example():
    """Spikes 1, 0, 1 into a weight of 0.8; every spike that it causes has a gradient of 1."""

    class Summed(type(make_method("ottt"))):
        def loss(self, scores, labels, membranes, x):
            return scores.sum() * 3  # the method divides by T

    model = Two((BinaryLIF(1.0, 0.5), SoftResetLIF()), timesteps=3)
    for layer, value in ((model.first.conv, 1.0), (model.second.conv, 0.8), (model.classifier, 1.0)):
        nn.init.constant_(layer.weight, value)
    told = []
    model.second.neuron.observer = lambda u, b: told.append((u.item(), b.item()))
    frames = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64).view(1, 3, 1, 1, 1)
    found = gradients(model, Summed(), frames, torch.zeros(1, dtype=torch.int64))
    u, b = zip(*told, strict=True)
    assert u == pytest.approx((0.8, 0.4, 1.0), abs=1e-12) and b == (0, 0, 1)
    assert found["second.conv.weight"].item() == pytest.approx(2.258149, abs=1e-6)
    # the picture's own weight has no trace: 1, 0, 1 times slopes times 0.8, through the first neurons' window
    assert found["first.conv.weight"].item() == pytest.approx(0.8 * 1.855639, abs=1e-6)


@pytest.mark.parametrize("timesteps", [1, 4])
def test_gradients_are_those_of_a_plain_loop(timesteps):
    x, labels = batch()
    method = make_method("ottt", mse_share=0.3)
    found = gradients(resnet(timesteps), method, x, labels)
    expected = plain_loop(resnet(timesteps), method, x, labels)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(
            found[name], gradient, rtol=1e-9, atol=1e-13, msg=lambda text, name=name: f"{name}: {text}"
        )
        assert gradient.abs().max() > 1e-6, name


@pytest.mark.parametrize("neuron", ["soft_reset", "ternary", "trainable"])
def test_at_one_timestep_it_is_back_propagation(neuron):
    """Of the same loss; whatever the neuron."""
    x, labels = batch()
    found = gradients(resnet(1, neuron), make_method("ottt", mse_share=0.0), x, labels)
    expected = gradients(resnet(1, neuron), make_method("tet", mse_share=0.0), x, labels)
    for name, gradient in expected.items():
        torch.testing.assert_close(
            found[name], gradient, rtol=1e-9, atol=1e-14, msg=lambda text, name=name: f"{name}: {text}"
        )


def two(decay: float, timesteps: int) -> Two:
    torch.manual_seed(0)
    neurons = (SoftResetLIF(0.5, decay), SoftResetLIF(0.5, decay))
    return Two(neurons, timesteps, channels=(3, 4), size=8, kernel=3, classes=4)


def test_without_a_leak_s_memory_time_does_not_matter_and_in_one_layer_it_is_exact():
    """lambda = 0 is BPTT in every layer, whatever T; with a leak the last convolution's gradient still is."""
    x, labels = batch()
    cut = {"mse_share": 0.0, "classifier_trace": False}
    for decay, layers in ((0.0, ("first.conv", "second.conv", "classifier")), (0.5, ("second.conv", "classifier"))):
        found = gradients(two(decay, 4), make_method("ottt", **cut), x, labels)
        expected = gradients(two(decay, 4), make_method("tet", mse_share=0.0), x, labels)
        for layer in layers:
            gradient = expected[f"{layer}.weight"]
            torch.testing.assert_close(found[f"{layer}.weight"], gradient, rtol=1e-9, atol=1e-13)
            assert gradient.abs().max() > 1e-4
    assert not torch.allclose(found["first.conv.weight"], expected["first.conv.weight"])
    with_trace = gradients(two(0.5, 4), make_method("ottt", mse_share=0.0), x, labels)
    assert not torch.allclose(with_trace["classifier.weight"], expected["classifier.weight"])


def test_memory_does_not_grow_with_t():
    x, labels = batch()

    def peak(method: str, timesteps: int) -> int:
        model = resnet(timesteps)
        step = TrainingStep(model, make_method(method), PLAIN)
        return peak_saved_bytes(lambda: step.method.gradients(step, x, labels))

    assert peak("ottt", 32) <= 1.2 * peak("ottt", 4)
    assert peak("tet", 32) >= 4 * peak("tet", 4)


def test_updates_at_every_timestep_are_one_update_in_the_limit_of_small_ones():
    x, labels = batch()

    def moved(rate: float, **options) -> torch.Tensor:
        model = two(0.5, 3)
        before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
        step = TrainingStep(model, make_method("ottt", **options), PLAIN)
        step(x, labels, rate)
        return (torch.cat([p.detach().flatten() for p in model.parameters()]) - before) / rate

    once, each = moved(1e-7), moved(1e-7, update_each_timestep=True)
    torch.testing.assert_close(each, once, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(moved(0.5, update_each_timestep=True), once, rtol=1e-2, atol=1e-3)


def test_updates_at_every_timestep_are_t_updates_a_step():
    model = two(0.5, 3)
    step = TrainingStep(
        model, make_method("ottt", update_each_timestep=True), Recipe("a", 1, 4, 0.1, 0.9, 0.0, optimiser="adam")
    )
    step(*batch(), 0.001)
    assert step.optimiser.tensors()["updates.first.conv.weight"].item() == 3


def test_the_network_is_left_as_it_was_even_by_an_error():
    model = resnet(3)
    model.classifier = nn.Linear(3, 4).double()
    step = TrainingStep(model, make_method("ottt"), PLAIN)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        step.method.gradients(step, *batch())
    assert model.timesteps == 3 and all(p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_dropout_is_of_the_same_spikes_at_every_timestep():
    """And a network whose class scores are votes trains too, which have no trace."""
    torch.manual_seed(0)
    model = make_network("plifnetw4", "soft_reset", 4, num_classes=4, in_channels=1, image_size=8)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.bias, 0.8)
    dropped, kept = [], []

    def note(_dropout: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        dropped.append((inputs[0] > 0) & (output == 0))
        kept.append(output > 0)

    (dropout,) = (m for m in model.modules() if isinstance(m, Dropout))
    dropout.register_forward_hook(note)
    method = make_method("ottt", classifier_trace=False)
    method.gradients(TrainingStep(model, method, PLAIN), torch.randn(6, 1, 8, 8), torch.arange(6) % 4)
    assert len(kept) == 4 and torch.cat(dropped).any() and torch.cat(kept).any()
    assert not (torch.cat(dropped).any(0) & torch.cat(kept).any(0)).any()


def theirs(kind: str, **options) -> tuple[Two, nn.Module]:
    """A network of ours and one of SpikingJelly's with the same weights, which are one parameter each."""
    neuron, layer = spikingjelly("neuron"), spikingjelly("layer")
    ours = two(0.5, 4)
    convolutions = [nn.Conv2d(1, 3, 3, padding=1, bias=False), nn.Conv2d(3, 4, 3, padding=1, bias=False)]
    convolutions[0].weight, convolutions[1].weight = ours.first.conv.weight, ours.second.conv.weight
    neurons = [getattr(neuron, kind)(tau=2.0, decay_input=False, v_threshold=0.5, **options) for _ in range(2)]
    mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    container = layer.OTTTSequential if kind == "OTTTLIFNode" else nn.Sequential
    return ours, container(convolutions[0], neurons[0], convolutions[1], neurons[1], mean, ours.classifier)


@pytest.mark.full
@pytest.mark.parametrize("kind", ["OTTTLIFNode", "SLTTLIFNode"])
def test_spikingjelly_agrees(kind):
    """Its neurons and container of OTTT; without traces, timestep by timestep, those of SLTT."""
    ours, network = theirs(kind, **({} if kind == "OTTTLIFNode" else {"v_reset": None}))
    x, labels = batch()
    method = make_method("ottt", mse_share=0.05)
    for _ in range(4):
        scores = network(x)
        scores = scores[0] if isinstance(scores, list) else scores
        (method.loss(scores.float().unsqueeze(0), labels, {}, x) / 4).backward()
    expected = {name: p.grad.clone() for name, p in ours.named_parameters()}
    ours.zero_grad()
    if kind == "OTTTLIFNode":
        method.gradients(TrainingStep(ours, method, PLAIN), x, labels)
    else:
        with streaming(ours, online=True):
            for _ in range(4):
                (method.loss(ours(x, each_timestep=True).float(), labels, {}, x) / 4).backward()
    for name, p in ours.named_parameters():
        torch.testing.assert_close(
            p.grad, expected[name], rtol=1e-6, atol=1e-9, msg=lambda text, name=name: name + text
        )
        assert p.grad.abs().max() > 1e-5


@pytest.mark.parametrize(
    ("neuron", "words"),
    [
        ("relu", "this network's neurons have none"),
        ("plif", "ParametricLIF of layer stem1 has no attribute `decay`"),
    ],
)
def test_what_it_cannot_train_is_refused(neuron, words):
    with pytest.raises(UserError, match=words):
        TrainingStep(resnet(2, neuron), make_method("ottt"), PLAIN)


def test_neurons_of_different_leaks_are_refused():
    model = Two((SoftResetLIF(decay=0.5), SoftResetLIF(decay=0.25)), 2)
    with pytest.raises(UserError, match=r"decay is \[0\.25, 0\.5\]"):
        TrainingStep(model, make_method("ottt"), PLAIN)
