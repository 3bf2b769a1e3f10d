"""Watching neuron layers: the un-scaled spikes, whatever the amplitude, and nothing left behind."""

import pytest
import torch

from ternary_spike import TernaryLIF
from ternary_spike.membrane.potential_terms import TERMS, means
from ternary_spike.models.base import named_neurons
from ternary_spike.models.recording import count_neurons, gauging, recording
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


class SoftReset(TernaryLIF):
    """Subtracts the threshold where it fires; says nothing else of itself."""

    def update(self, x, v):
        u = x if v is None else 0.25 * v + x
        b = (u >= 0.5).to(u.dtype) - (u <= -0.5).to(u.dtype)
        return u, b, u - 0.5 * b


def test_a_neuron_with_equations_of_its_own_is_recorded_by_these():
    torch.manual_seed(0)
    neuron, x, seen = SoftReset(), torch.randn(4, 3, 5), []
    neuron.observer = lambda u, b: seen.append((u, b))
    y = neuron(x)
    v = torch.zeros(3, 5)
    for t, (u, b) in enumerate(zip(*seen[0], strict=True)):
        assert torch.equal(u, 0.25 * v + x[t]) and torch.equal(b, y[t])
        v = u - 0.5 * b
    assert not torch.equal(seen[0][0], observed(TernaryLIF(), x)[0])  # the base's potentials are others


def observed(neuron, x):
    seen = []
    neuron.observer = lambda *told: seen.append(told)
    neuron(x)
    return seen[0]


@pytest.mark.parametrize("detach_reset", [False, True])
def test_watching_changes_neither_spikes_nor_gradients(detach_reset):
    torch.manual_seed(0)
    x = torch.randn(4, 3, 50, dtype=torch.float64)
    results = []
    for watched in (False, True):
        neuron = TernaryLIF(detach_reset=detach_reset)
        neuron.observer = (lambda u, b: None) if watched else None
        leaf = x.clone().requires_grad_()
        y = neuron(leaf)
        (y * torch.arange(4.0).view(4, 1, 1)).sum().backward()
        results.append((y.detach(), leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-14, atol=1e-15)


def test_gradients_flow_through_what_is_observed():
    neuron = TernaryLIF()
    x = torch.tensor([[0.3], [0.2]], requires_grad=True)
    seen = []
    neuron.observer = lambda u, b: seen.append(u)
    neuron(x)
    seen[0].sum().backward()
    assert x.grad.flatten().tolist() == pytest.approx([1.25, 1.0])  # u[1] = 0.25 u[0] + x[1] where nothing fires


def test_a_layer_that_tells_nothing_is_named():
    model, x = random_network(1, "resnet6w4", "ternary", 12)
    named_neurons(model)["stage1.block1.2"].forward = lambda x: x
    message = r"layer stage1\.block1\.2, TernaryLIF, ran without telling"
    with pytest.raises(ValueError, match=message), recording(model, lambda *_: None):
        model(x)
    assert all(neuron.observer is None for neuron in named_neurons(model).values())


@pytest.mark.parametrize("neuron", ["trainable", "dsr_lif"])
def test_means_are_those_of_the_recorded_potentials_and_nobody_is_left_waiting(neuron):
    """Of a neuron with fused kernels, and of one with a forward of its own that knows the observer alone."""
    model, x = random_network(1, "resnet6w4", neuron, 12)
    potentials, told = {}, {}
    with recording(model, lambda name, u, _b: potentials.update({name: u})):
        model(x)
    with gauging(model, tuple(TERMS), lambda name, found: told.update({name: found})):
        model(x)
    layers = named_neurons(model)
    assert told.keys() == potentials.keys() == layers.keys()
    for name, u in potentials.items():
        torch.testing.assert_close(told[name], means(u, tuple(TERMS), layers[name].signed))
    assert all(layer.gauge is None and layer.observer is None for layer in layers.values())
    with (
        pytest.raises(ValueError, match=r"unknown term 'cube' of membrane potentials: choose among potential, square"),
        gauging(model, ("cube",), lambda *_: None),
    ):
        pass
