"""Batch norm, shortcut and neuron as one operation against the modules one by one, and against a plain network."""

import copy
import itertools
from contextlib import contextmanager

import pytest
import torch
from benchmarks.plain import plain_loop
from torch import nn

from ternary_spike import SpikingResNet, TrainableTernaryLIF, make_neuron
from ternary_spike.membrane import backends
from ternary_spike.membrane.potential_terms import TERMS, Gauge
from ternary_spike.membrane.surrogate import SURROGATES
from ternary_spike.models.base import named_neurons
from ternary_spike.models.batch_norm import BatchNorm2d
from ternary_spike.models.normalise_and_fire import normalise_and_fire, normalise_and_fire_static
from ternary_spike.neurons.real_spike import RealSpike

F64 = torch.float64


class Plain(nn.Module):
    """A neuron layer by the plain loop; the library does not know it, so it fuses nothing around it."""

    def __init__(self, neuron):
        super().__init__()
        self.signed, self.amplitude = neuron.dynamics.signed, neuron.amplitude

    def forward(self, x):
        return plain_loop(x, signed=self.signed, amplitude=self.amplitude)[0]


def plain_copy(model):
    twin = copy.deepcopy(model)
    for unit in twin.stem:
        unit.neuron = Plain(unit.neuron)
    for stage in twin.stages:
        for block in stage:
            block.neuron1, block.neuron2 = Plain(block.neuron1), Plain(block.neuron2)
    return twin


def parts(per_step=False, channels=6, amplitude=1.3):
    torch.manual_seed(0)
    bn = BatchNorm2d(channels, per_step).double()
    nn.init.uniform_(bn.weight, 0.5, 1.5)
    nn.init.normal_(bn.bias)
    return bn, TrainableTernaryLIF(amplitude).double()


def test_only_the_convolutions_output_and_the_shortcut_are_kept():
    bn, neuron = parts()
    y = torch.randn(2, 3, 6, 8, 8, dtype=F64, requires_grad=True)
    shortcut = torch.randn(2, 3, 6, 8, 8, dtype=F64, requires_grad=True)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        normalise_and_fire(bn, neuron, y, shortcut)
    large = {t.untyped_storage().data_ptr() for t in saved if t.numel() > 100}
    assert large == {y.untyped_storage().data_ptr(), shortcut.untyped_storage().data_ptr()}


def test_a_static_input_is_kept_once():
    bn, neuron = parts()
    y = torch.randn(3, 6, 8, 8, dtype=F64, requires_grad=True)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        spikes = normalise_and_fire_static(bn, neuron, y, 4)
    assert spikes.shape == (4, 3, 6, 8, 8)
    assert sum(t.numel() for t in saved) <= y.numel() + 100


def test_hooks_see_the_input_current_in_training_and_evaluation():
    """Whoever records what enters a neuron gets it: nothing is fused past a hook, and nothing at all in evaluation."""
    bn, neuron = parts()
    y = torch.randn(2, 3, 6, 8, 8, dtype=F64)
    seen = []
    handle = neuron.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with_hook = normalise_and_fire(bn, neuron, y, y)
    torch.testing.assert_close(seen[0], copy.deepcopy(bn)(y) + y, rtol=1e-12, atol=1e-12)
    handle.remove()
    assert torch.equal(normalise_and_fire(bn, neuron, y, y), with_hook)

    for module in (bn, neuron):
        for register in (
            module.register_forward_hook,
            module.register_forward_pre_hook,
            module.register_full_backward_hook,
            module.register_full_backward_pre_hook,
            torch.nn.modules.module.register_module_forward_hook,  # for all modules
            torch.nn.modules.module.register_module_full_backward_hook,
        ):
            called = []
            handle = register(lambda *arguments, called=called: called.append(True) and None)
            normalise_and_fire(bn, neuron, y.clone().requires_grad_(), y).sum().backward()
            handle.remove()
            assert called

    model = SpikingResNet("resnet8w4", "ternary", 2, image_size=16).eval()
    currents = {}
    for name, layer in named_neurons(model).items():
        layer.register_forward_hook(lambda m, i, o, name=name: currents.__setitem__(name, (i[0], o)))
    model(torch.randn(3, 3, 16, 16))
    assert set(currents) == set(named_neurons(model))
    for name, (x, spikes) in currents.items():
        assert torch.equal(spikes, named_neurons(model)[name](x)) and x.shape == spikes.shape


