"""Collecting: the small files of all runs of a preset, and its plan, into tables.

A table says of every planned run what it gave, or why it gave nothing: "not run: reason", "failed: reason". A run that
was shortened or ran on other data than the paper's says so wherever it is shown ("reduced: how"). Means and sample
standard deviations are over seeds; the last epoch's accuracy and the best epoch's are never mixed.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from ternary_spike import paper
from ternary_spike.columns import COLUMNS
from ternary_spike.controls import control_runs, differences
from ternary_spike.errors import UserError
from ternary_spike.files import (
    SUMS,
    read_json,
    replaced_together,
    require_listed,
    require_sha256,
    write_sums,
    write_text,
)
from ternary_spike.matching import RECORD as MATCH
from ternary_spike.membrane import membrane_distances
from ternary_spike.paper_tables import accuracy_table, energy_table
from ternary_spike.plan import options

PLAN_COLUMNS = ("id", "seed", "dataset", "architecture", "timesteps", "neuron", "status")
PLAN_OPTIONAL = ("variant", "neuron_options", "tables", "reason", "reduced", "control")
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
    "execution.json",
    "onnx.json",
)
#: those that every run of a spiking network has; the others are made for one seed of a run
EVERY_RUN = RUN_FILES[:-2]


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
    require_listed(path)
    if missing := [column for column in PLAN_COLUMNS if column not in plan]:
        raise UserError(f"{path} has no column {', '.join(missing)}; run the `plan` stage again")
    for column in PLAN_OPTIONAL:
        if column not in plan:
            plan[column] = ""
    try:
        plan = plan.astype({"seed": int, "timesteps": int})
    except (ValueError, OverflowError) as error:
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
    if not path.exists():
        return None
    with _spoiling_its_run(path):
        return read_json(path)


def _read_of(path: Path, run: dict):
    """JSON of a finished stage as :func:`_read` gives it; ValueError if it was made from another training than ``run``.

    Those of earlier versions do not name the weights that they were made from.
    """
    found = _read(path)
    if found is None:
        return None
    wanted = {"id": run["id"], "trained_weights": run["files"]["weights.safetensors"]}
    if any((found.get(key) or value) != value for key, value in wanted.items()):
        raise ValueError(f"{path.name} was made from another training than run.json's; run its stage again")
    return found


def _read_csv(path: Path, record: dict | None) -> list[dict]:
    """Rows of a CSV file whose checksum a record has, none if the stage has not run; ValueError as :func:`_read`."""
    if not path.exists():
        return []
    with _spoiling_its_run(path):
        # records of earlier versions have no checksum of energy.csv
        if recorded := ((record or {}).get("files") or {}).get(path.name):
            require_sha256(path, recorded)
        return pd.read_csv(path).to_dict("records")


@contextmanager
def _spoiling_its_run(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise ValueError(str(error).removeprefix(f"{path.parent}/")) from None


def reductions(row: pd.Series, run: dict) -> list[str]:
    """In which ways a finished run differs from one of the paper's; empty for a full run.

    Judged from what the run recorded, so that no setting of the plan can make a shortened run look full.
    """
    found = [row["reduced"]] if row["reduced"] else []
    if run["changed"] and not row["reduced"]:
        found.append("recipe changed: " + ", ".join(f"{key} = {value}" for key, value in run["changed"].items()))
    network, narrowed, width = run["architecture"].partition("w")
    if narrowed:
        found.append(f"{network} of width {width}")
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


def _execution(key: dict, found: dict) -> dict:
    """A row of execution.csv: the executor's operations for each image."""
    operations, samples = found["operations"], found["samples"]
    return {
        **key,
        "samples": samples,
        "spikes": found["spikes"],
        "differing_spikes": found["differing_spikes"],
        "largest_relative_logit_difference": found["largest_relative_logit_difference"],
        "spike_additions_per_image": sum(operations["additions"].values()) / samples,
        "encoder_multiplications_per_image": operations["multiplications"]["encoder"] / samples,
        "decay_multiplications_per_image": operations["multiplications"]["decay"] / samples,
        "other_additions_per_image": (
            operations["bias_additions"] + operations["current_additions"] + operations["membrane_additions"]
        )
        / samples,
        "exponent_shifts_per_image": operations["exponent_shifts"] / samples,
        "comparisons_per_image": operations["comparisons"] / samples,
    }


#: settings of a neuron layer that emits -1, 0 and 1 (or 0 and 1); whatever else it had would scale its spikes
NORMALISED = {"signed", "threshold", "decay"}


def _matches(plan: pd.DataFrame, results: Path) -> list[dict]:
    """The search for the threshold of each run that had one, a row a probe."""
    rows = []
    for run in dict.fromkeys(plan["id"]):
        try:
            if found := _read(results / "runs" / run / MATCH):
                rows += [_probe(run, found, number, probe) for number, probe in enumerate(found["probes"], start=1)]
        except (ValueError, KeyError, TypeError):
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
    return _framed("summary", rows)


