"""How far membrane potential distributions lie apart, from the histograms of the evaluation stage (Fig. 2)."""

from itertools import combinations
from statistics import fmean

import numpy as np


def distribution_distance(a: dict, b: dict) -> float:
    """Largest difference of two membrane histograms' cumulative shares (Kolmogorov-Smirnov), between 0 and 1."""
    edges = np.union1d(a["edges"], b["edges"])

    def cumulative(histogram: dict):
        counts = np.concatenate([[histogram["below"]], histogram["counts"]]).astype(float).cumsum()
        return np.interp(edges, histogram["edges"], counts / (counts[-1] + histogram["above"]))

    return float(np.abs(cumulative(a) - cumulative(b)).max())


def membrane_distances(evaluations: dict[tuple[str, int], dict]) -> list[dict]:
    """How far the membrane distributions of a run's layers lie apart, and for comparison one layer's between seeds.

    Args:
        evaluations: evaluation.json by run id and seed.

    Returns:
        A row a run id: mean distance over pairs of layers (and seeds), mean distance of the same layer over pairs of
        seeds and the largest one (None with one seed), numbers of layers and seeds.
    """
    rows = []
    for run in dict.fromkeys(run for run, _ in evaluations):
        seeds = [
            {layer["layer"]: layer["membrane"] for layer in found["layers"]}
            for (name, _), found in evaluations.items()
            if name == run
        ]
        layers = [distribution_distance(a, b) for seed in seeds for a, b in combinations(seed.values(), 2)]
        between = [
            distribution_distance(a[layer], b[layer]) for a, b in combinations(seeds, 2) for layer in a if layer in b
        ]
        rows.append(
            {
                "id": run,
                "between_layers": fmean(layers) if layers else None,
                "between_seeds": fmean(between) if between else None,
                "between_seeds_largest": max(between, default=None),
                "layers": len(seeds[0]),
                "n": len(seeds),
            }
        )
    return rows
