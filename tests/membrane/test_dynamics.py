"""The membrane's equations: sequences worked out by hand, and a plain loop differentiated by autograd as the oracle."""

import dataclasses
import itertools
import math

import pytest
import torch
from benchmarks.plain import plain_loop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ternary_spike.membrane import dynamics, in_place, kernel
from ternary_spike.membrane.dynamics import Dynamics, fire, integrate, reset
from ternary_spike.membrane.multi_step import flat, multi_step, storage_order
from ternary_spike.membrane.spelling import equations
from ternary_spike.membrane.surrogate import SURROGATES, WITH_TEMPERATURE

F64 = torch.float64
B = 3.3  # temperature of the surrogates that have one
# where rounding or a wrong comparison would show: rest, both thresholds, the window's edges and their neighbours
POINTS = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 0.25, -0.25, 0.4999999, -0.4999999, 1.0000001, -1.0000001, 0.75, 2.0]


def column(*values: float) -> torch.Tensor:
    """A sequence through time of one neuron, [T, 1]."""
    return torch.tensor(values, dtype=F64).unsqueeze(1)


# --- by hand: tau = 1/4, V_th = 1/2, all values exact in binary -------------------------------------------------------
# x, then u, b and v[T] as they follow from Eqs. 4-5 (binary) and 7-8 (ternary)
SEQUENCES = [
    # silent below, fires exactly at V_th after leaking, fires below -V_th, fires above
    (True, (0.25, 0.4375, -0.75, 0.875), (0.25, 0.5, -0.75, 0.875), (0, 1, -1, 1), 0.0),
    # exactly at -V_th; the reset clears it; then 0.375 stays and leaks into 0.46875, just silent
    (True, (-0.5, 0.375, 0.375, 0.0), (-0.5, 0.375, 0.46875, 0.1171875), (-1, 0, 0, 0), 0.1171875),
    # a negative potential is kept and holds back what follows: -0.25 leaks to -0.0625, 0.5 is then not enough
    (True, (-0.25, 0.5, 0.390625, -0.625), (-0.25, 0.4375, 0.5, -0.625), (0, 0, 1, -1), 0.0),
    # binary: the same first input; -0.75 is no spike, is kept, and inhibits
    (False, (0.25, 0.4375, -0.75, 0.9375), (0.25, 0.5, -0.75, 0.75), (0, 1, 0, 1), 0.0),
    (False, (-0.5, 0.625, 0.5, -1.0), (-0.5, 0.5, 0.5, -1.0), (0, 1, 1, 0), -1.0),
    # just silent four times over: what is kept leaks on
    (
        False,
        (0.484375, 0.375, 0.25, 0.0),
        (0.484375, 0.49609375, 0.3740234375, 0.093505859375),
        (0, 0, 0, 0),
        0.093505859375,
    ),
]


@pytest.mark.parametrize(("signed", "x", "u", "b", "last"), SEQUENCES)
def test_sequences_by_hand(signed, x, u, b, last):
    dynamics = Dynamics(signed=signed)
    spikes, v = multi_step(column(*x), dynamics)
    assert spikes.flatten().tolist() == list(b)
    assert v.tolist() == [last]
    assert integrate(column(*x), None, dynamics).flatten().tolist() == list(u)


def test_trainable_amplitude_scales_the_spike_and_not_the_reset():
    # Eq. 13 resets by the un-scaled spike: with a = 3 the potentials, hence the spikes' places, are those of a = 1
    spikes, v = multi_step(column(0.25, 0.4375, -0.75, 0.25), Dynamics(), amplitude=torch.tensor(3.0, dtype=F64))
    assert spikes.flatten().tolist() == [0, 3, -3, 0]
    assert v.tolist() == [0.25]


def test_starts_from_the_given_potential():
    spikes, v = multi_step(column(0.375, 0.0), Dynamics(), v=torch.tensor([0.5], dtype=F64))
    assert spikes.flatten().tolist() == [1, 0]  # 0.25 * 0.5 + 0.375 = 0.5
    assert v.tolist() == [0.0]


def test_threshold_decay_and_window_are_used():
    spikes, v = multi_step(column(0.75, 0.75), Dynamics(threshold=1.0, decay=0.5))
    assert spikes.flatten().tolist() == [0, 1] and v.tolist() == [0]  # 0.75, then 0.375 + 0.75 = 1.125
    spikes, v = multi_step(column(0.75, 0.5), Dynamics(threshold=1.0, decay=0.5))
    assert spikes.flatten().tolist() == [0, 0] and v.tolist() == [0.875]


