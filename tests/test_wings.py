"""The library's structure: arrows between its wings point one way, and what needs no torch does not import it."""

import ast
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lib" / "ternary_spike"
# the ground floor first; a wing imports from those before it only, so that nothing imports the last one
WINGS = (
    *("system", "configuration", "paper", "membrane", "neurons", "models", "data", "methods", "reparam", "planning"),
    *("training", "measuring", "tables", "claims", "report", "archiving", "cli", "interop"),
)
WITHOUT_TORCH = ("configuration", "paper", "planning", "tables", "claims", "report", "archiving")
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 350, 50
MODULES = sorted(PACKAGE.rglob("*.py"))
DEFINITIONS = ast.FunctionDef | ast.ClassDef


def name_of(path: Path) -> str:
    """A module's name within the package: ``neurons.lif``, and ``neurons`` for its ``__init__.py``."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


@functools.cache
def imported(path: Path) -> tuple[str, ...]:
    """Modules of the package that a module imports, at its top or inside a function."""
    names = {name_of(module) for module in MODULES}
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE.name:
            within = node.module.removeprefix(PACKAGE.name).removeprefix(".")
            for alias in node.names:
                below = f"{within}.{alias.name}".removeprefix(".")
                found.append(below if below in names else within)
    return tuple(found)


def test_every_module_lies_in_a_wing_and_every_wing_is_there():
    assert {path.relative_to(PACKAGE).parts[0] for path in MODULES} == {*WINGS, "__init__.py", "__main__.py"}


def test_arrows_point_down_only():
    upward = []
    for path in MODULES:
        wing = name_of(path).split(".")[0]
        if wing in WINGS:
            targets = {target.split(".")[0] for target in imported(path)} & {*WINGS}
            upward += [f"{name_of(path)} -> {t}" for t in targets if WINGS.index(t) > WINGS.index(wing)]
    assert upward == []


def test_no_circle_between_modules():
    arrows = {name_of(path): set(imported(path)) - {name_of(path)} for path in MODULES}
    while leaves := {name for name, targets in arrows.items() if not targets & arrows.keys()}:
        arrows = {name: targets for name, targets in arrows.items() if name not in leaves}
    assert arrows == {}


def test_within_the_library_names_come_from_the_modules_that_define_them():
    """Not from a package that only offers them: the hash of a run follows imports, and would follow none of these."""
    offering = {"", "neurons", "models", "reparam", "interop"}
    found = [
        f"{name_of(path)} imports from {t or PACKAGE.name}" for path in MODULES for t in imported(path) if t in offering
    ]
    assert found == []


BLOCKED = """
import importlib, pkgutil, sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision"):
            raise ImportError(f"{name} is not to be imported here")
sys.meta_path.insert(0, NoTorch())
import ternary_spike
for wing in sys.argv[1:]:
    module = importlib.import_module(f"ternary_spike.{wing}")
    for found in pkgutil.walk_packages(getattr(module, "__path__", ()), f"ternary_spike.{wing}."):
        importlib.import_module(found.name)
"""


def private_names_used(path: Path) -> Iterator[str]:
    """Private functions, methods and classes of the package that a file of tests or benchmarks names."""
    nodes = [*ast.walk(ast.parse(path.read_text()))]
    of_itself = {node.name for node in nodes if isinstance(node, DEFINITIONS)}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE.name:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute) and node.attr not in of_itself:
            yield node.attr


def test_no_test_or_benchmark_knows_a_private_function():
    """What is worth a test of its own has a public name; what is not is tested through what calls it."""
    nodes = (node for module in MODULES for node in ast.walk(ast.parse(module.read_text())))
    named = {node.name for node in nodes if isinstance(node, DEFINITIONS)}
    private = {name for name in named if name[0] == "_" and name[-1] != "_"}  # __add__ and _repr_html_ are called so
    root = PACKAGE.parents[1]
    found = []
    for path in sorted([*root.glob("tests/**/*.py"), *root.glob("benchmarks/*.py")]):
        found += [f"{path.relative_to(root)}: {name}" for name in private_names_used(path) if name in private]
    assert private and found == []


def test_what_needs_no_torch_does_not_import_it():
    modules = [*WITHOUT_TORCH, "models.registry", "methods.registry"]
    done = subprocess.run([sys.executable, "-c", BLOCKED, *modules], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_short_and_says_what_it_is(path):
    source = path.read_text()
    tree = ast.parse(source)
    assert ast.get_docstring(tree), "no docstring"
    assert len(source.splitlines()) <= MOST_LINES
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert lines <= MOST_LINES_OF_A_FUNCTION, f"{node.name} has {lines} lines"


def undocumented(path: Path, said_elsewhere: set[str]) -> Iterator[str]:
    """Public functions, classes and their public methods without a docstring."""
    for node in ast.parse(path.read_text()).body:
        if not isinstance(node, DEFINITIONS) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            yield node.name
        for method in node.body if isinstance(node, ast.ClassDef) else ():
            public = isinstance(method, ast.FunctionDef) and not method.name.startswith("_")
            if public and not ast.get_docstring(method) and method.name not in said_elsewhere:
                yield f"{node.name}.{method.name}"


def test_whatever_has_a_public_name_says_what_it_is():
    """A method that a base class has said already need not repeat it; of a verb's two functions its module says it."""
    said = {"forward", "backward", "extra_repr", "construct_mapping"}  # by torch and by YAML's reader
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                said |= {m.name for m in node.body if isinstance(m, ast.FunctionDef) and ast.get_docstring(m)}
    found = [f"{name_of(path)}.{name}" for path in MODULES for name in undocumented(path, said)]
    verbs = tuple(f"cli.{path.stem}.{name}" for path in PACKAGE.glob("cli/[!_]*.py") for name in ("arguments", "run"))
    assert [name for name in found if name not in verbs] == []
