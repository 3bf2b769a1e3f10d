"""A network timestep by timestep is the network at once, for any T in the same memory."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ternary_spike.measuring.evaluation import accuracy_by_timestep, evaluate
from ternary_spike.models.base import named_neurons
from ternary_spike.models.poisson_input import PoissonInput, largest_pixel
from ternary_spike.models.recording import count_neurons, recording
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.models.streaming import evaluates_by_timestep, scores_by_timestep, streaming
from ternary_spike.neurons.registry import NEURONS
from tests.helpers.networks import random_network

REPOSITORY = Path(__file__).parents[2]
T = 5
SOFT = {"reset": "soft", "threshold": 0.5}


def network(neuron: str = "if", architecture: str = "resnet6w4", **options):
    """A network in float64, and pictures."""
    model, x = random_network(0, architecture, neuron, 8, channels=1, timesteps=T, **options)
    return model.double(), x.double()


@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("frames", [False, True])
def test_scores_of_each_timestep_are_those_of_the_whole(neuron, frames):
    model, x = network(neuron)
    if frames:
        x = torch.stack([x * (1 + t) / T for t in range(T)], 1)
    with torch.no_grad():
        whole = model(x, each_timestep=True)
        streamed = torch.stack(list(scores_by_timestep(model, x)))
    torch.testing.assert_close(streamed, whole, rtol=1e-12, atol=1e-12)
    assert neuron == "relu" or (whole[0] - whole[-1]).abs().max() > 1e-3  # membranes are kept, and matter
    assert model.timesteps == T and not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_stems_with_pooling_and_pooled_shortcuts_stream_too():
    model, x = random_network(1, "resnet20w4", "if", 32, channels=3, timesteps=3, neuron_options=SOFT)
    model, x = model.double(), x[:2].double()
    with torch.no_grad():
        streamed = torch.stack(list(scores_by_timestep(model, x)))
        torch.testing.assert_close(streamed, model(x, each_timestep=True), rtol=1e-12, atol=1e-12)


def test_an_evaluation_by_timestep_says_the_same_and_the_accuracy_at_every_t():
    model, x = network(neuron_options=SOFT)
    batches = [(x[:3], torch.arange(3)), (x[3:], torch.arange(5) % 4)]
    whole, streamed = evaluate(model, batches), evaluate(model, batches, by_timestep=True)
    curve = streamed.pop("accuracy_percent_by_timestep")
    for key in ("samples", "accuracy_percent"):
        assert streamed[key] == whole[key]
    assert streamed["loss"] == pytest.approx(whole["loss"], rel=1e-6)
    for one, other in zip(streamed["layers"], whole["layers"], strict=True):
        assert {k: v for k, v in one.items() if k != "membrane"} == {k: v for k, v in other.items() if k != "membrane"}
        assert one["membrane"]["counts"] == other["membrane"]["counts"]
        assert one["membrane"]["mean"] == pytest.approx(other["membrane"]["mean"], rel=1e-6)
    assert len(set(whole["layers"][0]["rate_by_timestep"])) > 1
    with torch.no_grad():
        each = torch.cat([model(part, each_timestep=True) for part, _ in batches], 1).float().cumsum(0)
    labels = torch.cat([labels for _, labels in batches])
    assert curve == [100 * (scores.argmax(1) == labels).double().mean().item() for scores in each]
    assert len(curve) == T and curve[-1] == whole["accuracy_percent"]


MEMORY = """
import resource, torch
from torch import nn
from ternary_spike.measuring.evaluation import evaluate
from ternary_spike.models.base import SpikingNetwork
from ternary_spike.models.blocks import ConvUnit
from ternary_spike.neurons.registry import make_neuron

class One(SpikingNetwork):
    def __init__(self, timesteps):
        super().__init__(timesteps, 1, 8)
        self.unit = ConvUnit(1, 4, kernel=3, stride=1, neuron=lambda channels: make_neuron("if", channels))
        self.classifier = nn.Linear(4, 10)

    def units(self):
        return [("unit", self.unit)]

