"""Backends: equal numbers, one compilation for all shapes, fallback, the choice; SpikingJelly as an oracle."""

import copy
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from benchmarks.plain import plain_loop

from ternary_spike import BinaryLIF, SpikingResNet, TernaryLIF, TrainableTernaryLIF
from ternary_spike.membrane import backends
from ternary_spike.membrane import kernel as kernels
from ternary_spike.membrane.compiled import LANES, in_lanes
from ternary_spike.membrane.dynamics import Dynamics
from ternary_spike.membrane.kernel import Kernel, compute_at_once, timesteps_of
from ternary_spike.membrane.multi_step import multi_step, neuron_backward, neuron_forward
from ternary_spike.membrane.potential_terms import TERMS
from ternary_spike.membrane.surrogate import SURROGATES
from ternary_spike.models.base import SpikingNetwork, named_neurons
from ternary_spike.models.batch_norm import BatchNorm2d
from ternary_spike.models.blocks import BasicBlock, ConvUnit
from ternary_spike.models.normalise_and_fire import normalise_and_fire, normalised_backward, normalised_forward
from ternary_spike.neurons.registry import make_neuron
from tests.helpers.rivals import spikingjelly

SHAPES = [(2, 3, 4, 5, 5), (2, 1, 1), (2, 70_001), (2, 2, 64, 8, 9), (2, 1, 4097), (2, 64, 16, 16)]


class EveryOperation(SpikingNetwork):
    """What every ResNet is made of, once: a layer that codes the image, a block with a projection, the classifier."""

    def __init__(self, neuron: str) -> None:
        super().__init__(timesteps=2, in_channels=3, image_size=8)
        make = partial(make_neuron, neuron)
        self.stem = ConvUnit(3, 4, kernel=3, stride=1, neuron=make)
        self.block = BasicBlock(4, 8, stride=2, pooled=True, neuron=make)
        self.classifier = torch.nn.Linear(8, 10)
        self.initialise()

    def units(self):
        return [("stem", self.stem), ("block", self.block)]


@pytest.fixture(autouse=True)
def eager_again():
    yield
    backends.use("eager")
    backends.notices.clear()


@pytest.fixture
def compiler():
    """Skip, saying so, where torch finds no compiler; elsewhere a silent fallback is a failure."""
    if not backends.compiler_works("cpu"):
        pytest.skip("no C++ compiler here")


def both(x, dynamics, amplitude=None):
    """(spikes, input gradient, amplitude gradient) of the same input, eager and compiled."""
    results = []
    generator = torch.Generator().manual_seed(1)
    grad = torch.randn(x.shape, dtype=x.dtype, generator=generator)
    for backend in backends.BACKENDS:
        backends.use(backend)
        leaf = x.detach().requires_grad_()
        a = None if amplitude is None else amplitude.clone().requires_grad_()
        spikes, _ = multi_step(leaf, dynamics, a, keep_state=False, temperature=torch.tensor(3.3, dtype=x.dtype))
        spikes.backward(grad)
        results.append((spikes.detach(), leaf.grad, None if a is None else a.grad))
        assert backends.current() == backend and not backends.notices
    return results


def assert_same(eager, compiled):
    assert torch.equal(eager[0], compiled[0])
    torch.testing.assert_close(compiled[1], eager[1], rtol=1e-6, atol=1e-7)
    if eager[2] is not None:
        torch.testing.assert_close(compiled[2], eager[2], rtol=1e-4, atol=1e-2)


def test_eager_pieces_equal_one_piece(monkeypatch):
    torch.manual_seed(0)
    x = torch.randn(3, 4, 6, 5, 5, dtype=torch.float64)
    grad = torch.randn_like(x)
    results = []
    for piece in (1 << 20, 64, 1):
        monkeypatch.setattr(kernels, "PIECE", piece)
        leaf, a = x.clone().requires_grad_(), torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
        v = torch.ones(4, 6, 5, 5, dtype=torch.float64, requires_grad=True)
        spikes, last = multi_step(leaf, Dynamics(), a, v)
        torch.autograd.backward((spikes, last), (grad, grad[0]))
        results.append((spikes, last, leaf.grad, v.grad))
        torch.testing.assert_close(a.grad, (spikes.detach() * grad).sum() / 1.3, rtol=1e-11, atol=1e-12)
    for other in results[1:]:
        assert all(torch.equal(p, q) for p, q in zip(results[0], other, strict=True))


