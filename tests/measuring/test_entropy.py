"""Entropy of known distributions, and its bound (Proposition 1, Eq. 6)."""

import math

import pytest
import torch

from ternary_spike.measuring.evaluation import entropy_bits


@pytest.mark.parametrize(
    "shares, bits",
    [
        ([1.0, 0.0, 0.0], 0.0),
        ([0.5, 0.0, 0.5], 1.0),
        ([1 / 3, 1 / 3, 1 / 3], math.log2(3)),
        ([0.25, 0.5, 0.25], 1.5),
    ],
)
def test_entropy_of_known_distributions(shares, bits):
    assert entropy_bits(torch.tensor(shares, dtype=torch.float64)).item() == pytest.approx(bits, abs=1e-12)


def test_no_distribution_exceeds_the_capacity():
    generator = torch.Generator().manual_seed(0)
    shares = torch.rand(1000, 3, generator=generator, dtype=torch.float64)
    entropies = entropy_bits(shares / shares.sum(-1, keepdim=True))
    assert entropies.shape == (1000,)
    assert entropies.max() <= math.log2(3) + 1e-12
