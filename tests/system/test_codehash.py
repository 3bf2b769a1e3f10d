"""The code hash sees what decides a training's result, and nothing else."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from ternary_spike.system import codehash
from ternary_spike.system.codehash import code_hash, run_code_hash

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
    with pytest.raises(ValueError, match=r"no module 'ternary_spike\.missing'"):
        code_hash(["missing"], package)


@pytest.mark.parametrize("line", ["from . import layers", "from .layers import scale", "import ternary_spike.layers"])
def test_an_import_is_followed_however_it_is_written(package, line):
    (package / "model.py").write_text(f"{line}\n")
    assert changed(package, "layers", "+ 1", "- 1")


def test_a_package_around_a_module_counts_but_not_which_names_it_offers(package):
    (package / "wing").mkdir()
    (package / "wing" / "part.py").write_text("A = 1\n")
    (package / "wing" / "__init__.py").write_text("__all__ = ['A']\nprint('imported')\n")

    def found() -> str:
        return code_hash(["wing.part"], package)

    before = found()
    (package / "wing" / "__init__.py").write_text(
        "__all__ = ['A', 'B']\n__getattr__, __dir__ = 1, 2\nprint('imported')\n"
    )
    assert found() == before
    (package / "wing" / "__init__.py").write_text("print('otherwise')\n")
    assert found() != before


REGISTRY = """from ternary_spike.model import forward
NAMES = {"a": 1}


def make(name):
    return NAMES[name]
"""
SURROGATE = """NAMES = ("flat", "round")


def slope(name, u):
    if name == "flat" or name == "level":
        return u
    if name == "round":
        return u * u
    raise ValueError(name)
"""


@pytest.fixture
def trainable(package):
    """A package with a loop that reaches a registry, a module with branches, and AutoAugment."""
    for folder in ("neurons", "membrane", "data"):
        (package / folder).mkdir()
    (package / "neurons" / "registry.py").write_text(REGISTRY)
    (package / "membrane" / "surrogate.py").write_text(SURROGATE)
    (package / "data" / "autoaugment.py").write_text("FILL = 128\n")
    lines = ("neurons.registry", "membrane.surrogate", "data.autoaugment")
    (package / "loop.py").write_text("".join(f"import ternary_spike.{line}\n" for line in lines) + "USED = 'flat'\n")
    return package


@pytest.mark.parametrize(
    "file, old, new, settings, counts",
    [
        ("neurons/registry", "1}", "1, 'b': 2}", {}, False),
        ("neurons/registry", "NAMES[name]", "NAMES.get(name)", {}, True),
        ("model", "0.25", "0.5", {}, True),
        ("membrane/surrogate", "u * u", "u + u", {}, False),
        ("membrane/surrogate", "u * u", "u + u", {"surrogate": "round"}, True),
        ("membrane/surrogate", '"round")', '"round", "new")', {}, False),
        ("membrane/surrogate", "return u\n", "return -u\n", {}, True),
        ("membrane/surrogate", "raise ValueError(name)", "return 0", {}, True),
        ("data/autoaugment", "128", "0", {}, False),
        ("data/autoaugment", "128", "0", {"autoaugment": "none"}, False),
        ("data/autoaugment", "128", "0", {"autoaugment": "cifar10"}, True),
    ],
)
def test_of_a_run_counts_what_its_own_names_and_values_reach(trainable, file, old, new, settings, counts):
    path = trainable / f"{file}.py"
    before = run_code_hash(["loop"], [], settings, trainable)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert (run_code_hash(["loop"], [], settings, trainable) != before) == counts


def test_a_part_outside_of_the_package_counts_with_what_it_imports_from_its_own(package, tmp_path, monkeypatch):
    own = tmp_path / "own" / "mypackage"
    own.mkdir(parents=True)
    (own / "__init__.py").write_text("")
    (own / "neuron.py").write_text(
        "from .constants import DECAY\nimport json\nfrom ternary_spike.layers import scale\n"
    )
    (own / "constants.py").write_text("DECAY = 0.5\n")
    (own / "unused.py").write_text("")
    (own.parent / "alone.py").write_text("A = 1\n")
    monkeypatch.syspath_prepend(own.parent)

    def found(home: str = "mypackage.neuron") -> str:
        return run_code_hash(["deep"], [home], {}, package)

    before = found(), found("alone"), found("torch.nn")
    (own / "unused.py").write_text("A = 1\n")
    assert found() == before[0]
    (own / "constants.py").write_text("DECAY = 0.25\n")
    assert found() != before[0]
    here = found()
    (package / "layers.py").write_text("changed = True\n")
    assert found() != here
    (own.parent / "alone.py").write_text("A = 2\n")
    assert found("alone") != before[1] and found("torch.nn") == before[2]
    with pytest.raises(ValueError, match=r"no module 'nowhere\.neuron'"):
        found("nowhere.neuron")


def test_training_counts_the_neuron_and_the_network_but_no_reporting():
    found = codehash.reached(codehash.TRAINING, ["ternary_spike.neurons.lif", "ternary_spike.models.resnet"], {})
    seen = {name.partition(".")[2] for name in found}
    assert {"training.loop", "membrane.dynamics", "neurons.lif", "models.blocks", "data.augmentation"} <= seen
    assert not {name for name in seen if name.split(".")[0] in ("planning", "tables", "reparam", "measuring", "report")}


def test_what_the_lists_name_is_there():
    folder = Path(codehash.__file__).parents[1]
    for name in {
        *codehash.INDIFFERENT,
        *codehash.UNREACHED,
        *codehash.BRANCHING,
        "neurons.registry",
        "models.registry",
    }:
        path = folder / name.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__init__.py").exists(), name


PROGRAM = """
import ast, hashlib, sys
from pathlib import Path
from ternary_spike.system.codehash import TRAINING, run_code_hash, serialised
digest = hashlib.sha256()
for path in sorted(Path(sys.argv[1]).glob("[a-d]*.py")):
    digest.update(serialised(ast.parse(path.read_bytes())).encode())
print(run_code_hash(TRAINING, ["ternary_spike.neurons.lif"], {}), digest.hexdigest())
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
