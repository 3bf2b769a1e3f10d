"""Time-folded layers against the same operation done timestep by timestep."""

import copy

import pytest
import torch
from torch import nn

from ternary_spike.models.batch_norm import BatchNorm2d
from ternary_spike.models.layers import AvgPool2d, Conv2d

F64 = torch.float64


def channels_last(x):
    return x.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, x.shape[:2])


@pytest.mark.parametrize("layer", [Conv2d(3, 5, 3, 2), Conv2d(3, 5, 1), AvgPool2d(2, 2, ceil_mode=True)])
@pytest.mark.parametrize("order", [torch.Tensor.contiguous, channels_last])
def test_time_in_the_batch_equals_a_loop_over_time(layer, order):
    torch.manual_seed(0)
    layer = copy.deepcopy(layer).double()
    x = order(torch.randn(3, 2, 3, 7, 7, dtype=F64))
    torch.testing.assert_close(
        layer(x),
        torch.stack([layer(step) for step in x])
        if isinstance(layer, Conv2d)
        else torch.stack([nn.AvgPool2d.forward(layer, step) for step in x]),
        rtol=1e-13,
        atol=1e-13,
    )


def test_convolutions_have_no_bias_and_keep_the_side():
    assert Conv2d(3, 4, 3).bias is None
    assert Conv2d(3, 4, 3)(torch.zeros(2, 1, 3, 9, 9)).shape == (2, 1, 4, 9, 9)
    assert Conv2d(3, 4, 7, 2)(torch.zeros(1, 3, 224, 224)).shape == (1, 4, 112, 112)


def test_batch_norm_over_time_takes_one_population():
    torch.manual_seed(0)
    bn, twin = BatchNorm2d(3).double(), nn.BatchNorm2d(3).double()
    x = torch.randn(4, 2, 3, 5, 5, dtype=F64) * 3 + 1
    assert torch.equal(bn(x), twin(x.flatten(0, 1)).unflatten(0, (4, 2)))
    assert torch.equal(bn.running_var, twin.running_var) and bn.num_batches_tracked == 1
    torch.testing.assert_close(bn(x).mean((0, 1, 3, 4)), torch.zeros(3, dtype=F64), atol=1e-12, rtol=0)


def test_batch_norm_per_step_normalises_each_step_and_moves_the_statistics_in_turn():
    torch.manual_seed(0)
    bn, twin = BatchNorm2d(3, per_step=True).double(), nn.BatchNorm2d(3).double()
    x = torch.randn(4, 2, 3, 5, 5, dtype=F64) * torch.arange(1, 5, dtype=F64).view(4, 1, 1, 1, 1)
    y = bn(x)
    assert torch.equal(y, torch.stack([twin(step) for step in x]))
    assert torch.equal(bn.running_mean, twin.running_mean) and torch.equal(bn.running_var, twin.running_var)
    assert bn.num_batches_tracked == 4
    torch.testing.assert_close(y.var((1, 3, 4), correction=0), torch.ones(4, 3, dtype=F64), rtol=1e-4, atol=0)
    bn.eval(), twin.eval()
    torch.testing.assert_close(bn(x), torch.stack([twin(step) for step in x]), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("timesteps", [1, 2, 4])
def test_a_static_image_once_equals_it_repeated_gradients_and_running_statistics_included(per_step, timesteps):
    torch.manual_seed(0)
    once, repeated = (BatchNorm2d(3, per_step).double() for _ in range(2))
    for bn in (once, repeated):
        nn.init.constant_(bn.weight, 1.5)
    for _ in range(3):  # several batches: the statistics' history must agree, not only their first step
        image = torch.randn(4, 3, 5, 5, dtype=F64) * 2 + 1
        a, b = image.clone().requires_grad_(), image.clone().requires_grad_()
        y = once.repeated(a, timesteps)
        y_repeated = repeated(b.expand(timesteps, *b.shape))
        torch.testing.assert_close(y.expand_as(y_repeated), y_repeated, rtol=1e-12, atol=1e-12)
        weight = torch.randn(y_repeated.shape, dtype=F64)
        (y.expand_as(weight) * weight).sum().backward()
        (y_repeated * weight).sum().backward()
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-11, atol=1e-12)
    for name, statistic in once.named_buffers():
        torch.testing.assert_close(statistic, dict(repeated.named_buffers())[name], rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(once.weight.grad, repeated.weight.grad, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(once.bias.grad, repeated.bias.grad, rtol=1e-11, atol=1e-12)


def test_a_static_image_in_evaluation_moves_nothing():
    bn = BatchNorm2d(3).eval()
    before = copy.deepcopy(bn.state_dict())
    image = torch.randn(2, 3, 4, 4)
    assert torch.equal(bn.repeated(image, 4), bn(image.unsqueeze(0))[0])
    assert all(torch.equal(v, before[k]) for k, v in bn.state_dict().items())
