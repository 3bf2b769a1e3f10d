"""Every convolution goes through one place, which keeps clear of a fault of torch and changes nothing else."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ternary_spike.models.convolution import conv2d
from ternary_spike.models.layers import Conv2d
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.reparam import equivalence
from ternary_spike.reparam.folding import fold

ROOT = Path(__file__).parents[2]
ORDERS = (torch.contiguous_format, torch.channels_last)


class StridedConvolutions(TorchDispatchMode):
    """Collects the input channels of the strided 1x1 convolutions that reach torch."""

    def __init__(self):
        super().__init__()
        self.channels = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in ("convolution", "convolution_backward"):
            backward = "backward" in func.overloadpacket.__name__
            weight, stride = (args[2], args[4]) if backward else (args[1], args[3])
            if tuple(weight.shape[2:]) == (1, 1) and max(stride) > 1:
                self.channels.append(weight.shape[1])
        return func(*args, **(kwargs or {}))


def results(function, x, weight, **settings):
    """Output and gradients."""
    x, weight = (t.detach().clone(memory_format=torch.preserve_format).requires_grad_() for t in (x, weight))
    y = function(x, weight, **settings)
    y.backward(torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y))
    return y, x.grad, weight.grad


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("channels", "kernel", "settings"),
    [
        (16, 1, {"stride": 2}),
        (33, 1, {"stride": (2, 3)}),
        (2, 1, {}),
        (2, 1, {"stride": 2, "padding": 1}),
        (2, 3, {"stride": 2, "padding": 1}),
        (2, 3, {"stride": (2, 2), "padding": (1, 1), "dilation": (2, 2)}),
    ],
)
@pytest.mark.parametrize("batch", [2, 16])
def test_a_safe_convolution_is_torchs_to_the_bit(order, channels, kernel, settings, batch):
    torch.manual_seed(0)
    x, weight = torch.randn(batch, channels, 7, 7), torch.randn(5, channels, kernel, kernel)
    x, weight = x.to(memory_format=order), weight.to(memory_format=order)
    for ours, torchs in zip(
        results(conv2d, x, weight, **settings), results(F.conv2d, x, weight, **settings), strict=True
    ):
        assert torch.equal(ours, torchs)


@pytest.mark.parametrize("channels", [1, 2, 7])
def test_few_channels_are_safe_channel_by_channel_and_stay_torchs_to_the_bit(channels):
    torch.manual_seed(0)
    x, weight = torch.randn(2, channels, 7, 7), torch.randn(5, channels, 1, 1)
    for ours, torchs in zip(results(conv2d, x, weight, stride=2), results(F.conv2d, x, weight, stride=2), strict=True):
        assert torch.equal(ours, torchs)


@pytest.mark.parametrize("order", [(a, b) for a in ORDERS for b in ORDERS])
@pytest.mark.parametrize("stride", [2, 3, (1, 2)])
@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (2, 1), (7, 1), (4, 2)])
def test_an_unsafe_convolution_is_the_same_sum(order, stride, channels, groups):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(16, channels, 8, 8), torch.randn(6, channels // groups, 1, 1), torch.randn(6)
    settings = {"stride": stride, "groups": groups}
    exact = results(F.conv2d, x.double(), weight.double(), bias=bias.double(), **settings)
    x, weight = x.to(memory_format=order[0]), weight.to(memory_format=order[1])
    with StridedConvolutions() as strided:
        found = results(conv2d, x, weight, bias=bias, **settings)
    for ours, right in zip(found, exact, strict=True):
        torch.testing.assert_close(ours.double(), right, rtol=1e-5, atol=1e-5)
    # a weight for a single channel lies in memory the same way in either order
    safe = order[0] == torch.contiguous_format and (order[1] == torch.contiguous_format or channels == 1)
    assert bool(strided.channels) == safe


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (1, 2)])
def test_padding_of_another_kind_is_torchs(order, kernel, stride):
    torch.manual_seed(0)
    ours, torchs = (
        Conv2d(16, 4, kernel, stride),
        nn.Conv2d(16, 4, kernel, stride, 1, bias=False, padding_mode="circular"),
    )
    ours.padding, ours.padding_mode = torchs.padding, "circular"
    ours._reversed_padding_repeated_twice = torchs._reversed_padding_repeated_twice
    ours.weight = torchs.weight
    x = torch.randn(16, 16, 8, 8).to(memory_format=order)
    assert torch.equal(ours(x), torchs(x))


@pytest.mark.parametrize("width", [2, 7, 16])
def test_training_evaluation_and_folding_keep_clear_of_the_fault(width):
    torch.manual_seed(0)
    model = SpikingResNet(f"resnet6w{width}", "trainable", 2, image_size=8).to(memory_format=torch.channels_last)
    x = torch.randn(16, 3, 8, 8)
    with StridedConvolutions() as strided:
        model(x).square().sum().backward()
        model.eval()
        folded = fold(model, torch.float32)
        with torch.no_grad():
            model(x)
        equivalence.compare(model, folded, [x], torch.float32)
    assert bool(strided.channels) == (width == 16)  # which is safe, and shows that they are found


def test_nothing_goes_past_the_one_place():
    past = re.compile(r"(F|functional|torch|aten)\.conv\w*\(|nn\.(Lazy)?Conv\w*\(|import .*\bconv[123]d\b")
    found = {
        str(path.relative_to(ROOT)): uses
        for folder in ("lib", "benchmarks", "notebooks", "workflow")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if (uses := [line.strip() for line in path.read_text().splitlines() if past.search(line)])
    }
    ours = "from ternary_spike.models.convolution import conv2d"
    assert {path: [use for use in uses if use != ours] for path, uses in found.items() if uses != [ours]} == {
        "lib/ternary_spike/models/convolution.py": [
            "return F.conv2d(x, weight, bias, stride, padding, dilation, groups)"
        ]
    }