def test_a_neuron_of_ones_own_is_called(monkeypatch):
    """Only what the fused operation knows to compute may be computed by it."""

    class Inverted(TrainableTernaryLIF):
        def forward(self, x):
            return -super().forward(x)

    bn, neuron = parts()
    twin = copy.deepcopy(bn)
    inverted = Inverted(1.3).double()
    y = torch.randn(2, 3, 6, 8, 8, dtype=F64)
    expected = -normalise_and_fire(twin, neuron, y)
    assert torch.equal(normalise_and_fire(bn, inverted, y), expected)

    # one layer alone: its class, and with it the claim of a kernel, stays as it was
    patched = TrainableTernaryLIF(1.3).double()
    patched.forward = lambda x: -TrainableTernaryLIF.forward(patched, x)
    assert torch.equal(normalise_and_fire(bn, patched, y), expected)


@pytest.mark.parametrize("per_step", [False, True])
def test_one_value_a_channel_has_no_variance(per_step):
    bn, neuron = BatchNorm2d(3, per_step), TrainableTernaryLIF()
    before = bn.running_var.clone()
    with pytest.raises(ValueError, match=r"more than one value a channel .* is \(1, 1, 3, 1, 1\): use a larger batch"):
        normalise_and_fire(bn, neuron, torch.randn(1, 1, 3, 1, 1))
    with pytest.raises(ValueError, match=r"more than one value a channel .* is \(1, 3, 1, 1\): use a larger batch"):
        normalise_and_fire_static(bn, neuron, torch.randn(1, 3, 1, 1), 2)
    two_timesteps = torch.randn(2, 1, 3, 1, 1)
    if per_step:
        with pytest.raises(ValueError, match="more than one value"):
            normalise_and_fire(bn, neuron, two_timesteps)
        assert torch.equal(bn.running_var, before)
    else:
        assert normalise_and_fire(bn, neuron, two_timesteps).isfinite().all()


@pytest.mark.parametrize("static", [False, True])
def test_under_autocast_the_fused_operation_and_the_modules_give_the_same_spikes(static):
    """Whoever looks on through a hook, and evaluation, would else have the current rounded, and other spikes."""
    torch.manual_seed(0)
    bn, neuron = BatchNorm2d(6), TrainableTernaryLIF(1.5)
    hooked = copy.deepcopy(neuron)
    currents = []
    hooked.register_forward_pre_hook(lambda module, inputs: currents.append(inputs[0]))
    y = torch.randn(8, 6, 16, 16).bfloat16() if static else torch.randn(2, 8, 6, 16, 16).bfloat16()
    call = (lambda n: normalise_and_fire_static(bn, n, y, 2)) if static else (lambda n: normalise_and_fire(bn, n, y, y))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fused, seen = call(neuron), call(hooked)
    assert currents[0].dtype == torch.float32 and fused.dtype == seen.dtype == torch.bfloat16
    assert (fused != seen).float().mean() < 1e-4  # the last bit of the statistics


@pytest.mark.parametrize(
    ("neuron", "options"),
    [("relu", {}), ("plif", {}), ("stbp", {"detach_reset": False})],
    ids=["relu", "no kernel", "no kernel for this option"],
)
def test_what_cannot_be_fused_is_called_one_by_one(neuron, options):
    bn, _ = parts()
    layer = make_neuron(neuron, 6, **options).double()
    y = torch.randn(2, 3, 6, 4, 4, dtype=F64)
    twin = copy.deepcopy(bn)
    assert torch.equal(normalise_and_fire(bn, layer, y), layer(twin(y)))
    assert torch.equal(bn.running_var, twin.running_var)


