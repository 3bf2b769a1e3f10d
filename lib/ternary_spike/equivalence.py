"""Does the folded network compute what the trained one does? Spike by spike, on real pictures.

In float64 every spike of every layer must agree and the class scores to a stated bound; in float32, where a folded
weight rounds differently, the differences are counted and shown.
"""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor

from ternary_spike.inference import FoldedNetwork
from ternary_spike.models import SpikingResNet
from ternary_spike.recording import recording

BOUND = 1e-9  # of the largest logit difference relative to the largest logit, in float64


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


@torch.no_grad()
def compare(model: SpikingResNet, folded: FoldedNetwork, batches: Iterable[Tensor], dtype: torch.dtype) -> dict:
    """Run both networks on the same pictures in one dtype and count what differs.

    Args:
        model: the trained network; neither its mode nor its dtype is changed.
        folded: the folded one.
        batches: inputs [B, C, H, W] or [B, T, C, H, W].
        dtype: in which both networks compute.

    Returns:
        Number of spikes compared (neurons x timesteps x samples), differing spikes in all and by layer, largest
        absolute and relative difference of the class scores, and the share of samples with the same class in percent.

    Raises:
        ValueError: if a class score is infinite or NaN.
    """
    model = copy.deepcopy(model).to(dtype).eval()
    folded = folded.to(dtype)
    comparison = _Comparison(folded.spike_layers())
    for batch in batches:
        x = batch.to(dtype)
        trained: dict[str, Tensor] = {}
        with recording(model, lambda name, _, b: trained.__setitem__(name, b)):  # noqa: B023
            logits = model(x)
        folded_logits = folded.run(x, lambda name, _, b: comparison.add_spikes(name, trained.pop(name), b))  # noqa: B023
        comparison.add_logits(logits, folded_logits)
    return comparison.result()


def verify(model: SpikingResNet, folded: FoldedNetwork, batches: list[Tensor], bound: float = BOUND) -> dict:
    """The equivalence check of a fold (Eq. 17): exact in float64, counted in float32.

    Args:
        model: the trained network.
        folded: what became of it.
        batches: input batches [B, C, H, W] or [B, T, C, H, W].
        bound: largest relative difference of logits that passes, in float64.

    Returns:
        "passed" (in float64 no spike differs, every class agrees, the relative logit difference is within the
        bound), "bound", "samples", and :func:`compare`'s result for "float64" and "float32".
    """
    results = {
        name: compare(model, folded, batches, dtype)
        for name, dtype in (("float64", torch.float64), ("float32", torch.float32))
    }
    exact = results["float64"]
    passed = (
        exact["differing_spikes"] == 0
        and exact["largest_relative_logit_difference"] <= bound
        and exact["class_agreement_percent"] == 100
    )
    return {
        "samples": sum(len(batch) for batch in batches),
        "bound": bound,
        "passed": passed,
        **results,
    }