def kernel_calls(rows: int, channels: int):
    """The kernels, with sequences and shared tensors that fit them."""
    torch.manual_seed(0)
    y, grad, shortcut = (torch.randn(3, rows, channels) for _ in range(3))
    x, grad_y, v = (s.reshape(3, -1) for s in (y, grad, shortcut))
    amplitude = {"amplitude": torch.tensor([0.8])}
    scaled = {"scale": torch.rand(3, channels) + 0.5, "shift": torch.randn(3, channels)} | amplitude
    constants = Dynamics(decay=0.3)
    yield Kernel(neuron_forward, (constants, True)), {"x": x, "v": v[:1]}, amplitude
    states = {"v": v[:1], "grad_last": v[1:2]}
    yield Kernel(neuron_backward, (constants,)), {"x": x, "grad_y": grad_y} | states, amplitude
    yield Kernel(normalised_forward, (constants,)), {"y": y, "shortcut": None}, scaled | {"amplitude": None}
    sequences = {"y": y, "grad_spikes": grad, "shortcut": shortcut}
    yield Kernel(normalised_backward, (constants,)), sequences, scaled | {"has_shortcut": torch.tensor([True])}
    terms = tuple(TERMS)
    yield Kernel(normalised_forward, (constants, terms)), {"y": y, "shortcut": shortcut}, scaled
    by_channel = {"amplitude": torch.rand(1, channels)} | {name: torch.randn(1, channels) for name in terms}
    yield Kernel(normalised_backward, (constants, terms, True)), sequences, scaled | by_channel


def test_rows_of_1024_give_the_same():
    for kernel, sequences, shared in kernel_calls(80, 64):
        outputs, sums = backends.compute(kernel, sequences, shared)
        in_rows, repeated = in_lanes(sequences, shared)
        others, other_sums = compute_at_once(kernel, timesteps_of(in_rows), repeated, sum_rows=True)
        assert outputs.keys() == others.keys()
        for name, other in others.items():
            assert other.shape[1:] == (5, LANES) and torch.equal(outputs[name].flatten(), other.flatten())
        torch.testing.assert_close({name: shares.sum() for name, shares in other_sums.items()}, sums)


