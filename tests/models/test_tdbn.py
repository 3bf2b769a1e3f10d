"""tdBN: worked examples, its limits, what it is blind to, and its two ways to be trained."""

import math

import pytest
import torch
from torch import Tensor

from ternary_spike import BinaryLIF
from ternary_spike.models.batch_norm import BatchNorm2d
from ternary_spike.models.layers import Conv2d
from ternary_spike.models.normalisations import make_normalisation
from ternary_spike.models.normalise_and_fire import normalise_and_fire, normalise_and_fire_static
from ternary_spike.models.registry import make_network
from ternary_spike.models.tdbn import SCALES, ThresholdBatchNorm2d
from ternary_spike.reparam.equivalence import verify
from ternary_spike.reparam.folding import Folder, fold
from ternary_spike.reparam.network import IMAGE
from tests.helpers.networks import recalibrate
from tests.helpers.rivals import spikingjelly


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def tdbn(channels: int = 1, eps: float = 1e-30, **options) -> ThresholdBatchNorm2d:
    norm = make_normalisation("tdbn", channels, **options).double()
    norm.eps = eps
    return norm


def currents(channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 2 + 3 * torch.randn(4, 5, channels, 6, 6, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    ("branches", "expected"),
    [(1, (-0.670820, -0.223607, 0.223607, 0.670820)), (2, (-0.474342, -0.158114, 0.158114, 0.474342))],
)
def test_four_numbers_in_units_of_the_threshold(scale, branches, expected):
    """1, 3, 5, 7 have mean 4 and standard deviation 2.236068; V_th is 0.5. Time and space are one population."""
    norm = tdbn(branches=branches, scale=scale)
    z = norm(double(1, 3, 5, 7).view(2, 1, 1, 2, 1))
    torch.testing.assert_close(z.flatten(), double(*expected), rtol=0, atol=5e-7)
    assert z.std(correction=0).item() == pytest.approx(
        0.5 / math.sqrt(branches), abs=1e-7
    )  # 0.5 is no float32 / sqrt(2)


def test_it_folds_into_the_convolution_as_worked_out_by_hand():
    conv, norm = torch.nn.Conv2d(1, 1, 1).double(), tdbn()
    values = {conv.weight: 2.0, conv.bias: 0.3, norm.weight: 1.2, norm.bias: 0.1}
    for parameter, value in (values | {norm.running_mean: 0.4, norm.running_var: 0.25}).items():
        parameter.data.fill_(value)
    folder = Folder(torch.float64)
    folder.conv("conv", conv, norm, IMAGE)
    weight, bias = folder.weights["conv.weight"].item(), folder.weights["conv.bias"].item()
    assert (weight, bias) == (pytest.approx(2.4, abs=1e-7), pytest.approx(-0.02, abs=1e-7))
    x = torch.full((1, 1, 1, 1, 1), 0.7, dtype=torch.float64)
    assert norm.eval()(conv(x[0]).unsqueeze(0)).item() == pytest.approx(1.66, abs=1e-6)
    assert weight * 0.7 + bias == pytest.approx(1.66, abs=1e-6)


def test_the_neuron_behind_it():
    neuron, v, states = BinaryLIF(threshold=0.5, decay=0.25), None, []
    for z in (0.4, 0.45, 0.6, 0.2):
        spikes, v = neuron.step(double(z), v)
        states.append((spikes.item(), v.item()))
    assert states == [(0, pytest.approx(0.4)), (1, 0), (1, 0), (0, pytest.approx(0.2))]


@pytest.mark.parametrize("scale", SCALES)
def test_with_threshold_1_it_is_batch_norm_over_time(scale):
    x = currents()
    one, other = tdbn(3, 1e-5, threshold=1.0, scale=scale), torch.nn.BatchNorm3d(3).double()
    torch.testing.assert_close(one(x), other(x.movedim(0, 2)).movedim(2, 0))
    for statistic in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(one, statistic), getattr(other, statistic))
    single, plain = tdbn(3, 1e-5, threshold=1.0, scale=scale), torch.nn.BatchNorm2d(3).double()
    torch.testing.assert_close(single(x[:1])[0], plain(x[0]))


