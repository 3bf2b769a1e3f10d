"""Results that are kept with the repository, results/reference/<name>: where they are, and pairs of their networks."""

import math
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from ternary_spike.paper_tables import sample
from ternary_spike.report.results import Results
from ternary_spike.verdicts import ordering_at_scale, welch_interval

#: the folder within ``files/`` of a report that holds copies of them
PLACE = "reference"


class Kept(Results):
    """A set of results that is kept with the repository."""

    def source(self, table: str) -> str:
        """Where a report has a copy of a table, as :func:`ternary_spike.report.table` takes it."""
        return f"{PLACE}/{self.preset}/tables/{table}"


def kept(folder: Path | str) -> list[Kept]:
    """The sets in a folder, by name; without those that have no finished run."""
    found = [Kept(path.parent.parent) for path in sorted(Path(folder).glob("*/tables/summary.csv"))]
    return [results for results in found if len(results.done)]


def pairs(done: pd.DataFrame, wanted: Iterable[tuple[str, str, int]]) -> pd.DataFrame:
    """Differences of the last epoch's accuracy between runs of one dataset and network.

    Args:
        done: finished rows of the summary.
        wanted: (neuron, other neuron, how many timesteps more the other has).

    Returns:
        A row a pair that is there: ``pair`` in words, ``neuron``, ``difference_points``, ``interval_points`` (half of
        the 95 % interval, None with a single seed), ``synops_ratio``, ``energy_ratio``, ``verdict``, ``reduced``.
    """
    rows = []
    for _, here in done[done["variant"] == ""].groupby(["dataset", "architecture"], sort=False):
        runs = {(row["neuron"], row["timesteps"]): row for _, row in here.iterrows()}
        for neuron, other, more in wanted:
            for timesteps in sorted(set(here["timesteps"])):
                first, second = runs.get((neuron, timesteps)), runs.get((other, timesteps + more))
                if first is not None and second is not None:
                    rows.append(_pair(first, second))
    return pd.DataFrame(rows, columns=_COLUMNS)


_COLUMNS = (
    "pair", "neuron", "difference_points", "interval_points", "synops_ratio", "energy_ratio", "verdict", "reduced",
)  # fmt: skip


def _pair(first: pd.Series, second: pd.Series) -> dict:
    samples = [sample(row, "last_epoch") for row in (first, second)]
    half, _ = welch_interval(*samples)
    names = [f"{row['neuron']}, T = {row['timesteps']}" for row in (first, second)]
    if first["timesteps"] == second["timesteps"]:
        names[0] = first["neuron"]
    return {
        "pair": " less ".join(names),
        "neuron": first["neuron"],
        "difference_points": samples[0].mean - samples[1].mean,
        "interval_points": half if math.isfinite(half) else None,
        "synops_ratio": first["synops_mean_per_image"] / second["synops_mean_per_image"],
        "energy_ratio": first["energy_mean_microjoule"] / second["energy_mean_microjoule"],
        "verdict": ordering_at_scale(*samples).verdict,
        "reduced": "; ".join(dict.fromkeys(text for text in (first["reduced"], second["reduced"]) if text)),
    }
