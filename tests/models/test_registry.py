"""Networks by name: those of data with any width, and those of a user's own."""

import pytest
import torch
from torch import nn

from ternary_spike import SpikingResNet
from ternary_spike.models.base import SpikingNetwork, named_neurons
from ternary_spike.models.blocks import ConvUnit
from ternary_spike.models.registry import ARCHITECTURES, make_network, parse_architecture
from ternary_spike.reparam.folding import fold

SIZES = {"num_classes": 3, "in_channels": 2, "image_size": 8}


class OneUnit(SpikingNetwork):
    """A convolution."""

    def __init__(self, neuron, norm, timesteps, num_classes, in_channels, image_size):
        super().__init__(timesteps, in_channels, image_size)
        self.only = ConvUnit(in_channels, 4, 3, 1, neuron, norm)
        self.classifier = nn.Linear(4, num_classes)

    def units(self):
        return [("only", self.only)]


class Nothing(nn.Identity):
    """No network."""

    def __init__(self, neuron, norm, **sizes):
        super().__init__()


def test_a_width_behind_a_name_of_data():
    part = ARCHITECTURES["resnet20w16"]
    assert (part.data.width, part.source) == (16, ARCHITECTURES["resnet20"].source)
    assert ARCHITECTURES["resnet20"].data.width == 64 == parse_architecture("resnet20").width
    assert "resnet20w16" not in list(ARCHITECTURES)


@pytest.mark.parametrize("name", ["resnet21", "resnet20w0", "resnet20w12345", "resnet20w16\n", "w16", "", "vgg"])
def test_an_unknown_name_is_answered_with_those_that_there_are(name):
    with pytest.raises(ValueError, match=r"unknown architecture .*: choose one of resnet18, .*\(resnet20w16\)"):
        ARCHITECTURES[name]


def test_a_network_of_ones_own_has_the_neurons_and_options_that_the_row_names():
    model = make_network(f"{__name__}:OneUnit", "ternary", 3, neuron_options={"threshold": 0.7}, **SIZES)
    assert {name: neuron.threshold for name, neuron in named_neurons(model).items()} == {"only": 0.7}
    assert model(torch.zeros(2, 2, 8, 8)).shape == (2, 3) and model(torch.zeros(2, 3, 2, 8, 8)).shape == (2, 3)
    assert [operation.name for operation in fold(model).operations] == ["only.conv", "only", "classifier"]


def test_a_network_of_data_is_the_same_by_either_way():
    made, named = [], ("resnet6w4", "trainable", 2)
    for way in (make_network, SpikingResNet):
        torch.manual_seed(0)
        made.append(way(*named, stem_batch_norm="over_time", **SIZES))
    assert str(made[0]) == str(made[1])
    for one, other in zip(*(model.state_dict().values() for model in made), strict=True):
        assert torch.equal(one, other)


def test_what_is_no_network_is_refused():
    with pytest.raises(ValueError, match=r"Nothing' is no subclass of ternary_spike\.models\.base:SpikingNetwork"):
        make_network(f"{__name__}:Nothing", "ternary", 3, **SIZES)
