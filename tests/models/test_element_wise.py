"""Spike-element-wise blocks: the published truth tables, identities, gradients and largest values."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from ternary_spike.models.batch_norm import BatchNorm2d
from ternary_spike.models.element_wise import CONNECT, ElementWiseBlock
from ternary_spike.models.registry import make_network
from ternary_spike.neurons.registry import make_neuron
from tests.helpers.rivals import spikingjelly

PLIF = {"time_constant": 2.0, "threshold": 0.3, "surrogate": "atan", "window": 1 / math.pi, "detach_reset": True}
LIF = {"threshold": 0.3, "decay": 1.0, "surrogate": "atan", "window": 1 / math.pi, "detach_reset": True}
#: neurons of ours and of SpikingJelly's that are alike once their constants are: trained leak, and none
ALIKE = {"plif": (PLIF, "ParametricLIFNode"), "binary": (LIF, "IFNode")}


def block(connect: str, **options) -> ElementWiseBlock:
    """A block that keeps its shape, of integrate-and-fire neurons with threshold 1 and hard reset."""

    def neuron(channels):
        return make_neuron("binary", channels=channels, threshold=1.0, decay=1.0, **options)

    return ElementWiseBlock(3, 3, 1, connect, 1, neuron, BatchNorm2d).eval()


@pytest.mark.parametrize(("connect", "outputs"), [("add", [0, 1, 1, 2]), ("and", [0, 0, 0, 1]), ("iand", [0, 1, 0, 0])])
def test_truth_table(connect, outputs):
    branch, shortcut = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).unbind(1)
    assert CONNECT[connect](branch, shortcut).tolist() == outputs


@pytest.mark.parametrize(("connect", "outputs"), [("add", [1, 2, 0, 2]), ("and", [0, 1, 0, 1]), ("iand", [1, 0, 0, 0])])
def test_a_constant_current_of_point_six_through_time(connect, outputs):
    """u = .6, 1.2, .6, 1.2 fires at the second and fourth timestep; the shortcut's spikes are 1, 1, 0, 1."""
    neuron = make_neuron("binary", threshold=1.0, decay=1.0)
    branch = neuron(torch.full((4, 1), 0.6))
    assert CONNECT[connect](branch, torch.tensor([[1.0], [1.0], [0.0], [1.0]])).flatten().tolist() == outputs


@pytest.mark.parametrize(("connect", "bias"), [("add", 0.0), ("iand", 0.0), ("and", 1.0)])
def test_with_the_last_normalisation_at_zero_a_block_is_the_identity(connect, bias):
    made, spikes = block(connect), torch.randint(0, 2, (2, 4, 3, 5, 5)).float()
    nn.init.zeros_(made.bn2.weight)
    nn.init.constant_(made.bn2.bias, bias)
    assert torch.equal(made(spikes), spikes)


@pytest.mark.parametrize("a", [0.0, 1.0])
@pytest.mark.parametrize("s", [0.0, 1.0])
@pytest.mark.parametrize(
    ("connect", "gradients"),
    [("add", lambda a, s: (1, 1)), ("and", lambda a, s: (s, a)), ("iand", lambda a, s: (-s, 1 - a))],
)
def test_gradients(connect, gradients, a, s):
    branch, shortcut = torch.tensor(a, requires_grad=True), torch.tensor(s, requires_grad=True)
    CONNECT[connect](branch, shortcut).backward()
    assert (branch.grad.item(), shortcut.grad.item()) == gradients(a, s)


@pytest.mark.parametrize(
    ("name", "largest"),
    [
        ("sew_resnet18w2", [3, 3, 3, 3]),
        ("sew_resnet34w2", [4, 5, 7, 4]),
        ("sew_resnet18_iandw2", [1, 1, 1, 1]),
        ("widenet7b_glifw2", [5, 4]),
    ],
)
def test_sums_are_as_large_as_published(name, largest):
    model = make_network(name, "binary", 1, image_size=48)
    found = {where.partition(".")[0]: unit.largest for where, unit in model.units() if where.startswith("stage")}
    assert list(found.values()) == largest and model.emits == max(largest)


def test_no_sum_exceeds_what_the_network_says():
    torch.manual_seed(0)
    model = make_network("widenet7b_glifw2", "binary", 2, image_size=48, neuron_options={"threshold": 1e-6}).eval()
    seen = {}
    for where, unit in model.units():
        unit.register_forward_hook(lambda _unit, _inputs, y, where=where: seen.__setitem__(where, y))
    model(torch.randn(2, 3, 48, 48).abs())
    for where, unit in model.units():
        if isinstance(unit, ElementWiseBlock):
            assert seen[where].max() <= unit.largest
    whole = seen["stage1.block4"]
    assert whole.max() == 5 and torch.equal(whole, whole.round())


