"""Spike-element-wise blocks: the published truth tables, identities, gradients and largest values."""

import pytest
import torch
from torch import nn

from ternary_spike.models.batch_norm import BatchNorm2d
from ternary_spike.models.element_wise import CONNECT, ElementWiseBlock
from ternary_spike.models.registry import make_network
from ternary_spike.neurons.registry import make_neuron


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
