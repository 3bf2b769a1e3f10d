"""Collecting: the small files of all runs of a preset, and its plan, into tables.

A run that was shortened or ran on other data than the paper's says so wherever it is shown ("reduced: how"). Means and
sample standard deviations are over seeds; the last epoch's accuracy and the best epoch's are never mixed.
"""

import itertools
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from ternary_spike.configuration import run_table
from ternary_spike.planning import made_from, plan_file
from ternary_spike.planning.matching import RECORD as MATCH
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import SUMS, read_json, replaced_together, write_json, write_sums, write_text
from ternary_spike.tables.columns import COLUMNS
from ternary_spike.tables.controls import control_runs, differences
from ternary_spike.tables.membrane_distances import membrane_distances
from ternary_spike.tables.paper_tables import accuracy_table, energy_table
from ternary_spike.tables.rivals import rival_runs
from ternary_spike.tables.run_rows import read_run
from ternary_spike.tables.stage_code import leave_out_others


def read_plan(path: Path) -> pd.DataFrame:
    """The plan, a row a run and seed. Raises UserError as :func:`ternary_spike.planning.plan_file.read_rows`."""
    plan = pd.DataFrame(plan_file.read_rows(path), columns=plan_file.PLAN_COLUMNS)
    return plan.astype({"seed": int, "timesteps": int})


def _matches(plan: pd.DataFrame, results: Path) -> list[dict]:
    """The search for the threshold of each run that had one, a row a probe."""
    rows = []
    for run in dict.fromkeys(plan["id"]):
        path = results / "runs" / run / MATCH
        if not path.exists():
            continue
        try:
            found = read_json(path)
            rows += [_probe(run, found, number, probe) for number, probe in enumerate(found["probes"], start=1)]
        except (UserError, ValueError, KeyError, TypeError):
            continue  # damaged: the run stands there without the search for its threshold
    return rows


def _probe(run: str, found: dict, number: int, probe: dict) -> dict:
    """A row of matches.csv."""
    wanted = found["target"]["rate"]
    return {
        "id": run,
        "target": found["target"]["id"],
        "target_rate_percent": 100 * wanted,
        "tolerance_points": 100 * found["tolerance"],
        "probe": number,
        "threshold": probe["threshold"],
        "window": probe["window"],
        "rate_percent": 100 * probe["rate"],
        "chosen": probe == found["found"],
        "equal": abs(probe["rate"] - wanted) <= found["tolerance"],
    }


# over seeds ------------------------------------------------------------------------------------------


def _statistics(values: pd.Series, name: str, unit: str) -> dict:
    """Mean, sample standard deviation and number of values; NaN where there are too few of them for the others.

    NaN and not None: of a column without any value pandas would make one of objects, which nobody can reckon with.
    """
    values = values.dropna().astype(float)
    return {
        f"{name}_mean_{unit}": values.mean(),
        f"{name}_std_{unit}": values.std(ddof=1),
        f"{name}_n": len(values),
    }


def _first(values: Iterable[str]) -> str:
    return next(iter(values), "")


def _beginning_once(notes: list[str]) -> list[str]:
    """Notes "a; b" and "a; c" as "a", "b" and "c": what seeds have in common stands at their beginning."""
    parts = [note.split("; ") for note in notes]
    alike = itertools.takewhile(lambda at: len(set(at)) == 1, zip(*parts, strict=False)) if len(notes) > 1 else ()
    shared = [first for first, *_ in alike]
    return [*shared, *("; ".join(each[len(shared) :]) for each in parts if len(each) > len(shared))]


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """A row a run id: n, means and sample standard deviations over the seeds that finished, and what is missing."""
    rows = []
    for run, group in runs.groupby("id", sort=False):
        done = group[group["last_epoch_percent"].notna()]
        first = group.iloc[0]
        unfinished = list(dict.fromkeys(group.loc[~group.index.isin(done.index), "state"]))
        notes = [state for state in dict.fromkeys(done["state"]) if state != "done"]
        said = _beginning_once([note.removeprefix("done; ") for note in notes])
        if len(done) == 0:
            state = "; ".join(unfinished)
        elif unfinished or any(not note.startswith("done; ") for note in notes):
            state = "; ".join([f"{len(done)} of {len(group)} seeds", *unfinished, *said])
        else:
            state = "; ".join(["done", *said])
        rows.append(
            {
                "id": run,
                **{key: first[key] for key in ("dataset", "architecture", "timesteps", "neuron", "method", "variant")},
                **{key: first[key] for key in ("tables", "control")},
                "state": state,
                "reduced": _first(text for text in group["reduced"] if text),
                "data_label": _first(done["data_label"]),
                "seeds_planned": len(group),
                "n": len(done),
                "seeds": " ".join(str(seed) for seed in done["seed"]),
                **_statistics(done["last_epoch_percent"], "last_epoch", "percent"),
                **_statistics(done["best_epoch_percent"], "best_epoch", "percent"),
                **_statistics(done["rate_percent"], "rate", "percent"),
                **_statistics(done["entropy_bits"], "entropy", "bits"),
                **_statistics(done["synops"], "synops", "per_image"),
                **_statistics(done["energy_microjoule"], "energy", "microjoule"),
                "test_samples": done["test_samples"].iloc[0] if len(done) else None,
                "wall_seconds": done["wall_seconds"].sum() if len(done) else None,
            }
        )
    return _framed("summary", rows)


