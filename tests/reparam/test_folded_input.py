"""What a folded network is given: inputs, and files from elsewhere, are checked and never assumed to be in order."""

import copy
import json

import pytest
import torch

from ternary_spike import UserError
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.reparam import onnx_export
from ternary_spike.reparam.executor import AdditionOnlyExecutor
from ternary_spike.reparam.folding import fold
from ternary_spike.reparam.network import STRUCTURE_FILE, WEIGHTS_FILE, FoldedNetwork
from ternary_spike.system.files import read_json, sha256_of, write_tensors
from tests.helpers.networks import random_network

MODEL = random_network(1, "resnet6w4", "trainable", 16, channels=1)[0].double()
NETWORK = fold(MODEL)


@pytest.mark.parametrize("run", [MODEL, NETWORK.compute], ids=["network", "folded"])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 7, 1, 16, 16), "has 2 timesteps, but the input has 7 frames"),
        ((4, 3, 16, 16), "takes 1 channels, but the input has 3"),
        ((4, 2, 3, 16, 16), "takes 1 channels, but the input has 3"),
        ((1, 16, 16), r"the input must be \[B, C, H, W\] or \[B, T, C, H, W\], but its shape is \(1, 16, 16\)"),
        ((4, 2, 2, 1, 16, 16), "the input must be"),
    ],
)
def test_an_input_that_is_not_the_networks_is_refused(run, shape, message):
    with pytest.raises(ValueError, match=message) as caught:
        run(torch.randn(shape, dtype=torch.float64))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("run", [MODEL, NETWORK.compute], ids=["network", "folded"])
def test_pixels_as_whole_numbers_are_refused(run):
    with pytest.raises(ValueError, match="must be floating-point numbers, not uint8"):
        run(torch.zeros(4, 1, 16, 16, dtype=torch.uint8))