torch.set_num_threads(1)
x, labels = torch.randn(64, 1, 8, 8), torch.arange(64) % 10
for timesteps in (16, 1024):
    evaluate(One(timesteps), [(x, labels)], by_timestep=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_from_16_timesteps_to_1024():
    """At once each tensor of 64 pictures, 4 channels and 8x8 pixels would take 64 MiB, and there are several."""
    done = subprocess.run([sys.executable, "-c", MEMORY], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    few, many = (int(line) / 1024 for line in done.stdout.split())
    assert many - few < 16, f"peak memory grew from {few:.0f} to {many:.0f} MiB"


def test_a_network_that_evaluates_by_timestep_trains_as_before_and_tells_observers_once():
    model, x = network(neuron_options=SOFT)
    told, spikes, count = {}, {}, count_neurons(model)
    with torch.no_grad(), recording(model, lambda name, u, b: spikes.update({name: b})):
        whole = model(x)
    with torch.no_grad():
        trained = model.train()(x)
    model, x = network(neuron_options=SOFT)
    evaluates_by_timestep(model)
    with torch.no_grad(), recording(model, lambda name, u, b: told.setdefault(name, []).append((u, b))):
        torch.testing.assert_close(model(x), whole, rtol=1e-12, atol=1e-12)
    assert list(told) == list(named_neurons(model)) and {len(calls) for calls in told.values()} == {1}
    for name, [(u, b)] in told.items():
        assert u.shape == b.shape == (1, *spikes[name].shape[1:])
        assert torch.equal(b[0] != 0, (spikes[name] != 0).any(0))
    assert count_neurons(model) == count
    with torch.no_grad():
        assert model(x, each_timestep=True).shape == (T, 8, 10)
        assert torch.equal(model.train()(x), trained)


def test_only_evaluation_can_go_timestep_by_timestep():
    model, x = network()
    with pytest.raises(ValueError, match="in evaluation mode only"), streaming(model.train()):
        pass
    with pytest.raises(ValueError, match="the network has 5 timesteps, but the input has 2 frames"):
        next(scores_by_timestep(model.eval(), x[:4].view(2, 2, 1, 8, 8)))


def test_poisson_spikes_have_the_pixels_sign_and_mean():
    pixels = torch.tensor([-2.0, -0.5, 0.0, 0.3, 1.0, 3.0]).view(1, 1, 1, 6)
    encode, generator = PoissonInput(2.0), torch.Generator().manual_seed(0)
    drawn = torch.stack([encode(pixels, generator) for _ in range(4000)])
    assert drawn.unique().tolist() == [-2, 0, 2]
    # five standard deviations of a mean of 4000 draws of size 2
    torch.testing.assert_close(drawn.mean(0), pixels.clamp(-2, 2), rtol=0, atol=5 * (2 * 1 / 4000**0.5))
    assert (drawn[..., 0] == -2).all() and (drawn[..., 5] == 2).all() and (drawn[..., 2] == 0).all()
    assert largest_pixel((0.5,), (0.5,)) == 1 and largest_pixel((0.3, 0.5), (0.25, 0.2)) == pytest.approx(2.8)
    with pytest.raises(ValueError, match="peak must be above 0"):
        PoissonInput(0.0)


def test_an_encoder_draws_anew_at_each_timestep_and_alike_in_each_evaluation():
    model, x = network(neuron_options=SOFT)
    encode = PoissonInput(x.abs().max().item())
    batches = [(x, torch.arange(8) % 4)]
    state = torch.get_rng_state()
    first, again = (accuracy_by_timestep(model, batches, encode) for _ in range(2))
    assert first == again and torch.equal(torch.get_rng_state(), state)
    shown = []
    handle = model.stem[0].register_forward_pre_hook(lambda _m, inputs: shown.append(inputs[0]))
    with torch.no_grad():
        list(scores_by_timestep(model, x, encode))
    handle.remove()
    assert len(shown) == T and not torch.equal(shown[0], shown[1])
    evaluates_by_timestep(model, encode)
    with torch.no_grad():
        once = model(x)
        assert torch.equal(model(x), once)
        torch.manual_seed(3)
        first, second = (model.train()(x) for _ in range(2))
        torch.manual_seed(3)
        assert torch.equal(model(x), first) and not torch.equal(first, second)
    with pytest.raises(ValueError, match="only static images are encoded"):
        model(x.unsqueeze(1).expand(-1, T, -1, -1, -1))


def test_a_streamed_network_is_the_class_that_it_was():
    model = SpikingResNet("resnet6w4", "if", 2, in_channels=1, image_size=8)
    before = model.state_dict().keys()
    evaluates_by_timestep(model)
    assert type(model) is SpikingResNet and model.state_dict().keys() == before
