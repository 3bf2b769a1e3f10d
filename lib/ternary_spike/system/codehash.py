"""A hash of the code that a result depends on.

The workflow repeats a training when the hash of its code changes, so it must see a changed equation and nothing else:
comments, docstrings, layout, and modules that the run never reaches do not count. It is the same under every supported
version of Python, which ``ast.dump`` is not (its text changes between versions), so the syntax tree is serialised here.

What a run reaches is found by following imports, from the training loop and from the modules in which the run's own
parts (neuron, method) lie. A registry names every part there is; followed, it would make each run depend on all of
them. So of a registry the functions count, and its entries do not: what the run's own entry says is given by value.
"""

import ast
import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ternary_spike.system.parsed_code import kept_beside

PACKAGE = "ternary_spike"
TRAINING = ("training.loop", "data.prepared")
#: modules that a training or a later stage imports and that cannot change a number in its result, and why
INDIFFERENT = {
    "cli": "finds the module of a verb",
    "cli._made_by": "writes down what ran",
    "cli._options": "reads a command line; what it says counts by its values",
    "configuration.recipe": "a recipe counts by its values",
    "configuration.register": "reads a user's options, which count by their values",
    "configuration.strict_yaml": "reads YAML, whose values count",
    "configuration.user_text": "reads a user's text, whose values count",
    "models.published": "networks as data, of which the run's own counts by its value",
    "planning": "an empty package",
    "planning.kept_checkpoints": "says when a checkpoint may go",
    "planning.run_code": "decides what counts",
    "planning.run_files": "names files",
    "system.codehash": "decides what counts",
    "system.devices": "decides where to compute",
    "system.errors": "words for people",
    "system.files": "reads and writes what others computed, and verifies it",
    "system.lazily": "imports a module when it is asked for",
    "system.locks": "keeps two processes apart",
    "system.mistakes": "tells a job's next attempt what was wrong",
    "system.parsed_code": "keeps what was found of the code",
    "system.progress": "shows how far a stage is",
    "system.provenance": "writes down what ran",
    "system.shipped": "finds files that a user names",
    "training.checkpoints": "keeps what the training computed, and verifies it",
    "training.record": "reads and checks what the training wrote",
}
#: of these the entries count by what the run's own one says
REGISTRIES = frozenset({"neurons.registry", "models.registry", "models.normalisations", "methods.registry"})
#: modules that hold nothing but entries of a registry, which imports them for these alone
ENTRIES = frozenset({"models.published"})
#: modules that only some recipes reach: the field, and its value with which the module is never imported
UNREACHED = {
    "data.autoaugment": ("autoaugment", "none"),
    "data.pictures": ("random_resized_crop", False),
}
UNREACHED_FIELDS = {field for field, _ in UNREACHED.values()}
#: modules whose branches on a name ("if name == 'atan'") count only where the run's options or its code say that name
BRANCHING = frozenset({"membrane.surrogate"})
#: where the errors and the files of a user are looked after: they change no number either
SERVICES = frozenset({"system.errors", "system.files"})
#: packages whose version, which stands in the provenance, says what they are
VERSIONED = frozenset({"torch"})


@dataclass(frozen=True, eq=False)
class Module:
    """What counts of a module's source.

    Attributes:
        parse: gives its syntax tree.
        imports: the full names that it imports, of which some may be no modules.
        text: all of it that counts.
        words: every text in it but comments and docstrings.
    """

    parse: Callable[[], ast.Module]
    imports: tuple[str, ...]
    text: str
    words: frozenset[str]

    @classmethod
    def of(cls, tree: ast.Module, imports: tuple[str, ...]) -> "Module":
        """What counts of a syntax tree."""
        return cls(lambda: tree, imports, serialised(tree), frozenset(_words(tree)))


def run_code_hash(
    modules: Iterable[str], homes: Iterable[str], settings: Mapping[str, Any], folder: Path | None = None
) -> str:
    """The hash of the code that one run reaches, 16 hexadecimal digits.

    Args:
        modules: where a stage begins, as for :func:`code_hash`; :data:`TRAINING` for a training.
        homes: the modules of the run's parts, by their full names. Of a user's own part everything counts that its
            module imports from its own package, and from this one.
        settings: the recipe's values and the parts' options, by name.
        folder: as for :func:`code_hash`.

    Raises:
        ValueError: if a module does not exist.
    """
    found = reached(modules, homes, settings, folder)
    for name in _full(REGISTRIES) & found.keys():
        found[name] = _without_entries(found[name])
    said = {value for value in settings.values() if isinstance(value, str)}
    branching = _full(BRANCHING) & found.keys()
    said.update(*(module.words for name, module in found.items() if name not in branching))
    for name in branching:
        found[name] = _without_branches(found[name], frozenset(said & found[name].words))
    return _hash(found)


def reached(
    modules: Iterable[str], homes: Iterable[str], settings: Mapping[str, Any], folder: Path | None = None
) -> dict[str, Module]:
    """The modules that one run reaches and that can change a number in its result; as for :func:`run_code_hash`."""
    unreached = {name for name, (key, value) in UNREACHED.items() if settings.get(key, value) == value}
    begin = [f"{PACKAGE}.{name}" for name in modules]
    begin += [home for home in homes if home.partition(".")[0] not in VERSIONED]
    return closure(begin, folder, _full(unreached | INDIFFERENT.keys()))


def code_hash(modules: Iterable[str], folder: Path | None = None, indifferent: Collection[str] = ()) -> str:
    """The hash of modules and of everything in the package that they import, directly or not.

    Args:
        modules: names within the package, such as ``data.prepared``.
        folder: the package's folder; default: the one that runs.
        indifferent: names of modules that do not count, nor what only they import.

    Raises:
        ValueError: if a module does not exist.
    """
    return _hash(closure([f"{PACKAGE}.{name}" for name in modules], folder, _full(indifferent)))


