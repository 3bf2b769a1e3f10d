"""Comparing the spikes and class scores of two networks that should be the same."""

import torch
from torch import Tensor


class _Comparison:
    """Running totals of the differences between two networks."""

    def __init__(self, layers: list[str]) -> None:
        self.samples = 0
        self.spikes = 0
        self.differing = dict.fromkeys(layers, 0)
        self.logit_difference = 0.0
        self.relative_logit_difference = 0.0
        self.agreeing = 0

    def add_spikes(self, layer: str, trained: Tensor, folded: Tensor) -> None:
        self.spikes += trained.numel()
        self.differing[layer] += int((trained != folded).sum())

    def add_logits(self, trained: Tensor, folded: Tensor) -> None:
        if not (trained.isfinite().all() and folded.isfinite().all()):
            # NaN is neither larger nor smaller than anything: it would pass for no difference
            raise ValueError("class scores are not finite, so nothing can be compared; train again")
        self.samples += len(trained)
        difference = (trained - folded).abs().max().item()
        largest = max(trained.abs().max().item(), torch.finfo(trained.dtype).tiny)
        self.logit_difference = max(self.logit_difference, difference)
        self.relative_logit_difference = max(self.relative_logit_difference, difference / largest)
        self.agreeing += int((trained.argmax(1) == folded.argmax(1)).sum())

    def result(self) -> dict:
        return {
            "spikes": self.spikes,
            "differing_spikes": sum(self.differing.values()),
            "largest_logit_difference": self.logit_difference,
            "largest_relative_logit_difference": self.relative_logit_difference,
            "class_agreement_percent": 100 * self.agreeing / self.samples,
            "layers": dict(self.differing),
        }