@pytest.mark.parametrize("scale", SCALES)
def test_mean_and_deviation_of_each_channel(scale):
    norm = tdbn(3, threshold=0.7, branches=2, scale=scale)
    norm.weight.data *= double(0.5, 1.5, 2)
    norm.bias.data = double(-1, 0, 0.25)
    z = norm(currents()).transpose(0, 2).flatten(1)
    torch.testing.assert_close(z.mean(1), norm.bias.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(
        z.std(1, correction=0), double(0.5, 1.5, 2) * 0.7 / math.sqrt(2), rtol=1e-6, atol=0
    )  # the weight before training is a number of float32


def test_the_sum_of_two_branches_varies_as_one_alone():
    branches = [tdbn(branches=2, threshold=0.5)(part) for part in currents(2).split(1, dim=2)]
    assert (branches[0] + branches[1]).std().item() == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("scale", SCALES)
def test_it_is_blind_to_the_size_of_a_kernel(scale):
    """sum of w dL/dw is 0 for each output channel, since c w with c > 0 gives the same output."""
    torch.manual_seed(0)
    conv, norm = Conv2d(3, 4, 3).double(), tdbn(4, scale=scale)
    x, target = currents(), torch.randn(4, 5, 4, 6, 6, dtype=torch.float64)
    z = norm(conv(x))
    (z.tanh() * target).sum().backward()
    assert (conv.weight * conv.weight.grad).sum((1, 2, 3)).abs().max() < 1e-12
    assert conv.weight.grad.abs().amax((1, 2, 3)).min() > 0.1
    conv.weight.data *= double(0.1, 2, 3, 40).view(4, 1, 1, 1)
    torch.testing.assert_close(norm(conv(x)), z)


@pytest.mark.parametrize("branches", [1, 2])
def test_factor_and_weight_learn_at_different_rates(branches):
    """dL/dlambda = alpha V_th dL/dw, so that SGD moves w by (alpha V_th)^2 times as much where there is a factor."""
    x, alpha_v_th, moved = currents(), 0.5 / math.sqrt(branches), {}
    found, gradients = {}, {}
    for scale in SCALES:
        norm = tdbn(3, branches=branches, scale=scale)
        found[scale] = norm(x)
        (found[scale] ** 3).sum().backward()
        gradients[scale] = norm.weight.grad
        before = norm.gain.detach().clone()
        norm.weight.data -= 1e-3 * norm.weight.grad
        moved[scale] = norm.gain.detach() - before
    close = {"rtol": 1e-6, "atol": 0}  # alpha V_th of the weight is a float32
    torch.testing.assert_close(found["factor"], found["weight"], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradients["factor"], alpha_v_th * gradients["weight"], **close)
    torch.testing.assert_close(moved["factor"], alpha_v_th**2 * moved["weight"], **close)
    assert moved["weight"].abs().min() > 1e-3


def test_joint_statistics_are_not_those_of_each_timestep():
    x = double(0, 0, 2, 2).view(2, 2, 1, 1, 1)
    torch.testing.assert_close(tdbn()(x).flatten(), double(-0.5, -0.5, 0.5, 0.5))
    assert tdbn(eps=1e-5, per_step=True)(x).abs().max() == 0


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("static", [False, True])
def test_fused_and_one_by_one_are_the_same(static, scale):
    y, found = currents()[0] if static else currents(), []
    for watched in (False, True):
        norm, neuron = tdbn(3, 1e-5, branches=2, scale=scale), BinaryLIF()
        if watched:  # a hook keeps the two from being one operation
            norm.register_forward_hook(lambda *_: None)
        x = y.clone().requires_grad_()
        spikes = normalise_and_fire_static(norm, neuron, x, 3) if static else normalise_and_fire(norm, neuron, x)
        (spikes * torch.linspace(-1, 2, spikes.numel(), dtype=torch.float64).view_as(spikes)).sum().backward()
        found.append([spikes.detach(), x.grad, norm.weight.grad, norm.bias.grad, norm.running_var])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


#: where more than one branch is normalised, and where the other one is the identity
PROJECTED, IDENTITY = {"stages.1.0.bn2", "stages.1.0.shortcut.bn"}, {"stages.0.0.bn2"}


@pytest.mark.parametrize("sums, scaled", [("all", PROJECTED | IDENTITY), ("projection", PROJECTED)])
@pytest.mark.parametrize("scale", SCALES)
def test_a_network_scales_summed_branches_and_folds_exactly(scale, sums, scaled):
    torch.manual_seed(0)
    options = {"threshold": 0.8, "scale": scale, "scaled_sums": sums}
    sizes = {"num_classes": 3, "in_channels": 2, "image_size": 8, "stem_batch_norm": "over_time"}
    model = make_network(
        "resnet6w4", "ternary", 2, normalisation="tdbn", normalisation_options=options, **sizes
    ).double()
    norms = {name: norm for name, norm in model.named_modules() if isinstance(norm, BatchNorm2d)}
    before = {name: norm.gain.mean().item() for name, norm in norms.items()}
    for name, gain in before.items():
        assert gain == pytest.approx(0.8 / math.sqrt(2) if name in scaled else 0.8, rel=1e-6), name
    assert scaled < before.keys()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(16, 2, 8, 8, dtype=torch.float64, generator=generator)
    recalibrate(model, x, generator)
    result = verify(model, fold(model), [x])
    assert result["passed"] and result["float64"]["spikes"] > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold": 0.0}, "normalisation option threshold is 0.0, but must be a number above 0"),
        ({"scale": "both"}, "normalisation option scale is 'both', but must be one of factor, weight"),
        ({"scaled_sums": "none"}, "normalisation option scaled_sums is 'none', but must be one of all, projection"),
    ],
)
def test_what_cannot_be_is_one_line(options, words):
    with pytest.raises(ValueError, match=words):
        make_normalisation("tdbn", 4, **options)
    with pytest.raises(ValueError, match=next(iter(options))):
        ThresholdBatchNorm2d(4, **options)


