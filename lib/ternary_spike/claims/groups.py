"""Which finished runs a claim is judged by, and in which words they are named."""

from collections.abc import Iterable

import pandas as pd

from ternary_spike.claims.findings import Finding, Tables, untested
from ternary_spike.paper import NEURON_OF_METHOD
from ternary_spike.tables.verdicts import SCALE


def without_controls(summary: pd.DataFrame) -> pd.DataFrame:
    """Finished runs of the neurons as the paper describes them: no variant of a control."""
    return summary[(summary["n"] > 0) & (summary["variant"].fillna("") == "")]


def of_the_papers_neurons(summary: pd.DataFrame) -> pd.DataFrame:
    """Runs of the paper's three neurons, trained its way: what it claims of them is not claimed of prior methods."""
    return summary[summary["neuron"].isin([*NEURON_OF_METHOD.values()]) & (summary["method"].fillna("") == "")]


def groups_of(tables: Tables, *neurons: str) -> tuple[list[dict[str, pd.Series]], str]:
    """Runs that differ in the neuron only, full ones if there are any, and how they are reduced.

    Returns:
        For each dataset, network and T with all the neurons a mapping from neuron to summary row, and a line that names
        the reductions (empty for full runs).
    """
    summary = without_controls(tables["summary"])
    found = []
    for _, group in summary.groupby(["dataset", "architecture", "timesteps"], sort=False):
        rows = {neuron: row for neuron, (_, row) in zip(group["neuron"], group.iterrows(), strict=True)}
        if all(neuron in rows for neuron in neurons):
            found.append({neuron: rows[neuron] for neuron in neurons})
    full = [group for group in found if not any(row["reduced"] for row in group.values())]
    if full:
        return full, ""
    return found, reductions(row["reduced"] for group in found for row in group.values())


def full_or_all(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows of full runs if there are any, else all of them, and how these are reduced."""
    full = rows[rows["reduced"] == ""]
    return (rows, reductions(rows["reduced"])) if full.empty else (full, "")


def reductions(reduced: Iterable[str]) -> str:
    """How runs are reduced, each way once; empty for full ones."""
    return "; ".join(dict.fromkeys(filter(None, reduced)))


def no_finished_pair(tables: Tables, *neurons: str) -> Finding:
    """Why no group of runs with these neurons finished."""
    summary = tables["summary"]
    states = [
        state for state in dict.fromkeys(summary.loc[summary["neuron"].isin(neurons), "state"]) if state != "done"
    ]
    return untested(states[0] if len(states) == 1 else f"no finished pair of {' and '.join(neurons)} runs")


def place(row: pd.Series) -> str:
    """Where a run was trained, in words: data, network and timesteps."""
    label = row["data_label"] or row["dataset"]
    return f"{label}, {row['architecture']}, T = {row['timesteps']}"


def ids_of(groups: list[dict[str, pd.Series]]) -> tuple[str, ...]:
    """Ids of all runs in some groups, each once, in their order."""
    return tuple(dict.fromkeys(row["id"] for group in groups for row in group.values()))


def together(found: list[str]) -> str:
    """One verdict for several groups: it holds only where it holds in each, and fails where it fails in one."""
    holds, fails, undecided = SCALE
    if fails in found:
        return fails
    return undecided if undecided in found else holds
