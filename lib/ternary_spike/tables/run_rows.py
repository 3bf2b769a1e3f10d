"""One run's rows of the tables, from the files that its stages left.

A row says of a planned run what it gave, or why it gave nothing: "not run: reason", "failed: reason", "other
settings: KEY is A, wanted B". Of a run that is done it says what it cannot give: "done; not foldable: reason", "done;
not counted: reason". A damaged file spoils its own run's rows and nobody else's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ternary_spike import paper
from ternary_spike.planning.run_files import STAGES, expected_files, run_folder
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import read_json, require_sha256
from ternary_spike.tables import other_settings, stage_rows
from ternary_spike.tables.columns import COLUMNS, NOT_COUNTED, NOT_FOLDABLE
from ternary_spike.tables.membrane_distances import membrane_distances
from ternary_spike.tables.reductions import reductions

IDENTITY = ("dataset", "architecture", "timesteps", "neuron")


@dataclass
class RunRows:
    """The rows of one run and seed, by the names of the tables (see :data:`ternary_spike.tables.columns.COLUMNS`).

    Attributes:
        run: its row of runs.csv.
        evaluation: evaluation.json, None if there is none or it has no layer.
        codes: the hash of the code that made a stage's result, by stage; empty where it names none.
        other: why a stage's result is not what the plan wants, by stage.
    """

    run: dict
    layers: list[dict] = field(default_factory=list)
    equivalence: list[dict] = field(default_factory=list)
    execution: list[dict] = field(default_factory=list)
    onnx: list[dict] = field(default_factory=list)
    energy: list[dict] = field(default_factory=list)
    energy_layers: list[dict] = field(default_factory=list)
    history: list[dict] = field(default_factory=list)
    evaluation: dict | None = None
    codes: dict[str, str] = field(default_factory=dict)
    other: dict[str, str] = field(default_factory=dict)


def read_run(row: pd.Series, results: Path) -> RunRows:
    """All rows of a planned run; those of its finished stages if a later one failed.

    Args:
        row: of the plan.
        results: results/<preset>.
    """
    found = RunRows(_training(row, results))
    if "last_epoch_percent" not in found.run:
        return found
    folder = run_folder(results, row["id"], row["seed"])
    try:
        _read_stages(found, folder, row)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, ArithmeticError) as error:
        what = str(error) if isinstance(error, ValueError) else f"a file of it lacks {error}"
        found.run["state"] = f"incomplete, failed: {what}"
    if note := other_settings.of_code(row, found.codes):
        found.run["state"] += f"; {note}"
    missing = [name for name in expected_files(row["neuron"], first_seed=False) if not (folder / name).exists()]
    found.run["missing"] = " ".join(missing)
    return found


def _read_stages(found: RunRows, folder: Path, row: pd.Series) -> None:
    """Add what the stages after training left; what was added before a damaged file stays."""
    key = {"id": found.run["id"], "seed": found.run["seed"]}
    record = _read(folder / "run.json")
    found.codes["train"] = record["provenance"]["code_hash"] or ""

    def read(stage: str) -> dict | None:
        content = _read_of(folder / STAGES[stage][0], record)
        if content is not None:
            found.codes[stage] = (content.get("provenance") or {}).get("code_hash") or ""
            if why := other_settings.of_stage(row, stage, content, found.run["test_samples"]):
                found.other[stage] = why
        return content

    if (evaluation := read("evaluate")) is not None:
        layers = stage_rows.layers(key, evaluation)
        found.run["evaluated_percent"] = evaluation["accuracy_percent"]
        membrane_distances({(key["id"], key["seed"]): evaluation})  # raises if its histograms are damaged
        if layers:
            found.run["rate_percent"] = stage_rows.over_neurons(layers, "rate_percent")
            found.run["entropy_bits"] = stage_rows.over_neurons(layers, "entropy_bits")
            found.evaluation = evaluation
        found.layers += layers
    if (folded := read("fold")) is not None and NOT_FOLDABLE in folded:
        found.run["state"] += f"; not foldable: {folded[NOT_FOLDABLE]}"
    if (checked := read("verify")) is not None:
        found.equivalence.append(stage_rows.of_folded(key, checked, lambda: stage_rows.equivalence(checked, folded)))
    if (executed := read("execute")) is not None:
        found.execution.append(stage_rows.of_folded(key, executed, lambda: stage_rows.execution(executed)))
    if (exported := read("export")) is not None:
        numbers = COLUMNS["onnx"].keys() - {*key, NOT_FOLDABLE}
        found.onnx.append(stage_rows.of_folded(key, exported, lambda: {name: exported[name] for name in numbers}))
    if (counted := read("energy")) is not None:
        _add_energy(found, key, counted)
    found.history += [{**cells, **key} for cells in _read_csv(folder / "history.csv", record)]
    for cells in _read_csv(folder / "energy.csv", counted):
        reason = cells.get(NOT_COUNTED)  # pandas reads an empty cell as NaN; files of earlier versions have none
        found.energy_layers.append({**cells, **key, NOT_COUNTED: reason if isinstance(reason, str) else ""})


def _add_energy(found: RunRows, key: dict, counted: dict) -> None:
    """Add the rows of energy.json: one for each method, or a single one that says why nothing was counted."""
    if NOT_COUNTED in counted:
        reason = _layers_together(counted[NOT_COUNTED])
        found.run["state"] += f"; not counted: {reason}"
        found.energy.append({**key, "samples": counted["samples"], "constants": "", NOT_COUNTED: reason})
        return
    exact, headline = (stage_rows.chosen(counted["methods"], way) for way in (stage_rows.COUNTED, stage_rows.HEADLINE))
    found.run["synops"], found.run["energy_microjoule"] = exact["synops"], headline["energy_microjoule"]
    constants = stage_rows.constants(counted)
    shared = {**key, "samples": counted["samples"], "constants": constants, NOT_COUNTED: ""}
    for method in counted["methods"]:
        name = method["method"]
        if constants != paper.CONSTANTS:  # then the formula is not the paper's
            name = name.replace("paper's formula", "formula at other constants")
        found.energy.append({**shared, **method, "method": name})


def _layers_together(reasons: str) -> str:
    """Reasons "layer, what it does; ..." with neighbouring layers that do the same said once, and how many they are."""
    found: list[tuple[str, str, int]] = []  # the first layer, what it does, how many do
    for reason in reasons.split("; "):
        layer, _, said = reason.partition(", ")
        first, before, count = found[-1] if found else ("", "", 0)
        if said and said == before:
            found[-1] = (first, said, count + 1)
        else:
            found.append((layer, said, 1))
    more = {1: "", 2: " and 1 more layer"}
    said_once = ((layer + more.get(count, f" and {count - 1} more layers"), said) for layer, said, count in found)
    return "; ".join(", ".join(filter(None, parts)) for parts in said_once)


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


def _unfinished(source: str, results: Path) -> str:
    """Why a run that can run has not run, where none of its own stages failed; ``source`` is the run it builds on."""
    for folder in sorted((results / "status" / source).glob("seed*")) if source else []:
        if failure := _failure(results, source, int(folder.name.removeprefix("seed"))):
            return f"it builds on {source}, which failed: {failure}"
    return "its training has not finished"


def _planned(row: pd.Series) -> dict:
    """What the plan says of a run; a prior method's counts as a variant wherever its neuron stands, level included."""
    variant = ", ".join(filter(None, [row["method_label"], row["variant"]]))
    base = {key: row[key] for key in ("id", "seed", *IDENTITY, "tables", "control", "source_run")}
    return base | {"method": row["method_label"], "variant": variant}


