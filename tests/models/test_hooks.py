"""Whoever looks on through a hook sees every module of a network, whatever the input and the mode."""

import pytest
import torch
from torch import nn

from ternary_spike import SpikingResNet
from ternary_spike.models.batch_norm import BatchNorm2d

HOLDERS = (nn.ModuleList,)  # lists of modules are never called themselves


def network(architecture: str, per_step: str, width: int = 8) -> SpikingResNet:
    torch.manual_seed(0)
    return SpikingResNet(f"{architecture}w{width}", "trainable", 2, image_size=16, stem_batch_norm=per_step).double()


def inputs(static: bool) -> torch.Tensor:
    return torch.randn(2, *(() if static else (2,)), 3, 16, 16, dtype=torch.float64)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("architecture", ["resnet20", "resnet18"])
@pytest.mark.parametrize(
    "register", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"]
)
def test_each_modules_hook_fires_once(architecture, static, training, register):
    model = network(architecture, "per_step").train(training)
    called = []
    for name, module in model.named_modules():
        if not isinstance(module, HOLDERS):
            getattr(module, register)(lambda *_, name=name: called.append(name) and None)
    expected = [name for name, module in model.named_modules() if not isinstance(module, HOLDERS)]
    scores = model(inputs(static).requires_grad_())
    if "backward" in register:
        scores.sum().backward()
    assert sorted(called) == sorted(expected)


@pytest.mark.parametrize("per_step", ["per_step", "over_time"])
@pytest.mark.parametrize("training", [False, True])
def test_a_hook_changes_nothing_and_sees_what_the_module_computes(training, per_step):
    """A static picture's first convolution and batch norm are computed once: the hook sees one timestep's output."""
    x = inputs(static=True)
    plain, watched = (network("resnet20", per_step).train(training) for _ in range(2))
    seen = {}
    for name in ("stem.0", "stem.0.conv", "stem.0.bn", "stem.0.neuron"):
        module = watched.get_submodule(name)
        module.register_forward_hook(lambda m, i, o, name=name: seen.__setitem__(name, (i, o)))
    torch.testing.assert_close(watched(x), plain(x), rtol=1e-10, atol=1e-12)
    for (name, a), b in zip(watched.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14, msg=name)
    assert all(len(given) == 1 for given, _ in seen.values())
    (image,), spikes = seen["stem.0"]
    assert torch.equal(image, x) and torch.equal(spikes, seen["stem.0.neuron"][1]) and spikes.shape == (2, 2, 8, 16, 16)
    (current,), normalised = seen["stem.0.bn"]
    assert torch.equal(current, seen["stem.0.conv"][1]) and current.dim() == 4
    assert torch.equal(normalised.expand_as(spikes), seen["stem.0.neuron"][0][0])


def test_a_hook_that_changes_an_output_is_heeded():
    x, model = inputs(static=True), network("resnet20", "per_step")
    silent = model.stem[0].register_forward_hook(lambda m, i, spikes: torch.zeros_like(spikes))
    model.eval()
    assert torch.equal(model(x), model(torch.zeros_like(x)))
    silent.remove()
    assert not torch.equal(model(x), model(torch.zeros_like(x)))


def test_a_stem_of_ones_own_gets_the_repeated_picture():
    class Stem(nn.Module):
        def forward(self, x):
            shapes.append(tuple(x.shape))
            return torch.ones(*x.shape[:2], 8, 16, 16, dtype=x.dtype)

    shapes = []
    model = network("resnet8", "per_step")
    model.stem[0] = Stem()
    assert model.eval()(inputs(static=True)).shape == (2, 10)
    assert shapes == [(2, 2, 3, 16, 16)]


class Shifted(BatchNorm2d):
    def forward(self, x):
        return super().forward(x) + 1


def test_a_batch_norm_of_ones_own_is_called():
    """Its output was passed over for a static picture."""
    model = network("resnet8", "per_step")
    twin = network("resnet8", "per_step")
    shifted = Shifted(8, per_step=True).double()
    twin.stem[0].bn = shifted
    with torch.no_grad():
        model.stem[0].bn.bias.fill_(1)
    x = inputs(static=True)
    for training in (True, False):
        torch.testing.assert_close(twin.train(training)(x), model.train(training)(x), rtol=1e-9, atol=1e-9)


OPTIONS = {
    "momentum=None": lambda bn: setattr(bn, "momentum", None),
    "affine=False": lambda bn: (setattr(bn, "weight", None), setattr(bn, "bias", None)),
    "no bias": lambda bn: setattr(bn, "bias", None),
    "no running statistics": lambda bn: [setattr(bn, n, None) for n in ("running_mean", "running_var")],
    "track_running_stats=False": lambda bn: setattr(bn, "track_running_stats", False),
    "eps": lambda bn: setattr(bn, "eps", 0.2),
}


@pytest.mark.parametrize("per_step", ["per_step", "over_time"])
@pytest.mark.parametrize("option", OPTIONS)
def test_options_of_torchs_batch_norm_are_honoured_in_training(option, per_step):
    """Static or repeated, fused or one by one: what torch's batch norm does to the repeated picture."""

    def changed():
        model = network("resnet8", per_step)
        for module in model.modules():
            if isinstance(module, BatchNorm2d):
                OPTIONS[option](module)
        return model

    fused, single = changed(), changed()
    for module in single.modules():
        module.register_forward_hook(lambda *_: None)
    for _ in range(2):
        x = inputs(static=True)
        frames = x.unsqueeze(1).expand(-1, 2, -1, -1, -1)
        scores = [fused(x), single(frames)]
        torch.testing.assert_close(*scores, rtol=1e-8, atol=1e-10)
        for y in scores:
            y.square().sum().backward()
    for (name, a), b in zip(fused.named_parameters(), single.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-6, atol=1e-8, msg=name)
    for (name, a), b in zip(fused.named_buffers(), single.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11, msg=name)
