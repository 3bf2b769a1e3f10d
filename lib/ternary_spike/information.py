"""Information: the capacity of a spike map (Eq. 6, Proposition 1) and the entropy that a layer really has."""

import math

import torch
from torch import Tensor

LEVELS = {"binary": 2, "ternary": 3}
REAL_BITS = 32  # the paper's count for a real-valued membrane potential


def capacity_bits(kind: str, sites: int = 1) -> float:
    """R(F) of Eq. 6 in bits: log2 of the number of samples of a map with that many independent, uniform sites.

    Args:
        kind: "binary", "ternary" or "real" (32 bits a site, as the paper counts).
        sites: C x H x W.
    """
    if kind == "real":
        return float(REAL_BITS * sites)
    return sites * math.log2(LEVELS[kind])


def entropy_bits(probabilities: Tensor) -> Tensor:
    """Shannon entropy in bits along the last axis; 0 log 0 is 0. Shape [..., K] to [...]."""
    return torch.special.entr(probabilities).sum(-1) / math.log(2)
