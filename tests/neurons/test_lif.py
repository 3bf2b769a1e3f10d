"""Neuron modules: single-step use, options, parameters, names."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from ternary_spike import LIF, BinaryLIF, TernaryLIF, TrainableTernaryLIF, make_neuron
from ternary_spike.neurons.registry import NEURONS


@pytest.mark.parametrize("name", ["binary", "ternary", "trainable"])
def test_steps_equal_the_whole_sequence(name):
    torch.manual_seed(0)
    neuron = make_neuron(name, **({"initial_amplitude": 1.7} if name == "trainable" else {}))
    x = torch.randn(5, 3, 4, 6, 6)
    whole, last = neuron(x, return_state=True)
    v, spikes = None, []
    for current in x:
        spike, v = neuron.step(current, v)
        spikes.append(spike)
    assert torch.equal(whole, torch.stack(spikes)) and torch.equal(last, v)
    assert torch.equal(neuron(x), whole)


def test_no_state_stays_behind():
    neuron = TernaryLIF()
    x = torch.full((1, 3), 0.4)
    assert torch.equal(neuron(x), neuron(x)) and neuron(x).abs().sum() == 0  # a kept state would make it fire
    x = x.requires_grad_()
    neuron(x).sum().backward()
    neuron(x).sum().backward()  # and there is no graph of before to go through a second time


@pytest.mark.parametrize(("name", "values"), [("binary", {0, 1}), ("ternary", {-1, 0, 1}), ("trainable", {-2, 0, 2})])
def test_spike_values(name, values):
    torch.manual_seed(0)
    neuron = make_neuron(name, **({"initial_amplitude": 2.0} if name == "trainable" else {}))
    assert set(neuron(torch.randn(2, 1000)).unique().tolist()) == values


def test_only_the_trainable_neuron_has_a_parameter():
    assert [n for n, _ in TrainableTernaryLIF().named_parameters()] == ["amplitude"]
    assert not list(BinaryLIF().parameters()) and not list(TernaryLIF().parameters())
    assert TrainableTernaryLIF().amplitude.shape == () and TrainableTernaryLIF().amplitude == 1
    assert TrainableTernaryLIF(0.5, channels=6).amplitude.shape == (6, 1, 1)
    assert list(TrainableTernaryLIF().state_dict()) == ["amplitude"]


def test_an_amplitude_per_channel_scales_its_channel():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 5, 5)
    neuron = TrainableTernaryLIF(channels=4)
    with torch.no_grad():
        neuron.amplitude.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1))
    assert torch.equal(neuron(x), TernaryLIF()(x) * torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1))


def test_make_neuron_passes_options_on():
    neuron = make_neuron("trainable", channels=8, threshold=0.7, decay=0.5, amplitude_per="channel", detach_reset=True)
    assert isinstance(neuron, TrainableTernaryLIF) and neuron.amplitude.shape == (8, 1, 1)
    assert (neuron.dynamics.threshold, neuron.dynamics.decay, neuron.dynamics.detach_reset) == (0.7, 0.5, True)
    assert make_neuron("trainable", channels=8).amplitude.shape == ()
    assert make_neuron("ternary").dynamics.signed and not make_neuron("binary").dynamics.signed
    assert isinstance(make_neuron("relu"), nn.ReLU)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "quaternary",
            {},
            f"unknown neuron 'quaternary': choose one of {', '.join(NEURONS)}, or module:Name of your own",
        ),
        ("ternary", {"treshold": 1.0}, "unknown option treshold=1.0 for neuron 'ternary'"),
        ("ternary", {"amplitude_per": "channel"}, "unknown option amplitude_per"),
        (
            "trainable",
            {"amplitude_per": "pixel"},
            "neuron option amplitude_per is 'pixel', but must be one of layer, channel",
        ),
        ("relu", {"threshold": 1.0}, "unknown option threshold=1.0 for neuron 'relu': it has none"),
        (
            "binary",
            {"threshold": -1.0},
            "neuron option threshold is -1.0, but must be a number from 1e-30 to 1,000,000",
        ),
    ],
)
def test_bad_options_raise_one_line(name, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        make_neuron(name, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [nn.Parameter(torch.tensor(0.5)), torch.tensor(0.5), "0.5", True, None])
@pytest.mark.parametrize("option", ["threshold", "decay", "window", "initial_amplitude"])
def test_a_constant_is_a_number(option, value):
    """A parameter that is taken for its value would never be trained, and nobody would notice."""
    with pytest.raises(ValueError, match=f"{option} must be a number, not ") as caught:
        TrainableTernaryLIF(**{option: value})
    assert "\n" not in str(caught.value)
    if isinstance(value, torch.Tensor):
        assert "never trained" in str(caught.value) and ".item()" in str(caught.value)


@pytest.mark.parametrize("number", [1, np.float32(1), np.int64(1), np.float64(1)])
def test_any_kind_of_number_is_taken(number):
    neuron = TrainableTernaryLIF(threshold=number, decay=number, window=number, initial_amplitude=number)
    assert [type(c) for c in (neuron.threshold, neuron.decay, neuron.window)] == [float] * 3
    assert (neuron.threshold, neuron.decay, neuron.window, neuron.amplitude.item()) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detach_reset": torch.tensor(True)}, "detach_reset must be True or False, not a tensor"),
        ({"detach_reset": "no"}, "detach_reset must be True or False, not 'no'"),
        ({"surrogate": ["clamp"]}, "unknown surrogate"),
        ({"surrogate": torch.tensor(1)}, "unknown surrogate"),
        ({"channels": torch.tensor(4)}, "channels must be a whole number from 1, not a tensor"),
        ({"channels": 0}, "channels must be a whole number from 1, not 0"),
        ({"initial_amplitude": float("nan")}, "initial_amplitude must be finite, not nan"),
    ],
)
def test_what_an_option_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        TrainableTernaryLIF(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [1.0, nn.Parameter(torch.tensor(1.0))])
@pytest.mark.parametrize(
    "constant",
    ["threshold", "decay", "surrogate", "window", "detach_reset", "signed", "initial_amplitude", "channels"],
)
def test_constants_are_read_only(constant, value):
    neuron = TrainableTernaryLIF()
    with pytest.raises(AttributeError, match=rf"{constant} of TrainableTernaryLIF is fixed.* make another neuron") as e:
        setattr(neuron, constant, value)
    assert "\n" not in str(e.value)
    assert (neuron.threshold, neuron.decay, neuron.surrogate) == (0.5, 0.25, "clamp")
    assert (neuron.window, neuron.detach_reset, neuron.signed) == (1.0, False, True)
    assert [name for name, _ in neuron.named_parameters()] == ["amplitude"]


def test_repr_names_the_constants():
    assert "threshold=0.5, decay=0.25, surrogate='clamp'" in repr(TernaryLIF())


def test_autocast_copies_and_moves():
    neuron = TrainableTernaryLIF()
    x = torch.randn(2, 4, 3, 5, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert neuron(x.bfloat16()).dtype == torch.bfloat16
        assert neuron(x).dtype == torch.float32
    twin = copy.deepcopy(neuron).double()
    assert torch.equal(twin(x.double()).float(), neuron(x)) and isinstance(twin, LIF)


def test_importing_the_package_needs_torch_only():
    """With everything but torch and its own dependencies made unimportable, the neurons still work."""
    code = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"numpy", "pandas", "sklearn", "torchvision", "safetensors", "tonic", "yaml", "tqdm"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
import torch, ternary_spike
assert ternary_spike.TernaryLIF()(torch.ones(1, 2)).tolist() == [[1, 1]]
assert not any(name.startswith("torch._inductor") for name in sys.modules)  # nor is the compiler loaded for it
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_the_temperature_moves_the_gradient_and_no_spike():
    x = torch.linspace(-1.5, 1.5, 31, dtype=torch.float64)[None]
    for name in ("binary", "ternary", "trainable", "real_spike", "plif", "soft_reset"):
        neuron = make_neuron(name, 31, surrogate="tanh", window=0.5, temperature=2.0).double()
        found = []
        for b in (None, 5.0, 2.0):
            if b is not None:
                neuron.set_temperature(b)
            leaf = x[..., None, None].clone().requires_grad_()
            spikes = neuron(leaf)
            found.append((spikes.detach(), *torch.autograd.grad(spikes.sum(), leaf)))
        assert all(torch.equal(spikes, found[0][0]) for spikes, _ in found)
        assert torch.equal(found[0][1], found[2][1]) and not torch.allclose(found[0][1], found[1][1])
        assert "temperature" not in neuron.state_dict() and copy.deepcopy(neuron).temperature == 2


def test_a_temperature_that_cannot_be_is_refused():
    neuron = BinaryLIF(surrogate="tanh", temperature=2.5)
    assert "temperature=2.5" in repr(neuron)
    for value in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="temperature must be above 0 and finite, not"):
            neuron.set_temperature(value)
        with pytest.raises(ValueError, match="temperature must be above 0 and finite, not"):
            BinaryLIF(temperature=value)
    with pytest.raises(ValueError, match="temperature must be a number, not a tensor"):
        neuron.set_temperature(torch.tensor(2.0))
    with pytest.raises(ValueError, match="surrogate gradient of this BinaryLIF has no temperature; choose one of tanh"):
        BinaryLIF().set_temperature(2.0)
    with pytest.raises(TypeError):
        neuron.temperature = 2.0
