"""The code hash sees what decides a training's result, and nothing else."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from ternary_spike.system import codehash
from ternary_spike.system.codehash import code_hash

OTHER_PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MODEL = '''"""A docstring."""
from ternary_spike.layers import scale


def forward(x, v=0.5):
    """Another."""
    # a comment
    return scale(x) * 0.25 if abs(x) >= v else f"{x!r:>{8}} and " "more"
'''
LAYERS = """def scale(x):
    from ternary_spike.deep import inner
    return inner(x) + 1
"""


@pytest.fixture
def package(tmp_path):
    sources = {"model": MODEL, "layers": LAYERS, "deep": "def inner(x): return x\n", "plots": "COLOUR = 'red'\n"}
    for name, text in sources.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def changed(package: Path, file: str, old: str, new: str) -> bool:
    """Whether replacing a text in a module changes the hash of ``model``."""
    before = code_hash(["model"], package)
    path = package / f"{file}.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    return code_hash(["model"], package) != before


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("model", "0.25", "0.250001"),
        ("model", ">=", ">"),
        ("model", "v=0.5", "v=1.5"),
        ("model", "more", "less"),
        ("model", "x!r", "x!s"),
        ("layers", "+ 1", "- 1"),
        ("deep", "return x", "return -x"),
        ("model", "forward", "backward"),
    ],
)
def test_a_change_of_meaning_changes_the_hash(package, file, old, new):
    assert changed(package, file, old, new)


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("model", "# a comment", "# another one"),
        ("model", '"""A docstring."""\n', ""),
        ("model", '    """Another."""\n', '    """Something\n    else."""\n'),
        ("model", "x, v=0.5", "\n    x,\n    v=0.5,\n"),
        ("model", '" "more"', 'more"'),
        ("plots", "red", "blue"),
    ],
)
def test_comments_docstrings_layout_and_other_modules_do_not(package, file, old, new):
    assert not changed(package, file, old, new)


def test_an_indifferent_module_counts_as_little_as_what_only_it_imports(package):
    before = code_hash(["model"], package, frozenset({"layers"}))
    for module in ("layers", "deep"):
        (package / f"{module}.py").write_text("changed = True\n")
    assert code_hash(["model"], package, frozenset({"layers"})) == before


def test_an_unknown_module_is_an_error(package):
    with pytest.raises(ValueError, match="no module 'missing'"):
        code_hash(["missing"], package)


def test_a_relative_import_is_refused_rather_than_missed(package):
    (package / "model.py").write_text("from . import layers\n")
    with pytest.raises(ValueError, match="relative import"):
        code_hash(["model"], package)


def test_training_counts_the_neuron_and_the_network_but_no_reporting():
    seen = set()
    waiting = list(codehash.TRAINING)
    folder = Path(codehash.__file__).parents[1]
    while waiting:
        name = waiting.pop()
        path = codehash._source(folder, name)
        if path is None or name in seen or name in codehash.INDIFFERENT:
            continue
        seen.add(name)
        waiting += codehash._imports(codehash.ast.parse(path.read_bytes()))
    assert {"training.loop", "membrane.dynamics", "neurons.lif", "models.resnet", "data.augmentation"} <= seen
    assert not {name for name in seen if name.split(".")[0] in ("planning", "tables", "reparam", "measuring", "report")}
    assert all(codehash._source(folder, name) for name in codehash.INDIFFERENT)


PROGRAM = """
import ast, hashlib, sys
from pathlib import Path
from ternary_spike.system.codehash import serialised, training_code_hash
digest = hashlib.sha256()
for path in sorted(Path(sys.argv[1]).glob("[a-d]*.py")):
    digest.update(serialised(ast.parse(path.read_bytes())).encode())
print(training_code_hash(), digest.hexdigest())
"""


def interpreter(version: str) -> str | None:
    """Another version of Python, wherever such things are commonly installed."""
    found = [*Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    found += [path for folder in ("/usr/bin", "/usr/local/bin") if (path := Path(folder, f"python{version}")).exists()]
    return str(found[0]) if found else None


@pytest.mark.parametrize("version", OTHER_PYTHONS)
def test_every_version_of_python_gives_the_same_hash(version):
    """Of this package and, as a wide sample of syntax, of this Python's standard library."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        pytest.skip(f"this is Python {version} itself")
    other = interpreter(version)
    if other is None:
        pytest.skip(f"no Python {version} here to compare with")
    lib = str(Path(codehash.__file__).parents[2])
    results = set()
    for python in (sys.executable, other):
        arguments = [python, "-W", "ignore", "-c", PROGRAM, sysconfig.get_path("stdlib")]
        done = subprocess.run(arguments, capture_output=True, text=True, env={"PYTHONPATH": lib}, check=False)
        assert done.returncode == 0, done.stderr
        results.add(done.stdout)
    assert len(results) == 1
