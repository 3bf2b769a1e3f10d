"""With which settings, and by which code, the plan wants each stage of a run done: what its results are compared with.

They stand in plan.csv as JSON, in two cells of a run's row. What a record says it was made with is brought into the
same form, so that the two can be compared key by key. Values that a record lacks, because the version that wrote it did
not have them yet, are the defaults: of the recipe's fields, of the options of neuron, normalisation and method, batch
norm, statistics of the stem's batch norm in each step, the paper's way to train, no source, no deterministic
algorithms, the paper's energies of operations.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING
from typing import Any

from ternary_spike import paper
from ternary_spike.configuration.recipe import FIELDS, deciding
from ternary_spike.configuration.register import NUMBER, Registry
from ternary_spike.methods.registry import METHODS, PAPERS_WAY
from ternary_spike.models.normalisations import BATCH_NORM, NORMALISATIONS
from ternary_spike.neurons.registry import NEURONS
from ternary_spike.planning.network_options import NORMALISATION, OF_NORMALISATION
from ternary_spike.planning.run import Run
from ternary_spike.planning.run_code import TRAIN, run_code_hash
from ternary_spike.planning.run_files import STAGES, WITHOUT_SPIKES

#: what a search finds, so that the plan cannot say it
FOUND = ("threshold", "window")
CONSTANTS = dict(zip(("flop", "synop", "sign"), paper.ENERGY_PJ.values(), strict=True))
DEFAULTS = {key: known.default for key, known in FIELDS.items() if known.default is not MISSING}
DETERMINISTIC = "deterministic"
STEM = "stem_batch_norm"
#: the cells, and what each has for a stage
CELLS = {"settings": dict, "code": str}


def stages_of(neuron: str) -> tuple[str, ...]:
    """The stages of a run, in their order."""
    return tuple(STAGES) if NEURONS[neuron].spikes else WITHOUT_SPIKES


def columns(run: Run, stage_settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The cells ``settings`` and ``code`` of a run's row of plan.csv.

    Args:
        run: the run.
        stage_settings: what the configuration sets for a stage, by stage: ``{"verify": {"samples": 256}}``.

    Raises:
        ValueError: if the run names a part that is unknown.
    """
    stages = stages_of(run.neuron)
    wanted: dict[str, Any] = {stage: dict(stage_settings.get(stage, {})) for stage in stages}
    wanted[TRAIN] |= _of_training(run)
    codes = {stage: run_code_hash(stage, run.decisive) for stage in stages}
    return {"settings": _text(wanted), "code": _text(codes)}


def _of_training(run: Run) -> dict[str, Any]:
    network = run.network_options
    of_normalisation = {
        key.removeprefix(OF_NORMALISATION): text for key, text in network.items() if key.startswith(OF_NORMALISATION)
    }
    return {
        "recipe": deciding(run.values),
        "neuron_options": dict(run.given_options),
        NORMALISATION: network.get(NORMALISATION, BATCH_NORM),
        "normalisation_options": of_normalisation,
        STEM: network.get(STEM, "per_step"),
        "method": run.training,
        "method_options": dict(run.method.training_options) if run.method else {},
        "source": run.source_folder,
        "target": run.target,
    }


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def read(text: str, column: str) -> dict[str, Any]:
    """A cell of plan.csv, by stage; empty where an earlier version wrote the plan.

    Args:
        text: the cell.
        column: one of :data:`CELLS`.

    Raises:
        ValueError: if the cell is not what :func:`columns` makes.
    """
    try:
        content = json.loads(text or "{}")
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or not all(isinstance(value, CELLS[column]) for value in content.values()):
        raise ValueError(f"{column} is {text[:60]!r}, not as the plan writes it")
    return content


def of_training(wanted: Mapping[str, Any], neuron: str) -> dict[str, Any]:
    """What the plan wants of a training, key by key, with the defaults of what it does not say."""
    found = {f"recipe.{key}": value for key, value in {**DEFAULTS, **wanted["recipe"]}.items()}
    found |= _options("neuron_options", NEURONS, neuron, wanted["neuron_options"])
    normalisation, method = wanted[NORMALISATION], wanted["method"]
    found |= _options("normalisation_options", NORMALISATIONS, normalisation, wanted["normalisation_options"])
    found |= _options("method_options", METHODS, method, wanted["method_options"])
    if wanted["target"]:
        given = wanted["neuron_options"]
        found = {key: value for key, value in found.items() if key not in _found_keys(given)}
    named = {key: wanted[key] for key in (NORMALISATION, STEM, "method", "source")}
    return found | named | {DETERMINISTIC: wanted.get(DETERMINISTIC, False)}


def by_training(record: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What run.json says of a training, key by key as :func:`of_training`, with the defaults of what it lacks.

    Raises:
        KeyError, TypeError, AttributeError: if it is no record of a training.
    """
    model, source = record["model"], record.get("source") or {}
    normalisation, method = model.get(NORMALISATION, BATCH_NORM), record.get("method") or PAPERS_WAY
    said = {
        "recipe": record["recipe"],
        "neuron_options": model.get("neuron_options") or {},
        NORMALISATION: normalisation,
        "normalisation_options": model.get("normalisation_options") or {},
        STEM: model.get(STEM, "per_step"),
        "method": method,
        "method_options": record.get("method_options") or {},
        "source": f"{source['id']}/seed{source['seed']}" if source else "",
        "target": "",
        DETERMINISTIC: record["cost"].get(DETERMINISTIC, False),
    }
    found = of_training(said, record["neuron"])
    absent = _found_keys(wanted["neuron_options"]) if wanted["target"] else ()
    return {key: value for key, value in found.items() if key not in absent}


def by_stage(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the result of a later stage says that it was made with, in the plan's words."""
    constants = record.get("constants_picojoule") or CONSTANTS
    return {key: record[key] for key in ("samples",) if key in record} | {
        f"{key}_picojoule": value for key, value in constants.items()
    }


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What differs, in words, each like "recipe.learning_rate is 0.1, wanted 0.2"."""
    pairs = ((key, found.get(key), wanted.get(key)) for key in sorted({*wanted, *found}))
    return [
        f"{key} is {_said(made)}, wanted {_said(asked)}" for key, made, asked in pairs if _plain(made) != _plain(asked)
    ]


def _found_keys(given: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"neuron_options.{key}" for key in FOUND if key not in given)


def _options(prefix: str, registry: Registry, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A part's options by what :func:`differences` calls them; those of code elsewhere have no defaults here."""
    known = registry[name].options if name in registry else {}
    defaults = {key: option.default for key, option in known.items()}
    return {f"{prefix}.{key}": value for key, value in {**defaults, **given}.items()}


def _plain(value: Any) -> Any:
    """A value so that text as a table has it, lists and whole numbers compare equal to what they stand for."""
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, str):
        if value.lower() in ("true", "false"):
            return ("flag", value.lower() == "true")
        return float(value) if NUMBER.fullmatch(value) else value
    if isinstance(value, bool):
        return ("flag", value)
    return float(value) if isinstance(value, int) else value


def _said(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "not set" if value in (None, "") else str(value)