def test_the_neuron_comes_before_the_sum_and_has_no_branches():
    """tdBN divides by the root of what is added up in front of a neuron, which here is one current."""
    model = make_network("sew_resnet18w2", "binary", 1, image_size=32, normalisation="tdbn")
    factors = {bn.factor for name, bn in model.named_modules() if hasattr(bn, "factor")}
    assert factors == {0.5}
    names = model.units()[4][1].neurons("here")
    assert list(names) == ["here.1", "here.2", "here.shortcut"]


@pytest.mark.parametrize("neuron", ["ternary", "trainable", "real_spike", "relu"])
def test_logic_wants_spikes_of_0_and_1(neuron):
    with pytest.raises(ValueError, match="'iand' joins spikes 0 and 1: choose a neuron without a sign and an"):
        make_network("sew_resnet18_iandw2", neuron, 1)


def theirs(make: Callable, connect: str, neuron: str, **sizes) -> nn.Module:
    """A block or network of SpikingJelly's, of all timesteps at once, in float64."""
    constants = {"v_threshold": 0.3, "detach_reset": True, "surrogate_function": spikingjelly("surrogate").ATan(2.0)}
    kind = getattr(spikingjelly("neuron"), ALIKE[neuron][1])
    made = make(cnf=connect.upper(), spiking_neuron=kind, **sizes, **constants)
    spikingjelly("functional").set_step_mode(made, "m")
    return made.double()


def give_weights(ours: nn.Module, other: nn.Module) -> None:
    """Both name their layers in the order of computation; norms fire by chance and not by their first values."""
    torch.manual_seed(0)
    for p in ours.parameters():
        if p.dim() == 1:
            p.data += 0.2 * torch.randn_like(p)
    values = ours.state_dict().values()
    other.load_state_dict(dict(zip(other.state_dict(), values, strict=True)))


def assert_same_gradients(ours: nn.Module, other: nn.Module) -> None:
    for (name, p), q in zip(ours.named_parameters(), other.parameters(), strict=True):
        scale = p.grad.abs().max()
        assert scale > 1e-7, name
        torch.testing.assert_close(
            p.grad, q.grad, rtol=1e-8, atol=1e-10 * scale.item(), msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.full
@pytest.mark.parametrize("neuron", ALIKE)
@pytest.mark.parametrize("changes", [False, True])
@pytest.mark.parametrize("connect", CONNECT)
def test_spikingjelly_agrees_on_a_block(connect, changes, neuron):
    """In training, then in evaluation. The order of IAND is that of its BasicBlock; its bottleneck has the other."""
    width, stride = (6, 2) if changes else (4, 1)
    ours = ElementWiseBlock(
        4, width, stride, connect, 1, lambda channels: make_neuron(neuron, channels, **ALIKE[neuron][0]), BatchNorm2d
    ).double()
    sew, layer = spikingjelly("model.sew_resnet"), spikingjelly("layer")
    projection = nn.Sequential(layer.Conv2d(4, width, 1, stride, bias=False), layer.BatchNorm2d(width))
    sizes = {"inplanes": 4, "planes": width, "stride": stride, "downsample": projection if changes else None}
    other = theirs(sew.BasicBlock, connect, neuron, **sizes)
    give_weights(ours, other)
    x, found = torch.randint(0, 2, (4, 5, 4, 6, 6)).double(), []
    weight = torch.randn(4, 5, width, 6 // stride, 6 // stride, dtype=torch.float64)
    for made in (ours, other):
        shown = x.clone().requires_grad_()
        y = made(shown)
        (y * weight).sum().backward()
        spikingjelly("functional").reset_net(other)
        found.append((y, shown.grad, made.eval()(x)))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][2], found[1][2])
    assert 0.02 < found[0][0].mean() < 1.5
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-10, atol=1e-12)
    assert_same_gradients(ours, other)


@pytest.mark.full
@pytest.mark.parametrize(("connect", "neuron"), [("add", "binary"), ("iand", "plif")])
def test_spikingjelly_agrees_on_the_whole_network(connect, neuron):
    """SEW ResNet18 for ImageNet, of class scores at each timestep: stem, pooling, blocks, statistics, classifier."""
    name = "sew_resnet18" + ("" if connect == "add" else f"_{connect}")
    ours = make_network(name, neuron, 3, num_classes=5, image_size=64, neuron_options=ALIKE[neuron][0]).double()
    other = theirs(spikingjelly("model.sew_resnet").sew_resnet18, connect, neuron, num_classes=5)
    give_weights(ours, other)
    x, weight, found = torch.randn(2, 3, 64, 64).double(), torch.randn(3, 2, 5).double(), []
    for made in (ours, other):
        shown = x.clone().requires_grad_()
        y = made(shown, each_timestep=True) if made is ours else made(shown.expand(3, *shown.shape))
        (y * weight).sum().backward()
        found.append((y, shown.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-8, atol=1e-10)
    assert_same_gradients(ours, other)
    for (where, mine), its in zip(ours.named_buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-9, atol=1e-12, msg=lambda text, where=where: f"{where}: {text}")
