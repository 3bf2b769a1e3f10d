"""Options of torch's layers, and layers of one's own: folded right, or refused by the layer's name; never passed over.

Each option is put into a network and compared with the network itself in float64, everywhere where a folded network
is read: dense, by additions, in its counts, in ONNX.
"""

import copy
import dataclasses
from functools import cache
from operator import attrgetter

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from ternary_spike import TernaryLIF, TrainableTernaryLIF
from ternary_spike.membrane.dynamics import Dynamics
from ternary_spike.models.base import named_neurons
from ternary_spike.models.batch_norm import BatchNorm2d
from ternary_spike.models.blocks import BasicBlock, ConvUnit
from ternary_spike.models.layers import AvgPool2d, Conv2d
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.reparam import onnx_export, synops
from ternary_spike.reparam.equivalence import compare
from ternary_spike.reparam.executor import AdditionOnlyExecutor, Operations
from ternary_spike.reparam.folding import fold
from tests.helpers.networks import random_network, recalibrate

SIDE = 9


class Time(Conv2d):
    """A convolution through time with any of torch's options: what a user puts into a network."""

    def __init__(self, *arguments, **options) -> None:
        nn.Conv2d.__init__(self, *arguments, **options)


@cache
def made(channels: int):
    return random_network(1, "resnet6w4", "trainable", SIDE, channels=channels)


def network(channels: int = 3):
    model, x = made(channels)
    return copy.deepcopy(model), x[:4]


def put(model: SpikingResNet, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def agrees(model: SpikingResNet, x: torch.Tensor, in_onnx: bool = True) -> None:
    """The folded network's spikes, counts, additions and ONNX are those of the network."""
    folded = fold(model)
    result = compare(model, folded, [x], torch.float64)
    assert result["differing_spikes"] == 0 and result["spikes"] > 0
    assert result["largest_relative_logit_difference"] <= 1e-9
    seen = {}
    folded.compute(x.double(), lambda name, _, b: seen.__setitem__(name, b))
    assert all(b.abs().mean() > 0.01 for b in seen.values())
    executor, counted = AdditionOnlyExecutor(folded), Operations()
    found = {}
    executor.compute(x[0].double(), found.__setitem__, counted)
    for name, spikes in found.items():
        assert torch.equal(spikes.double(), seen[name][:, 0]), name
    expected, _, _ = synops.count(folded, [x[:1].double()])
    assert counted.additions == {name: round(n) for name, n in expected.items()}
    if not in_onnx:
        with pytest.raises(ValueError, match=r"stem\.pool .*ceil_mode.*ONNX"):
            onnx_export.to_onnx(folded)
        return
    exported = onnx_export.compare(folded, [x])
    assert exported["differing_spikes"] <= 0.001 * exported["spikes"]
    assert exported["largest_logit_difference"] < 0.05


CONVOLUTIONS = {
    "bias": ({"bias": True}, None),
    "dilation": ({"dilation": 2, "padding": 2}, "dilation=\\(2, 2\\)"),
    "groups": ({"groups": 2}, "groups=2"),
    "circular": ({"padding_mode": "circular"}, "padding_mode='circular'"),
    "reflect": ({"padding_mode": "reflect"}, "padding_mode='reflect'"),
    "same": ({"padding": "same"}, "padding='same'"),
    "valid": ({"padding": "valid"}, "padding='valid'"),
    "padding": ({"padding": (1, 0)}, "padding=\\(1, 0\\)"),
    "kernel": ({"kernel_size": (3, 1), "padding": (1, 0)}, "kernel_size=\\(3, 1\\)"),
    "stride": ({"stride": (2, 1)}, "stride=\\(2, 1\\)"),
    "wide stride": ({"stride": 2}, "add"),
    "more padding": ({"padding": 2}, "add"),
}


@pytest.mark.parametrize("where", ["stem.0.conv", "stages.0.0.conv1", "stages.0.0.conv2"])
@pytest.mark.parametrize("option", CONVOLUTIONS)
def test_every_option_of_a_convolution_is_folded_right_or_refused_by_name(option, where):
    options, refused = CONVOLUTIONS[option]
    model, x = network()
    old = model.get_submodule(where)
    torch.manual_seed(2)
    if option == "groups" and old.in_channels == 3:
        options, refused = {"groups": 1, "bias": True}, None  # three channels cannot be halved
    put(
        model,
        where,
        Time(old.in_channels, old.out_channels, **{"kernel_size": 3, "padding": 1, "bias": False} | options),
    )
    if refused is None or (refused == "add" and where.startswith("stem")):
        agrees(model.eval(), x)
    elif refused == "add":  # behind a block's convolution the sum with the shortcut takes its own shape alone
        with pytest.raises(ValueError, match=r"stage1\.block1\.add adds"):
            fold(model)
    else:
        name = {"stem.0.conv": "stem1.conv"}.get(where, where.replace("stages.0.0", "stage1.block1"))
        with pytest.raises(ValueError, match=f"{name} .*{refused}") as caught:
            fold(model)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{}, {"dilation": 2}, {"padding_mode": "circular"}])
