"""Options that several verbs have, and the reading of KEY=VALUE."""

from argparse import ArgumentParser
from pathlib import Path

from ternary_spike.errors import UserError


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
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; torch's choice by default")


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
