"""Collecting: the small files of all runs of a preset, and its plan, into tables.

A table says of every planned run what it gave, or why it gave nothing: "not run: reason", "failed: reason". A run that
was shortened or ran on other data than the paper's says so wherever it is shown ("reduced: how"). Means and sample
standard deviations are over seeds; the last epoch's accuracy and the best epoch's are never mixed.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from ternary_spike import paper
from ternary_spike.errors import UserError
from ternary_spike.files import write_text
from ternary_spike.verdicts import Sample, compare_with_paper

PLAN_COLUMNS = ("id", "seed", "dataset", "architecture", "timesteps", "neuron", "status")
PLAN_OPTIONAL = ("variant", "tables", "reason", "reduced", "control")
IDENTITY = ("dataset", "architecture", "timesteps", "neuron")

#: files of a run that carry numbers to the tables, in the order in which the stages write them
RUN_FILES = (
    "run.json",
    "history.csv",
    "evaluation.json",
    "folded.json",
    "equivalence.json",
    "energy.csv",
    "energy.json",
)


def run_folder(results: Path, run: str, seed: int | str) -> Path:
    """Where the files of one run and seed lie."""
    return Path(results) / "runs" / run / f"seed{seed}"


def read_plan(path: Path) -> pd.DataFrame:
    """The plan, a row a run and seed, with the optional columns filled in.

    Raises:
        UserError: if the file is missing, is not CSV, lacks a column, or has a run and seed twice.
    """
    try:
        plan = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the `plan` stage first") from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path} cannot be read as CSV ({error}); run the `plan` stage again") from None
    if missing := [column for column in PLAN_COLUMNS if column not in plan]:
        raise UserError(f"{path} has no column {', '.join(missing)}; run the `plan` stage again")
    for column in PLAN_OPTIONAL:
        if column not in plan:
            plan[column] = ""
    try:
        plan = plan.astype({"seed": int, "timesteps": int})
    except ValueError as error:
        raise UserError(f"{path}: seed and timesteps must be whole numbers ({error}); run `plan` again") from None
    if (twice := plan.duplicated(["id", "seed"])).any():
        row = plan[twice].iloc[0]
        raise UserError(
            f"{path} has the run {row['id']} with seed {row['seed']} twice; give one of them another variant"
        )
    return plan


# one run ---------------------------------------------------------------------------------------------


def _read(path: Path):
    """JSON of a finished stage, or None if the stage has not run.

    Raises ValueError where the file is damaged: that spoils its own run's rows and nobody else's.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path.name} cannot be read ({error})") from None


def reductions(row: pd.Series, run: dict) -> list[str]:
    """In which ways a finished run differs from one of the paper's; empty for a full run.

    Judged from what the run recorded, so that no setting of the plan can make a shortened run look full.
    """
    found = [row["reduced"]] if row["reduced"] else []
    if run["changed"] and not row["reduced"]:
        found.append("recipe changed: " + ", ".join(f"{key} = {value}" for key, value in run["changed"].items()))
    data, dataset = run["data"], paper.DATASETS.get(run["dataset"])
    if dataset is None:
        return [*found, f"{data['label']} instead of the paper's data"]
    if data["label"] != dataset.label:
        return [*found, f"data: {data['label']}"]
    for split in ("train", "test"):
        samples, whole = data[f"{split}_samples"], getattr(dataset, f"{split}_samples")
        if samples < whole:
            found.append(f"{samples:,} of {whole:,} {split} samples")
    epochs = run["recipe"]["epochs"]
    if dataset.epochs and epochs < dataset.epochs and not found:
        found.append(f"{epochs} of {dataset.epochs} epochs")
    return found


def _failure(results: Path, run: str, seed: int) -> str:
    """Why a stage of a run failed, from its status files; empty if none did."""
    reasons = []
    for path in sorted((results / "status" / run / f"seed{seed}").glob("*.json")):
        try:
            status = _read(path) or {}
        except ValueError as error:
            status = {"state": "failed", "reason": str(error)}
        if status.get("state") == "failed":
            stage = status.get("stage", path.stem)
            log = f", see {status['log']}" if status.get("log") else ""
            reasons.append(f"{stage}: {status.get('reason', 'no reason recorded')}{log}")
    return "; ".join(reasons)


