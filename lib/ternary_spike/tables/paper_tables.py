"""Tables 1-5: the paper's rows and the literature's as printed, ours beside them, with difference and verdict."""

from collections.abc import Mapping

import pandas as pd

from ternary_spike import paper
from ternary_spike.paper.quoted import key_of, quotations
from ternary_spike.tables.verdicts import Sample, compare_with_paper

NOT_PLANNED = "not run: not in this preset's plan"


def sample(row: pd.Series, accuracy: str = "best_epoch") -> Sample:
    """Accuracy of a summary row over its seeds; ``accuracy`` is "best_epoch" or "last_epoch"."""
    std = row[f"{accuracy}_std_percent"]
    return Sample(float(row[f"{accuracy}_mean_percent"]), None if pd.isna(std) else float(std), int(row["n"]))


def printed(row: paper.Accuracy) -> Sample:
    """A printed accuracy of the paper."""
    return Sample(row.accuracy_percent, row.std_percent, row.trials)


def matching(summary: pd.DataFrame, table: int, row: paper.Accuracy) -> pd.Series | None:
    """The run that stands for one of the paper's own rows, or None if none is planned.

    One that has finished comes before one that has not, and a full one before a reduced one.
    """
    dataset = paper.DATASET_OF_NAME[row.dataset]
    fits = (
        (summary["dataset"] == dataset)
        & (summary["architecture"] == row.architecture.lower())
        & (summary["timesteps"] == row.timesteps)
        & (summary["neuron"] == row.neuron)
        & (summary["method"] == "")
        & summary["tables"].map(lambda tables: str(table) in _split(tables)).astype(bool)
    )
    candidates = summary[fits]
    if candidates.empty:
        return None
    order = candidates.assign(is_reduced=candidates["reduced"] != "", is_empty=candidates["n"] == 0)
    return order.sort_values(["is_empty", "is_reduced"], kind="stable").iloc[0]


def _split(tables: str) -> list[str]:
    return [part.strip() for part in str(tables).replace(",", ";").split(";") if part.strip()]


def _ours(run: pd.Series) -> dict:
    keys = ("id", "state", "reduced", "n", "data_label")
    numbers = [
        "test_samples",
        *(f"{which}_{what}_percent" for which in ("best_epoch", "last_epoch", "rate") for what in ("mean", "std")),
        "rate_n",
    ]
    return {key: run[key] for key in (*keys, *numbers)}


def accuracy_table(number: int, summary: pd.DataFrame, rows_of: Mapping[str, str] | None = None) -> list[dict]:
    """One of Tables 1-4: the literature and the paper's rows as printed, ours beside them, controls of ours behind.

    Args:
        number: of the table.
        summary: the table of that name.
        rows_of: the row of the run table that a run is of, by its id; without, no run stands for a row of prior work.
    """
    rows, used = [], set()
    for row in paper.accuracies():
        if row.table != number:
            continue
        entry = {
            "kind": "paper" if row.own else "literature",
            "dataset": row.dataset,
            "method": row.method,
            "citation": row.citation,
            "type": row.type,
            "architecture": row.architecture,
            "timesteps": row.timesteps,
            "neuron": row.neuron,
            "paper_percent": row.accuracy_percent,
            "paper_std_percent": row.std_percent,
            "paper_trials": row.trials if row.own else None,
        }
        if row.own:
            run = matching(summary, number, row)
            if run is None:
                entry |= {"state": NOT_PLANNED, "verdict": ""}
            else:
                used.add(run["id"])
                entry |= _ours(run) | judged(run, row)
        elif (run := _as_published(summary, row, rows_of or {})) is not None:
            used.add(run["id"])
            differs = quotations()[key_of(row)].differs
            entry |= {"neuron": run["neuron"], **_ours(run)} | judged(run, row, differs)
        rows.append(entry)
    for _, run in summary.iterrows():
        if str(number) in _split(run["tables"]) and run["id"] not in used:
            name = paper.DATASETS[run["dataset"]].name if run["dataset"] in paper.DATASETS else run["dataset"]
            keys = {key: run[key] for key in ("architecture", "timesteps", "neuron")}
            method = f"{run['neuron']} {run['variant']}".strip()
            rows.append({"kind": "control", "dataset": name, "method": method, **keys, **_ours(run)})
    return rows


def _as_published(summary: pd.DataFrame, row: paper.Accuracy, rows_of: Mapping[str, str]) -> pd.Series | None:
    """The run that stands for a quoted row, or None if none is planned."""
    wanted = quotations()[key_of(row)].run
    found = summary[[bool(wanted) and rows_of.get(run) == wanted for run in summary["id"]]]
    return None if found.empty else found.iloc[0]


def judged(run: pd.Series, row: paper.Accuracy, differs: str = "") -> dict:
    """Difference and verdict of a run against the paper's row.

    No verdict for one that is reduced, has not run, or is not what the row is of: ``differs`` then says how.
    """
    if run["n"] == 0:
        return {"verdict": ""}
    if differs and not run["reduced"]:
        return {"verdict": "", "basis": f"not compared: {differs}"}
    if run["reduced"]:
        return {"verdict": "", "basis": f"not compared, reduced: {run['reduced']}"}
    found = compare_with_paper(sample(run), printed(row), int(run["test_samples"]))
    return {
        "difference_points": found.difference,
        "standard_error_points": found.standard_error,
        "verdict": found.verdict,
        "basis": found.basis,
    }


def energy_table(summary: pd.DataFrame, energy: pd.DataFrame) -> list[dict]:
    """Table 5: the paper's printed rows, the same from its own printed counts, and what our networks measured."""
    rows = []
    for row in paper.energies():
        shared = {
            "neuron": row.neuron,
            "rate_percent": row.sparsity_percent,
            "flops": row.flops_million * 1e6,
            "synops": row.sops_million * 1e6,
            "sign": row.sign_million * 1e6,
        }
        shared |= {"encoder": "every timestep", "constants": paper.CONSTANTS}
        rows.append({"kind": "paper, as printed", **shared, "energy_mean_microjoule": row.energy_microjoule})
        rows.append({"kind": "paper, from its printed counts", **shared, "energy_mean_microjoule": row.from_counts()})
    ours = summary[summary["tables"].map(lambda tables: "5" in _split(tables)).astype(bool)]
    planned = set(ours["neuron"])
    absent = [row.neuron for row in paper.energies() if row.neuron not in planned]
    rows += [{"kind": "ours", "neuron": neuron, "state": NOT_PLANNED} for neuron in absent]
    for _, run in ours.iterrows():
        # of a run whose operations could not be counted the state says why
        found = energy[(energy["id"] == run["id"]) & (energy["not_counted"] == "")] if len(energy) else energy
        base = {"kind": "ours", **{key: run[key] for key in ("id", "neuron", "variant", "state", "reduced")}}
        if len(found) == 0:
            rows.append(base)
        for (method, encoder, constants), group in found.groupby(["method", "encoder", "constants"], sort=False):
            rows.append(
                {
                    **base,
                    "method": method,
                    "encoder": encoder,
                    "constants": constants,
                    "n": len(group),
                    "rate_percent": 100 * group["rate"].astype(float).mean(),
                    **{key: group[key].mean() for key in ("flops", "synops", "sign")},
                    "energy_mean_microjoule": group["energy_microjoule"].mean(),
                    "energy_std_microjoule": group["energy_microjoule"].std(ddof=1) if len(group) > 1 else None,
                }
            )
    return rows