# loss = y . (1, 2, 4, 8): G by hand, from the last timestep back
GRADIENTS = [
    # ternary, u = .25, .5, -.75, .875, all inside the window; D = 1, -.5, -.75
    # 8; 4 - .75 * 8/4 = 2.5; 2 - .5 * 2.5/4 = 1.6875; 1 + 1.6875/4 = 1.421875; dL/da = 2 - 4 + 8
    (True, False, (0.25, 0.4375, -0.75, 0.875), (1.421875, 1.6875, 2.5, 8), 6),
    # detached: D = 1, 0, 0
    (True, True, (0.25, 0.4375, -0.75, 0.875), (1.5, 2, 4, 8), 6),
    # u = 1 and -1 are inside the window, 1.25 is not: u = 1, -1, 1.25, .25; D = -1, -1, 0
    (True, False, (1.0, -1.0, 1.25, 0.25), (1 - 0.25 * 1.0 * 2, 2, 0, 8), 1 - 2 + 4),
    # binary, u = .25, .5, -.75, .75: no surrogate at -.75; D = 1, -.5, 1
    # 8; 8/4 = 2; 2 - .5 * 2/4 = 1.75; 1 + 1.75/4
    (False, False, (0.25, 0.4375, -0.75, 0.9375), (1.4375, 1.75, 2, 8), 10),
    (False, True, (0.25, 0.4375, -0.75, 0.9375), (1.5, 2, 2, 8), 10),
    # binary at its window's lower edge: u = 0, 0, -.25, 0; silent throughout, D = 1
    (False, False, (0.0, 0.0, -0.25, 0.0625), (1 + 2.5 / 4, 2.5, 2, 8), 0),
]


@pytest.mark.parametrize(("signed", "detach", "x", "gradient", "amplitude_gradient"), GRADIENTS)
def test_gradients_by_hand(signed, detach, x, gradient, amplitude_gradient):
    x = column(*x).requires_grad_()
    amplitude = torch.tensor(1.0, dtype=F64, requires_grad=True)
    spikes, _ = multi_step(x, Dynamics(signed=signed, detach_reset=detach), amplitude)
    (spikes.flatten() @ torch.tensor([1.0, 2.0, 4.0, 8.0], dtype=F64)).backward()
    assert x.grad.flatten().tolist() == list(gradient)
    assert amplitude.grad.item() == amplitude_gradient


def test_the_amplitude_scales_the_gradient_of_the_input():
    x = column(0.25, 0.4375, -0.75, 0.875).requires_grad_()
    spikes, _ = multi_step(x, Dynamics(), torch.tensor(2.0, dtype=F64))
    (spikes.flatten() @ torch.tensor([1.0, 2.0, 4.0, 8.0], dtype=F64)).backward()
    assert x.grad.flatten().tolist() == [2.84375, 3.375, 5.0, 16.0]


def test_gradient_of_and_through_the_state():
    x = column(0.25, 0.125).requires_grad_()
    v = torch.tensor([0.25], dtype=F64, requires_grad=True)
    _, last = multi_step(x, Dynamics(), v=v)  # u = .3125, .203125: silent, so last = x2 + x1 / 4 + v / 16
    last.sum().backward()
    assert x.grad.flatten().tolist() == [0.25, 1.0]
    assert v.grad.tolist() == [0.0625]


# --- against the plain loop -------------------------------------------------------------------------------------------


def compare_with_plain_loop(x, dynamics, amplitude, v, seed=0):
    """Spikes and state bit-equal; gradients of input, amplitude and state equal to float64 rounding."""
    generator = torch.Generator().manual_seed(seed)
    constants = dataclasses.asdict(dynamics)
    sides = []
    for function in (
        lambda x, a, v: multi_step(x, dynamics, a, v, temperature=torch.tensor(B, dtype=F64)),
        lambda x, a, v: plain_loop(x, **constants, temperature=B, amplitude=a, v=v),
    ):
        leaves = [None if t is None else t.detach().requires_grad_() for t in (x, amplitude, v)]  # where they lie
        sides.append((leaves, function(*leaves)))
    (ours, (y, last)), (theirs, (y_plain, last_plain)) = sides
    assert torch.equal(y, y_plain) and torch.equal(last, last_plain)
    grad_y = torch.randn(y.shape, dtype=F64, generator=generator)
    grad_last = torch.randn(last.shape, dtype=F64, generator=generator)
    for outputs in ((y, last), (y_plain, last_plain)):
        torch.autograd.backward(outputs, (grad_y, grad_last))
    for name, a, b in zip(("x", "amplitude", "v"), ours, theirs, strict=True):
        if a is None:
            continue
        # an amplitude's gradient is a sum that may cancel: its rounding is relative to the sum of absolute terms
        scale = (grad_y * y.detach()).abs().sum() if name == "amplitude" else b.grad.abs().max()
        # torch's slope of tanh is 1 - tanh^2: far from the threshold its rounding is relative to the 1
        of_one = B / dynamics.window * max(grad_y.abs().max(), grad_last.abs().max())
        rounding = 1e-12 * scale + 4e-15 * of_one * (dynamics.surrogate in WITH_TEMPERATURE)
        assert (a.grad - b.grad).abs().max() <= rounding.clamp(min=1e-300), name


