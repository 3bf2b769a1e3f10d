"""Threshold-dependent batch norm (tdBN): what it normalises to is in units of the threshold.

H. Zheng et al., "Going Deeper With Directly-Trained Larger Spiking Neural Networks", AAAI 2021 (arXiv 2011.05280).
"""

import math

import torch
from torch import Tensor

from ternary_spike.membrane.arguments import number
from ternary_spike.models.batch_norm import BatchNorm2d

FACTOR, WEIGHT = SCALES = ("factor", "weight")
ALL, PROJECTION = SUMS = ("all", "projection")


class ThresholdBatchNorm2d(BatchNorm2d):
    """Batch norm of [T, B, C, H, W] with the standard deviation alpha V_th before training.

        z = lambda alpha V_th (x - mean) / sqrt(variance + eps) + beta

    alpha is 1 / sqrt(n) where n branches are added up in front of the neurons, whose sum so varies as one branch alone
    would. Mean and variance are those of time, batch and space together, as in :class:`BatchNorm2d`; a network that
    asks for statistics of each timestep (a ResNet's stem, unless ``stem_batch_norm`` is ``over_time``) gets them.

    The paper keeps alpha V_th as a factor beside the trained lambda, which starts at 1. Public libraries train
    w = lambda alpha V_th itself, which starts at alpha V_th. Both compute the same before training and learn at
    different rates: dL/dlambda = alpha V_th dL/dw, so that a step of SGD changes w by (alpha V_th)^2 times as much
    where there is a factor.

    Args:
        channels: C.
        per_step: as of :class:`BatchNorm2d`.
        branches: n.
        threshold: V_th of the neurons behind it.
        scale: ``factor`` or ``weight``, what alpha V_th is.
        scaled_sums: ``all``, or ``projection``: alpha is 1 where the other branch is the identity (the Re-Loss code).

    Raises:
        ValueError: if the threshold is no number above 0, or there is no such scale or choice of sums.
    """

    def __init__(
        self,
        channels: int,
        per_step: bool = False,
        branches: int = 1,
        threshold: float = 0.5,
        scale: str = FACTOR,
        scaled_sums: str = ALL,
    ) -> None:
        super().__init__(channels, per_step, branches)
        self.threshold = number("threshold", threshold)
        if not 0 < self.threshold < math.inf:
            raise ValueError(f"threshold must be above 0 and finite, not {self.threshold}")
        for name, value, known in (("scale", scale, SCALES), ("scaled_sums", scaled_sums, SUMS)):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")
        self.scale, self.scaled_sums = scale, scaled_sums
        self._begin(1 / math.sqrt(branches))

    @torch.no_grad()
    def _begin(self, alpha: float) -> None:
        """Before training: keep alpha V_th as the factor, or put it into the weight."""
        self.factor = alpha * self.threshold if self.scale == FACTOR else None
        if self.scale == WEIGHT:
            self.weight.fill_(alpha * self.threshold)

    def beside_identity(self) -> None:
        """What a block whose shortcut is the identity says: nothing else in the sum is normalised."""
        if self.scaled_sums == PROJECTION:
            self._begin(1.0)

    @property
    def gain(self) -> Tensor:
        """lambda alpha V_th, [C]; gradients flow through to lambda, or to all of it."""
        return self.weight if self.factor is None else self.factor * self.weight
