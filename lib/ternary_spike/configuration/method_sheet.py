"""A published method as data: the parts that it names, their options, what it changes in a recipe, and where from.

A sheet is a YAML file of config/methods; the file's name is the method's in the run table and in the ids of its runs.
Its ``sources`` section says for each value where it comes from, as recipes do. Whether the parts exist and take these
options is checked where their registries are known, by :func:`ternary_spike.planning.parts.require_parts`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ternary_spike.configuration.recipe import FIELDS, ORIGINS, rule_of
from ternary_spike.configuration.schema import checked
from ternary_spike.configuration.strict_yaml import read_mapping
from ternary_spike.system.errors import UserError

NAME = re.compile(r"[a-z0-9][a-z0-9_]*")
#: what a selection calls the paper's own way, which has no sheet
PAPER = "paper"
#: what stands behind a method's name in the ids of runs that leave its recipe out
ROW_RECIPE = "row_recipe"
#: and what their labels say
THE_ROWS = "the row's recipe"
#: every equation and constant was checked against public code or text; some were not and are named under filled_in;
#: not even the equations could be had, so that the method is a guess
FAITHFUL, PARTLY, CANDIDATE = LEVELS = ("faithful", "partly", "candidate")

_TEXT = {"type": "string", "minLength": 1}
_OPTIONS = {"type": "object", "default": {}, "additionalProperties": {"type": ["string", "number", "boolean"]}}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["title", "citation", "level", "sources"],
    "properties": {
        "title": _TEXT,
        "citation": _TEXT,
        "level": {"enum": list(LEVELS)},
        "filled_in": {"type": "array", "items": _TEXT, "default": []},
        "neuron": {"type": "string", "default": ""},
        "neuron_options": _OPTIONS,
        "network_options": _OPTIONS,
        "training": {"type": "string", "default": ""},
        "training_options": _OPTIONS,
        "recipe": {"type": "object", "default": {}},
        "sources": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
#: keys whose values each need a source
SINGLE, GROUPS = ("neuron", "training"), ("neuron_options", "network_options", "training_options", "recipe")


@dataclass(frozen=True)
class MethodSheet:
    """What a published method is made of.

    Attributes:
        path: its file.
        title: the method's name as published, such as "TET".
        citation: where it was published.
        level: "faithful", "partly" or "candidate", see :data:`LEVELS`.
        filled_in: what the sheet decides because its sources leave it open; empty for a faithful one.
        neuron: the neuron of every layer; empty where the method leaves it to the row of the run table.
        neuron_options: options of that neuron, its surrogate gradient among them, as text.
        network_options: options of the network whatever its neuron, as text.
        training: how to train, a name of the registry of methods; empty for the paper's way.
        training_options: its options.
        recipe: values in place of the recipe's.
        sources: where each value comes from, by key (``neuron_options.threshold``): "origin: explanation".
        own_recipe: whether its recipe counts; a row of the run table may leave it out.
        changed: options of the training, as text, that a row has in place of the sheet's.
    """

    path: Path
    title: str
    citation: str
    level: str
    filled_in: tuple[str, ...]
    neuron: str
    neuron_options: Mapping[str, str]
    network_options: Mapping[str, str]
    training: str
    training_options: Mapping[str, Any]
    recipe: Mapping[str, Any]
    sources: Mapping[str, str]
    own_recipe: bool = True
    changed: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The method's name in the run table."""
        return self.path.stem

    @property
    def id_part(self) -> str:
        """What ids say of it: its name, and whether its recipe was left out."""
        return self.name if self.own_recipe else f"{self.name}-{ROW_RECIPE}"

    @property
    def label(self) -> str:
        """What people read: the method's name, never without its level, nor without what a row changes in it."""
        changes = ", ".join(f"{key}={text}" for key, text in sorted(self.changed.items()))
        recipe = "" if self.own_recipe else THE_ROWS
        return f"{self.title} ({'; '.join(filter(None, [self.level, recipe, changes]))})"

    def without_recipe(self) -> "MethodSheet":
        """The same method, trained by the row's recipe as it stands."""
        return replace(self, recipe={}, own_recipe=False)

    def with_options(self, options: Mapping[str, str]) -> "MethodSheet":
        """The same method with these options of its training, as text, in place of the sheet's."""
        return replace(self, training_options={**self.training_options, **options}, changed=dict(options))

    def neuron_of(self, neuron: str, options: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """Neuron and its options, as text, of a run by this method whose row names these, both possibly empty.

        Another neuron than the sheet's is taken without the sheet's options, which are that one's: a row of ternary
        neurons with a binary method's training has them as the paper describes them.
        """
        chosen = neuron or self.neuron
        inherited = self.neuron_options if chosen == self.neuron else {}
        return chosen, {**inherited, **options}

    def record(self) -> dict[str, Any]:
        """What a run's record says of its sheet besides the parts and values, which stand there by themselves."""
        return {
            "name": self.name,
            "label": self.label,
            "citation": self.citation,
            "filled_in": list(self.filled_in),
            "recipe": dict(self.recipe),
            "own_recipe": self.own_recipe,
        }


def load(path: Path) -> MethodSheet:
    """Read a method sheet.

    Raises:
        UserError: with the file and the key, if the file cannot be read or anything in it is wrong.
    """
    path = Path(path)
    if not NAME.fullmatch(path.stem) or path.stem == PAPER:
        raise UserError(
            f"{path}: {path.stem!r} is no name of a method; use small letters, digits and _, and not {PAPER!r}, "
            "which stands for the paper's own way"
        )
    content = checked(read_mapping(path, "method sheet"), SCHEMA, str(path))
    _require_recipe(path, content["recipe"])
    if content["neuron_options"] and not content["neuron"]:
        raise UserError(f"{path}: neuron_options need a neuron that has them; name it under neuron")
    if content["training_options"] and not content["training"]:
        raise UserError(f"{path}: training_options need a way to train that has them; name it under training")
    _require_sources(path, content)
    _require_level(path, content)
    for group in ("neuron_options", "network_options"):
        content[group] = {key: _text(value) for key, value in content[group].items()}
    return MethodSheet(path, **{**content, "filled_in": tuple(content["filled_in"])})


def _text(value: Any) -> str:
    """An option's value as the run table and the command line write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _require_recipe(path: Path, changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if key not in FIELDS or key == "name":
            known = ", ".join(field for field in FIELDS if field != "name")
            raise UserError(f"{path}: unknown key 'recipe.{key}'; known are {known}")
        try:
            FIELDS[key].metadata["option"].value(value)
        except ValueError:
            raise UserError(f"{path}: recipe.{key} is {value!r}, but must be {rule_of(key)}") from None


def _require_sources(path: Path, content: Mapping[str, Any]) -> None:
    """Raise UserError for a value without a source, or a source without its value."""
    values = [key for key in SINGLE if content[key]]
    values += [f"{group}.{key}" for group in GROUPS for key in content[group]]
    sources = content["sources"]
    for key in values:
        if key not in sources:
            raise UserError(f"{path}: sources.{key} is missing; say where {key} comes from")
    for key, source in sources.items():
        if key not in values:
            raise UserError(f"{path}: sources.{key} is of no value that the sheet gives; leave it out")
        if source.partition(":")[0] not in ORIGINS:
            raise UserError(f"{path}: sources.{key} is {source!r}, but must start with {', '.join(ORIGINS)}")


def _require_level(path: Path, content: Mapping[str, Any]) -> None:
    """Raise UserError where the level promises more than the sheet says, or a candidate goes by the method's name."""
    level, chosen = content["level"], [key for key, text in content["sources"].items() if text.startswith(ORIGINS[2])]
    if level == FAITHFUL and (content["filled_in"] or chosen):
        what = "filled_in is not empty" if content["filled_in"] else f"{chosen[0]} is our choice"
        raise UserError(f"{path}: level is {level}, but {what}; write {PARTLY} and name it under filled_in")
    if level != FAITHFUL and not content["filled_in"]:
        raise UserError(f"{path}: level is {level}, but filled_in is empty; say what the sources leave open")
    if level == CANDIDATE and not path.stem.endswith(f"_{CANDIDATE}"):
        raise UserError(
            f"{path}: level is {level}, so no run may go by the method's name alone; "
            f"call the file {path.stem}_{CANDIDATE}.yaml"
        )
