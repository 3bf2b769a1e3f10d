"""Information: the entropy that a layer's spikes really have (its bound is Eq. 6's, Proposition 1)."""

import math

import torch
from torch import Tensor


def entropy_bits(probabilities: Tensor) -> Tensor:
    """Shannon entropy in bits along the last axis; 0 log 0 is 0. Shape [..., K] to [...]."""
    return torch.special.entr(probabilities).sum(-1) / math.log(2)
