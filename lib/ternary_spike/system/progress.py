"""A progress bar on a terminal, and silence where nobody watches."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def watched(items: Iterable[Item], what: str, unit: str) -> Iterator[Item]:
    """The items, with a bar and an estimate of the time left on standard error if that is a terminal."""
    return iter(tqdm(items, desc=what, unit=unit, disable=not sys.stderr.isatty()))