# all of it -------------------------------------------------------------------------------------------

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
    """Every table of a preset but the claims, by name; see :data:`ternary_spike.columns.COLUMNS`.

    Args:
        plan: as :func:`read_plan` returns it.
        results: results/<preset>.
    """
    results = Path(results)
    runs, layers, equivalence, execution, onnx, energy, energy_layers, history = [], [], [], [], [], [], [], []
    evaluations: dict[tuple[str, int], dict] = {}
    for _, row in plan.iterrows():
        run = _training(row, results)
        key = {"id": row["id"], "seed": row["seed"]}
        folder = run_folder(results, row["id"], row["seed"])
        if "last_epoch_percent" in run:
            try:
                record = _read(folder / "run.json")
                if (evaluation := _read_of(folder / "evaluation.json", record)) is not None:
                    found = _layers(key, evaluation)
                    run["evaluated_percent"] = evaluation["accuracy_percent"]
                    membrane_distances({(row["id"], row["seed"]): evaluation})  # raises if its histograms are damaged
                    if found:
                        run["rate_percent"] = _over_neurons(found, "rate_percent")
                        run["entropy_bits"] = _over_neurons(found, "entropy_bits")
                        evaluations[row["id"], row["seed"]] = evaluation
                    layers += found
                if (checked := _read_of(folder / "equivalence.json", record)) is not None:
                    equivalence.append(_equivalence(key, checked, _read_of(folder / "folded.json", record)))
                if (executed := _read_of(folder / "execution.json", record)) is not None:
                    execution.append(_execution(key, executed))
                if (exported := _read_of(folder / "onnx.json", record)) is not None:
                    onnx.append({**key, **{name: exported[name] for name in COLUMNS["onnx"] if name not in key}})
                if (counted := _read_of(folder / "energy.json", record)) is not None:
                    run["synops"] = _chosen(counted["methods"], COUNTED_METHOD)["synops"]
                    run["energy_microjoule"] = _chosen(counted["methods"], HEADLINE_METHOD)["energy_microjoule"]
                    energy += [{**key, **method, "samples": counted["samples"]} for method in counted["methods"]]
                for name, rows, known in (("history.csv", history, record), ("energy.csv", energy_layers, counted)):
                    rows += [{**cells, **key} for cells in _read_csv(folder / name, known)]
            except (ValueError, KeyError, TypeError, IndexError, AttributeError, ArithmeticError) as error:
                what = str(error) if isinstance(error, ValueError) else f"a file of it lacks {error}"
                run["state"] = f"incomplete, failed: {what}"
            expected = RUN_FILES[:3] if row["neuron"] == "relu" else EVERY_RUN
            run["missing"] = " ".join(name for name in expected if not (folder / name).exists())
        runs.append(run)

    run_table = _framed("runs", runs)
    summary = summarise(run_table)
    energy_table_rows = _framed("energy", energy)
    matches = _framed("matches", _matches(plan, results))
    neuron_options = {run: options(text) for run, text in zip(plan["id"], plan["neuron_options"], strict=True)}
    controls = control_runs(summary, neuron_options, matches)
    found = {
        "runs": run_table,
        "summary": summary,
        "layers": _framed("layers", layers),
        "equivalence": _framed("equivalence", equivalence),
        "execution": _framed("execution", execution),
        "onnx": _framed("onnx", onnx),
        "energy": energy_table_rows,
        "energy_layers": _framed("energy_layers", energy_layers),
        "history": _framed("history", history),
        "matches": matches,
        "controls": _framed("controls", controls),
        "differences": _framed("differences", differences(summary, controls)),
        "membrane": _framed("membrane", membrane_distances(evaluations)),
    }
    found |= {f"table{n}": _framed(f"table{n}", accuracy_table(n, summary)) for n in (1, 2, 3, 4)}
    found["table5"] = _framed("table5", energy_table(summary, energy_table_rows))
    return found


def _framed(name: str, rows: list[dict]) -> pd.DataFrame:
    """A table with all of its columns, whether or not any row has them yet."""
    return pd.DataFrame(rows, columns=list(COLUMNS[name]))


def write_tables(found: dict[str, pd.DataFrame], out: Path) -> list[Path]:
    """Write each table as ``<name>.csv``, full double precision, no value is an empty cell; last, their sums.

    All of them or none: the old ones are replaced when the new ones are on the disk.

    Raises:
        UserError: if the folder cannot be written or the disk is full; the old tables are then still there.
    """
    with replaced_together(out, SUMS) as folder:
        paths = [folder / f"{name}.csv" for name in found]
        for path, frame in zip(paths, found.values(), strict=True):
            write_text(path, frame.to_csv(index=False, lineterminator="\n"))
        write_sums(folder / SUMS, paths)
    return [Path(out) / path.name for path in paths]
