"""A hash of the code that decides a training's result.

The workflow repeats a training when this hash changes, so it must see a changed equation and nothing else: comments,
docstrings, layout, and modules that training never imports do not count. It is the same under every supported version
of Python, which ``ast.dump`` is not (its text changes between versions), so the syntax tree is serialised here.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = "ternary_spike"
# neurons are made by their names in the run table, so that no import leads to them
TRAINING = ("training.loop", "data.prepared", "neurons.lif")
# modules that training imports and that cannot change a number in its result; a recipe counts by its values
INDIFFERENT = frozenset(
    {
        "configuration.recipe",
        "system.codehash",
        "system.devices",
        "system.errors",
        "system.files",
        "system.provenance",
        "training.checkpoints",
        "training.record",
    }
)
# where the errors and the files of a user are looked after: they change no number either
SERVICES = frozenset({"system.errors", "system.files"})


@cache
def training_code_hash() -> str:
    """The hash of the modules that decide what a training computes, 16 hexadecimal digits."""
    return code_hash(TRAINING)


def code_hash(modules: Iterable[str], folder: Path | None = None, indifferent: frozenset[str] = INDIFFERENT) -> str:
    """The hash of modules and of everything in the package that they import, directly or not.

    Args:
        modules: names within the package, such as ``data.prepared``.
        folder: the package's folder; default: the one that runs.
        indifferent: names of modules that do not count, nor what only they import.

    Raises:
        ValueError: if a module does not exist.
    """
    folder = Path(__file__).parents[1] if folder is None else Path(folder)
    trees: dict[str, ast.Module] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in trees or name in indifferent:
            continue
        path = _source(folder, name)
        if path is None:
            raise ValueError(f"{PACKAGE} has no module {name!r}")
        trees[name] = ast.parse(path.read_bytes(), filename=str(path))
        waiting += [found for found in _imports(trees[name]) if _source(folder, found) is not None]
    digest = hashlib.sha256()
    for name in sorted(trees):
        digest.update(f"{name}\n{serialised(trees[name])}\n".encode())
    return digest.hexdigest()[:16]


def _source(folder: Path, name: str) -> Path | None:
    path = folder.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if name and candidate.is_file():
            return candidate
    return None


def _imports(tree: ast.Module) -> Iterator[str]:
    """Names within the package that a module imports, at its top or inside a function; some may be no modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{PACKAGE} imports by full names only: line {node.lineno} has a relative import")
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.startswith(f"{PACKAGE}."):
                yield name.removeprefix(f"{PACKAGE}.")


def serialised(node: object) -> str:
    """A syntax tree as text: without positions, docstrings and empty fields (new versions of Python add such)."""
    if isinstance(node, ast.JoinedStr):
        return f"JoinedStr({_serialised_list(_merged_text(node.values))})"
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__}:{node.value!r}"
    if isinstance(node, ast.AST):
        fields = []
        for field, value in sorted(ast.iter_fields(node)):
            if field in ("ctx", "type_comment", "type_ignores") or value is None or value == []:
                continue
            if isinstance(value, list):
                text = _serialised_list(value)
            else:
                text = serialised(value) if isinstance(value, ast.AST) else repr(value)
            fields.append(f"{field}={text}")
        return f"{type(node).__name__}({','.join(fields)})"
    return repr(node)


def _serialised_list(nodes: list) -> str:
    # a text that stands alone as a statement is a docstring or a comment
    kept = [n for n in nodes if not (isinstance(n, ast.Expr) and _is_text(n.value))]
    return f"[{','.join(serialised(n) for n in kept)}]"


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _merged_text(values: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string with neighbouring texts joined: versions of Python split them differently."""
    merged: list[ast.expr] = []
    for value in values:
        if _is_text(value) and merged and _is_text(merged[-1]):
            merged[-1] = ast.Constant(merged[-1].value + value.value)
        elif not (_is_text(value) and value.value == ""):
            merged.append(value)
    return merged
