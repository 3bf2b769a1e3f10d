"""Watching neuron layers: the un-scaled spikes, whatever the amplitude, and nothing left behind."""

import torch

from ternary_spike.models.base import named_neurons
from ternary_spike.models.recording import count_neurons, recording
from ternary_spike.models.resnet import SpikingResNet
from tests.helpers.networks import random_network


def test_resnet20_has_319488_neurons():
    model = SpikingResNet("resnet20", "ternary", 1)
    assert count_neurons(model) == 319_488
    assert model.training  # as it was


def test_relu_reference_has_none():
    assert count_neurons(SpikingResNet("resnet6", "relu", 2)) == 0


def test_spikes_are_unscaled_and_membranes_before_the_reset():
    model, x = random_network(1, "resnet6w4", "trainable", 12)
    neuron = named_neurons(model)["stage1.block1.1"]
    with torch.no_grad():
        neuron.amplitude.fill_(0.0)  # its output is zero throughout, yet it fires
    seen = {}
    with recording(model, lambda name, u, b: seen.__setitem__(name, (u, b))):
        model(x)
    assert list(seen) == list(named_neurons(model))
    for u, b in seen.values():
        assert u.shape == b.shape and u.shape[:2] == (2, len(x))
        assert torch.equal(b, (u.abs() >= 0.5) * u.sign())
    assert seen["stage1.block1.1"][1].abs().mean() > 0.05
    seen.clear()
    model(x)
    assert not seen