# all of it -------------------------------------------------------------------------------------------


def tables(plan: pd.DataFrame, results: Path) -> dict[str, pd.DataFrame]:
    """Every table of a preset but the claims, by name; see :data:`ternary_spike.tables.columns.COLUMNS`.

    Args:
        plan: as :func:`read_plan` returns it.
        results: results/<preset>.
    """
    results = Path(results)
    of_runs = [read_run(row, results) for _, row in plan.iterrows()]
    leave_out_others(of_runs)

    def joined(name: str) -> pd.DataFrame:
        return _framed(name, [row for rows in of_runs for row in getattr(rows, name)])

    runs = _framed("runs", [rows.run for rows in of_runs])
    summary = summarise(runs)
    energy, history = joined("energy"), joined("history")
    matches = _framed("matches", _matches(plan, results))
    neuron_options = {
        run: run_table.options(text) for run, text in zip(plan["id"], plan["neuron_options"], strict=True)
    }
    controls = control_runs(summary, neuron_options, matches)
    evaluations = {(r.run["id"], r.run["seed"]): r.evaluation for r in of_runs if r.evaluation is not None}
    found = {
        "runs": runs,
        "summary": summary,
        "layers": joined("layers"),
        "equivalence": joined("equivalence"),
        "execution": joined("execution"),
        "onnx": joined("onnx"),
        "energy": energy,
        "energy_layers": joined("energy_layers"),
        "history": history,
        "matches": matches,
        "controls": _framed("controls", controls),
        "differences": _framed("differences", differences(summary, controls)),
        "rivals": _framed("rivals", rival_runs(summary, [rows.run for rows in of_runs], history)),
        "membrane": _framed("membrane", membrane_distances(evaluations)),
    }
    rows_of = dict(zip(plan["id"], map(run_table.row_id, plan.to_dict("records")), strict=True))
    found |= {f"table{n}": _framed(f"table{n}", accuracy_table(n, summary, rows_of)) for n in (1, 2, 3, 4)}
    found["table5"] = _framed("table5", energy_table(summary, energy))
    return found


def _framed(name: str, rows: list[dict]) -> pd.DataFrame:
    """A table with all of its columns, whether or not any row has them yet."""
    return pd.DataFrame(rows, columns=list(COLUMNS[name]))


def write_tables(found: dict[str, pd.DataFrame], out: Path, made_of: dict | None = None) -> list[Path]:
    """Write each table as ``<name>.csv``, full double precision, no value is an empty cell; last, their sums.

    All of them or none: the old ones are replaced when the new ones are on the disk. With ``made_of``, as
    :func:`ternary_spike.planning.made_from.of_tables` gives it, that is written beside them.

    Raises:
        UserError: if the folder cannot be written or the disk is full; the old tables are then still there.
    """
    with replaced_together(out, SUMS) as folder:
        paths = [folder / f"{name}.csv" for name in found]
        for path, frame in zip(paths, found.values(), strict=True):
            write_text(path, frame.to_csv(index=False, lineterminator="\n"))
        if made_of is not None:
            write_json(folder / made_from.RECORD, made_of)
            paths.append(folder / made_from.RECORD)
        write_sums(folder / SUMS, paths)
    return [Path(out) / path.name for path in paths]