@pytest.mark.full
@pytest.mark.parametrize("branches", [1, 2])
def test_spikingjelly_agrees(branches):
    """In training and evaluation; its layer trains the whole weight, and always has statistics of all timesteps."""
    alpha, x, weight = 1 / math.sqrt(branches), currents(), currents().flip(0)
    theirs = spikingjelly("layer").ThresholdDependentBatchNorm2d(alpha, 0.7, 3).double()
    ours = {scale: tdbn(3, 1e-5, branches=branches, threshold=0.7, scale=scale) for scale in SCALES}
    found = {}
    for name, norm in {**ours, "theirs": theirs}.items():
        norm.bias.data = double(-1, 0, 0.25)
        mine = x.clone().requires_grad_()
        z = norm(mine)
        gradients = torch.autograd.grad((z.tanh() * weight).sum(), [mine, norm.weight, norm.bias])
        moved = [norm.running_mean.clone(), norm.running_var.clone()]
        found[name] = [z, *moved, norm.eval()(2 * x), *gradients]
    torch.testing.assert_close(found["weight"], found["theirs"], rtol=1e-12, atol=1e-12)
    # a factor of alpha V_th is as long as a float64, a weight before training as long as a float32
    assert ours["weight"].weight.unique() == theirs.weight.unique()
    found["factor"][5] = found["factor"][5] / (alpha * 0.7)
    torch.testing.assert_close(found["factor"], found["theirs"], rtol=1e-6, atol=1e-6)
    assert all(g.abs().max() > 1e-3 for g in found["theirs"])
    single = tdbn(3, 1e-5, branches=branches, threshold=0.7, per_step=True)(x)
    assert not torch.allclose(single, found["factor"][0] - double(-1, 0, 0.25).view(3, 1, 1), atol=1e-2)
