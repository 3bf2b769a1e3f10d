"""What the code hash has once found in a module's source, kept beside Python's own compiled files.

Every call of the workflow asks for the hashes of all that it might run, and parsing more than a hundred modules took a
third of a call that had nothing to do. An entry belongs to the bytes of a source and to the code that looked at them,
so it is never out of date; where nothing can be kept, everything is found anew.
"""

import hashlib
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

from ternary_spike.system.errors import UserError
from ternary_spike.system.files import read_json, write_json

#: entries beyond which those are dropped that nobody asked for
MOST = 1000


class Kept:
    """Findings by the hash of what they were found in.

    Args:
        path: of the file, which another process may replace at any time; what cannot be read of it is found anew.
        finder: the source of the code that finds; findings of other code do not count.
    """

    def __init__(self, path: Path, finder: bytes) -> None:
        self.path = path
        self.finder = hashlib.sha256(finder + sys.version.encode()).hexdigest()
        self._asked: dict[str, Any] = {}
        self._new = False
        try:
            content = read_json(path)
            self._found = content["found"] if content["finder"] == self.finder else {}
        except (UserError, KeyError, TypeError):
            self._found = {}

    def found(self, source: bytes, find: Callable[[], Any]) -> Any:
        """What ``find`` finds in a source, JSON; from the file if it was found before."""
        key = hashlib.sha256(source).hexdigest()
        if key not in self._asked:
            self._new |= key not in self._found
            self._asked[key] = self._found[key] if key in self._found else find()
        return self._asked[key]

    def keep(self) -> None:
        """Write down what is new, if it can be written."""
        if not self._new or sys.dont_write_bytecode:
            return
        self._new = False
        self._found |= self._asked
        if len(self._found) > MOST:
            self._found = dict(self._asked)
        with suppress(UserError):
            write_json(self.path, {"finder": self.finder, "found": self._found})


@cache
def kept_beside(module: str) -> Kept:
    """The findings of a module's code, in the folder of its compiled file.

    Args:
        module: path of its source.
    """
    return Kept(Path(cache_from_source(module)).with_suffix(".json"), Path(module).read_bytes())
