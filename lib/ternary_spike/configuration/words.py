"""Words of a command line and of YAML as values, and values as words."""

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from ternary_spike.configuration.run_table import FACETS

WORDS = {"true": True, "false": False, "null": None}


def typed(given: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration whose values may come from a command line, where everything is text and commas part items."""
    found = {key: WORDS.get(value, value) if isinstance(value, str) else value for key, value in given.items()}
    if isinstance(energies := found.get("energy_picojoule"), dict):
        found["energy_picojoule"] = {key: _without_point(value) for key, value in energies.items()}
    lists = {**FACETS, "plugins": str}
    return found | {key: as_list(found[key], kind) for key, kind in lists.items() if key in found}


def as_list(value: Any, kind: type) -> list:
    """``1,2``, ``[1, 2]``, ``['1', '2']`` and ``1`` as a list; text that is no number stays text for the schema."""
    items = value if isinstance(value, list) else str(value).split(",")
    items = [str(item).strip() for item in items if str(item).strip()]
    return [kind(item) if kind is str or re.fullmatch("-?[0-9]{1,19}", item) else item for item in items]


def _without_point(value: Any) -> Any:
    """``1e-3``, which YAML 1.1 takes for text because it has no point, as a number; anything else as it is."""
    without = isinstance(value, str) and re.fullmatch("[-+]?[0-9]+[eE][-+]?[0-9]+", value)
    return float(value) if without else value


def word(value: Any) -> str:
    """A value as the command line takes it, where ``KEY=VALUE`` is read as YAML: the inverse of that reading."""
    if isinstance(value, str):
        try:
            if yaml.safe_load(value) == value:
                return value
        except yaml.YAMLError:
            pass
    return json.dumps(value)