@pytest.mark.parametrize(
    ("signed", "name", "detach"), list(itertools.product([True, False], SURROGATES, [True, False]))
)
def test_every_surrogate_and_reset_gradient_matches_the_plain_loop(signed, name, detach):
    torch.manual_seed(0)
    grid = torch.tensor(list(itertools.product(POINTS, repeat=3)), dtype=F64).T.contiguous()  # all triples of points
    x = torch.cat([grid, torch.randn(3, 500, dtype=F64)], dim=1)
    window = 1.0 if name in ("clamp", "clamp_symmetric") else 0.3
    dynamics = Dynamics(signed, surrogate=name, window=window, detach_reset=detach)
    compare_with_plain_loop(x, dynamics, torch.tensor(1.3, dtype=F64), torch.randn(x.shape[1], dtype=F64))


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize(("signed", "detach"), list(itertools.product([True, False], [True, False])))
def test_both_spellings_are_the_same(signed, detach, name):
    """Spikes, potentials and surrogate to the bit, gradients to what rounding of one addition can change."""
    constants = Dynamics(signed, threshold=0.3, decay=0.7, surrogate=name, window=0.9, detach_reset=detach)
    curve = dynamics.surrogate_curve(constants, torch.tensor(B))
    edges = [math.nextafter(edge, side) for edge in (0.3, 0.9, 1.2) for side in (0, 2)]
    points = [0.0, -0.0, *(sign * u for u in (0.3, 0.9, 1.2, 0.25, 2.0, *edges) for sign in (1, -1))]
    for dtype in (torch.float32, F64):
        currents = list(torch.tensor(list(itertools.product(points, repeat=3)), dtype=dtype).T.contiguous())
        for u in (currents[0], torch.tensor([float("nan"), float("inf"), -float("inf")], dtype=dtype)):
            for function, rest in (("firing_part", ()), ("fire", ()), ("spike_derivative", (curve,))):
                plain, fast = (getattr(spelling, function)(u, constants, *rest) for spelling in (dynamics, in_place))
                assert plain.dtype == dtype
                torch.testing.assert_close(fast, plain, rtol=0, atol=0, equal_nan=True)
        v, grad_v = torch.randn(2, *currents[0].shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
        plain, fast = (s.integrate(torch.stack(currents), v, constants) for s in (dynamics, in_place))
        assert torch.equal(plain, fast)
        for start, amplitude, end in itertools.product((None, v), (None, torch.tensor([1.3], dtype=dtype)), (None, v)):
            us: tuple[list, list] = ([], [])
            plain, fast = (
                s.spikes(currents, start, amplitude, constants, True, potentials)
                for s, potentials in zip((dynamics, in_place), us, strict=True)
            )
            assert all(map(torch.equal, [*plain[0], plain[1], *us[0]], [*fast[0], fast[1], *us[1]]))
            assert torch.equal(torch.stack(us[0]), dynamics.integrate(torch.stack(currents), start, constants))
            given = (currents, start, amplitude, [grad_v, -grad_v, v], end, constants, curve)
            for pull in (None, torch.sin):
                plain, fast = (s.gradients(*given, pull) for s in (dynamics, in_place))
                if dtype == F64:
                    torch.testing.assert_close(fast, plain, rtol=1e-13, atol=1e-13)
        assert torch.equal(grad_v, torch.randn(2, *v.shape, dtype=dtype, generator=torch.Generator().manual_seed(0))[1])


def test_a_compiler_is_given_the_papers_spelling():
    assert equations() is in_place
    found = []
    torch.compile(lambda x: found.append(equations()) or x + 1, backend="eager", fullgraph=True)(torch.ones(2))
    assert found == [dynamics]


@settings(max_examples=60, deadline=None)
@given(
    timesteps=st.integers(1, 6),
    shape=st.lists(st.integers(1, 4), min_size=0, max_size=4),
    signed=st.booleans(),
    threshold=st.floats(0.05, 2),
    decay=st.floats(0, 1),
    window=st.floats(0.05, 2),
    surrogate=st.sampled_from(SURROGATES),
    detach=st.booleans(),
    with_state=st.booleans(),
    with_amplitude=st.booleans(),
    at_points=st.booleans(),
    layout=st.integers(0, 4),
    seed=st.integers(0, 2**31),
)
@example(
    timesteps=1,
    shape=[],
    signed=False,
    threshold=0.25,
    decay=0.0,
    window=0.125,
    surrogate="tanh_unclipped",
    detach=False,
    with_state=False,
    with_amplitude=False,
    at_points=False,
    layout=0,
    seed=1,
)
def test_any_shape_layout_and_constants_match_the_plain_loop(
    timesteps,
    shape,
    signed,
    threshold,
    decay,
    window,
    surrogate,
    detach,
    with_state,
    with_amplitude,
    at_points,
    layout,
    seed,
):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(timesteps, *shape, dtype=F64, generator=generator)
    if at_points:  # half of the currents: rest, both thresholds and the numbers next to them, the window's edges
        below, above = math.nextafter(threshold, 0), math.nextafter(threshold, math.inf)
        points = [0.0, -0.0, *(sign * u for u in (threshold, below, above, window, 1.0) for sign in (1, -1))]
        points = torch.tensor(points, dtype=F64)
        chosen = points[torch.randint(len(points), x.shape, generator=generator)]
        x = torch.where(torch.rand(x.shape, generator=generator) < 0.5, chosen, x)
    if x.dim() == 5:
        _, x = list(layouts(x))[layout]
    v = torch.randn(shape, dtype=F64, generator=generator) if with_state else None
    amplitude = torch.tensor(0.7, dtype=F64) if with_amplitude else None
    compare_with_plain_loop(x, Dynamics(signed, threshold, decay, surrogate, window, detach), amplitude, v, seed)


def layouts(x):
    """The same values [T, B, C, H, W] in memory orders that convolutions, frames and slices leave behind."""
    folded = x.flatten(0, 1)
    yield "contiguous", x.contiguous()
    yield "channels_last", folded.to(memory_format=torch.channels_last).unflatten(0, x.shape[:2])
    yield "frames, batch first", x.transpose(0, 1).contiguous().transpose(0, 1)
    padded = torch.zeros(*x.shape[:-1], x.shape[-1] + 3, dtype=x.dtype)
    padded[..., 1:-2] = x
    yield "a slice", padded[..., 1:-2]
    yield "space transposed", x.transpose(3, 4).contiguous().transpose(3, 4)


@pytest.mark.parametrize("layout", range(5))
@pytest.mark.parametrize("per_channel", [False, True])
def test_layouts_and_channel_amplitudes_match_the_plain_loop(layout, per_channel):
    torch.manual_seed(layout)
    _, x = list(layouts(torch.randn(3, 2, 4, 5, 6, dtype=F64)))[layout]
    amplitude = torch.rand(4, 1, 1, dtype=F64) + 0.5 if per_channel else torch.tensor(0.8, dtype=F64)
    leaf = x.detach().requires_grad_()
    a = amplitude.clone().requires_grad_()
    y, _ = multi_step(leaf, Dynamics(), a)
    plain = x.contiguous().requires_grad_()
    b = amplitude.clone().requires_grad_()
    y_plain, _ = plain_loop(plain, amplitude=b)
    assert torch.equal(y, y_plain)
    grad = torch.randn(y.shape, dtype=F64)
    y.backward(grad)
    y_plain.backward(grad)
    torch.testing.assert_close(leaf.grad, plain.grad, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("order", list(itertools.permutations(range(1, 5))))
def test_timesteps_without_gaps_are_not_copied_and_spikes_lie_as_they_do(order):
    axes = (0, *order)
    x = torch.randn([(3, 2, 4, 5, 6)[axis] for axis in axes]).permute([axes.index(i) for i in range(5)])
    assert flat(x, storage_order(x)).data_ptr() == x.data_ptr()
    spikes, last = multi_step(x, Dynamics())
    assert spikes.stride() == x.stride() and last.stride() == x[0].stride()


def test_gradients_by_finite_differences():
    """Where the neuron is differentiable: away from the thresholds; the membrane potential, with a detached reset."""
    torch.manual_seed(0)
    x = torch.tensor([0.1, -0.2, 0.3, -0.35, 0.7, -0.9]) + 0.02 * torch.randn(2, 6)
    x, v = x.double().requires_grad_(), (0.05 * torch.randn(6, dtype=F64)).requires_grad_()
    detached = Dynamics(detach_reset=True)
    assert torch.autograd.gradcheck(lambda x, v: multi_step(x, detached, v=v)[1], (x, v))
    amplitude = torch.tensor(0.8, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: multi_step(x.detach(), Dynamics(), a)[0], (amplitude,))


def test_a_static_current_repeated_by_a_view_gets_the_sum_of_its_gradients():
    torch.manual_seed(0)
    current = torch.randn(2, 3, 4, 4, dtype=F64, requires_grad=True)
    twin = current.detach().clone().requires_grad_()
    multi_step(current.expand(4, *current.shape), Dynamics())[0].sum().backward()
    plain_loop(twin.expand(4, *twin.shape))[0].sum().backward()
    torch.testing.assert_close(current.grad, twin.grad, rtol=1e-12, atol=0)


def test_gradient_layout_need_not_be_the_inputs():
    torch.manual_seed(0)
    x = torch.randn(2, 2, 3, 4, 4, dtype=F64, requires_grad=True)
    twin = x.detach().clone().requires_grad_()
    grad = torch.randn(2, 2, 4, 4, 3, dtype=F64).permute(0, 1, 4, 2, 3)
    multi_step(x, Dynamics())[0].backward(grad)
    plain_loop(twin)[0].backward(grad)
    torch.testing.assert_close(x.grad, twin.grad, rtol=1e-12, atol=1e-14)
    multi_step(twin, Dynamics())[0].sum().backward()  # an expanded, stride-0 gradient


# --- precision, state, memory -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "below"), [(torch.bfloat16, 2**-9), (torch.float16, 2**-12)])
def test_half_precision_integrates_in_float32(dtype, below):
    # u = 0.5 - below / 4 lies under the threshold, but a membrane of half precision would round it up to 0.5
    x = torch.tensor([0.5 - below, 0.375], dtype=dtype).unsqueeze(1)
    u = 0.25 * (0.5 - below) + 0.375
    assert torch.tensor(u).to(dtype).item() == 0.5
    spikes, v = multi_step(x, Dynamics())
    assert spikes.flatten().tolist() == [0, 0] and spikes.dtype == dtype
    assert v.dtype == torch.float32 and v.item() == u


def test_half_precision_gradients_have_the_inputs_dtype():
    x = torch.randn(2, 10, dtype=torch.bfloat16, requires_grad=True)
    amplitude = torch.tensor(1.5, requires_grad=True)
    spikes, _ = multi_step(x, Dynamics(), amplitude)
    spikes.sum().backward()
    assert x.grad.dtype == torch.bfloat16 and amplitude.grad.dtype == torch.float32
    wide = x.detach().float().requires_grad_()
    multi_step(wide, Dynamics(), torch.tensor(1.5))[0].sum().backward()
    assert torch.equal(x.grad, wide.grad.bfloat16())


def test_one_sequence_equals_two_halves_with_the_state_carried_over():
    torch.manual_seed(0)
    x = torch.randn(6, 50, dtype=F64)
    whole, last = multi_step(x, Dynamics())
    first, v = multi_step(x[:3], Dynamics())
    second, carried = multi_step(x[3:], Dynamics(), v=v)
    assert torch.equal(whole, torch.cat([first, second])) and torch.equal(last, carried)


@pytest.mark.parametrize("amplitude", [None, 1.5])
def test_nothing_but_the_input_is_saved_for_backward(amplitude):
    x = torch.randn(4, 1000, requires_grad=True)
    a = None if amplitude is None else torch.tensor(amplitude, requires_grad=True)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        multi_step(x, Dynamics(), a)
    assert {t.data_ptr() for t in saved if t.numel() > 1} == {x.data_ptr()}


def test_input_is_left_alone():
    x = torch.randn(3, 8)
    v = torch.randn(8)
    kept = x.clone(), v.clone()
    multi_step(x, Dynamics(), v=v)
    assert torch.equal(x, kept[0]) and torch.equal(v, kept[1])


def test_fire_and_reset_agree_at_the_boundary():
    u = torch.tensor([-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0])
    assert fire(u, Dynamics()).tolist() == [-1, -1, 0, 0, 0, 1, 1]
    assert fire(u, Dynamics(signed=False)).tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert reset(u, Dynamics()).tolist() == [0, 0, -0.25, 0, 0.25, 0, 0]
    assert reset(u, Dynamics(signed=False)).tolist() == [-1, -0.5, -0.25, 0, 0.25, 0, 0]


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0}, "threshold must be above 0"),
        ({"threshold": float("nan")}, "threshold must be above 0"),
        ({"threshold": 1e-31}, r"threshold must be above 0 \(at least 1e-30\), not 1e-31"),
        ({"decay": 1.5}, "decay must lie in"),
        ({"decay": -0.1}, "decay must lie in"),
        ({"window": 0.0}, "window must be above 0"),
        ({"surrogate": "spline"}, "unknown surrogate 'spline'"),
    ],
)
def test_constants_out_of_range_raise(options, message):
    with pytest.raises(ValueError, match=message):
        Dynamics(**options)


