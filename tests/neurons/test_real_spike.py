"""Real Spike: worked examples, the plain neuron at amplitude 1, gradients, and what it folds to."""

import re

import pytest
import torch
from torch.nn import functional as F

from ternary_spike import BinaryLIF, SpikingResNet, make_neuron
from ternary_spike.measuring.evaluation import evaluate
from ternary_spike.membrane.multi_step import multi_step
from ternary_spike.models.base import named_neurons
from ternary_spike.models.known_modules import NotFoldable
from ternary_spike.neurons.real_spike import RealSpike
from ternary_spike.reparam import fold
from ternary_spike.reparam.equivalence import compare
from tests.helpers.networks import random_network

CONSTANTS = {"threshold": 0.5, "decay": 0.25}
PER = {"layer": (), "channel": (3, 1, 1), "element": (3, 5, 5)}


def real_spike(per: str) -> RealSpike:
    return make_neuron("real_spike", 3, side=5, amplitude_per=per, **CONSTANTS).double()


def current() -> torch.Tensor:
    return torch.randn(4, 2, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def loop(x: torch.Tensor, a: torch.Tensor, detach_reset: bool) -> torch.Tensor:
    """The equations as a plain loop, with the arctan's derivative in the place of the step's."""
    v, emitted = torch.zeros_like(x[0]), []
    for now in x:
        u = 0.25 * v + now
        slope = 1 / (1 + (torch.pi * (u.detach() - 0.5)) ** 2)
        b = (u.detach() >= 0.5).double() + slope * (u - u.detach())
        v = u * (1 - (b.detach() if detach_reset else b).abs())  # whose gradient is 0 where b = 0
        emitted.append(a * b)
    return torch.stack(emitted)


def test_the_state_does_not_see_the_amplitude():
    neuron, told = RealSpike(1.3, **CONSTANTS).double(), []
    x = torch.tensor([0.4, 0.45, 0.6, 0.2], dtype=torch.float64)
    plain = neuron(x)
    neuron.observer = lambda u, b: told.append((u, b))
    torch.testing.assert_close(neuron(x), torch.tensor([0, 1.3, 1.3, 0], dtype=torch.float64), rtol=0, atol=1e-7)
    assert torch.equal(neuron(x), plain)
    u, b = told[0]
    torch.testing.assert_close(u, torch.tensor([0.4, 0.55, 0.6, 0.2], dtype=torch.float64), rtol=0, atol=1e-15)
    assert b.tolist() == [0, 1, 1, 0]


def test_an_amplitude_a_channel_moves_into_the_kernel():
    neuron, x = RealSpike(channels=2).double(), torch.full((1, 1, 2, 1, 1), 2.0, dtype=torch.float64)
    neuron.amplitude.data = torch.tensor([0.8, 1.3], dtype=torch.float64).view(2, 1, 1)
    kernel = torch.tensor([[0.5, -1], [2, 0.25]], dtype=torch.float64).view(2, 2, 1, 1)
    folded, expected = neuron.folds(), torch.tensor([-0.9, 1.925], dtype=torch.float64)
    torch.testing.assert_close(F.conv2d(neuron(x)[0], kernel).flatten(), expected)
    moved = kernel * folded.amplitude.view(1, 2, 1, 1)
    torch.testing.assert_close(moved.flatten(), torch.tensor([0.4, -1.3, 1.6, 0.325], dtype=torch.float64))
    spikes = multi_step(x, folded.dynamics)[0][0]
    assert spikes.unique().tolist() == [1]
    torch.testing.assert_close(F.conv2d(spikes, moved).flatten(), expected)


def test_an_amplitude_a_neuron_needs_a_kernel_for_each_place():
    neuron, x = RealSpike(channels=1, side=3).double(), torch.zeros(1, 1, 1, 3, 3, dtype=torch.float64)
    x[..., 0, :] = torch.tensor([2.0, 0.0, 2.0])
    neuron.amplitude.data[0, 0] = torch.tensor([0.5, 2.0, 3.0])
    kernel = torch.tensor([1.0, 2.0], dtype=torch.float64)
    result = F.conv2d(neuron(x)[0], kernel.view(1, 1, 1, 2))[0, 0, 0]
    unshared = [kernel * neuron.amplitude[0, 0, at : at + 2] for at in (0, 1)]
    assert [k.tolist() for k in unshared] == [[0.5, 4], [2, 6]]
    assert result.tolist() == [0.5, 6]
    assert [(k @ (x[0, 0, 0, 0, at : at + 2] / 2)).item() for at, k in enumerate(unshared)] == [0.5, 6]


def test_the_amplitudes_gradient_is_that_of_what_fired():
    grad_y = torch.tensor([0.2, 5, -0.5], dtype=torch.float64).view(1, 1, 1, 3, 1).expand(1, 1, 1, 3, 3)
    x = torch.tensor([2.0, 0, 2], dtype=torch.float64).view(1, 1, 1, 3, 1).expand(1, 1, 1, 3, 3)
    for neuron, expected in ((RealSpike(), -0.9), (RealSpike(channels=1, side=3), [[0.2] * 3, [0] * 3, [-0.5] * 3])):
        neuron.double()(x).backward(grad_y)
        torch.testing.assert_close(
            neuron.amplitude.grad.squeeze(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-15
        )


@pytest.mark.parametrize("per", PER)
def test_with_amplitude_1_it_is_the_plain_neuron_to_the_bit(per):
    neuron, x = real_spike(per).float(), current().float()
    plain = BinaryLIF(**CONSTANTS, surrogate="atan", window=1 / torch.pi, detach_reset=True)
    assert neuron.amplitude.shape == PER[per]
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    spikes, expected = neuron(one), plain(other)
    assert torch.equal(spikes, expected) and spikes.unique().tolist() == [0, 1]
    grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    spikes.backward(grad)
    expected.backward(grad)
    assert torch.equal(one.grad, other.grad)


@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize("per", PER)
def test_gradients_are_those_of_a_plain_loop(per, detach_reset):
    a = 1.5 * torch.randn(PER[per], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    neuron = make_neuron("real_spike", 3, side=5, amplitude_per=per, detach_reset=detach_reset, **CONSTANTS)
    neuron.amplitude.data = a
    x, weight = current().requires_grad_(), current().roll(1)
    found = torch.autograd.grad((neuron(x) * weight).sum(), [x, neuron.amplitude])
    expected = torch.autograd.grad((loop(x, neuron.amplitude, detach_reset) * weight).sum(), [x, neuron.amplitude])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("per", ["layer", "channel"])
def test_batch_norm_behind_a_convolution_is_blind_to_the_size_of_all_amplitudes(per):
    """sum_c a_c dL/da_c = 0, unless the spikes go past the batch norm too."""
    torch.manual_seed(0)
    neuron, kernel = real_spike(per), torch.randn(4, 3, 3, 3, dtype=torch.float64)
    neuron.amplitude.data = 0.5 + torch.rand_like(neuron.amplitude)
    normalised = F.batch_norm(F.conv2d(neuron(current()).flatten(0, 1), kernel), None, None, training=True, eps=1e-30)
    (blind,) = torch.autograd.grad((normalised * torch.randn_like(normalised)).sum(), neuron.amplitude)
    assert abs((neuron.amplitude * blind).sum()) < 1e-12
    assert per == "layer" or blind.abs().max() > 0.1
    (seen,) = torch.autograd.grad((neuron(current()) * current().roll(1)).sum(), neuron.amplitude)
    assert abs((neuron.amplitude * seen).sum()) > 0.1


@pytest.mark.parametrize("per", ["layer", "channel"])
def test_a_network_folds_exactly(per):
    model, x = random_network(1, "resnet6", "real_spike", 8, neuron_options={"amplitude_per": per, **CONSTANTS})
    result = compare(model, folded := fold(model), [x], torch.float64)
    assert result["differing_spikes"] == 0 and result["largest_relative_logit_difference"] <= 1e-12
    assert not any(op.settings["signed"] for op in folded.operations if op.kind == "spikes")


def test_amplitudes_a_neuron_are_not_foldable_unless_a_channel_s_are_equal():
    options = {"amplitude_per": "element", **CONSTANTS}
    model, x = random_network(1, "resnet8", "real_spike", 8, neuron_options=options)
    shapes = {name: tuple(neuron.amplitude.shape) for name, neuron in named_neurons(model).items()}
    assert shapes["stem1"] == (16, 8, 8) and shapes["stage3.block1.2"] == (64, 2, 2)
    reason = "stem1 has an amplitude of shape (16, 8, 8), which cannot be folded"
    with pytest.raises(NotFoldable, match=re.escape(reason)):
        fold(model)
    channels = [record["amplitude"] for record in evaluate(model, [(x, torch.zeros(8, dtype=torch.int64))])["layers"]]
    assert [len(means) for means in channels] == [16, 16, 16, 32, 32, 64, 64]
    for neuron, means in zip(named_neurons(model).values(), channels, strict=True):
        torch.testing.assert_close(neuron.amplitude.detach().mean((1, 2)), torch.tensor(means))
        neuron.amplitude.data = torch.tensor(means).view(-1, 1, 1).expand_as(neuron.amplitude).contiguous()
    result = compare(model, fold(model), [x], torch.float64)
    assert result["differing_spikes"] == 0 and result["largest_relative_logit_difference"] <= 1e-12


@pytest.mark.parametrize(("architecture", "size"), [("resnet20w2", 21), ("resnet18w2", 37)])
def test_a_network_tells_its_neurons_the_side_of_their_pictures(architecture, size):
    """With odd sides, a pooled stem, and both kinds of shortcut: another side would not fit the input."""
    model = SpikingResNet(architecture, "real_spike", 1, image_size=size, neuron_options={"amplitude_per": "element"})
    assert model.eval()(torch.randn(1, 3, size, size)).shape == (1, 10)
    amplitudes = [neuron.amplitude for neuron in named_neurons(model).values()]
    assert amplitudes[0].shape[-1] > amplitudes[-1].shape[-1] > 1


def test_constants_of_the_code_and_what_is_refused():
    neuron = make_neuron("real_spike", 4)
    assert (neuron.threshold, neuron.decay, neuron.detach_reset, neuron.surrogate) == (1, 1, True, "atan")
    assert neuron.amplitude.shape == (4, 1, 1) and (neuron.amplitude == 1).all()
    with pytest.raises(ValueError, match="amplitude_per=element needs the layer's channels and the side of its pict"):
        make_neuron("real_spike", 4, amplitude_per="element")
    with pytest.raises(ValueError, match="side must be a whole number from 1, not 0"):
        make_neuron("real_spike", 4, side=0, amplitude_per="element")
    with pytest.raises(ValueError, match="initial_amplitude must be finite, not inf"):
        RealSpike(float("inf"))
