"""What half precision does to accuracy, from the trainings of benchmarks/precision.py."""

import math

import pandas as pd

from ternary_spike.tables.verdicts import Sample, mean_interval


def paired(trainings: pd.DataFrame) -> pd.DataFrame:
    """Mean differences of runs that share neuron and seed and differ in precision.

    Args:
        trainings: neuron, precision (``float32`` or ``bfloat16``), seed, last_epoch_percent.

    Returns:
        A row a neuron: both accuracies, ``difference_points`` (bfloat16 less float32, mean over seeds),
        ``interval_points`` (half of its 95 % interval; None with a single seed), ``n`` seeds that have both.
    """
    rows = []
    for neuron, here in trainings.groupby("neuron", sort=False):
        table = here.pivot(index="seed", columns="precision", values="last_epoch_percent").dropna()
        apart = table["bfloat16"] - table["float32"]
        half = mean_interval(Sample(apart.mean(), apart.std() if len(apart) > 1 else None, len(apart)))
        rows.append(
            {
                "neuron": neuron,
                "float32_percent": table["float32"].mean(),
                "bfloat16_percent": table["bfloat16"].mean(),
                "difference_points": apart.mean(),
                "interval_points": half if math.isfinite(half) else None,
                "n": len(apart),
            }
        )
    return pd.DataFrame(rows)
