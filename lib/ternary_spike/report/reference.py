"""Results that are kept with the repository, results/reference/<name>: where they are, and pairs of their networks."""

import math
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from ternary_spike.report.energies import energy_by_method
from ternary_spike.report.results import Results
from ternary_spike.tables.paper_tables import sample
from ternary_spike.tables.verdicts import ordering_at_scale, welch_interval

#: the folder within ``files/`` of a report that holds copies of them
PLACE = "reference"
#: of the readings of the paper's energy formula, the one that the tables show first, whatever the constants
READING = ", mean over neurons"


class Kept(Results):
    """A set of results that is kept with the repository."""

    def source(self, table: str) -> str:
        """Where a report has a copy of a table, as :func:`ternary_spike.report.table` takes it."""
        return f"{PLACE}/{self.preset}/tables/{table}"


def kept(folder: Path | str) -> list[Kept]:
    """The sets in a folder, by name; without those that have no finished run."""
    found = [Kept(path.parent.parent) for path in sorted(Path(folder).glob("*/tables/summary.csv"))]
    return [results for results in found if len(results.done)]


def pairs(results: Results, wanted: Iterable[tuple[str, str, int]]) -> pd.DataFrame:
    """Differences of the last epoch's accuracy between runs of one dataset and network.

    Args:
        results: the finished ones of these are compared.
        wanted: (neuron, other neuron, how many timesteps more the other has).

    Returns:
        A row a pair that is there: ``pair`` in words, with the network where there are several, ``neuron``,
        ``difference_points``, ``interval_points`` (half of the 95 % interval, None with a single seed),
        ``synops_ratio``, ``verdict``, and by the paper's formula ``energy_ratio`` with the encoder at every timestep
        and ``energy_ratio_once`` with the encoder once.
    """
    done, rows = results.done, []
    several = done[["dataset", "architecture"]].drop_duplicates().shape[0] > 1
    energy = energy_by_method(results)
    energy = energy[energy["method"].str.endswith(READING)].set_index(["encoder", "id"])["energy_mean_microjoule"]
    for (_, network), here in done[done["variant"] == ""].groupby(["dataset", "architecture"], sort=False):
        runs = {(row["neuron"], row["timesteps"]): row for _, row in here.iterrows()}
        for neuron, other, more in wanted:
            for timesteps in sorted(set(here["timesteps"])):
                first, second = runs.get((neuron, timesteps)), runs.get((other, timesteps + more))
                if first is not None and second is not None:
                    pair = _pair(first, second, energy)
                    rows.append(pair | {"pair": f"{pair['pair']}, {network}"} if several else pair)
    return pd.DataFrame(rows, columns=_COLUMNS)


_COLUMNS = (
    "pair", "neuron", "difference_points", "interval_points", "synops_ratio", "energy_ratio", "energy_ratio_once",
    "verdict",
)  # fmt: skip


def _pair(first: pd.Series, second: pd.Series, energy: pd.Series) -> dict:
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
        "energy_ratio": _ratio(energy, "every timestep", first["id"], second["id"]),
        "energy_ratio_once": _ratio(energy, "once", first["id"], second["id"]),
        "verdict": ordering_at_scale(*samples).verdict,
    }


def _ratio(energy: pd.Series, encoder: str, first: str, second: str) -> float:
    """One run's energy over another's; NaN where one of them has none."""
    return energy.get((encoder, first), math.nan) / energy.get((encoder, second), math.nan)