def _training(row: pd.Series, results: Path) -> dict:
    """A row of runs.csv, but for what the later stages add to it."""
    base = _planned(row)
    folder = run_folder(results, row["id"], row["seed"])
    failure = _failure(results, row["id"], row["seed"])
    try:
        run = _read(folder / "run.json")
        if run is None:
            if failure:
                state = f"failed: {failure}"
            elif row["status"] == "runnable":
                state = f"not run: {_unfinished(row['source_run'], results)}"
            else:
                state = f"not run: {row['reason'] or 'no reason given in the plan'}"
            return {**base, "state": state, "reduced": row["reduced"]}
        if other := [key for key in ("id", "seed", *IDENTITY) if run[key] != row[key]]:
            raise ValueError(f"run.json is another run's: its {other[0]} is {run[other[0]]}, not {row[other[0]]}")
        if other := other_settings.of_training(row, run, results):
            return {**base, "state": other, "reduced": row["reduced"]}
        return {
            **base,
            "state": f"incomplete, failed: {failure}" if failure else "done",
            "reduced": "; ".join(reductions(row, run)),
            **_of_record(run),
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = str(error) if isinstance(error, ValueError) else f"run.json lacks {error}"
        return {**base, "state": f"failed: {what}", "reduced": row["reduced"]}


def _of_record(run: dict) -> dict:
    """What run.json gives a row of runs.csv."""
    data, accuracy, cost, provenance = run["data"], run["accuracy"], run["cost"], run["provenance"]
    return {
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
        "commit": provenance["commit"] or f"unknown: {provenance.get('commit_unknown', 'no reason recorded')}",
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
        "citation": (run.get("sheet") or {}).get("citation", ""),  # of the table of rivals
    }