def test_torchs_own_convolution_in_the_stem(options):
    """The examples that folded to other classes in silence."""
    model, x = network(channels=1)
    torch.manual_seed(2)
    model.stem[0].conv = nn.Conv2d(1, 4, 3, padding=options.get("dilation", 1), **options)
    if options:
        with pytest.raises(ValueError, match=f"stem1.conv .*{next(iter(options))}"):
            fold(model)
    else:
        agrees(model, x)


def bn_without(*names: str):
    def change(bn: BatchNorm2d) -> None:
        for name in names:
            setattr(bn, name, None)

    return change


BATCH_NORMS = {
    "affine=False": (bn_without("weight", "bias"), None),
    "no bias": (bn_without("bias"), None),
    "eps": (lambda bn: setattr(bn, "eps", 0.3), None),
    "momentum=None": (bn_without("momentum"), None),
    "track_running_stats=False": (
        bn_without("running_mean", "running_var", "num_batches_tracked"),
        "running statistics",
    ),
}


@pytest.mark.parametrize("where", ["stem.0.bn", "stages.1.0.bn1", "stages.1.0.bn2", "stages.1.0.shortcut.bn"])
@pytest.mark.parametrize("option", BATCH_NORMS)
def test_every_option_of_batch_norm_is_folded_right_or_refused_by_name(option, where):
    change, refused = BATCH_NORMS[option]
    model, x = network()
    change(model.get_submodule(where))
    if refused is None:
        agrees(model, x)
    else:
        name = where.replace("stem.0", "stem1").replace("stages.1.0", "stage2.block1")
        with pytest.raises(ValueError, match=f"{name} .*{refused}"):
            fold(model)


POOLS = {
    "ceil_mode": ((2, 2), {"ceil_mode": True}, None),
    "ceil_mode, padded": ((3, 2), {"ceil_mode": True, "padding": 1, "count_include_pad": True}, None),
    "ceil_mode, hanging over": ((2, 2), {"ceil_mode": True, "padding": 0, "count_include_pad": True}, None),
    "ceil_mode, padded, hanging over": ((4, 2), {"ceil_mode": True, "padding": 1, "count_include_pad": True}, None),
    "ceil_mode, a window of padding alone": ((2, 2), {"ceil_mode": True, "padding": 1}, None),
    "ceil_mode, not counted": ((4, 2), {"ceil_mode": True, "padding": 1, "count_include_pad": False}, None),
    "padding counts": ((3, 2), {"padding": 1, "count_include_pad": True}, None),
    "padding does not count": ((3, 2), {"padding": 1, "count_include_pad": False}, None),
    "overlapping": ((3, 1), {}, None),
    "stride of the kernel": ((2,), {}, None),
    "a square as a pair": (((2, 2), (2, 2)), {"padding": (0, 0)}, None),
    "oblong": (((2, 1), 2), {}, "kernel_size=\\(2, 1\\)"),
    "oblong stride": ((2, (2, 1)), {}, "stride=\\(2, 1\\)"),
    "divisor_override": ((2, 2), {"divisor_override": 3}, "divisor_override=3"),
}


@pytest.mark.parametrize("option", POOLS)
def test_every_option_of_average_pooling_is_folded_right_or_refused_by_name(option):
    sizes, options, refused = POOLS[option]
    model, x = network()
    model.stem_pool = AvgPool2d(*sizes, **options)
    if refused is None:
        agrees(model, x, in_onnx=option != "ceil_mode, a window of padding alone")
    else:
        with pytest.raises(ValueError, match=f"stem.pool .*{refused}"):
            fold(model)


def test_a_classifier_without_bias():
    model, x = network()
    model.classifier = nn.Linear(model.classifier.in_features, 10, bias=False)
    agrees(model, x)


class Leaky(TernaryLIF):
    def forward(self, x, v=None, return_state=False):
        return super().forward(2 * x, v, return_state)


class Stepped(TernaryLIF):
    def step(self, x, v=None):
        return super().step(2 * x, v)


@dataclasses.dataclass(frozen=True)
class SoftReset(Dynamics):
    pass


class OwnDynamics(TernaryLIF):
    def __init__(self):
        super().__init__()
        self.dynamics = SoftReset()


class Described(TrainableTernaryLIF):
    """Adds nothing to what is computed."""

    def describe(self):
        return "a neuron"


class Scaled(Conv2d):
    def _conv_forward(self, x, weight, bias):
        return 2 * super()._conv_forward(x, weight, bias)


class Frozen(BatchNorm2d):
    def forward(self, x, *arguments, **options):
        return x


def patched(module: nn.Module) -> nn.Module:
    module.forward = lambda x, *_: x
    return module


def hooked(module: nn.Module) -> nn.Module:
    module.register_forward_hook(lambda module, inputs, output: 2 * output)
    return module


