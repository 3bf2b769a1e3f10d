"""Does the folded network compute what the trained one does? Spike by spike, on real pictures.

In float64 every spike of every layer must agree and the class scores to a stated bound; in float32, where a folded
weight rounds differently, the differences are counted and shown.
"""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor

from ternary_spike.models.base import SpikingNetwork
from ternary_spike.models.recording import recording
from ternary_spike.reparam.comparison import Comparison
from ternary_spike.reparam.network import FoldedNetwork

BOUND = 1e-9  # of the largest logit difference relative to the largest logit, in float64


@torch.no_grad()
def compare(model: SpikingNetwork, folded: FoldedNetwork, batches: Iterable[Tensor], dtype: torch.dtype) -> dict:
    """Run both networks on the same pictures in one dtype and count what differs.

    Args:
        model: the trained network; neither its mode nor its dtype is changed.
        folded: the folded one.
        batches: inputs [B, C, H, W] or [B, T, C, H, W].
        dtype: in which both networks compute.

    Returns:
        As :meth:`ternary_spike.reparam.comparison.Comparison.result`.

    Raises:
        ValueError: if a class score is infinite or NaN.
    """
    model = copy.deepcopy(model).to(dtype).eval()
    folded = folded.to(dtype)
    comparison = Comparison(folded.spike_layers())
    for batch in batches:
        x = batch.to(dtype)
        trained: dict[str, Tensor] = {}
        with recording(model, lambda name, _, b: trained.__setitem__(name, b)):  # noqa: B023
            logits = model(x)
        folded_logits = folded.compute(x, lambda name, _, b: comparison.add_spikes(name, trained.pop(name), b))  # noqa: B023
        comparison.add_scores(logits, folded_logits)
    return comparison.result()


def verify(model: SpikingNetwork, folded: FoldedNetwork, batches: list[Tensor], bound: float = BOUND) -> dict:
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
