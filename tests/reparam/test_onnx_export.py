"""The ONNX export: the same network in another runtime, its float32 differences counted."""

import numpy as np
import onnx
import pytest
import torch

from ternary_spike.reparam import onnx_export
from ternary_spike.reparam.folding import fold
from tests.helpers.networks import random_network


@pytest.mark.parametrize(
    "architecture, size",
    [("resnet20w4", 30), ("resnet19w4", 15), ("resnet18w4", 33), ("resnet34w2", 32), ("resnet6", 9)],
)
@pytest.mark.parametrize("neuron", ["binary", "trainable"])
def test_every_architecture_runs_in_onnxruntime(architecture, size, neuron):
    model, x = random_network(1, architecture, neuron, size, timesteps=3)
    result = onnx_export.compare(fold(model), [x[:5], x[5:]])
    assert result["samples"] == 8 and result["spikes"] > 1000
    # float32 may flip a spike that sits on the threshold, not a share of them
    assert result["differing_spikes"] <= 1e-4 * result["spikes"]
    assert result["class_agreement_percent"] == 100
    assert result["largest_logit_difference"] < 1e-2


def test_differences_are_counted_not_hidden(monkeypatch):
    """An export that is wrong in leak and threshold shows in every figure that the comparison reports."""
    model, x = random_network(2, "resnet6", "trainable", 12)
    network = fold(model)
    exported = onnx_export.to_onnx

    def spoiled(*arguments, **options):
        onnx_model = exported(*arguments, **options)
        for constant in onnx_model.graph.initializer:
            if np.prod(constant.dims) == 1:
                constant.CopyFrom(onnx.numpy_helper.from_array(np.ones(constant.dims, np.float32), constant.name))
        return onnx_model

    monkeypatch.setattr(onnx_export, "to_onnx", spoiled)
    result = onnx_export.compare(network, [x])
    assert result["differing_spikes"] > 0.05 * result["spikes"]
    assert result["largest_logit_difference"] > 0


def test_event_frames():
    generator = torch.Generator().manual_seed(4)
    model, _ = random_network(4, "resnet8w4", "ternary", 16, channels=2, timesteps=4)
    x = torch.randint(0, 3, (5, 4, 2, 16, 16), generator=generator).float()
    result = onnx_export.compare(fold(model), [x])
    assert result["differing_spikes"] <= 1e-4 * result["spikes"]
    assert result["class_agreement_percent"] == 100


def test_saved_model_is_whole_and_plain(tmp_path):
    model, _ = random_network(5, "resnet6w4", "trainable", 12)
    onnx_export.save(onnx_export.to_onnx(fold(model)), tmp_path / "folded.onnx")
    loaded = onnx.load(tmp_path / "folded.onnx")
    onnx.checker.check_model(loaded, full_check=True)
    assert [o.name for o in loaded.graph.output] == ["scores"]
    assert {node.domain for node in loaded.graph.node} == {""}
    # normalised spikes: the only factors left are the decay and, on identity shortcuts, the amplitude
    factors = [node.input[1] for node in loaded.graph.node if node.op_type == "Mul"]
    assert set(factors) == {"constant_0.25", "stage1.block1.add.constant"}
