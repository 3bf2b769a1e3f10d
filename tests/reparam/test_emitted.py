"""Operations counted on the network itself: the folded one's where there is one, and none where there are no spikes."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ternary_spike import TernaryLIF
from ternary_spike.models.base import named_neurons
from ternary_spike.models.known_modules import NotFoldable
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.neurons.mt_snn import MultiThreshold
from ternary_spike.reparam import emitted, energy
from ternary_spike.reparam.folding import fold
from ternary_spike.reparam.wiring import Wiring
from tests.helpers.networks import random_network
from tests.helpers.neurons import Graded, Scaled, SoftReset

SMALL = [("resnet6w4", 15), ("resnet8w4", 17), ("resnet18w2", 34), ("resnet19w2", 18), ("resnet20w2", 30)]
SMALL += [("resnet34w2", 34)]
OWN = "tests.helpers.neurons"


@pytest.mark.parametrize("architecture, size", SMALL)
@pytest.mark.parametrize("neuron", ["binary", "trainable"])
def test_a_foldable_network_has_the_same_counts_either_way(architecture, size, neuron):
    options = {"amplitude_per": "channel"} if neuron == "trainable" else {}
    model, x = random_network(1, architecture, neuron, size, neuron_options=options)
    model, x = model.double(), x.double()
    folded = energy.measure(fold(model), [x[:3], x[3:]])
    itself = energy.measure_itself(model, [x[:3], x[3:]])
    assert itself == folded
    assert sum(row["synops"] for row in itself[0]) > 1000 and len(itself[1]["methods"]) == 8


def test_event_frames_are_counted_on_the_network_itself_too():
    generator = torch.Generator().manual_seed(0)
    model, _ = random_network(4, "resnet6w4", "binary", 16, channels=2, timesteps=3)
    x = torch.randint(0, 3, (4, 3, 2, 16, 16), generator=generator).double()
    assert energy.measure_itself(model.double(), [x]) == energy.measure(fold(model), [x])


def additions_by_hand(model: SpikingResNet, x: torch.Tensor) -> dict[str, float]:
    """Additions of convolutions behind a neuron layer: convolve where their input is not zero with kernels of ones."""
    names = {
        f"stages.{s}.{b}.conv{i}": f"stage{s + 1}.block{b + 1}.conv{i}" for s in (0, 1) for b in (0,) for i in (1, 2)
    }
    found, handles = {}, []
    for where, name in names.items():

        def hook(conv, inputs, name=name):
            fired = (inputs[0] != 0).flatten(0, 1).to(x.dtype)
            found[name] = F.conv2d(fired, torch.ones_like(conv.weight), None, conv.stride, conv.padding).sum().item()

        handles.append(model.get_submodule(where).register_forward_pre_hook(hook))
    model(x)
    for handle in handles:
        handle.remove()
    return {name: additions / len(x) for name, additions in found.items()}


@pytest.mark.parametrize("neuron", [SoftReset, Scaled])
def test_what_cannot_be_folded_is_counted_on_itself(neuron):
    model, x = random_network(2, "resnet6w4", f"{OWN}:{neuron.__name__}", 16)
    with pytest.raises(NotFoldable, match=rf"layer stem1, {neuron.__name__}, does not say what it is once folded"):
        fold(model)
    rows, totals = energy.measure_itself(model, [x[:5], x[5:]])
    counted = {row["layer"]: row["synops"] for row in rows}
    expected = additions_by_hand(model, x)
    assert len(expected) == 4
    for name, additions in expected.items():
        assert counted[name] == pytest.approx(additions, rel=1e-12) and additions > 100, name
    by_method = {m["method"]: m for m in totals["methods"]}
    assert by_method["exact count"]["synops"] == pytest.approx(sum(counted.values()))
    assert all(0.05 < rate < 0.95 for rate in totals["rates"].values())
    assert "not_counted" not in totals


class Levels(TernaryLIF):
    def update(self, x, v):
        u, b, kept = super().update(x, v)
        return u, 2 * b, kept


class Unsigned(SoftReset):
    signed = False

    def update(self, x, v):
        u, b, kept = super().update(x, v)
        return u, b - 2 * b.clamp(min=0), kept


class Leaking(TernaryLIF):
    def emit(self, b):
        return b + 0.1


OTHERS = {
    "other spikes": (Levels, "Levels, emits spikes other than -1, 0 and 1"),
    "a sign unsaid": (Unsigned, "Unsigned, emits spikes of -1, though"),
    "without a spike": (Leaking, "Leaking, emits something where no neuron fires"),
    "graded": (Graded, "Graded, emits spikes that are not worth the same"),
    "several thresholds": (MultiThreshold, "MultiThreshold, emits spikes other than -1, 0 and 1"),
    "no spikes": (lambda: nn.ReLU(), "ReLU, emits no spikes"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_behind_other_values_than_spikes_is_not_counted_and_says_why(kind):
    make, reason = OTHERS[kind]
    model, x = random_network(3, "resnet6w4", "ternary", 16)
    whole = {row["layer"]: row for row in energy.measure_itself(model, [x])[0]}
    model.stages[0][0].neuron2 = make().eval()
    rows, totals = energy.measure_itself(model, [x])
    silent = {row["layer"] for row in rows if row["not_counted"]}
    # the next block's convolution and projection, and the neurons themselves
    assert silent == {"stage2.block1.conv1", "stage2.block1.shortcut.conv", "stage1.block1.2"}
    for row in rows:
        if row["layer"] in silent:
            assert row["not_counted"].startswith(f"stage1.block1.2, {reason}")
            assert row["energy_microjoule"] is None and row["input_rate"] is None
            assert row["synops"] is None or row["kind"] == "neurons"
        elif row["layer"].startswith("stage1"):
            assert row == whole[row["layer"]]
    assert totals["methods"] == [] and totals["not_counted"].startswith(f"stage1.block1.2, {reason}")
    assert totals["samples"] == len(x)


def test_no_layer_of_the_relu_reference_is_counted():
    model = SpikingResNet("resnet6w4", "relu", 1, image_size=8)
    rows, totals = energy.measure_itself(model, [torch.randn(2, 3, 8, 8)])
    assert [row["layer"] for row in rows if not row["not_counted"]] == ["stem1.conv"]  # of the image
    assert totals["methods"] == [] and "stem1, ReLU, emits no spikes; stage1.block1.1, ReLU" in totals["not_counted"]


def test_a_network_that_does_not_say_what_it_is_made_of_is_not_counted():
    class Other(nn.Module):
        def forward(self, x):
            return x.mean(dim=(2, 3))

    rows, totals = energy.measure_itself(Other(), [torch.zeros(4, 3, 8, 8)])
    assert rows == [] and totals["methods"] == [] and totals["samples"] == 4
    assert totals["not_counted"] == "the network is Other, which has no fold method to say how it is folded"


def test_counting_leaves_the_network_as_it_was():
    model, x = random_network(5, "resnet6w4", "ternary", 16)
    emitted.count(model, Wiring().network(model), [x[:1]])
    assert all(n.observer is None and not n._forward_hooks for n in named_neurons(model).values())