def test_bad_inputs_raise():
    with pytest.raises(ValueError, match="at least one timestep"):
        multi_step(torch.empty(0, 3), Dynamics())
    with pytest.raises(ValueError, match="at least one timestep"):
        multi_step(torch.tensor(1.0), Dynamics())
    for dtype in (torch.int64, torch.float8_e5m2, torch.complex64):
        with pytest.raises(ValueError, match=f"one of float16, bfloat16, float32, float64, not {str(dtype)[6:]}"):
            multi_step(torch.ones(2, 3).to(dtype), Dynamics())
    with pytest.raises(ValueError, match=r"shape is \(2,\), a timestep's is \(3,\)"):
        multi_step(torch.ones(2, 3), Dynamics(), v=torch.zeros(2))
    for shape in ((2,), (5, 2, 3), (4, 1, 1, 3)):
        with pytest.raises(ValueError, match=r"amplitude's shape .* does not broadcast to a timestep's"):
            multi_step(torch.ones(4, 7, 3), Dynamics(), amplitude=torch.ones(shape))


@pytest.mark.parametrize("signed", [True, False])
def test_the_smallest_and_largest_thresholds_fire_as_any(signed):
    for threshold in (1e-30, 1e-6, 1e6, 1e30):
        u = torch.tensor([[0.0, 0.999, 1.0, -1.0, 1e8]]) * threshold
        spikes, _ = multi_step(u, Dynamics(signed, threshold))
        assert spikes.tolist() == [[0.0, 0.0, 1.0, -1.0 if signed else 0.0, 1.0]]