def test_an_amplitude_for_each_place_of_a_picture_is_not_fused():
    bn, neuron = parts()
    neuron.amplitude = torch.nn.Parameter(0.5 + torch.rand(6, 4, 4, dtype=F64))
    y, twin = torch.randn(2, 3, 6, 4, 4, dtype=F64), copy.deepcopy(bn)
    assert torch.equal(normalise_and_fire(bn, neuron, y), neuron(twin(y)))


def test_frozen_batch_norm_uses_its_running_statistics():
    bn, neuron = parts()
    bn.eval()
    before = bn.running_mean.clone()
    y = torch.randn(2, 3, 6, 4, 4, dtype=F64) + 2
    assert torch.equal(normalise_and_fire(bn, neuron, y), neuron(bn(y))) and torch.equal(bn.running_mean, before)


@pytest.mark.parametrize("per_step", [False, True])
def test_autocast_keeps_the_statistics_and_the_membrane_in_float32(per_step):
    torch.manual_seed(0)
    bn, neuron = BatchNorm2d(6, per_step), TrainableTernaryLIF(1.5)
    twin = copy.deepcopy(bn)
    y = torch.randn(2, 8, 6, 8, 8).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        spikes = normalise_and_fire(bn, neuron, y)
    assert spikes.dtype == torch.bfloat16
    spikes.float().sum().backward()
    assert y.grad.dtype == torch.bfloat16 and bn.weight.grad.dtype == torch.float32
    wide = y.detach().float().requires_grad_()
    expected = plain_loop(twin(wide), amplitude=neuron.amplitude.detach())[0]
    # the normalised current is not rounded to bfloat16: the spikes are those of float32, but for rounding at the edge
    assert (spikes != expected).float().mean() < 1e-3
    torch.testing.assert_close(bn.running_var, twin.running_var, rtol=1e-5, atol=1e-6)


# what takes longer comes later: tests/test_mutations.py stops at the first that fails


