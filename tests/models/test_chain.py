"""Networks that are lists of layers: what a list says, and the layers that ResNets do not have."""

import pytest
import torch

from ternary_spike.models.blocks import ConvUnit
from ternary_spike.models.chain_units import Dropout, FullyConnected, FullyConnectedUnit, MaxPool2d, Stretch, Votes
from ternary_spike.models.layer_list import Layer, layers, smallest_image
from ternary_spike.models.registry import make_network
from tests.helpers.networks import tiny_network


def test_a_list_is_read_word_by_word():
    assert list(layers("64x2 128k7s2 64k7s2p1 A M3 D0.25 F512 G")) == [
        Layer("conv", 64),
        Layer("conv", 64),
        Layer("conv", 128, 7, 2, 3),
        Layer("conv", 64, 7, 2, 1),
        Layer("average_pool", 2),
        Layer("max_pool", 3),
        Layer("dropout", 0.25),
        Layer("fully_connected", 512),
        Layer("average", 1),
    ]


@pytest.mark.parametrize("word", ["Q64", "64t2", "D", "F", "a", "-64"])
def test_a_word_that_says_nothing_is_refused(word):
    with pytest.raises(ValueError, match=f"{word!r} is no layer"):
        list(layers(f"64 {word}"))


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("vgg16", [32] * 2 + [16] * 2 + [8] * 3 + [4] * 3 + [2] * 3),
        ("vgg11_ptl", [32, 16, 16, 8, 8, 4, 4, 2]),
        ("plifnet", [32] * 3 + [16] * 3),
    ],
)
def test_sides_behind_convolutions_are_the_published_ones(name, sides):
    model = make_network(f"{name}w4", "binary", 1).eval()
    found = []
    for unit in model.layers.values():
        if isinstance(unit, ConvUnit):
            unit.register_forward_hook(lambda _unit, _inputs, y: found.append(y.shape[-1]))
    model(torch.zeros(1, 3, 32, 32))
    assert found == sides


def test_the_smallest_picture_is_one_of_which_each_layer_leaves_something():
    assert [smallest_image(words) for words in ("8s2 8s2", "8 A 8 A", "A 8s2 A", "8k7s2 M3", "8 A U7")] == [
        1,
        4,
        6,
        1,
        2,
    ]


def test_every_layer_has_the_width_in_proportion_but_for_votes():
    model = make_network("plifnetw64", "binary", 1, num_classes=7)
    units = dict(model.units())
    assert [units[name].conv.out_channels for name in ("conv1", "conv6")] == [64, 64]
    assert [units[name].linear.out_features for name in ("fc1", "fc2")] == [512, 70]
    assert make_network("vgg16w1", "binary", 1).layers["conv13"].conv.out_channels == 8


def test_dropout_takes_the_same_neurons_at_every_timestep_and_nothing_in_evaluation():
    torch.manual_seed(0)
    dropout, x = Dropout(0.25), torch.ones(3, 2, 8, 16, 16)
    y = dropout(x)
    assert torch.equal(y, y[:1].expand_as(y)) and y.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (y[0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert not torch.equal(y[0, 0], y[0, 1])  # each picture has its own
    assert dropout.eval()(x) is x


def test_dropout_stands_where_no_pooling_follows():
    names = [name for name, _ in make_network("vgg16w2", "binary", 1).units()]
    assert names[:6] == ["conv1", "dropout1", "conv2", "pool1", "conv3", "dropout2"]
    assert names[-5:] == ["dropout9", "fc1", "dropout10", "fc2", "dropout11"]


def test_pooling_of_four_spikes():
    spikes = torch.tensor([[1.0, 0.0], [1.0, 1.0]]).view(1, 1, 1, 2, 2)
    model = make_network("vgg16w2", "binary", 1)
    assert model.layers["pool1"](spikes).item() == 0.75 and MaxPool2d(2)(spikes).item() == 1


def test_fewer_places_than_wanted_are_repeated():
    x = torch.randn(1, 2, 3, 1, 1)
    assert torch.equal(Stretch(7)(x), x.expand(1, 2, 3, 7, 7))


def test_ten_neighbours_vote_for_each_class():
    votes, rates = Votes(10, 3), torch.zeros(30)
    rates[10:15], rates[29] = 1.0, 0.5
    torch.testing.assert_close(votes(rates), torch.tensor([0.0, 0.5, 0.05]))
    assert not list(votes.parameters())


def test_fully_connected_takes_every_place():
    layer = FullyConnected(3, 2, 5, bias=True)
    x = torch.randn(4, 2, 3, 2, 2)
    expected = torch.einsum("tbchw,fchw->tbf", x, layer.weight.view(5, 3, 2, 2)) + layer.bias
    torch.testing.assert_close(layer(x)[..., 0, 0], expected)


@pytest.mark.parametrize(
    ("name", "convolutions", "connected"),
    [("vgg16", (False, "Identity"), (False, "Identity")),
     ("vgg11_ptl", (True, "BatchNorm2d"), (True, "BatchNorm2d")),
     ("vgg11_ltl", (True, "Identity"), (True, "Identity")),
     ("plifnet", (False, "BatchNorm2d"), (False, "Identity"))],
)  # fmt: skip
def test_which_layers_have_a_bias_and_are_normalised(name, convolutions, connected):
    units = dict(make_network(f"{name}w2", "binary", 1).units()).values()
    found = {ConvUnit: set(), FullyConnectedUnit: set()}
    for unit in units:
        if type(unit) in found:
            layer = unit.conv if isinstance(unit, ConvUnit) else unit.linear
            found[type(unit)].add((layer.bias is not None, type(unit.bn).__name__))
    assert found == {ConvUnit: {convolutions}, FullyConnectedUnit: {connected}}


def test_plifnet_normalises_each_timestep_by_itself():
    assert all(unit.bn.per_step for name, unit in make_network("plifnetw2", "plif", 2).units() if "conv" in name)
    assert not make_network("cifarnet_tlw2", "binary", 2).layers["conv1"].bn.per_step


def test_a_normalisation_of_ones_choice():
    model = make_network("cifarnet_glifw4", "binary", 2, normalisation="tdbn")
    assert type(model.layers["conv2"].bn).__name__ == "ThresholdBatchNorm2d"
    bare = make_network("cifarnet_glifw4", "binary", 2, normalisation="none")
    assert type(bare.layers["conv2"].bn).__name__ == "Identity"
    with pytest.raises(ValueError, match="normalisation is 'tdbn', but vgg16 has no normalisation; leave it out"):
        make_network("vgg16", "binary", 2, normalisation="tdbn")


def test_the_scores_are_of_every_place():
    """A flattened picture: moving the spikes of the last layer to other places changes the scores."""
    model, x = tiny_network("vgg16", "binary")
    with torch.no_grad():
        spikes = model.features(x)
        expected = model.classifier(spikes.mean(0).flatten(1))
    torch.testing.assert_close(model(x), expected)
    assert model.classifier.in_features == spikes[0, 0].numel()


def test_event_frames_and_a_repeated_picture_are_the_same():
    model, x = tiny_network("plifnet", "binary")
    torch.testing.assert_close(model(x.unsqueeze(1).expand(-1, 2, -1, -1, -1)), model(x))
