"""Folding (Eqs. 15-17): the folded network emits the same spikes, and a wrong fold does not pass."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ternary_spike import UserError
from ternary_spike.models.base import named_neurons
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.reparam.equivalence import compare, verify
from ternary_spike.reparam.folding import fold
from ternary_spike.reparam.network import STRUCTURE_FILE, WEIGHTS_FILE, FoldedNetwork
from tests.helpers.networks import random_network

NETWORKS = [("resnet20w8", 32), ("resnet19w4", 16), ("resnet18w4", 48), ("resnet34w4", 48), ("resnet6", 16)]


def firing_rates(network: FoldedNetwork, x: torch.Tensor) -> dict[str, float]:
    rates = {}
    network.compute(x.to(network.dtype), lambda name, _, b: rates.__setitem__(name, b.abs().mean().item()))
    return rates


@pytest.mark.parametrize("architecture, size", NETWORKS)
@pytest.mark.parametrize("neuron", ["binary", "ternary", "trainable"])
def test_every_architecture_folds_exactly(architecture, size, neuron):
    model, x = random_network(1, architecture, neuron, size)
    folded = fold(model)
    rates = firing_rates(folded, x)
    assert min(rates.values()) > 0.05 and max(rates.values()) < 0.9  # a silent network would agree with anything
    result = compare(model, folded, [x], torch.float64)
    assert result["differing_spikes"] == 0
    assert result["largest_relative_logit_difference"] <= 1e-12
    neurons = sum(shape.numel() for name, shape in _neuron_shapes(folded).items())
    assert result["spikes"] == neurons * 2 * len(x)


def _neuron_shapes(folded):
    return {name: torch.Size(folded.shapes()[name]) for name in folded.spike_layers()}


@pytest.mark.parametrize("amplitude", [1.7, -0.6, 0.0])
@pytest.mark.parametrize("per", ["layer", "channel"])
def test_amplitude_of_either_sign_and_zero(amplitude, per):
    model, x = random_network(2, "resnet6", "trainable", 16, neuron_options={"amplitude_per": per})
    for i, neuron in enumerate(named_neurons(model).values()):
        if i % 2 == 0:
            with torch.no_grad():
                neuron.amplitude.fill_(amplitude)
    result = compare(model, fold(model), [x], torch.float64)
    assert result["differing_spikes"] == 0
    assert result["largest_relative_logit_difference"] <= 1e-12


@pytest.mark.parametrize("layer", ["stem1", "stage1.block1.1", "stage1.block1.2", "stage2.block1.2"])
def test_a_fold_that_forgets_one_amplitude_is_caught(layer):
    model, x = random_network(3, "resnet6", "trainable", 16)
    wrong, _ = random_network(3, "resnet6", "trainable", 16)
    with torch.no_grad():
        named_neurons(wrong)[layer].amplitude.fill_(1.0)
    assert verify(model, fold(model), [x])["passed"]
    assert not verify(model, fold(wrong), [x])["passed"]


def test_identity_shortcut_keeps_its_amplitude_as_a_constant():
    model, x = random_network(4, "resnet6", "trainable", 16)
    folded = fold(model)
    constants = {name: w for name, w in folded.weights.items() if name.endswith(".constant")}
    assert list(constants) == ["stage1.block1.add.constant"]
    assert constants["stage1.block1.add.constant"].item() == model.stem[0].neuron.amplitude.item()
    folded.weights["stage1.block1.add.constant"] = torch.ones((), dtype=torch.float64)
    assert compare(model, folded, [x], torch.float64)["differing_spikes"] > 0


def test_no_neuron_layer_has_an_amplitude_after_folding():
    model, x = random_network(5, "resnet6", "trainable", 16)
    levels = set()
    fold(model).compute(x.double(), lambda name, _, b: levels.update(b.unique().tolist()))
    assert levels == {-1.0, 0.0, 1.0}
    assert not any("amplitude" in key for op in fold(model).operations for key in op.settings)


def test_event_frames_fold_too():
    generator = torch.Generator().manual_seed(6)
    model, _ = random_network(6, "resnet8", "trainable", 16, channels=2, timesteps=3)
    x = torch.randint(0, 4, (4, 3, 2, 16, 16), generator=generator).float()
    result = compare(model, fold(model), [x], torch.float64)
    assert result["differing_spikes"] == 0 and result["spikes"] > 0


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    architecture=st.sampled_from(["resnet6w4", "resnet8w4", "resnet20w2", "resnet19w2", "resnet18w2"]),
    neuron=st.sampled_from(["binary", "ternary", "trainable"]),
    timesteps=st.integers(1, 4),
    size=st.integers(9, 20),
    threshold=st.sampled_from([0.3, 0.5, 1.0]),
    decay=st.sampled_from([0.0, 0.25, 0.9, 1.0]),
    stem=st.sampled_from(["per_step", "over_time"]),
)
def test_random_networks_fold_exactly(seed, architecture, neuron, timesteps, size, threshold, decay, stem):
    model, x = random_network(
        seed,
        architecture,
        neuron,
        size,
        timesteps=timesteps,
        stem_batch_norm=stem,
        neuron_options={"threshold": threshold, "decay": decay},
    )
    result = compare(model, fold(model), [x[:2]], torch.float64)
    assert result["differing_spikes"] == 0
    assert result["largest_relative_logit_difference"] <= 1e-9


def test_folding_a_network_without_spikes_is_refused():
    with pytest.raises(ValueError, match="layer stem1, ReLU, does not say what it is once folded"):
        fold(SpikingResNet("resnet6", "relu", 1))


def test_saved_and_loaded_network_is_the_same(tmp_path):
    model, x = random_network(7, "resnet20w4", "trainable", 32)
    folded = fold(model)
    folded.save(tmp_path)
    loaded = FoldedNetwork.load(tmp_path)
    assert torch.equal(folded.compute(x.double()), loaded.compute(x.double()))
    assert loaded.operations == folded.operations


@pytest.mark.parametrize("victim", [WEIGHTS_FILE, STRUCTURE_FILE])
def test_damaged_folded_network_is_refused_by_name(tmp_path, victim):
    model, _ = random_network(8, "resnet6w4", "trainable", 16)
    fold(model).save(tmp_path)
    path = tmp_path / victim
    content = bytearray(path.read_bytes())
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=victim):
        FoldedNetwork.load(tmp_path)


def test_structure_that_does_not_fit_its_weights_is_refused(tmp_path):
    model, _ = random_network(9, "resnet6w4", "trainable", 16)
    folded = fold(model)
    folded.operations = [
        dataclasses.replace(op, inputs=("nowhere",)) if op.name == "stage1.block1.1" else op for op in folded.operations
    ]
    folded.save(tmp_path)
    with pytest.raises(UserError, match=STRUCTURE_FILE):
        FoldedNetwork.load(tmp_path)