@pytest.mark.parametrize("name, signed", [("binary", False), ("ternary", True), ("trainable", True)])
@pytest.mark.parametrize("timesteps", [1, 2, 4])
def test_every_surrogate_reset_and_input_matches_the_plain_loop(timesteps, name, signed):
    cases = itertools.product(SURROGATES, (False, True), ("static", "alone", "with a shortcut"), (False, True))
    for surrogate, detach_reset, kind, per_step in cases:
        bn, _ = parts(per_step)
        constants = {
            "threshold": 0.4,
            "decay": 0.3,
            "surrogate": surrogate,
            "window": 0.7,
            "detach_reset": detach_reset,
        }
        neuron = make_neuron(name, **constants).double()
        twin, plain = copy.deepcopy(bn), copy.deepcopy(neuron)
        shape = (3, 6, 5, 4) if kind == "static" else (timesteps, 3, 6, 5, 4)
        y, shortcut = (torch.randn(shape, dtype=F64) for _ in range(2))
        ours, theirs = ([t.clone().requires_grad_() for t in (y, shortcut)] for _ in range(2))
        if kind == "static":
            spikes = normalise_and_fire_static(bn, neuron, ours[0], timesteps)
            current = twin(theirs[0].expand(timesteps, *shape))
        elif kind == "alone":
            spikes, current = normalise_and_fire(bn, neuron, ours[0]), twin(theirs[0])
        else:
            spikes, current = normalise_and_fire(bn, neuron, *ours), twin(theirs[0]) + theirs[1]
        expected, _ = plain_loop(current, signed, **constants, amplitude=plain.amplitude)
        assert torch.equal(spikes, expected), (surrogate, detach_reset, kind, per_step)
        grad = torch.randn(spikes.shape, dtype=F64)
        spikes.backward(grad)
        expected.backward(grad)
        for a, b in zip(
            (*ours, *bn.parameters(), *neuron.parameters()),
            (*theirs, *twin.parameters(), *plain.parameters()),
            strict=True,
        ):
            assert (a.grad is None) == (b.grad is None) == (a is ours[1] and kind != "with a shortcut")
            if a.grad is not None:
                torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-12)
        for a, b in zip(bn.buffers(), twin.buffers(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_the_kernels_for_a_shortcut_serve_layers_without_one(compiled, order):
    y, shortcut, grad = (
        torch.randn(4, 32, 8, 8, dtype=F64).to(memory_format=order).expand(2, -1, -1, -1, -1) for _ in range(3)
    )
    for added in (None, shortcut):
        results = []
        for backend in backends.BACKENDS:
            backends.use(backend)
            bn, neuron = parts(channels=32)
            leaf = y.clone().requires_grad_()
            spikes = normalise_and_fire(bn, neuron, leaf, added)
            spikes.backward(grad)
            results.append((spikes.detach(), leaf.grad, bn.weight.grad, bn.bias.grad, neuron.amplitude.grad))
        assert torch.equal(results[0][0], results[1][0])
        torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)
    assert len(compiled) == 2


def compare_resnet20_with_a_plain_one(neuron, stem_batch_norm, order, architecture="resnet20w16", timesteps=2):
    """Scores, every gradient and the running statistics, to 1e-12 in float64; amplitudes off 1."""
    torch.manual_seed(0)
    model = SpikingResNet(architecture, neuron, timesteps, stem_batch_norm=stem_batch_norm).double()
    for layer in named_neurons(model).values():
        if layer.amplitude is not None:
            nn.init.uniform_(layer.amplitude, 0.6, 1.4)
    plain = plain_copy(model)
    model.to(memory_format=order)
    image = torch.randn(2, 3, 32, 32, dtype=F64)
    a, b = image.clone().requires_grad_(), image.clone().requires_grad_()

    sums = {}  # of |gradient x spike|, to which rounding in an amplitude's gradient is relative
    for name, layer in named_neurons(plain).items():

        def hook(module, inputs, spikes, name=name):
            emitted = spikes.detach()  # a tensor that its own hook holds would never be freed, nor the graph behind it
            spikes.register_hook(lambda grad: sums.__setitem__(name, (grad * emitted).abs().sum()))

        layer.register_forward_hook(hook)
    scores, plain_scores = model(a), plain(b)
    torch.testing.assert_close(scores, plain_scores, rtol=1e-12, atol=1e-12)
    for y in (scores, plain_scores):
        (y * torch.linspace(-1, 1, 20, dtype=F64).view(2, 10)).sum().backward()

    def close(ours, theirs, scale, name):
        assert (ours - theirs).abs().max() <= 1e-12 * scale, name

    close(a.grad, b.grad, b.grad.abs().max(), "image")
    amplitudes = {id(layer.amplitude): name for name, layer in named_neurons(plain).items()}
    for (name, p), q in zip(model.named_parameters(), plain.parameters(), strict=True):
        close(p.grad, q.grad, sums[amplitudes[id(q)]] if id(q) in amplitudes else q.grad.abs().max(), name)
    for (name, p), q in zip(model.named_buffers(), plain.buffers(), strict=True):
        close(p, q, q.abs().max(), name)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("stem_batch_norm", ["per_step", "over_time"])
@pytest.mark.parametrize("neuron", ["binary", "ternary", "trainable"])
def test_the_whole_resnet20_equals_a_plain_one(neuron, stem_batch_norm, order):
    compare_resnet20_with_a_plain_one(neuron, stem_batch_norm, order)


@contextmanager
def compiled_kernels():
    """The compiler that is here makes what is computed within."""
    if not backends.compiler_works("cpu"):
        pytest.skip("no C++ compiler here")
    backends.use("compiled")
    try:
        yield
        assert backends.current() == "compiled" and not backends.notices
    finally:
        backends.use("eager")
        backends.notices.clear()


@pytest.mark.full
@pytest.mark.parametrize(("neuron", "order"), [("trainable", torch.channels_last), ("binary", torch.contiguous_format)])
def test_the_whole_resnet20_compiled_equals_a_plain_one(neuron, order):
    with compiled_kernels():
        compare_resnet20_with_a_plain_one(neuron, "per_step", order, "resnet20", timesteps=4)


ORDERS = [torch.channels_last, torch.contiguous_format]


def told_and_gradients(neuron, y, static: bool, fused: bool, spikes_too: bool) -> list[torch.Tensor]:
    """Means of every term, and all gradients of a loss on them; behind a shortcut unless the input is static."""
    bn, _ = parts(channels=4)
    weights = {name: torch.randn(4, dtype=F64) for name in TERMS}
    told, y, neuron = {}, y.clone().requires_grad_(), copy.deepcopy(neuron)
    neuron.gauge = Gauge(tuple(TERMS), told.update)
    if not fused:  # nothing is fused past a hook
        bn.register_forward_hook(lambda *_: None)
    spikes = normalise_and_fire_static(bn, neuron, y, 3) if static else normalise_and_fire(bn, neuron, y, y.detach())
    assert ("NormalisedMultiStep" in spikes.grad_fn.name()) == fused
    loss = sum((weights[name] * mean).sum() for name, mean in told.items())
    if spikes_too:
        loss = loss + (spikes * torch.linspace(-1, 1, spikes.numel(), dtype=F64).view_as(spikes)).sum()
    loss.backward()
    of_amplitude = [neuron.amplitude.grad] if spikes_too else []
    return [*told.values(), y.grad, bn.weight.grad, bn.bias.grad, *of_amplitude]


def compare_terms_with_modules_one_by_one(order, static: bool) -> None:
    torch.manual_seed(1)
    y = torch.randn(15, 4, 32, 32, dtype=F64).contiguous(memory_format=order)  # large enough for compiled kernels
    y = y if static else y.unflatten(0, (3, 5))
    binary = RealSpike(1.3, surrogate="clamp", window=1.0, detach_reset=False).double()
    for neuron, spikes_too in itertools.product((TrainableTernaryLIF(1.3).double(), binary), (True, False)):
        found, expected = (told_and_gradients(neuron, y, static, fused, spikes_too) for fused in (True, False))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
            assert one.abs().max() > 0


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("static", [True, False])
def test_means_of_potentials_and_their_pull_are_those_of_the_modules_one_by_one(order, static):
    compare_terms_with_modules_one_by_one(order, static)


def compare_amplitudes_of_channels_with_modules_one_by_one(order) -> None:
    y = torch.randn(15, 4, 32, 32, dtype=F64).contiguous(memory_format=order).unflatten(0, (3, 5))
    neuron = TrainableTernaryLIF(channels=4).double()
    neuron.amplitude.data.copy_(torch.tensor([0.5, -1.0, 2.0, 0.0]).view(4, 1, 1))
    results = []
    for fused in (True, False):
        bn, _ = parts(channels=4)
        x, own = y.clone().requires_grad_(), copy.deepcopy(neuron)
        if not fused:
            bn.register_forward_hook(lambda *_: None)
        spikes = normalise_and_fire(bn, own, x)
        assert ("NormalisedMultiStep" in spikes.grad_fn.name()) == fused
        (spikes * torch.linspace(-1, 1, spikes.numel(), dtype=F64).view_as(spikes)).sum().backward()
        results.append([spikes, x.grad, bn.weight.grad, own.amplitude.grad])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    assert results[0][-1].abs().min() > 0


@pytest.mark.parametrize("order", ORDERS)
def test_amplitudes_of_channels_are_those_of_the_modules_one_by_one(order):
    compare_amplitudes_of_channels_with_modules_one_by_one(order)


@pytest.mark.full
def test_compiled_terms_and_amplitudes_of_channels_are_those_of_the_modules_one_by_one():
    with compiled_kernels():
        compare_terms_with_modules_one_by_one(torch.channels_last, static=False)
        compare_amplitudes_of_channels_with_modules_one_by_one(torch.channels_last)
