"""A training recipe: a closed set of values, read from YAML, each of which can be traced to its origin.

A recipe file is a flat mapping of the fields of :class:`Recipe`. Its ``sources`` section says for each of them where
the value comes from: the paper, the authors' code or our choice, and why.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from ternary_spike.configuration.strict_yaml import StrictLoader
from ternary_spike.configuration.user_text import read_user_text
from ternary_spike.system.errors import UserError

ORIGINS = ("paper", "authors' code", "our choice")


def _value(rule: str, convert: Callable[[Any], Any], meaning: str, default: Any = MISSING) -> Any:
    """A field of :class:`Recipe`; ``convert`` returns the value or raises ValueError where ``rule`` is broken."""
    return field(default=default, metadata={"rule": rule, "convert": convert, "meaning": meaning})


MOST, MOST_PIXELS = 10**9, 4096


def _integer(low: int, high: int = MOST) -> tuple[str, Callable[[Any], int]]:
    def convert(value: Any) -> int:
        # True is an int to Python, and 5.0 is not to us: both are slips of the pen here
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return f"a whole number from {low} to {high:,}", convert


def _number(rule: str, accepted: Callable[[float], bool]) -> tuple[str, Callable[[Any], float]]:
    def convert(value: Any) -> float:
        # YAML 1.1 takes 1e-4 for text, because the exponent's mantissa lacks a point
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        number = float(value)
        if not math.isfinite(number) or not accepted(number):
            raise ValueError
        return number

    return rule, convert


def _choice(*choices: str) -> tuple[str, Callable[[Any], str]]:
    def convert(value: Any) -> str:
        if value not in choices:
            raise ValueError
        return value

    return "one of " + ", ".join(choices) if len(choices) > 1 else f"{choices[0]} (the only one)", convert


def _flag() -> tuple[str, Callable[[Any], bool]]:
    def convert(value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError
        return value

    return "true or false", convert


def _text() -> tuple[str, Callable[[Any], str]]:
    def convert(value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ValueError
        return value

    return "text", convert


def _channels(rule: str, accepted: Callable[[float], bool]) -> tuple[str, Callable[[Any], tuple[float, ...]]]:
    _, number = _number("", accepted)

    def convert(value: Any) -> tuple[float, ...]:
        if not isinstance(value, list | tuple) or not 1 <= len(value) <= 4:
            raise ValueError
        return tuple(number(v) for v in value)

    return rule, convert


def _optional(rule: str, convert: Callable[[Any], Any], absent: str) -> tuple[str, Callable[[Any], Any]]:
    return f"{rule}, or null {absent}", lambda value: None if value is None else convert(value)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training besides network, neuron, data and seed. Its values are checked when made.

    Raises:
        ValueError: if a value has the wrong type or lies outside of what is allowed.
    """

    name: str = _value(*_text(), "the recipe's name")
    epochs: int = _value(*_integer(1), "passes over the training set; the cosine ends with the last")
    batch_size: int = _value(*_integer(1), "pictures a step, all processes together")
    learning_rate: float = _value(*_number("a number above 0", lambda x: x > 0), "SGD's learning rate at the start")
    momentum: float = _value(*_number("a number from 0 to below 1", lambda x: 0 <= x < 1), "SGD's momentum")
    weight_decay: float = _value(
        *_number("a number of at least 0", lambda x: x >= 0), "L2 decay of convolution and linear weights"
    )
    schedule: str = _value(*_choice("cosine"), "the learning rate's course, stepped once an epoch", "cosine")
    precision: str = _value(
        *_choice("float32", "bfloat16"),
        "of convolutions and linear layers in training; the membrane is float32",
        "float32",
    )
    train_samples: int | None = _value(
        *_optional(*_integer(1), "for all"), "size of a class-balanced subset to train on", None
    )
    crop_padding: int = _value(
        *_integer(0, MOST_PIXELS), "zero padding, in pixels, before a random crop of the same size", 0
    )
    random_resized_crop: bool = _value(
        *_flag(), "a random part of random aspect, resized to the input's size (pictures of varying size)", False
    )
    flip: bool = _value(*_flag(), "mirror left to right with probability 1/2", False)
    roll: int = _value(
        *_integer(0, MOST_PIXELS), "shift by up to so many pixels along both axes; what leaves comes in opposite", 0
    )
    autoaugment: str = _value(*_choice("none", "cifar10"), "AutoAugment policy, fill 128", "none")
    cutout: int = _value(*_integer(0, MOST_PIXELS), "side of the black square, in pixels; its edges are clipped", 0)
    evaluation_crop: float = _value(
        *_number("a number above 0 and up to 1", lambda x: 0 < x <= 1),
        "the centre crop's share of the shorter side (pictures of varying size)",
        1.0,
    )
    mean: tuple[float, ...] | None = _value(
        *_optional(*_channels("a list of 1 to 4 numbers from 0 to 1", lambda x: 0 <= x <= 1), "for raw counts"),
        "each channel's mean, of pixels in 0..1",
        None,
    )
    std: tuple[float, ...] | None = _value(
        *_optional(*_channels("a list of 1 to 4 numbers above 0", lambda x: x > 0), "for raw counts"),
        "each channel's standard deviation, of pixels in 0..1",
        None,
    )

    def __post_init__(self) -> None:
        for key in fields(self):
            value = getattr(self, key.name)
            try:
                object.__setattr__(self, key.name, key.metadata["convert"](value))
            except (ValueError, OverflowError):
                raise ValueError(f"{key.name} is {value!r}, but must be {key.metadata['rule']}") from None
        if (self.mean is None) != (self.std is None) or (self.mean and len(self.mean) != len(self.std)):
            raise ValueError(
                f"mean is {self.mean!r} and std is {self.std!r}, but both or none must be lists of one length"
            )
        if self.random_resized_crop and self.crop_padding:
            raise ValueError(f"crop_padding is {self.crop_padding!r}, but must be 0 where random_resized_crop is true")

    def as_dict(self) -> dict[str, Any]:
        """The values as JSON knows them: lists for tuples."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


FIELDS = {key.name: key for key in fields(Recipe)}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """A recipe file's values, unchecked, and sources."""
    try:
        content = yaml.load(read_user_text(path), StrictLoader)
    except FileNotFoundError:
        others = ", ".join(sorted(other.stem for other in Path(path).parent.glob("*.yaml"))) or "none"
        raise UserError(f"there is no recipe {path}; in that folder there are: {others}") from None
    except OSError as error:
        raise UserError(f"cannot read the recipe {path}: {error.strerror or error}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # the last for a date or number that cannot be
        problem = " ".join(str(error).split())
        raise UserError(f"{path} is not a YAML mapping of recipe values: {problem}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a YAML mapping of recipe values; see config/recipes for examples")
    sources = content.pop("sources", {})
    if not isinstance(sources, dict):
        raise UserError(f"{path}: sources must be a mapping from recipe keys to where each value comes from")
    _require_known(sources, f"{path}: sources")
    for key, source in sources.items():
        if not isinstance(source, str) or source.partition(":")[0] not in ORIGINS:
            raise UserError(f"{path}: the source of {key} is {source!r}, but must start with {', '.join(ORIGINS)}")
    return content, sources


def _require_known(keys: Mapping, where: str) -> None:
    for key in keys:
        if key not in FIELDS:
            raise UserError(f"{where}: unknown key {key!r}; allowed are {', '.join(FIELDS)}")


def load(path: Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe.

    Args:
        path: the YAML file.
        changes: values in place of the file's; text, as a command line gives it, is read as YAML.

    Raises:
        UserError: if the file cannot be read, or a key is unknown, missing, or its value not allowed.
    """
    content, _ = _read(path)
    changes = dict(changes or {})
    _require_known(changes, f"change of recipe {path}")
    for key, value in changes.items():
        try:
            content[key] = yaml.load(value, StrictLoader) if isinstance(value, str) else value
        except (yaml.YAMLError, RecursionError, ValueError):
            raise UserError(f"change of recipe {path}: {key} is {value!r}, but must be {rule_of(key)}") from None
    return from_dict(content, f"{path} with changes" if changes else path)


def from_dict(values: Mapping[str, Any], where: Path | str) -> Recipe:
    """The recipe that :meth:`Recipe.as_dict` gave, as a run's record keeps it in the file ``where``.

    Raises:
        UserError: if a key is unknown, missing, or its value not allowed.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: the recipe is not a mapping of values")
    _require_known(values, str(where))
    for key, known in FIELDS.items():
        if known.default is MISSING and key not in values:
            raise UserError(f"{where}: {key} is missing; it must be {rule_of(key)}")
    try:
        return Recipe(**values)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def rule_of(key: str) -> str:
    """What is allowed as a key's value, in words."""
    return FIELDS[key].metadata["rule"]


def sources(path: Path) -> dict[str, str]:
    """Where each value of a recipe file comes from: key -> "origin: explanation".

    Raises:
        UserError: as :func:`load` does.
    """
    return _read(path)[1]
