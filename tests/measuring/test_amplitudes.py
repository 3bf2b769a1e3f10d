"""Where an amplitude can act: told by the structure, and by the gradient."""

import pytest
import torch

from ternary_spike.measuring.amplitudes import gradient_shares, live_layers
from ternary_spike.models.base import named_neurons
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.reparam.folding import fold


def shares_of(architecture: str, side: int) -> tuple[dict[str, float], list[str]]:
    """The largest share over a few batches: on one of them a live layer's contributions may happen to cancel."""
    torch.manual_seed(0)
    model = SpikingResNet(architecture, "trainable", 2, image_size=side).double()
    batches = [gradient_shares(model, torch.randn(8, 3, side, side).double(), torch.arange(8)) for _ in range(5)]
    return {layer: max(batch[layer] for batch in batches) for layer in batches[0]}, live_layers(fold(model))


def test_resnet20_has_6_live_layers_of_19():
    live = live_layers(fold(SpikingResNet("resnet20w4", "trainable", 1)))
    # the stem's end and the ends of blocks that meet an identity shortcut, and the last layer of all
    assert live == ["stem3", *(f"stage{s}.block1.2" for s in (1, 2, 3, 4)), "stage4.block2.2"]
    assert len(named_neurons(SpikingResNet("resnet20w4", "trainable", 1))) == 19


@pytest.mark.parametrize(
    "architecture, side",
    [("resnet20w8", 32), ("resnet19w8", 16), ("resnet18w8", 64), ("resnet34w4", 64), ("resnet6", 16)],
)
def test_the_gradient_is_zero_where_the_structure_says_blind(architecture, side):
    shares, live = shares_of(architecture, side)
    assert 0 < len(live) < len(shares)
    for layer, share in shares.items():
        if layer in live:
            assert share > 1e-3, layer
        else:
            assert share < 1e-4, layer  # batch norm's epsilon is 1e-5 of a unit variance


def test_an_amplitude_a_channel_is_live_everywhere():
    torch.manual_seed(1)
    options = {"amplitude_per": "channel"}
    model = SpikingResNet("resnet6", "trainable", 2, image_size=16, neuron_options=options).double()
    x = torch.randn(12, 3, 16, 16, dtype=torch.float64)
    shares = gradient_shares(model, x, torch.randint(0, 10, (12,)))
    assert min(shares.values()) > 1e-3
