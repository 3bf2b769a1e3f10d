"""Options that several verbs have, and the reading of numbers and of KEY=VALUE."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ternary_spike.configuration.register import Option
from ternary_spike.system.errors import UserError

MOST_TIMESTEPS = 4096


def add_run(parser: ArgumentParser) -> None:
    """A trained run and its data."""
    parser.add_argument("--run", type=Path, required=True, help="folder of the trained run")
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared data it was trained on")


def add_folded_run(parser: ArgumentParser) -> None:
    """A trained run, its data, and what it was folded to."""
    add_run(parser)
    parser.add_argument("--folded", type=Path, required=True, help="folder of its folded network")


def add_machine(parser: ArgumentParser, device: bool = True) -> None:
    """What to compute on; without ``device``, on the CPU alone."""
    if device:
        parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=whole(1, 4096), help="CPU threads; torch's choice by default")


def value_of(option: Option) -> Callable[[str], Any]:
    """The type of an option of the command line whose values are those of ``option``."""

    def convert(text: str) -> Any:
        try:
            return option.value(text, text=True)
        except ValueError as error:
            raise ArgumentTypeError(f"{text!r}, but must be {error}") from None

    return convert


def whole(low: int, high: int) -> Callable[[str], int]:
    """The type of an option that is a whole number from ``low`` to ``high``."""
    return value_of(Option(low, "", low=low, high=high))


def real(low: float, high: float) -> Callable[[str], float]:
    """The type of an option that is a number from ``low`` to ``high``."""
    return value_of(Option(low, "", low=low, high=high))


def identifier(text: str) -> str:
    """The type of an option that names a run: what a folder of that name can be called anywhere."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", text):
        raise ArgumentTypeError(f"{text!r}, but must be of letters, digits, _ . - and begin with one of the former two")
    return text


seed = whole(0, 2**63 - 1)
timesteps = whole(1, MOST_TIMESTEPS)
samples = whole(1, 10**9)
picojoule = real(0.0, 1e9)


def key_values(words: list[str], option: str) -> dict[str, str]:
    """``["a=1", "b=x"]`` as a dictionary of strings. Raises UserError if a word has no ``=`` or a key comes twice."""
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UserError(f"{option} {word}: write it as KEY=VALUE")
        if key in found:
            raise UserError(f"{option} {word}: {key} is given twice")
        found[key] = value
    return found