@pytest.mark.parametrize("to_a_compiler", [False, True])
@pytest.mark.parametrize("signed", [True, False])
def test_what_is_not_a_number_is_seen_to_be_none(monkeypatch, signed, to_a_compiler):
    """As the plain loop has it: a spike of 0 would hide it from every loss."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: to_a_compiler)
    x = torch.tensor([[float("nan"), float("inf"), 0.2, 0.9]] * 3)
    for amplitude in (None, torch.tensor(1.5)):
        spikes, v = multi_step(x, Dynamics(signed), amplitude)
        plain, last = plain_loop(x, signed=signed, amplitude=amplitude)
        torch.testing.assert_close(spikes, plain, rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(v, last, rtol=0, atol=0, equal_nan=True)
        assert spikes[:, 0].isnan().all()


def test_spikes_that_nothing_is_made_of_have_no_gradient():
    x = torch.randn(3, 50, requires_grad=True)
    _, v = multi_step(x, Dynamics())
    (grad,) = torch.autograd.grad(v.sum(), x)
    twin = x.detach().requires_grad_()
    plain_loop(twin)[1].sum().backward()
    torch.testing.assert_close(grad, twin.grad)


def test_tensors_without_data_pass_through():
    """As for a model that is only looked at: its shapes, and nothing computed."""
    x = torch.empty(2, 3, 4, device="meta", requires_grad=True)
    spikes, v = multi_step(x, Dynamics())
    assert spikes.shape == x.shape and v.shape == x.shape[1:] and spikes.device.type == "meta"
    spikes.sum().backward()
    assert x.grad.shape == x.shape


def test_the_default_device_changes_nothing():
    x = torch.randn(2, 3 * kernel.PIECE)
    with torch.device("meta"):
        spikes, _ = multi_step(x, Dynamics())
    assert torch.equal(spikes, multi_step(x, Dynamics())[0])
