"""A training recipe: a closed set of values, read from YAML, each of which can be traced to its origin.

A recipe file is a flat mapping of the fields of :class:`Recipe`. Its ``sources`` section says for each of them where
the value comes from: the paper, the authors' code or our choice, and why.
"""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from ternary_spike.configuration.register import Option
from ternary_spike.configuration.strict_yaml import StrictLoader, read_mapping
from ternary_spike.system.errors import UserError

ORIGINS = ("paper", "authors' code", "our choice")


MOST, MOST_PIXELS = 10**9, 4096


def _value(meaning: str, default: Any = MISSING, **rule: Any) -> Any:
    """A field of :class:`Recipe`: what it means, its default if it has one, and what it may be (an Option's fields)."""
    return field(default=default, metadata={"option": Option(default, meaning, **rule)})


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training besides network, neuron, method, data and seed; its values are checked.

    Raises:
        ValueError: if a value has the wrong type or lies outside of what is allowed, or two contradict each other.
    """

    name: str = _value("the recipe's name", kind=str)
    epochs: int = _value(
        "passes over the training set; 0 leaves the network as its method makes it", kind=int, low=0, high=MOST
    )
    batch_size: int = _value("pictures a step, all processes together", kind=int, low=1, high=MOST)
    learning_rate: float = _value("the highest learning rate: at the start, or behind the warm-up", kind=float, above=0)
    momentum: float = _value("SGD's momentum; of Adam and AdamW the first beta", kind=float, low=0, below=1)
    weight_decay: float = _value("L2 decay; of AdamW apart from the gradient", kind=float, low=0)
    weight_decay_on: str = _value(
        "what decays: weights of convolutions and linear layers, or all parameters",
        "weights",
        choices=("weights", "all"),
    )
    optimiser: str = _value(
        "what updates the weights; Adam's and AdamW's second beta is 0.999, their epsilon 1e-8",
        "sgd",
        choices=("sgd", "adam", "adamw"),
    )
    schedule: str = _value(
        "the learning rate's course, an epoch a step: to 0 by a cosine, or times schedule_factor, or constant",
        "cosine",
        choices=("cosine", "step", "multi_step", "constant"),
    )
    schedule_epochs: int | None = _value(
        "step: epochs between two steps. cosine: epochs from the highest rate to 0, and as many back",
        None,
        kind=int,
        low=1,
        high=MOST,
        absent="for all that follow the warm-up",
    )
    milestones: tuple[int, ...] | None = _value(
        "multi_step: after how many epochs each step comes, the warm-up's included",
        None,
        kind=int,
        low=1,
        most=100,
        absent="for the other schedules",
    )
    schedule_factor: float = _value("step and multi_step: factor of the learning rate at each step", 0.1, above=0)
    warmup_epochs: int = _value(
        "epochs at the beginning in which the learning rate rises with each step, in equal parts", 0, low=0, high=MOST
    )
    gradient_clipping: float | None = _value(
        "largest norm of all gradients together; longer ones are shortened", None, kind=float, above=0, absent="for any"
    )
    label_smoothing: float = _value(
        "the share of the cross-entropy's target that all classes divide equally", 0.0, low=0, below=1
    )
    precision: str = _value(
        "of convolutions and linear layers in training; the membrane is float32",
        "float32",
        choices=("float32", "bfloat16"),
    )
    train_samples: int | None = _value(
        "size of a class-balanced subset to train on", None, kind=int, low=1, high=MOST, absent="for all"
    )
    crop_padding: int = _value(
        "zero padding, in pixels, before a random crop of the same size", 0, low=0, high=MOST_PIXELS
    )
    random_resized_crop: bool = _value(
        "a random part of random aspect, resized to the input's size (pictures of varying size)", False
    )
    flip: bool = _value("mirror left to right with probability 1/2", False)
    roll: int = _value(
        "shift by up to so many pixels along both axes; what leaves comes in opposite", 0, low=0, high=MOST_PIXELS
    )
    autoaugment: str = _value("AutoAugment policy, fill 128", "none", choices=("none", "cifar10"))
    cutout: int = _value("side of the black square, in pixels; its edges are clipped", 0, low=0, high=MOST_PIXELS)
    evaluation_crop: float = _value(
        "the centre crop's share of the shorter side (pictures of varying size)", 1.0, above=0, high=1
    )
    mean: tuple[float, ...] | None = _value(
        "each channel's mean, of pixels in 0..1", None, kind=float, low=0, high=1, most=4, absent="for raw counts"
    )
    std: tuple[float, ...] | None = _value(
        "each channel's standard deviation, of pixels in 0..1",
        None,
        kind=float,
        above=0,
        most=4,
        absent="for raw counts",
    )

    def __post_init__(self) -> None:
        for key in fields(self):
            value = getattr(self, key.name)
            try:
                object.__setattr__(self, key.name, key.metadata["option"].value(value))
            except ValueError as error:
                raise ValueError(f"{key.name} is {value!r}, but must be {error}") from None
        if (self.mean is None) != (self.std is None) or (self.mean and len(self.mean) != len(self.std)):
            raise ValueError(
                f"mean is {self.mean!r} and std is {self.std!r}, but both or none must be lists of one length"
            )
        if self.random_resized_crop and self.crop_padding:
            raise ValueError(f"crop_padding is {self.crop_padding!r}, but must be 0 where random_resized_crop is true")
        self._require_one_schedule()

    def _require_one_schedule(self) -> None:
        """Raise ValueError where the schedule lacks a value or leaves one unread."""
        schedule = self.schedule
        if schedule == "step" and self.schedule_epochs is None:
            raise ValueError("schedule_epochs is None, but must be a whole number where schedule is step")
        if self.schedule_epochs is not None and schedule not in ("cosine", "step"):
            raise ValueError(
                f"schedule_epochs is {self.schedule_epochs}, but must be null where schedule is {schedule}"
            )
        if (self.milestones is None) == (schedule == "multi_step"):
            needed = "a list of epochs" if self.milestones is None else "null"
            raise ValueError(f"milestones is {self.milestones}, but must be {needed} where schedule is {schedule}")
        if list(self.milestones or ()) != sorted(set(self.milestones or ())):
            raise ValueError(f"milestones is {self.milestones}, but must be epochs that follow one another")
        if self.schedule_factor != FIELDS["schedule_factor"].default and schedule not in ("step", "multi_step"):
            raise ValueError(
                f"schedule_factor is {self.schedule_factor:g}, but must be left out where schedule is {schedule}"
            )

    def as_dict(self) -> dict[str, Any]:
        """The values as JSON knows them: lists for tuples."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


FIELDS = {key.name: key for key in fields(Recipe)}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """A recipe file's values, unchecked, and sources."""
    content = read_mapping(path, "recipe")
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


def deciding(values: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's values without those that are their field's default, so that a new field is no other recipe."""
    return {key: value for key, value in values.items() if key not in FIELDS or value != FIELDS[key].default}


def rule_of(key: str) -> str:
    """What is allowed as a key's value, in words."""
    return FIELDS[key].metadata["option"].rule


def sources(path: Path) -> dict[str, str]:
    """Where each value of a recipe file comes from: key -> "origin: explanation".

    Raises:
        UserError: as :func:`load` does.
    """
    return _read(path)[1]
