"""Scaled weight standardisation: a worked example, what it is blind to, and the network that has it."""

import math

import pytest
import torch
from torch import nn

from ternary_spike.configuration.recipe import Recipe
from ternary_spike.methods.registry import make_method
from ternary_spike.models.registry import make_network
from ternary_spike.models.weight_standardisation import SPIKE_SCALE, standardise, trained_weight
from ternary_spike.reparam import fold
from ternary_spike.reparam.equivalence import verify
from ternary_spike.training.optimiser import decayed_and_free_parameters
from ternary_spike.training.step import TrainingStep


def convolution(*weights: float, factor: float = 1.0) -> nn.Conv2d:
    conv = nn.Conv2d(len(weights), 1, 1).double()
    with torch.no_grad():
        conv.weight.copy_(torch.tensor(weights).view(1, -1, 1, 1))
    standardise(conv, factor)
    return conv.double()


def network(neuron: str = "soft_reset", timesteps: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return make_network("vgg11_otttw8", neuron, timesteps, num_classes=4, in_channels=1, image_size=8)


def test_a_worked_example():
    conv = convolution(1, 2, 3, 4)
    expected = torch.tensor([-0.580943, -0.193648, 0.193648, 0.580943], dtype=torch.float64)
    torch.testing.assert_close(conv.weight.flatten(), expected, rtol=0, atol=1e-6)
    assert conv.weight.square().sum().item() == pytest.approx(0.749989, abs=1e-6)  # (N - 1) / N but for 1e-4


def test_it_is_blind_to_shift_and_scale_and_has_gain_and_factor():
    conv = convolution(1, 2, 3, 4)
    torch.testing.assert_close(convolution(105, 115, 125, 135).weight, conv.weight, rtol=1e-4, atol=0)
    torch.testing.assert_close(convolution(1, 2, 3, 4, factor=2.74).weight, 2.74 * conv.weight)
    conv.parametrizations.weight[0].gain.data.fill_(3.0)
    torch.testing.assert_close(conv.weight, 3 * convolution(1, 2, 3, 4).weight)


def test_the_factor_is_that_of_spikes_of_unit_variance():
    p = 0.5 * math.erfc(1 / math.sqrt(2))  # of a standard normal current above a threshold of 1
    assert 1 / math.sqrt(p * (1 - p)) == pytest.approx(SPIKE_SCALE, abs=0.005)


def test_the_network_multiplies_what_spikes_feed_and_not_the_picture():
    model = network()
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    for conv, factor in zip(convolutions, (1.0, *[SPIKE_SCALE] * 7), strict=True):
        n = conv.weight[0].numel()
        sums = conv.weight.square().sum((1, 2, 3))
        torch.testing.assert_close(sums, torch.full_like(sums, factor**2 * (n - 1) / n), rtol=1e-2, atol=0)
        torch.testing.assert_close(conv.weight.sum((1, 2, 3)), torch.zeros_like(sums), rtol=0, atol=1e-4)
    torch.testing.assert_close(model.classifier.weight, SPIKE_SCALE * trained_weight(model.classifier))
    assert trained_weight(model.classifier).std().item() == pytest.approx(0.01, rel=0.2)


def test_decay_acts_on_the_weights_behind():
    model = network()
    decayed, free = decayed_and_free_parameters(model)
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[id(p)].rpartition(".")[2] for p in decayed} == {"original"} and len(decayed) == 9
    assert {names[id(p)].rpartition(".")[2] for p in free} == {"gain", "bias"}


def test_ottt_trains_gains_through_traces_and_at_one_timestep_as_back_propagation():
    x, labels = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 4
    found = {}
    for timesteps in (1, 3):
        for name in ("ottt", "tet"):
            model = network(timesteps=timesteps).double()
            for conv in (m for m in model.modules() if isinstance(m, nn.Conv2d)):
                nn.init.constant_(conv.bias, 0.6)  # so that every layer fires
            step = TrainingStep(model, make_method(name, mse_share=0.0), Recipe("x", 1, 4, 0.1, 0.9, 0.0))
            step.method.gradients(step, x.double(), labels)
            found[name, timesteps] = {where: p.grad for where, p in model.named_parameters()}
    for where, expected in found["tet", 1].items():
        torch.testing.assert_close(found["ottt", 1][where], expected, rtol=1e-8, atol=1e-13)
    *others, last = [where for where in found["tet", 3] if where.endswith("gain")]
    assert len(others) == 7
    assert not any(
        torch.allclose(found["ottt", 3][where], found["tet", 3][where], rtol=1e-3, atol=0) for where in others
    )
    assert found["ottt", 3][last].abs().max() > 1e-6
    # through the last convolution a trace is all there is to know of earlier timesteps
    torch.testing.assert_close(found["ottt", 3][last], found["tet", 3][last], rtol=1e-6, atol=1e-12)


def test_it_folds_to_constant_weights():
    model = network("binary", 2).eval()
    assert verify(model, fold(model), [torch.randn(8, 1, 8, 8)])["passed"]


def test_a_normalisation_of_currents_is_refused():
    with pytest.raises(ValueError, match="vgg11_ottt has no normalisation"):
        make_network("vgg11_ottt", "binary", 2, normalisation="tdbn")


def test_weights_behind_pools_stand_for_sums_of_places():
    """CIFARNet of TSSL-BP: 1.1 times the sum of four places is 4.4 times their average."""
    model = make_network("cifarnet_tsslw8", "tssl", 5, image_size=8)
    scaled = {name for name, m in model.named_modules() if m.__class__.__name__ == "Scaled"}
    assert {name.split(".")[1] for name in scaled} == {"conv3", "conv4"}
    conv = model.layers["conv3"].conv
    x = torch.rand(1, 2, conv.in_channels, 8, 8)
    sums = 1.1 * 4 * nn.functional.avg_pool2d(x[0], 2)
    expected = nn.functional.conv2d(sums, trained_weight(conv), padding=1)
    torch.testing.assert_close(conv(model.layers["pool1"](x))[0], expected)