def closure(modules: Iterable[str], folder: Path | None = None, left_out: Collection[str] = ()) -> dict[str, Module]:
    """Modules, all that they import from the package and from their own packages, and the packages around them.

    Args:
        modules: full names.
        folder: of this package.
        left_out: full names that do not count, nor what only they import.

    Returns:
        The modules by their full names.

    Raises:
        ValueError: if one of ``modules`` does not exist.
    """
    waiting = list(modules)
    roots = {name.partition(".")[0]: None for name in waiting} | {PACKAGE: None}
    roots = {name: _root(name) for name in roots} | {PACKAGE: Path(folder or Path(__file__).parents[1])}
    names = _listing()
    for name in waiting:
        if _source(roots, name, names) is None:
            raise ValueError(f"there is no module {name!r}, whose code decides a result")
    found: dict[str, Module] = {}
    seen = set(left_out)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if (path := _source(roots, name, names)) is None:
            continue
        state = path.stat()
        found[name] = _module(name, path, state.st_mtime_ns, state.st_size)
        waiting += found[name].imports
        if "." in name:  # importing a module runs the package around it
            waiting.append(name.rpartition(".")[0])
    return found


def _full(names: Iterable[str]) -> set[str]:
    return {f"{PACKAGE}.{name}" for name in names}


def _root(name: str) -> Path | None:
    """The folder of a package outside of any other, or the file of such a module; None if it has no source here."""
    spec = find_spec(name)
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    return Path(folders[0] if folders else spec.origin or "")


def _listing() -> Callable[..., frozenset[str]]:
    """What is in a folder, of a root and the names below it; each is read once, since most names are no modules."""

    @cache
    def names(root: Path, *around: str) -> frozenset[str]:
        try:
            with os.scandir(root.joinpath(*around)) as entries:
                return frozenset(entry.name for entry in entries)
        except OSError:  # there is none
            return frozenset()

    return names


def _source(roots: Mapping[str, Path | None], name: str, names: Callable[..., frozenset[str]]) -> Path | None:
    """The file of a module or of a package; None if it has none, as a name that is no module."""
    package, *rest = name.split(".")
    root = roots.get(package)
    if root is None or (root.suffix == ".py" and not rest):
        return root if root and root.is_file() else None
    if rest and f"{rest[-1]}.py" in (around := names(root, *rest[:-1])):
        return root.joinpath(*rest).with_suffix(".py")
    folder = not rest or rest[-1] in around
    return root.joinpath(*rest, "__init__.py") if folder and "__init__.py" in names(root, *rest) else None


@cache
def _module(name: str, path: Path, *_stamp: int) -> Module:
    """A file; the stamp, its time and size, reads it anew when it has changed."""
    source = path.read_bytes()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]

    def parse() -> ast.Module:
        tree = ast.parse(source, filename=str(path))
        if path.name == "__init__.py":  # which names a package offers, and from where, changes none of them
            tree.body = [node for node in tree.body if not _sets_dunder_names(node)]
        return tree

    def find() -> list:
        tree = parse()
        return [sorted(set(_imports(tree, package))), serialised(tree), sorted(set(_words(tree)))]

    where = f"{package} {path.name == '__init__.py'}\n".encode()
    imports, text, words = kept_beside(__file__).found(where + source, find)
    return Module(parse, tuple(imports), text, frozenset(words))


def _sets_dunder_names(node: ast.stmt) -> bool:
    names = [n.id for target in getattr(node, "targets", ()) for n in ast.walk(target) if isinstance(n, ast.Name)]
    return bool(names) and all(name.startswith("__") for name in names)


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Full names that a module of a package imports, at its top or inside a function; some may be no modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            around = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*around, *([node.module] if node.module else [])])
            yield from (origin, *(f"{origin}.{alias.name}" for alias in node.names))


@cache
def _without_entries(registry: Module) -> Module:
    """A registry's functions and classes."""
    entries = _full(ENTRIES)
    kept = [
        node
        for node in registry.parse().body
        if not isinstance(node, ast.Assign | ast.AnnAssign) and getattr(node, "module", None) not in entries
    ]
    return Module.of(ast.Module(kept, []), registry.imports)


def _words(tree: ast.Module) -> Iterator[str]:
    remarks = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = (node for node in ast.walk(tree) if _is_text(node) and id(node) not in remarks)
    return (node.value for node in texts)


@cache
def _without_branches(module: Module, said: frozenset[str]) -> Module:
    """A module without the branches, and the entries of its lists, for names that nobody says."""

    class Pruned(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.If | list[ast.stmt]:
            self.generic_visit(node)
            names = _names_of_branch(node.test)
            return node if names is None or names & said else node.orelse

    pruned = Pruned().visit(module.parse())
    for node in pruned.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple):
            node.value.elts = [e for e in node.value.elts if not _is_text(e) or e.value in said]
    return Module.of(pruned, module.imports)


def _names_of_branch(test: ast.expr) -> set[str] | None:
    """The names of which a condition takes one to hold ("name == 'a' or name == 'b'"); None for any other condition."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
        parts = [_names_of_branch(value) for value in test.values]
        return None if None in parts else set().union(*parts)
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
        return {test.comparators[0].value} if _is_text(test.comparators[0]) else None
    return None


def _hash(modules: Mapping[str, Module]) -> str:
    kept_beside(__file__).keep()
    digest = hashlib.sha256()
    for name in sorted(modules):
        digest.update(f"{name}\n{modules[name].text}\n".encode())
    return digest.hexdigest()[:16]


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
