"""The hash of the code that one stage of one run depends on: the workflow repeats the stage when it changes.

The run table names a neuron, a normalisation, an architecture and a method; here these become the modules that hold
their code. What else the registries say of them counts by its value.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from ternary_spike.methods.registry import METHODS, PAPERS_WAY
from ternary_spike.models.normalisations import BATCH_NORM, NORMALISATIONS
from ternary_spike.models.registry import ARCHITECTURES
from ternary_spike.neurons.registry import NEURONS
from ternary_spike.system import codehash

TRAIN = "train"


def run_code_hash(stage: str, run: Mapping[str, Any]) -> str:
    """The hash of the code that a stage of a run reaches, 16 hexadecimal digits.

    Args:
        stage: "train", or the verb of a later stage.
        run: what decides it, as in run.json: the network (``model``: ``architecture``, ``neuron``, ``neuron_options``
            and, unless it is batch norm, ``normalisation`` and ``normalisation_options``), the values of its
            ``recipe``, where a field that is missing has its default, and, unless it is the paper's way, the ``method``
            and its ``method_options``. Values of options may be text.

    Raises:
        ValueError: if a name is unknown.
    """
    model, recipe = run["model"], run["recipe"]
    method = run.get("method") or PAPERS_WAY
    normalisation = NORMALISATIONS[model.get("normalisation", BATCH_NORM)]
    parts = [NEURONS[model["neuron"]], normalisation, ARCHITECTURES[model["architecture"]]]
    parts += [METHODS[method]] if stage == TRAIN else []
    settings = {key: recipe[key] for key in codehash.UNREACHED_FIELDS & recipe.keys()}
    for options in (*(model.get(f"{kind}_options") for kind in ("neuron", "normalisation")), run.get("method_options")):
        settings |= {key: value for key, value in (options or {}).items() if isinstance(value, str)}
    code = _code_hash(stage, tuple(part.module for part in parts), frozenset(settings.items()))
    entries = [code, *((part.home, part.spikes, part.data) for part in parts)]
    return hashlib.sha256(str(entries).encode()).hexdigest()[:16]


@cache
def _code_hash(stage: str, homes: tuple[str, ...], settings: frozenset[tuple[str, Any]]) -> str:
    begin = codehash.TRAINING if stage == TRAIN else (f"cli.{stage}",)
    return codehash.run_code_hash(begin, homes, dict(settings))
