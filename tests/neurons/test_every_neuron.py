"""What holds for every neuron of the registry, so that the next one is tested on the day it is added."""

import inspect
import math

import pytest
import torch

from ternary_spike import SpikingResNet, make_neuron
from ternary_spike.membrane.multi_step import multi_step
from ternary_spike.neurons.base import SpikingNeuron
from ternary_spike.neurons.channel_thresholds import FoldedByChannel
from ternary_spike.neurons.registry import NEURONS
from ternary_spike.training.loop import train
from ternary_spike.training.optimiser import decayed_and_free_parameters
from ternary_spike.training.record import load_model
from tests.helpers.tiny import prepare_tiny, tiny_plan

SPIKING = [name for name, part in NEURONS.items() if part.spikes]
T = 4
# thresholds that the inputs of these tests exceed on average over time: DSR's learn from nothing else
OPTIONS = {"dsr_if": {"threshold": 0.5}, "dsr_lif": {"threshold": 0.025}}


@pytest.fixture(params=SPIKING)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepare_tiny(tmp_path_factory.mktemp("data"))


def made(name: str) -> SpikingNeuron:
    torch.manual_seed(0)
    return make_neuron(name, 3, timesteps=T, **OPTIONS.get(name, {}))


def current(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return 2 * torch.randn(T, 2, 3, 5, 5, generator=torch.Generator().manual_seed(1)).to(dtype)


def test_steps_and_parts_equal_the_whole_sequence(name):
    neuron, x = made(name), current()
    whole = neuron(x)
    assert 0 < whole.count_nonzero() < whole.numel()
    kept, steps = None, []
    for now in x:
        spikes, kept = neuron.step(now, kept)
        steps.append(spikes)
    assert torch.equal(torch.stack(steps), whole)
    first, kept = neuron(x[:2], return_state=True)
    assert torch.equal(torch.cat([first, neuron(x[2:], kept)]), whole)
    half = neuron(x.bfloat16())
    assert half.dtype == torch.bfloat16 and half.shape == x.shape


def test_the_observer_is_told_potentials_and_spikes_and_changes_nothing(name):
    neuron, x = made(name), current().requires_grad_()
    alone, told = neuron(x), []
    neuron.observer = lambda u, b: told.append((u, b))
    assert torch.equal(neuron(x), alone) and len(told) == 1
    u, b = told[0]
    assert u.shape == b.shape == x.shape and u.requires_grad and b.requires_grad
    assert torch.equal(neuron.emit(b), alone)
    levels = range(getattr(neuron, "levels", 1) + 1)
    assert {*b.unique().tolist()} == ({-1, 0, 1} if neuron.signed else {*levels})
    height = u * b.sign() if neuron.signed else u
    assert height[b != 0].min() >= (u.abs() if neuron.signed else u)[b == 0].max()  # before the reset


def test_gradients_reach_the_input_and_every_parameter(name):
    neuron, x = made(name), current().requires_grad_()
    (neuron(x) * torch.randn(x.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    for where, tensor in (("x", x), *neuron.named_parameters()):
        assert tensor.grad.isfinite().all() and tensor.grad.abs().sum() > 0, where


def test_parameters_are_stored_and_do_not_decay(name):
    neuron, other = made(name), make_neuron(name, 3, timesteps=T)
    stored = {**dict(neuron.named_parameters()), **dict(neuron.named_buffers())}
    stored.pop("temperature", None)  # which a method that moves it keeps
    assert {*stored} == {*neuron.state_dict()}  # and nothing else is remembered
    assert decayed_and_free_parameters(neuron)[0] == []
    for p in neuron.parameters():
        p.data += 0.25 * torch.rand(p.shape)
    other.load_state_dict(neuron.state_dict())
    assert torch.equal(other(current()), neuron(current()))


def test_what_is_folded_spikes_alike(name):
    neuron, x = made(name).double().eval(), current(torch.float64)
    for p in neuron.parameters():
        p.data += 0.25 * torch.rand(p.shape, dtype=p.dtype)
    folded = neuron.folds()
    if isinstance(folded, FoldedByChannel):
        assert torch.equal(folded.thresholds.run(x, folded.dynamics)[1], neuron(x))
    elif folded is not None:
        assert torch.equal(multi_step(x, folded.dynamics, folded.amplitude, keep_state=False)[0], neuron(x))
    assert (folded is not None) == NEURONS[name].folds


def test_a_network_of_it_trains_for_an_epoch(name, data, tmp_path):
    plan = tiny_plan(data, neuron=name, epochs=1)
    plan.model["neuron_options"] |= OPTIONS.get(name, {})
    record = train(plan, tmp_path / "checkpoints", tmp_path, torch.device("cpu"), lambda _: None)
    torch.manual_seed(0)
    start = SpikingResNet(**plan.model)
    end = load_model(tmp_path)[1]
    assert record["model"]["neuron"] == name and start.state_dict().keys() == end.state_dict().keys()
    trained, of_neurons = dict(end.named_parameters()), {}
    for where, before in start.named_parameters():
        assert trained[where].isfinite().all(), where
        if "neuron" in where:
            of_neurons[where] = not torch.equal(before, trained[where])
    # not all of them: a batch norm behind a layer makes its amplitude idle
    assert any(of_neurons.values()) == bool(of_neurons)
    scores = end(torch.rand(4, 1, 8, 8))
    assert scores.shape == (4, 4) and math.isfinite(scores.sum().item())


def test_the_registry_says_the_defaults_of_the_class(name):
    """A value that nobody gives is the class's own; help and documents show the registry's."""
    code = NEURONS[name].load()
    defaults = {
        key: parameter.default
        for part in reversed(code.__mro__)
        for function in (vars(part).get("build"), vars(part).get("__init__"))
        if function is not None
        for key, parameter in inspect.signature(getattr(function, "__func__", function)).parameters.items()
    }
    for key, option in NEURONS[name].options.items():
        assert defaults[key] == option.default, key
