"""Surrogate gradients: values by hand, edges included, and the area under each."""

import math

import pytest
import torch

from ternary_spike.membrane.surrogate import SURROGATES, WITH_TEMPERATURE, curve, derivative

U = torch.tensor([-2.0, -1.0, -0.75, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0], dtype=torch.float64)

# (surrogate, signed, window): the derivative at U for a threshold of 0.5
BY_HAND = {
    ("clamp", True, 1.0): [0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0],
    ("clamp", False, 1.0): [0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0],
    ("clamp", True, 0.75): [0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    ("clamp", False, 0.75): [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0],
    ("clamp_symmetric", False, 1.0): [0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0],
    ("clamp_symmetric", True, 1.0): [0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0],
    ("rectangle", True, 0.25): [0, 0, 2, 2, 0, 2, 2, 2, 0, 0, 0],
    ("rectangle", False, 0.25): [0, 0, 0, 0, 0, 2, 2, 2, 0, 0, 0],
    ("rectangle", False, 1.0): [0, 0, 0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0],
    ("triangle", True, 0.5): [0, 0, 1, 2, 0, 1, 2, 1, 0, 0, 0],
    ("triangle", False, 0.5): [0, 0, 0, 0, 0, 1, 2, 1, 0, 0, 0],
}


@pytest.mark.parametrize(("name", "signed", "window"), BY_HAND)
def test_by_hand(name, signed, window):
    expected = torch.tensor(BY_HAND[name, signed, window], dtype=torch.float64)
    assert torch.equal(derivative(name, U, signed=signed, threshold=0.5, window=window), expected)


def test_atan_and_sigmoid_by_hand():
    # atan: 1 / (pi w (1 + d^2 / w^2)); d = 1/2 = w gives half of the peak 1 / (pi w)
    u = torch.tensor([0.5, 1.0, 0.0, -0.5], dtype=torch.float64)
    peak = 2 / torch.pi
    binary = derivative("atan", u, signed=False, threshold=0.5, window=0.5)
    torch.testing.assert_close(binary, torch.tensor([peak, peak / 2, peak / 2, peak / 5], dtype=torch.float64))
    ternary = derivative("atan", u, signed=True, threshold=0.5, window=0.5)
    torch.testing.assert_close(ternary, torch.tensor([peak, peak / 2, peak / 2, peak], dtype=torch.float64))
    # sigmoid: s (1 - s) / w with s = 1/2 at the threshold and s = 3/4 at d = w ln 3
    u = torch.tensor([0.5, 0.5 + 0.5 * math.log(3), 0.5 - 0.5 * math.log(3)], dtype=torch.float64)
    expected = torch.tensor([0.5, 0.375, 0.375], dtype=torch.float64)
    torch.testing.assert_close(derivative("sigmoid", u, signed=False, threshold=0.5, window=0.5), expected)
    torch.testing.assert_close(derivative("sigmoid", -u[:2], signed=True, threshold=0.5, window=0.5), expected[:2])


def at(name, u, temperature, *, signed=False, threshold=0.5, window=0.5):
    """The derivative at potentials, float64, at a temperature."""
    u, b = (torch.as_tensor(x, dtype=torch.float64) for x in (u, temperature))
    shape = curve(name, window, b) if name in WITH_TEMPERATURE else None
    return derivative(name, u, signed=signed, threshold=threshold, window=window, curve=shape)


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [
        (1.0, {0.5: 1.081977, 0.25: 1.017074, 0.0: 0.850918}),
        (3.0, {0.5: 1.657187, 0.25: 0.988654, 0.0: 0.299465, 1.0: 0.299465}),
        (5.0, {0.5: 2.533918, 0.25: 0.710548, 0.0: 0.067383}),
        (0.1, {0.5: 1.000833, 0.25: 1.000208}),
    ],
)
def test_tanh_is_the_curve_of_dspike_and_at_3_that_of_mpbn(temperature, expected):
    """g_b(u) = b sech^2(b (u - V_th)) / (2 tanh(b/2)) from 0 to 1, where V_th = 1/2."""
    found = at("tanh", list(expected), temperature)
    torch.testing.assert_close(found, torch.tensor([*expected.values()], dtype=torch.float64), rtol=0, atol=5e-7)
    torch.testing.assert_close(at("tanh", [-u for u in expected], temperature, signed=True), found, rtol=0, atol=0)
    assert at("tanh", [-1e-9, 1 + 1e-9], temperature).tolist() == [0, 0]


def test_tanh_scales_with_its_window_and_runs_from_a_rectangle_to_a_spike():
    d = torch.linspace(-0.25, 0.25, 11, dtype=torch.float64)
    wide = at("tanh", 0.5 + 2 * d, 4.0)
    torch.testing.assert_close(at("tanh", 0.5 + d, 4.0, window=0.25), 2 * wide)
    torch.testing.assert_close(at("tanh", d, 4.0, threshold=0.0), at("tanh", 0.5 + d, 4.0))
    flat = at("rectangle", 0.5 + d, 1.0)
    torch.testing.assert_close(at("tanh", 0.5 + d, 1e-6), flat)
    assert at("tanh", [0.5, 0.6], 1e4).tolist() == [5000, 0]


@pytest.mark.parametrize(
    ("k", "expected"),
    [(1, [0.5, 0.495033, 0.457568]), (3, [1.5, 1.372705, 0.730376]), (10, [5.0, 2.099872, 0.049330])],
)
def test_tanh_unclipped_is_the_curve_of_im_loss(k, expected):
    """(K/2) sech^2(K (u - V_th)) at distances 0, 0.1 and 0.3, with the temperature K at a window of 1/2."""
    found = at("tanh_unclipped", [0.5, 0.6, 0.8], k)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=5e-7)
    torch.testing.assert_close(at("tanh_unclipped", [0.5, 0.4, 0.2], k), found)
    assert at("tanh_unclipped", [1.2], k) > 0
    torch.testing.assert_close(found, at("sigmoid", [0.5, 0.6, 0.8], 1.0, window=1 / (2 * k)))


@pytest.mark.parametrize("name", ["rectangle", "triangle", "atan", "sigmoid", *WITH_TEMPERATURE])
@pytest.mark.parametrize("temperature", [1.0, 3.0, 5.0])
def test_unit_area(name, temperature):
    u = torch.linspace(-400, 400, 800_001, dtype=torch.float64)
    area = torch.trapezoid(at(name, u, temperature, window=0.3), u).item()
    assert area == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("signed", [True, False])
def test_keeps_shape_and_dtype_and_is_never_zero_at_the_threshold(name, signed):
    u = torch.full((2, 3), 0.5)
    slope = derivative(name, u, signed=signed, threshold=0.5, window=0.5, curve=curve(name, 0.5, torch.tensor(3.0)))
    assert slope.shape == u.shape and slope.dtype == u.dtype
    assert (slope > 0).all()


def test_unknown_name_raises():
    with pytest.raises(ValueError, match="unknown surrogate 'clam'"):
        derivative("clam", U, signed=True, threshold=0.5, window=1.0)


@pytest.mark.parametrize("name", WITH_TEMPERATURE)
def test_a_missing_temperature_raises(name):
    with pytest.raises(ValueError, match=f"surrogate '{name}' needs a temperature"):
        curve(name, 1.0, None)
    with pytest.raises(ValueError, match=f"surrogate '{name}' needs the curve of its temperature"):
        derivative(name, U, signed=True, threshold=0.5, window=1.0)