def _training(row: pd.Series, results: Path) -> dict:
    """A row of runs.csv, but for what the later stages add to it."""
    base = {key: row[key] for key in ("id", "seed", *IDENTITY, "variant", "tables", "control")}
    folder = run_folder(results, row["id"], row["seed"])
    failure = _failure(results, row["id"], row["seed"])
    try:
        run = _read(folder / "run.json")
        if run is None:
            if failure:
                state = f"failed: {failure}"
            elif row["status"] == "runnable":
                state = "not run: its training has not finished"
            else:
                state = f"not run: {row['reason'] or 'no reason given in the plan'}"
            return {**base, "state": state, "reduced": row["reduced"]}
        if other := [key for key in ("id", "seed", *IDENTITY) if run[key] != row[key]]:
            raise ValueError(f"run.json is another run's: its {other[0]} is {run[other[0]]}, not {row[other[0]]}")
        data, accuracy, cost, provenance = run["data"], run["accuracy"], run["cost"], run["provenance"]
        return {
            **base,
            "state": f"incomplete, failed: {failure}" if failure else "done",
            "reduced": "; ".join(reductions(row, run)),
            "data_label": data["label"],
            "data_checksum": data["checksum"],
            "train_samples": data["train_samples"],
            "test_samples": data["test_samples"],
            "last_epoch_percent": accuracy["last_epoch_percent"],
            "best_epoch_percent": accuracy["best_epoch_percent"],
            "best_epoch": accuracy["best_epoch"],
            "epochs": run["recipe"]["epochs"],
            "recipe": run["recipe"]["name"],
            "wall_seconds": cost["wall_seconds"],
            "images_per_second": cost["images_per_second"],
            "peak_memory_bytes": cost["peak_memory_bytes"],
            "resumed": cost["resumed"],
            "commit": provenance["commit"],
            "dirty": provenance["dirty"],
            "code_hash": provenance["code_hash"],
            "device": provenance["hardware"]["device"],
            "cpu": provenance["hardware"]["cpu"],
            "cores": provenance["hardware"]["cores"],
            "threads": provenance["threads"],
            "python": provenance["versions"].get("python", ""),
            "torch": provenance["versions"].get("torch", ""),
            "started": provenance["started"],
            "finished": provenance["finished"],
            "warnings": "; ".join(run["warnings"]),
            "spiking": run["neuron"] != "relu",
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = str(error) if isinstance(error, ValueError) else f"run.json lacks {error}"
        return {**base, "state": f"failed: {what}", "reduced": row["reduced"]}


def _layers(key: dict, evaluation: dict) -> list[dict]:
    rows = []
    for position, layer in enumerate(evaluation["layers"], start=1):
        amplitude = layer["amplitude"]
        several = isinstance(amplitude, list)
        rows.append(
            {
                **key,
                "position": position,
                "layer": layer["layer"],
                "neurons": layer["neurons"],
                "amplitude": sum(amplitude) / len(amplitude) if several else amplitude,
                "amplitude_min": min(amplitude) if several else amplitude,
                "amplitude_max": max(amplitude) if several else amplitude,
                "rate_percent": 100 * layer["rate"],
                "rate_positive_percent": 100 * layer["rate_positive"],
                "rate_negative_percent": 100 * layer["rate_negative"],
                "entropy_bits": layer["entropy_bits"],
                "entropy_per_neuron_bits": layer["entropy_per_neuron_bits"],
                "membrane_mean": layer["membrane"]["mean"],
                "membrane_std": layer["membrane"]["std"],
            }
        )
    return rows


def _over_neurons(layers: list[dict], column: str) -> float:
    """Mean of a layer column, each layer counted by its neurons."""
    return sum(layer[column] * layer["neurons"] for layer in layers) / sum(layer["neurons"] for layer in layers)


def _equivalence(key: dict, found: dict, folded: dict) -> dict:
    row = {**key, "samples": found["samples"], "bound": found["bound"], "passed": found["passed"]}
    for precision in ("float64", "float32"):
        part = found[precision]
        row |= {
            f"{precision}_spikes": part["spikes"],
            f"{precision}_differing_spikes": part["differing_spikes"],
            f"{precision}_largest_relative_logit_difference": part["largest_relative_logit_difference"],
            f"{precision}_class_agreement_percent": part["class_agreement_percent"],
        }
    layers = [operation for operation in folded["operations"] if operation["kind"] == "spikes"]
    amplitudes = [layer for layer in layers if layer["settings"].keys() - NORMALISED]
    return row | {"neuron_layers": len(layers), "layers_with_amplitude": len(amplitudes)}


#: settings of a neuron layer that emits -1, 0 and 1 (or 0 and 1); whatever else it had would scale its spikes
NORMALISED = {"signed", "threshold", "decay"}


# over seeds ------------------------------------------------------------------------------------------


def _statistics(values: pd.Series, name: str, unit: str) -> dict:
    """Mean and sample standard deviation; None where there are too few values for either."""
    values = values.dropna()
    return {
        f"{name}_mean_{unit}": values.mean() if len(values) else None,
        f"{name}_std_{unit}": values.std(ddof=1) if len(values) > 1 else None,
    }


def _first(values: Iterable[str]) -> str:
    return next(iter(values), "")


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """A row a run id: n, means and sample standard deviations over the seeds that finished, and what is missing."""
    rows = []
    for run, group in runs.groupby("id", sort=False):
        done = group[group["last_epoch_percent"].notna()]
        first = group.iloc[0]
        unfinished = list(dict.fromkeys(group.loc[~group.index.isin(done.index), "state"]))
        notes = [state for state in dict.fromkeys(done["state"]) if state != "done"]
        if len(done) == 0:
            state = "; ".join(unfinished)
        elif unfinished or notes:
            state = "; ".join([f"{len(done)} of {len(group)} seeds", *unfinished, *notes])
        else:
            state = "done"
        rows.append(
            {
                "id": run,
                **{key: first[key] for key in ("dataset", "architecture", "timesteps", "neuron", "variant", "tables")},
                "control": first["control"],
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
    return pd.DataFrame(rows)


def sample(row: pd.Series, accuracy: str = "best_epoch") -> Sample:
    """Accuracy of a summary row over its seeds; ``accuracy`` is "best_epoch" or "last_epoch"."""
    std = row[f"{accuracy}_std_percent"]
    return Sample(float(row[f"{accuracy}_mean_percent"]), None if pd.isna(std) else float(std), int(row["n"]))


def printed(row: paper.Accuracy) -> Sample:
    """A printed accuracy of the paper."""
    return Sample(row.accuracy_percent, row.std_percent, row.trials)


def matching(summary: pd.DataFrame, table: int, row: paper.Accuracy) -> pd.Series | None:
    """The run that stands for one of the paper's own rows, a full one before a reduced one; None if none is planned."""
    dataset = paper.DATASET_OF_NAME[row.dataset]
    fits = (
        (summary["dataset"] == dataset)
        & (summary["architecture"] == row.architecture.lower())
        & (summary["timesteps"] == row.timesteps)
        & (summary["neuron"] == row.neuron)
        & summary["tables"].map(lambda tables: str(table) in _split(tables)).astype(bool)
    )
    candidates = summary[fits]
    if candidates.empty:
        return None
    order = candidates.assign(is_reduced=candidates["reduced"] != "", is_empty=candidates["n"] == 0)
    return order.sort_values(["is_reduced", "is_empty"], kind="stable").iloc[0]


def _split(tables: str) -> list[str]:
    return [part.strip() for part in str(tables).replace(",", ";").split(";") if part.strip()]


def _ours(run: pd.Series) -> dict:
    keys = ("id", "state", "reduced", "n", "data_label")
    numbers = [f"{which}_{what}_percent" for which in ("best_epoch", "last_epoch", "rate") for what in ("mean", "std")]
    return {key: run[key] for key in (*keys, *numbers)}


def accuracy_table(number: int, summary: pd.DataFrame) -> pd.DataFrame:
    """One of Tables 1-4: the literature and the paper's rows as printed, ours beside them, controls of ours behind."""
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
                entry |= {"state": "not run: not in this preset's plan", "verdict": ""}
            else:
                used.add(run["id"])
                entry |= _ours(run) | judged(run, row)
        rows.append(entry)
    for _, run in summary.iterrows():
        if str(number) in _split(run["tables"]) and run["id"] not in used:
            name = paper.DATASETS[run["dataset"]].name if run["dataset"] in paper.DATASETS else run["dataset"]
            keys = {key: run[key] for key in ("architecture", "timesteps", "neuron")}
            method = f"{run['neuron']} {run['variant']}".strip()
            rows.append({"kind": "control", "dataset": name, "method": method, **keys, **_ours(run)})
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return pd.DataFrame(rows, columns=columns)


def judged(run: pd.Series, row: paper.Accuracy) -> dict:
    """Difference and verdict of a run against the paper's row; no verdict for one that is reduced or has not run."""
    if run["n"] == 0:
        return {"verdict": ""}
    if run["reduced"]:
        return {"verdict": "", "basis": f"not compared, reduced: {run['reduced']}"}
    found = compare_with_paper(sample(run), printed(row), int(run["test_samples"]))
    return {
        "difference_points": found.difference,
        "standard_error_points": found.standard_error,
        "verdict": found.verdict,
        "basis": found.basis,
    }


def energy_table(summary: pd.DataFrame, energy: pd.DataFrame) -> pd.DataFrame:
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
        shared |= {"encoder": "every timestep"}
        rows.append({"kind": "paper, as printed", **shared, "energy_mean_microjoule": row.energy_microjoule})
        rows.append({"kind": "paper, from its printed counts", **shared, "energy_mean_microjoule": row.from_counts()})
    for _, run in summary[summary["tables"].map(lambda tables: "5" in _split(tables)).astype(bool)].iterrows():
        found = energy[energy["id"] == run["id"]] if len(energy) else energy
        base = {"kind": "ours", **{key: run[key] for key in ("id", "neuron", "state", "reduced")}}
        if len(found) == 0:
            rows.append(base)
        for (method, encoder), group in found.groupby(["method", "encoder"], sort=False):
            rows.append(
                {
                    **base,
                    "method": method,
                    "encoder": encoder,
                    "n": len(group),
                    "rate_percent": 100 * group["rate"].astype(float).mean(),
                    **{key: group[key].mean() for key in ("flops", "synops", "sign")},
                    "energy_mean_microjoule": group["energy_microjoule"].mean(),
                    "energy_std_microjoule": group["energy_microjoule"].std(ddof=1) if len(group) > 1 else None,
                }
            )
    return pd.DataFrame(rows)


# membrane distributions ------------------------------------------------------------------------------


def distribution_distance(a: dict, b: dict) -> float:
    """Largest difference of two membrane histograms' cumulative shares (Kolmogorov-Smirnov), between 0 and 1."""
    import numpy as np

    edges = np.union1d(a["edges"], b["edges"])

    def cumulative(histogram: dict):
        counts = np.concatenate([[histogram["below"]], histogram["counts"]]).astype(float).cumsum()
        return np.interp(edges, histogram["edges"], counts / (counts[-1] + histogram["above"]))

    return float(np.abs(cumulative(a) - cumulative(b)).max())


def membrane_distances(evaluations: dict[tuple[str, int], dict]) -> pd.DataFrame:
    """How far the membrane distributions of a run's layers lie apart, and for comparison one layer's between seeds.

    Args:
        evaluations: evaluation.json by run id and seed.

    Returns:
        A row a run id: mean distance over pairs of layers (and seeds), mean distance of the same layer over pairs of
        seeds and the largest one (None with one seed), numbers of layers and seeds.
    """
    from itertools import combinations
    from statistics import fmean

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
    return pd.DataFrame(rows, columns=["id", "between_layers", "between_seeds", "between_seeds_largest", "layers", "n"])


# all of it -------------------------------------------------------------------------------------------

ENERGY_COLUMNS = ("id", "seed", "method", "encoder", "rate", "flops", "synops", "sign", "energy_microjoule")
LATER_COLUMNS = ("evaluated_percent", "rate_percent", "entropy_bits", "synops", "energy_microjoule", "missing")
TRAINING_COLUMNS = (
    "data_label",
    "last_epoch_percent",
    "best_epoch_percent",
    "best_epoch",
    "test_samples",
    "wall_seconds",
)


#: of the several ways to an energy, the one that stands for a network where a single figure is shown: the paper's
HEADLINE_METHOD = {"method": "paper's formula, mean over neurons", "encoder": "every timestep"}
COUNTED_METHOD = {"method": "exact count", "encoder": "every timestep"}


def _chosen(methods: list[dict], wanted: dict) -> dict:
    """The estimate of energy.json that was made in a given way. Raises ValueError if there is none."""
    for method in methods:
        if all(method[key] == value for key, value in wanted.items()):
            return method
    raise ValueError(f"energy.json has no estimate by {' and '.join(wanted.values())}")


def tables(plan: pd.DataFrame, results: Path) -> dict[str, pd.DataFrame]:
    """Every table of a preset but the claims, by name; see docs/reading-the-report.md for their columns.

    Args:
        plan: as :func:`read_plan` returns it.
        results: results/<preset>.
    """
    results = Path(results)
    runs, layers, equivalence, energy, energy_layers, history = [], [], [], [], [], []
    evaluations: dict[tuple[str, int], dict] = {}
    for _, row in plan.iterrows():
        run = _training(row, results)
        key = {"id": row["id"], "seed": row["seed"]}
        folder = run_folder(results, row["id"], row["seed"])
        if "last_epoch_percent" in run:
            try:
                if evaluation := _read(folder / "evaluation.json"):
                    found = _layers(key, evaluation)
                    run["evaluated_percent"] = evaluation["accuracy_percent"]
                    if found:
                        run["rate_percent"] = _over_neurons(found, "rate_percent")
                        run["entropy_bits"] = _over_neurons(found, "entropy_bits")
                        evaluations[row["id"], row["seed"]] = evaluation
                    layers += found
                if checked := _read(folder / "equivalence.json"):
                    equivalence.append(_equivalence(key, checked, _read(folder / "folded.json") or {}))
                if counted := _read(folder / "energy.json"):
                    run["synops"] = _chosen(counted["methods"], COUNTED_METHOD)["synops"]
                    run["energy_microjoule"] = _chosen(counted["methods"], HEADLINE_METHOD)["energy_microjoule"]
                    energy += [{**key, **method} for method in counted["methods"]]
                for name, rows in (("history.csv", history), ("energy.csv", energy_layers)):
                    if (folder / name).exists():
                        rows.append(pd.read_csv(folder / name).assign(**key))
            except (ValueError, KeyError, TypeError, IndexError) as error:
                what = str(error) if isinstance(error, ValueError) else f"a file of it lacks {error}"
                run["state"] = f"incomplete, failed: {what}"
            expected = RUN_FILES if run["spiking"] else RUN_FILES[:3]
            run["missing"] = " ".join(name for name in expected if not (folder / name).exists())
        runs.append(run)

    def framed(rows: list, *first: str) -> pd.DataFrame:
        frame = pd.concat(rows) if rows and isinstance(rows[0], pd.DataFrame) else pd.DataFrame(rows)
        for column in first:
            if column not in frame:
                frame[column] = pd.Series(dtype=object)
        return frame[[*first, *(column for column in frame if column not in first)]]

    run_table = framed(runs)
    for column in (*TRAINING_COLUMNS, *LATER_COLUMNS):
        if column not in run_table:
            run_table[column] = None
    summary = summarise(run_table)
    energy_frame = framed(energy, *ENERGY_COLUMNS)
    found = {
        "runs": run_table,
        "summary": summary,
        "layers": framed(layers, "id", "seed", "position", "layer", "neurons", "amplitude", "rate_percent"),
        "equivalence": framed(equivalence, "id", "seed", "samples", "bound", "passed"),
        "energy": energy_frame,
        "energy_layers": framed(energy_layers, "id", "seed", "layer"),
        "history": framed(history, "id", "seed", "epoch"),
        "membrane": membrane_distances(evaluations),
    }
    found |= {f"table{number}": accuracy_table(number, summary) for number in (1, 2, 3, 4)}
    found["table5"] = energy_table(summary, energy_frame)
    return found


def write_tables(found: dict[str, pd.DataFrame], out: Path) -> list[Path]:
    """Write each table as ``<name>.csv``; full double precision, empty where there is no value."""
    paths = []
    for name, frame in found.items():
        path = Path(out) / f"{name}.csv"
        write_text(path, frame.to_csv(index=False, lineterminator="\n"))
        paths.append(path)
    return paths