FOREIGN = {
    "forward of its own": ("stem.0.neuron", lambda old: Leaky(), "layer stem1, Leaky, does not say"),
    "step of its own": ("stem.0.neuron", lambda old: Stepped(), "layer stem1, Stepped, does not say"),
    "dynamics of its own": (
        "stages.0.0.neuron1",
        lambda old: OwnDynamics(),
        "layer stage1.block1.1, OwnDynamics, does not say",
    ),
    "forward of the instance": (
        "stages.0.0.neuron2",
        patched,
        "layer stage1.block1.2, TrainableTernaryLIF, does not say",
    ),
    "hook": ("stem.0.conv", hooked, "stem1.conv .*hook"),
    "convolution": ("stages.0.0.conv1", lambda old: Scaled(4, 4, 3), "stage1.block1.conv1 is Scaled"),
    "batch norm": ("stages.0.0.bn1", lambda old: Frozen(4), "stage1.block1.bn1 is Frozen"),
    "group norm for batch norm": ("stages.0.0.bn2", lambda old: nn.GroupNorm(1, 16), "stage1.block1.bn2 is GroupNorm"),
    "other pooling": ("stem_pool", lambda _: nn.MaxPool2d(2), "stem.pool is MaxPool2d"),
    "other classifier": ("classifier", lambda old: nn.Sequential(old), "classifier is Sequential"),
    "other block": ("stages.0.0", lambda old: nn.Identity(), "stage1.block1 is Identity"),
    "other shortcut": ("stages.1.0.shortcut", lambda old: nn.Identity(), "stage2.block1.shortcut is Identity"),
    "other stem": ("stem.0", lambda old: nn.Identity(), "stem1 is Identity"),
    "wide amplitude": (
        "stem.0.neuron",
        lambda old: setattr(old, "amplitude", nn.Parameter(torch.ones(4, SIDE, SIDE))) or old,
        "stem1 .*amplitude.*4, 9, 9",
    ),
    "amplitude by row": (
        "stem.0.neuron",
        lambda old: setattr(old, "amplitude", nn.Parameter(torch.rand(SIDE, 1))) or old,
        "stem1 .*amplitude.*9, 1",
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_folding_does_not_know_is_refused_by_the_layers_name(kind):
    where, make, message = FOREIGN[kind]
    model, _ = network()
    put(model, where, make(attrgetter(where)(model)))
    with pytest.raises(ValueError, match=message) as caught:
        fold(model)
    assert "\n" not in str(caught.value)


def test_a_network_with_a_forward_of_its_own_is_refused():
    class Louder(SpikingResNet):
        def forward(self, x):
            return 2 * super().forward(x)

    with pytest.raises(ValueError, match="the network is Louder"):
        fold(Louder("resnet6w4", "ternary", 2))


class Louder(BasicBlock):
    def forward(self, x):
        return super().forward(2 * x)


class Twice(nn.Module):
    """A unit of a user's own: two of the stem's in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.first = ConvUnit(4, 4, 3, 1, lambda _: TrainableTernaryLIF(0.7))
        self.second = ConvUnit(4, 4, 3, 1, lambda _: TrainableTernaryLIF(1.4))

    def forward(self, x):
        return self.second(self.first(x))

    def fold(self, folder, name, source):
        source = folder.unit(f"{name}.first", self.first, source)
        return folder.unit(f"{name}.second", self.second, source)

    def neurons(self, name):
        return self.first.neurons(f"{name}.first") | self.second.neurons(f"{name}.second")


class Quieter(Twice):
    def forward(self, x):
        return super().forward(0.5 * x)


def test_a_unit_with_a_forward_of_its_own_is_not_folded_as_its_base():
    for unit, base in ((Louder(4, 4, 1, False, lambda _: TernaryLIF()), "BasicBlock"), (Quieter(), "Twice")):
        model, _ = network()
        model.stages[0][0] = unit
        with pytest.raises(ValueError, match=f"stage1.block1 is {type(unit).__name__} with a forward .*use {base}"):
            fold(model)


def test_a_unit_that_plugs_in_brings_its_own_fold():
    model, x = network()
    torch.manual_seed(3)
    model.stages[0][0] = Twice()
    recalibrate(model, x, torch.Generator().manual_seed(3))
    agrees(model, x)
    assert list(named_neurons(model))[:3] == ["stem1", "stage1.block1.first", "stage1.block1.second"]
    assert list(fold(model).spike_layers()) == list(named_neurons(model))


def test_a_unit_names_all_of_its_spiking_neurons():
    """Or one of them would be watched by nobody, in silence."""
    model, _ = network()
    model.stages[0][0] = nn.Sequential(TernaryLIF())
    with pytest.raises(ValueError, match=r"stage1\.block1, Sequential, has spiking neurons that it does not name"):
        named_neurons(model)
    model, _ = network()
    model.stages[0][0].third = TernaryLIF()
    with pytest.raises(ValueError, match=r"stage1\.block1, BasicBlock, has spiking neurons that it does not name"):
        named_neurons(model)


def test_a_subclass_that_computes_what_its_base_does_is_folded():
    model, x = network()
    neuron = Described(1.3)
    model.stem[0].neuron = neuron.eval()
    agrees(model, x)
    parametrizations.weight_norm(model.stages[0][0].conv1)  # its weight is computed whenever it is read
    agrees(model, x)