@pytest.mark.parametrize("rows, channels", [(81, 64), (1024, 48), (8, 2048)])
def test_what_does_not_divide_into_rows_of_1024_is_left_as_it_is(rows, channels):
    *_, (_, sequences, shared) = kernel_calls(rows, channels)
    assert in_lanes(sequences, shared) is None
    if rows % 4 == 0:  # where a channel's values lie one behind another
        contiguous = {name: s.reshape(3, 4, rows // 4, -1) for name, s in sequences.items()}
        assert in_lanes(contiguous, {"scale": shared["scale"].unsqueeze(-1)}) is None


@pytest.mark.full
def test_a_gpus_kernels_read_and_write_each_tensor_once_and_round_every_operation():
    """PTX for an H100, from the compiler's own code; made without a GPU, so its speed and results are not seen here."""
    pytest.importorskip("triton", reason="triton is absent: torch is without CUDA here")
    timesteps = 4
    helper = Path(__file__).parents[1] / "helpers" / "triton_code.py"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, helper, str(timesteps)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 12
    inputs = {"neuron forward": 1, "neuron backward": 2, "normalised forward": 2, "normalised backward": 3}
    more = {name: found.pop(name) for name in list(found) if "terms" in name}
    for name, (counted, *rest) in more.items():
        assert not rest and counted["spilled_bytes"] == 0, name
    for name, (counted, *rest) in found.items():
        case, dtype = name.split(", ")
        accesses = counted["accesses"]
        loads, stores = accesses.pop("ld v4.b32"), accesses.pop("st v4.b32")
        # scale and shift, in float32, at most as often as there are outputs: rows may share them
        per_channel = ("normalised" in case) * 2 * (2 if dtype == "bfloat16" else 1)
        assert inputs[case] * stores <= loads <= (inputs[case] + per_channel) * stores, name
        # the amplitude, a row's share of its gradient, and whether there is a shortcut
        expected = {"ld b32": 1} | ({} if "forward" in case else {"st b32": 1})
        assert accesses == expected | ({"ld b8": 1} if "normalised" in case else {}), name
        assert not rest, name
        assert counted["contracted"] == 0 or "backward" in case, name
        assert counted["spilled_bytes"] == 0, name
    # each float32 sum over time is written by two stores, in the pass that computes the spikes or their gradient
    for name, sums in (("forward with terms", 3), ("backward with terms and channels' amplitudes", 1)):
        for dtype, stores in (("float32", 8), ("bfloat16", 4)):
            assert more[f"{name}, {dtype}"][0]["accesses"]["st v4.b32"] == stores + 2 * sums, name


def test_without_a_compiler_one_line_says_so_and_eager_goes_on(tmp_path):
    code = """
import torch
from ternary_spike import TernaryLIF
from ternary_spike.membrane import backends
x = torch.randn(2, 5000)
expected = TernaryLIF()(x)
backends.use("compiled")
for _ in range(3):
    assert torch.equal(TernaryLIF()(x), expected)
assert backends.current() == "eager" and len(backends.notices) == 1
assert backends.choose(10**9, 10**9) == "eager"
"""
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": "", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "eager" in line]
    assert len(lines) == 1 and lines[0].startswith("no compiled neurons"), done.stderr
    assert "Traceback" not in done.stderr


def test_short_runs_choose_eager_and_a_choice_is_stable():
    digits = 11 * 64 * 2 * 12_000  # the demo's order of magnitude: steps of 64 pictures, two timesteps
    assert backends.choose(11 * 20, digits // 11) == "eager"
    assert backends.current() == "eager"  # choosing sets nothing


@pytest.mark.usefixtures("compiler")
def test_long_runs_choose_compiled_where_there_is_a_compiler():
    assert backends.choose(400 * 391, 128 * 2 * 319_488) == "compiled"
    # a GPU saves so much less that what pays on a processor need not pay there
    assert backends.choose(400, 128 * 2 * 319_488) == "compiled"
    assert backends.choose(400, 128 * 2 * 319_488, "cuda") == "eager"
    assert backends.choose(400 * 391, 128 * 2 * 319_488, "meta") == "eager"


@pytest.mark.usefixtures("compiler")
def test_a_callers_mistake_is_not_taken_for_a_missing_compiler():
    backends.use("compiled")
    with pytest.raises(RuntimeError):
        multi_step(torch.randn(2, 5000), Dynamics(), v=torch.randn(5000, device="meta"))
    assert backends.current() == "compiled" and not backends.notices


def test_unknown_backend_raises():
    with pytest.raises(ValueError, match="unknown backend 'jit': choose one of eager, compiled"):
        backends.use("jit")


def test_amplitude_gradient_in_float32_keeps_its_digits():
    torch.manual_seed(0)
    x, grad = torch.randn(2, 1_000_003), torch.randn(2, 1_000_003)
    neuron = TrainableTernaryLIF()
    spikes = neuron(x)
    spikes.backward(grad)
    exact = (spikes.detach().double() * grad).sum()
    scale = (spikes.detach() * grad).abs().sum()
    assert (neuron.amplitude.grad - exact).abs() <= 1e-6 * scale


@pytest.mark.parametrize("timesteps", [1, 2, 4])
def test_spikingjelly_agrees_on_the_detached_neuron(timesteps):
    node, surrogate = spikingjelly("neuron"), spikingjelly("surrogate")

    torch.manual_seed(0)
    x = torch.randn(timesteps, 20_000, dtype=torch.float64)
    # on the thresholds, not on the window's edges 0 and 1: these belong to the window here and not there
    x[:, :4] = torch.tensor([0.5, -0.5, 2.0, -2.0], dtype=torch.float64)
    theirs = node.TernaryLIFNode(
        tau=4 / 3,
        decay_input=False,
        v_threshold=0.5,
        surrogate_function=surrogate.Rect(alpha=1.0),
        detach_reset=True,
        step_mode="m",
    )
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    grad = torch.randn_like(x)
    ours = TernaryLIF(detach_reset=True)(a)
    spikes = theirs(b)
    assert torch.equal(ours, spikes)
    ours.backward(grad)
    spikes.backward(grad)
    torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=1e-15)


@pytest.mark.parametrize("neuron", [BinaryLIF(), TernaryLIF(), TrainableTernaryLIF()])
def test_pieces_need_little_memory_beyond_input_output_and_gradients(neuron):
    """Peak of one forward and backward pass: spikes and the input's gradient (8 bytes an element) and of a piece."""
    x = torch.randn(2, 2_000_000, requires_grad=True)
    grad = torch.ones_like(x)
    neuron(x[:, :100]).sum().backward()
    x.grad = None
    with torch.profiler.profile(profile_memory=True) as profile:
        neuron(x).backward(grad)
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    tensor = 4 * kernels.PIECE  # bytes
    assert peak - 8 * x.numel() <= 9.42 * tensor  # a piece's intermediates, and none of the piece before


# what takes longer comes later: tests/test_mutations.py stops at the first that fails


def test_sizes_that_happen_to_be_equal_and_autocast_take_no_kernels_of_their_own(compiled):
    def step(batch, channels, rows):
        y = torch.randn(2, batch, channels, rows, 9, requires_grad=True)
        norm, neuron = BatchNorm2d(channels), TernaryLIF()
        normalise_and_fire(norm, neuron, y).sum().backward()

    step(9, 9, 9)
    assert len(compiled) == 2
    step(5, 20, 8)
    step(9, 20, 9)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        step(9, 9, 9)
    assert len(compiled) == 2


def test_a_network_takes_two_kernels_for_whatever_shapes(compiled):
    """Forward and backward pass: not one for each layer, nor for those with a shortcut, nor for another batch."""
    model = SpikingResNet("resnet20w8", "trainable", 2).to(memory_format=torch.channels_last)
    for batch in (2, 3):
        model(torch.randn(batch, 3, 32, 32)).sum().backward()
    assert len(compiled) == 2


def test_another_temperature_takes_no_kernel_of_its_own(compiled):
    """A network's forward and backward pass; and its gradients are those of eager at each temperature."""
    found = {}
    for backend in backends.BACKENDS:
        backends.use(backend)
        torch.manual_seed(0)
        model = SpikingResNet("resnet6w4", "ternary", 2, neuron_options={"surrogate": "tanh", "window": 0.5}).double()
        x = torch.randn(4, 3, 32, 32, dtype=torch.float64)
        for b in (3.0, 1.2, 7.5):
            for neuron in named_neurons(model).values():
                neuron.set_temperature(b)
            model.zero_grad()
            model(x).square().sum().backward()
            found.setdefault(b, []).append([p.grad for p in model.parameters()])
    assert len(compiled) == 2
    for eager, made in found.values():
        torch.testing.assert_close(made, eager, rtol=1e-9, atol=1e-11)
    assert not torch.allclose(found[3.0][0][0], found[1.2][0][0])


def test_a_sequence_that_may_be_missing_takes_no_kernel_of_its_own(compiled):
    kernel = Kernel(normalised_forward, (Dynamics(),), optional="shortcut")
    y, shortcut = torch.randn(2, 2, 100, 64)[:, None]
    shared = {"scale": torch.rand(1, 64) + 0.5, "shift": torch.randn(1, 64), "amplitude": torch.tensor([0.8])}
    for given in (shortcut, None, shortcut):
        results = []
        for backend in backends.BACKENDS:
            backends.use(backend)
            results.append(backends.compute(kernel, {"y": y, "shortcut": given}, shared).outputs["spikes"])
        assert torch.equal(*results)
    assert len(compiled) == 1


@pytest.mark.parametrize(
    "order, autocast",
    [
        (torch.channels_last, False),
        (torch.contiguous_format, True),
        pytest.param(torch.contiguous_format, False, marks=pytest.mark.full),
        pytest.param(torch.channels_last, True, marks=pytest.mark.full),
    ],
)
def test_the_whole_model_is_one_graph_in_either_layout_and_under_autocast(order, autocast):
    """What a compiler is given computes what the model does; what it makes of it is the next test's."""
    torch.manual_seed(0)
    model = EveryOperation("trainable").to(memory_format=order)
    twin = copy.deepcopy(model)
    image = torch.randn(3, 3, 8, 8)
    scores = []
    for function in (model, torch.compile(twin, fullgraph=True, backend="aot_eager")):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            scores.append(function(image))
        scores[-1].float().square().sum().backward()
    assert scores[0].dtype == scores[1].dtype
    torch.testing.assert_close(*scores)
    for (name, a), b in zip(model.named_parameters(), twin.parameters(), strict=True):
        # under autocast parts are rounded to bfloat16 in other places; a blind amplitude's gradient is nothing but that
        if not (autocast and name.endswith("amplitude")):
            assert (a.grad - b.grad).norm() <= (2e-2 if autocast else 1e-5) * a.grad.norm() + 1e-7, name


@pytest.mark.full
@pytest.mark.usefixtures("compiler")
def test_the_whole_model_can_be_compiled_by_its_user():
    torch.manual_seed(0)
    model = SpikingResNet("resnet6w4", "trainable", 2, image_size=8).double()
    twin = SpikingResNet("resnet6w4", "trainable", 2, image_size=8).double()
    twin.load_state_dict(model.state_dict())
    image = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    for function in (model, torch.compile(twin, fullgraph=True)):
        function(image).square().sum().backward()
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-12)
    for a, b in zip(model.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.usefixtures("compiler")
def test_compiled_equals_eager_for_every_shape_and_layout_with_one_compilation():
    torch.manual_seed(0)
    for first in (5000, 7168):  # compiles, for any shape and for rows of 1,024
        both(torch.randn(2, first), Dynamics(), torch.tensor(1.2))
    with torch._dynamo.config.patch(error_on_recompile=True):  # from here on a compilation would fall back, and show
        for shape in SHAPES:
            x = torch.randn(shape)
            x.flatten()[::3] = 0.5  # exactly at the threshold
            assert_same(*both(x, Dynamics(), torch.tensor(1.2)))
        x = torch.randn(2, 2, 64, 8, 8).permute(0, 1, 4, 2, 3)
        assert_same(*both(x, Dynamics(), torch.tensor(1.2)))


@pytest.mark.full
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.usefixtures("compiler")
def test_compiled_knows_every_surrogate_and_reset(surrogate, signed):
    torch.manual_seed(0)
    for timesteps, detach in ((1, False), (4, True)):
        x = torch.randn(timesteps, 4500, dtype=torch.float64)
        x[:, :9] = torch.tensor([0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 0.25, 2.0, -2.0], dtype=torch.float64)
        dynamics = Dynamics(signed, surrogate=surrogate, window=0.75, detach_reset=detach)
        eager, compiled = both(x, dynamics, torch.tensor(0.7, dtype=torch.float64))
        assert torch.equal(eager[0], compiled[0])
        torch.testing.assert_close(compiled[1], eager[1], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(compiled[2], eager[2], rtol=1e-11, atol=1e-11)


@pytest.mark.full
@pytest.mark.usefixtures("compiler")
def test_compiled_half_precision_and_state():
    torch.manual_seed(0)
    assert_same(*both(torch.randn(2, 5000).bfloat16(), Dynamics()))
    x, v = torch.randn(3, 5000), torch.randn(5000)
    backends.use("compiled")
    spikes, last = multi_step(x, Dynamics(), v=v)
    assert backends.current() == "compiled"
    plain, last_plain = plain_loop(x, v=v)
    assert torch.equal(spikes, plain) and torch.equal(last, last_plain)


@pytest.mark.full
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.usefixtures("compiler")
def test_a_compiled_network_trains_as_an_eager_one(order):
    results = []
    for backend in backends.BACKENDS:
        torch.manual_seed(0)
        model = SpikingResNet("resnet8w8", "trainable", 2, image_size=16).double().to(memory_format=order)
        backends.use(backend)
        scores = model(torch.randn(8, 3, 16, 16, dtype=torch.float64))
        scores.square().sum().backward()
        assert backends.current() == backend
        results.append([scores.detach(), *(p.grad for p in model.parameters()), *model.buffers()])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)


@pytest.mark.full
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_the_whole_model_can_be_compiled_for_sizes_that_vary(order):
    torch.manual_seed(0)
    model = EveryOperation("ternary").to(memory_format=order)
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True, dynamic=True, backend="aot_eager")
    for batch in (3, 5):
        image = torch.randn(batch, 3, 8, 8).to(memory_format=order)
        torch.testing.assert_close(compiled(image), model(image))
