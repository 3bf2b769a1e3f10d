"""Surrogate gradients: values by hand, edges included, and the area under each."""

import math

import pytest
import torch

from ternary_spike.membrane.surrogate import SURROGATES, derivative

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


@pytest.mark.parametrize("name", ["rectangle", "triangle", "atan", "sigmoid"])
def test_unit_area(name):
    u = torch.linspace(-400, 400, 800_001, dtype=torch.float64)
    area = torch.trapezoid(derivative(name, u, signed=False, threshold=0.5, window=0.3), u).item()
    assert area == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("signed", [True, False])
def test_keeps_shape_and_dtype_and_is_never_zero_at_the_threshold(name, signed):
    u = torch.full((2, 3), 0.5)
    slope = derivative(name, u, signed=signed, threshold=0.5, window=0.5)
    assert slope.shape == u.shape and slope.dtype == u.dtype
    assert (slope > 0).all()


def test_unknown_name_raises():
    with pytest.raises(ValueError, match="unknown surrogate 'clam'"):
        derivative("clam", U, signed=True, threshold=0.5, window=1.0)
