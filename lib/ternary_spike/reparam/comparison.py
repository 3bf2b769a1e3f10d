"""Comparing the spikes and class scores of two networks that should be the same."""

from collections.abc import Iterable

import torch
from torch import Tensor


class Comparison:
    """Running totals of the differences between a network and another way to compute it.

    Args:
        layers: names of the neuron layers.
    """

    def __init__(self, layers: Iterable[str]) -> None:
        self.samples = 0
        self.spikes = 0
        self.differing = dict.fromkeys(layers, 0)
        self.logit_difference = 0.0
        self.relative_logit_difference = 0.0
        self.agreeing = 0

    def add_spikes(self, layer: str, expected: Tensor, found: Tensor) -> None:
        """Compare a layer's spikes: tensors of one shape, of whatever dtypes."""
        self.spikes += expected.numel()
        self.differing[layer] += int((expected != found).sum())

    def add_scores(self, expected: Tensor, found: Tensor) -> None:
        """Compare the class scores [B, num_classes] of a batch. Raises ValueError if one is infinite or NaN."""
        if not (expected.isfinite().all() and found.isfinite().all()):
            # NaN is neither larger nor smaller than anything: it would pass for no difference
            raise ValueError("class scores are not finite, so nothing can be compared; train again")
        self.samples += len(expected)
        difference = (expected - found).abs().max().item()
        largest = max(expected.abs().max().item(), torch.finfo(expected.dtype).tiny)
        self.logit_difference = max(self.logit_difference, difference)
        self.relative_logit_difference = max(self.relative_logit_difference, difference / largest)
        self.agreeing += int((expected.argmax(1) == found.argmax(1)).sum())

    def result(self) -> dict:
        """Samples, spikes compared (neurons x timesteps x samples), differing spikes in all and by layer.

        Also the largest absolute difference of the class scores, the largest one relative to its batch's largest
        score, and the share of samples with the same class in percent.
        """
        return {
            "samples": self.samples,
            "spikes": self.spikes,
            "differing_spikes": sum(self.differing.values()),
            "largest_logit_difference": self.logit_difference,
            "largest_relative_logit_difference": self.relative_logit_difference,
            "class_agreement_percent": 100 * self.agreeing / self.samples,
            "layers": dict(self.differing),
        }
