"""Max pooling, fully connected layers and classifiers of every place: folded, counted, executed, exported."""

import pytest
import torch

from ternary_spike.models.base import named_neurons
from ternary_spike.models.known_modules import NotFoldable
from ternary_spike.reparam import energy, onnx_export, synops
from ternary_spike.reparam.equivalence import verify
from ternary_spike.reparam.executor import AdditionOnlyExecutor, Operations, compare_with_dense
from ternary_spike.reparam.folding import fold
from ternary_spike.reparam.network import FoldedNetwork
from tests.helpers.networks import tiny_network

NETWORKS = ("plifnet", "vgg11_hybrid", "vgg11_ptl", "cifarnet_glif", "resnet20_diet")
SIDES = {"resnet20_diet": 32}  # of which 2x2 places are left for the classifier


def network(name: str, neuron: str = "", **options):
    """A network whose amplitudes are no longer 1, in float64, and inputs."""
    model, x = tiny_network(name, neuron, SIDES.get(name, 0), **options)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in named_neurons(model).values():
            if layer.amplitude is not None:
                layer.amplitude.copy_(0.5 + 1.5 * torch.rand(layer.amplitude.shape, generator=generator))
    return model.double(), x.double()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("per", ["layer", "channel"])
def test_amplitudes_fold_exactly(name, per):
    model, x = network(name, neuron_options={"amplitude_per": per})
    found = verify(model, fold(model), [x])
    assert found["passed"] and found["float64"]["spikes"] > 10_000


def test_biases_fold_with_batch_norm():
    model, x = network("vgg11_ptl", "binary")
    with torch.no_grad():
        for unit in model.layers.values():
            layer = unit.conv if hasattr(unit, "conv") else unit.linear
            layer.bias.uniform_(-0.5, 0.5)
            unit.bn.running_mean.uniform_(-0.5, 0.5)
    folded = fold(model)
    assert verify(model, folded, [x])["passed"]
    bn, conv = model.layers["conv1"].bn, model.layers["conv1"].conv
    expected = (conv.bias - bn.running_mean) / (bn.running_var + bn.eps).sqrt() + bn.bias
    torch.testing.assert_close(folded.weights["conv1.conv.bias"], expected.detach())


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_read_back_exported_and_executed_by_additions(name, tmp_path):
    model, x = network(name)
    folded = fold(model)
    folded.save(tmp_path)
    torch.testing.assert_close(FoldedNetwork.load(tmp_path).compute(x), model(x), rtol=1e-9, atol=1e-12)
    found, operations = compare_with_dense(folded, x[:2])
    assert found["differing_spikes"] == 0 and found["largest_relative_logit_difference"] < 1e-12
    assert sum(operations.additions.values()) > 1000
    in_onnx = onnx_export.compare(folded, [x])
    assert in_onnx["differing_spikes"] < 1e-3 * in_onnx["spikes"] and in_onnx["class_agreement_percent"] == 100


@pytest.mark.parametrize("name", NETWORKS)
def test_additions_are_those_that_the_executor_makes_on_either_count(name):
    model, x = network(name)
    folded = fold(model)
    rows, totals = energy.measure(folded, [x[:2]])
    itself = energy.measure_itself(model, [x[:2]])
    assert itself[0] == rows and itself[1] == totals
    _, operations = compare_with_dense(folded, x[:2])
    counted = {row["layer"]: row["synops"] for row in rows if row["synops"]}
    assert counted == {layer: additions / 2 for layer, additions in operations.additions.items() if additions}


def test_behind_max_pooling_a_window_counts_once():
    """A window of which three places fire sends one spike on; behind average pooling it would be three."""
    model, x = network("plifnet", "binary")
    folded = fold(model)
    spikes = {}
    folded.compute(x, lambda name, _, b: spikes.__setitem__(name, b))
    pooled = torch.nn.functional.max_pool2d(spikes["conv3"].flatten(0, 1), 2)
    counted, fired, samples = synops.count(folded, [x])
    assert fired["pool1"] == pooled.sum() / samples and fired["pool1"] < fired["conv3"]
    layer = next(layer for layer in synops.layers(folded) if layer.name == "conv4.conv")
    assert (layer.source, layer.neurons, layer.pooled) == ("pool1", "conv3", False)
    assert counted["conv4.conv"] == (pooled.sum(dim=(0, 1)) * layer.fan_out).sum() / samples


def test_a_layer_without_a_bias_adds_none():
    model, x = network("vgg11_hybrid", "binary")
    executor = AdditionOnlyExecutor(fold(model))
    done = Operations()
    executor.compute(x[0], operations=done)
    assert done.bias_additions == 3  # of the classifier, which is counted whatever its bias


@pytest.mark.parametrize("amplitude", [-1.0, 0.0])
def test_max_pooling_folds_unless_the_amplitude_is_negative(amplitude):
    """With a negative amplitude the largest output is where no neuron fires, and the OR of the spikes is not that."""
    model, x = network("plifnet")
    with torch.no_grad():
        named_neurons(model)["conv3"].amplitude.fill_(amplitude)
    if amplitude == 0:
        assert verify(model, fold(model), [x])["passed"]
    else:
        with pytest.raises(NotFoldable, match="pool1 is max pooling of spikes of conv3, whose amplitude is negative"):
            fold(model)


@pytest.mark.parametrize(
    ("option", "value"), [("ceil_mode", True), ("dilation", 2), ("return_indices", True), ("stride", (2, 1))]
)
def test_a_max_pooling_that_a_folded_network_does_not_have(option, value):
    model, _ = network("plifnet", "binary")
    setattr(model.layers["pool1"], option, value)
    with pytest.raises(NotFoldable, match=rf"pool1 has {option}="):
        fold(model)