def test_another_size_or_dtype_is_refused_by_the_folded_network():
    with pytest.raises(ValueError, match=r"images of 16x16 pixels, but the input has 12x16"):
        NETWORK.compute(torch.randn(4, 1, 12, 16, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"computes in float64, but the input is float32: .*\.to\("):
        NETWORK.compute(torch.randn(4, 1, 16, 16))
    assert NETWORK.to(torch.float32).compute(torch.randn(4, 2, 1, 16, 16)).shape == (4, 10)


@pytest.mark.parametrize("shape", [(7, 1, 16, 16), (3, 16, 16), (1, 1, 12, 16), (1, 12, 12), (16, 16)])
def test_the_executor_checks_its_input_alike(shape):
    with pytest.raises(ValueError, match=r"the input|timesteps"):
        AdditionOnlyExecutor(NETWORK).compute(torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_never_taken_for_silence(value):
    """A comparison with NaN is false: additions and ONNX would take it for a neuron that is silent."""
    x = torch.zeros(2, 1, 16, 16, dtype=torch.float64)
    x[1, 0, 3, 3] = value
    with pytest.raises(ValueError, match="not finite"):
        AdditionOnlyExecutor(NETWORK).compute(x[1])
    with pytest.raises(ValueError, match="not finite"):
        onnx_export.compare(NETWORK, [x])
    x[1, 0, 3, 3] = float("nan")
    assert NETWORK.compute(x).isnan().any(1).tolist() == [False, True]


def written(folder, change=None, weights=None):
    """The folded network's files as somebody else may have written them: valid seals and checksums, other content."""
    NETWORK.save(folder)
    structure = read_json(folder / STRUCTURE_FILE)
    if weights is not None:
        tensors = copy.deepcopy(NETWORK.weights)
        weights(tensors)
        write_tensors(folder / WEIGHTS_FILE, tensors)
        structure["weights"]["sha256"] = sha256_of(folder / WEIGHTS_FILE)
    if change is not None:
        change(structure)
    (folder / STRUCTURE_FILE).write_text(json.dumps(structure))
    return folder


def operation(structure: dict, name: str) -> dict:
    return next(op for op in structure["operations"] if op["name"] == name)


def setting(name: str, **settings):
    return lambda structure: operation(structure, name)["settings"].update(settings)


CONV, ADD, NEURON = "stage1.block1.conv1", "stage1.block1.add", "stage1.block1.1"
STRUCTURES = {
    "a setting that nothing reads": (setting(CONV, dilation=2), f"{CONV} .*dilation"),
    "a missing setting": (lambda s: operation(s, CONV)["settings"].pop("stride"), f"{CONV} .*stride"),
    "stride 0": (setting(CONV, stride=0), f"{CONV} .*stride is 0"),
    "stride as text": (setting(CONV, stride="1"), f"{CONV} .*stride is '1'"),
    "negative padding": (setting(CONV, padding=-1), f"{CONV} .*padding is -1"),
    "threshold as text": (setting(NEURON, threshold="0.5"), "threshold must be a number"),
    "signed as a number": (setting(NEURON, signed=1), "signed must be True or False"),
    "another kind": (lambda s: operation(s, CONV).update(kind="deconv"), f"{CONV} is of unknown kind 'deconv'"),
    "a second input": (lambda s: operation(s, CONV).update(inputs=["stem1", "stem1"]), f"{CONV} .*1 input"),
    "one summand": (lambda s: operation(s, ADD).update(inputs=["stem1"]), f"{ADD} .*2 inputs"),
    "an unknown input": (lambda s: operation(s, CONV).update(inputs=["nowhere"]), f"{CONV} .*nowhere"),
    "current for spikes": (lambda s: operation(s, "stage1.block1.conv2").update(inputs=[CONV]), "conv2 .*spikes"),
    "spikes of spikes": (lambda s: operation(s, NEURON).update(inputs=["stem1"]), f"{NEURON} .*current"),
    "a name twice": (lambda s: operation(s, CONV).update(name="stem1"), "stem1 stands twice"),
    "frames as a fraction": (lambda s: s.update(timesteps=2.5), "timesteps must be a whole number"),
    "frames as text": (lambda s: s.update(timesteps="2"), "timesteps must be a whole number"),
    "no checksum": (lambda s: s["weights"].update(sha256=None), "sha256"),
    "weights elsewhere": (lambda s: s["weights"].update(file="../folded.safetensors"), "file"),
}
WEIGHTS = {
    "one missing": (lambda w: w.pop(f"{CONV}.bias"), f"{CONV}.bias"),
    "one too many": (lambda w: w.update({f"{CONV}.scale": torch.ones(4).double()}), f"{CONV}.scale"),
    "a constant missing": (lambda w: w.pop(f"{ADD}.constant"), f"{ADD}.*constant"),
    "two dtypes": (lambda w: w.update({f"{CONV}.bias": w[f"{CONV}.bias"].float()}), "float32"),
    "whole numbers": (lambda w: w.update({k: v.long() for k, v in w.items()}), "int64"),
    "oblong kernel": (lambda w: w.update({f"{CONV}.weight": w[f"{CONV}.weight"][..., :1].contiguous()}), f"{CONV}"),
    "groups": (lambda w: w.update({f"{CONV}.weight": w[f"{CONV}.weight"][:, :2].contiguous()}), f"{CONV} takes 2"),
    "constant of another shape": (lambda w: w.update({f"{ADD}.constant": torch.ones(16).double()}), f"{ADD}.*constant"),
}


@pytest.mark.parametrize("kind", STRUCTURES)
def test_a_structure_that_is_out_of_order_is_refused_by_what_is_wrong(tmp_path, kind):
    change, message = STRUCTURES[kind]
    with pytest.raises(UserError, match=f"(?s){STRUCTURE_FILE}.*{message}") as caught:
        FoldedNetwork.load(written(tmp_path, change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_that_are_out_of_order_are_refused_by_what_is_wrong(tmp_path, kind):
    change, message = WEIGHTS[kind]
    with pytest.raises(UserError, match=message) as caught:
        FoldedNetwork.load(written(tmp_path, weights=change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("architecture", ["resnet20w2", "resnet18w2"])
def test_files_in_order_are_read(tmp_path, architecture):
    fold(SpikingResNet(architecture, "ternary", 2, image_size=16)).save(tmp_path)
    assert FoldedNetwork.load(tmp_path).timesteps == 2
    assert FoldedNetwork.load(written(tmp_path / "other")).in_channels == 1
