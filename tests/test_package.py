"""The package: what its wheel holds, that it works outside of the repository, and its version."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder

import ternary_spike
from ternary_spike.cli import main, verbs
from ternary_spike.system import shipped
from ternary_spike.system.files import read_json
from tests.helpers.installed import Installed, built, installed
from tests.test_readme import README, WORKFLOW_PACKAGES

ROOT = Path(__file__).parents[1]
LIBRARY = "lib/ternary_spike"
SUMMARY = "digits-resnet6w4-T2-trainable-e1-train_samples_200"
TABLE = """dataset,architecture,timesteps,neuron,variant,neuron_options,recipe,seeds,tables,control
digits,resnet6w4,2,trainable,,,digits,0,demo,false
"""


def place_in_wheel(path: str) -> str:
    """Where a file of the repository lies in the wheel."""
    if path.startswith(f"{LIBRARY}/"):
        return path.removeprefix("lib/")
    return f"ternary_spike/{shipped.COPIES}/{path}"


def test_the_wheel_holds_the_package_and_every_file_that_verbs_are_told_of():
    listed = ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--"]
    done = subprocess.run([*listed, LIBRARY, *shipped.FOLDERS], capture_output=True, text=True, check=True)
    paths = {path for path in done.stdout.split("\0") if path and (ROOT / path).exists()}
    wanted = {place_in_wheel(path) for path in paths}
    held = {file.distribution_path.replace("\\", "/") for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert wanted - held == set() and held - wanted == set()
    examples = ("config/recipes/digits.yaml", "config/methods/tet.yaml", "workflow/schemas/config.schema.yaml")
    examples += ("notebooks/table1.py", "lib/ternary_spike/py.typed", "lib/ternary_spike/claims/claims.yaml")
    assert {place_in_wheel(path) for path in examples} <= held


def test_the_folders_that_are_copied_are_those_that_are_looked_in():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    copied = {folder: f"ternary_spike/{shipped.COPIES}/{folder}" for folder in shipped.FOLDERS}
    assert build["wheel"]["sources"] == {"lib": ""} | copied
    assert set(build["wheel"]["only-include"]) == {LIBRARY, *shipped.FOLDERS} <= set(build["sdist"]["only-include"])


def test_in_a_checkout_a_file_is_the_working_directorys_or_else_the_repositorys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "config/recipes/digits.yaml"
    assert shipped.located(name) == ROOT / name
    (tmp_path / "config/recipes").mkdir(parents=True)
    (tmp_path / name).touch()
    assert shipped.located(name) == Path(name)
    assert shipped.located("config/absent.yaml") == Path("config/absent.yaml")  # a message names it as it was given
    assert shipped.located(tmp_path / "absent.yaml") == tmp_path / "absent.yaml"


def test_in_a_wheel_it_is_the_copy_within_the_package(tmp_path):
    package = tmp_path / "site" / "ternary_spike"
    shutil.copytree(ROOT / LIBRARY / "system", package / "system")
    shutil.copy(ROOT / LIBRARY / "__init__.py", package)
    recipe = package / shipped.COPIES / "config/recipes/digits.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.touch()
    code = "from ternary_spike.system.shipped import located as l; print(l('config/recipes/digits.yaml'))"
    environment = {"PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.stdout.strip() == str(recipe), done.stderr


def test_the_version_is_said_once_and_everywhere(capsys):
    version = ternary_spike.__version__
    assert WheelBuilder(str(ROOT)).metadata.version == version
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    (newest, *_) = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    assert newest == version
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0 and capsys.readouterr().out == f"ternary-spike {version}\n"


TORCH_ALONE = f"""
import sys
for name in {WORKFLOW_PACKAGES!r}:
    sys.modules[name] = None  # its import then fails
from ternary_spike.cli import main, verbs
for words in [["list"], *([verb, "--help"] for verb in verbs())]:
    try:
        main(words)
    except SystemExit as stopped:
        assert stopped.code == 0, (words, stopped.code)
sys.argv[0] = "/somewhere/ternary-spike"
main(["plan", "--experiments", "config/demo.csv", "--recipes", "config/recipes"])
"""


def test_with_torch_alone_every_verb_has_its_help_and_says_in_a_line_what_is_missing(tmp_path):
    done = subprocess.run([sys.executable, "-c", TORCH_ALONE], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: the package 'yaml' is missing here; ") and "ternary-spike[stages]" in line


@pytest.fixture(scope="module")
def distributions(tmp_path_factory) -> dict[str, Path]:
    return built(tmp_path_factory.mktemp("dist"), ROOT)


@pytest.mark.full
def test_the_source_distribution_makes_the_same_wheel(distributions, tmp_path):
    with tarfile.open(distributions["gz"]) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    again = built(tmp_path / "dist", source)["whl"]
    first, second = ({i.filename: i.CRC for i in zipfile.ZipFile(f).infolist()} for f in (distributions["whl"], again))
    assert first == second


@pytest.mark.full
def test_the_wheel_with_torch_alone_has_the_neurons(distributions, tmp_path):
    here = installed(tmp_path, distributions["whl"])
    assert "No module named 'yaml'" in here.run("python", "-c", "import yaml", status=1)
    assert str(ROOT) not in here.run("python", "-c", "import ternary_spike; print(ternary_spike.__file__)")
    (tmp_path / "readme.py").write_text(re.findall(r"```python\n(.*?)```", README, flags=re.S)[0])
    here.run("python", tmp_path / "readme.py")
    assert here.run("ternary-spike", "--version") == f"ternary-spike {ternary_spike.__version__}\n"
    assert "usage: ternary-spike train" in here.run("ternary-spike", "train", "--help")
    assert "usage: python -m ternary_spike train" in here.run("python", "-m", "ternary_spike", "train", "--help")
    assert "\n  trainable" in here.run("ternary-spike", "list")


def every_verb(here: Installed) -> set[str]:
    """Call every verb that needs no network or clone, on one small training in the preset ``small``; their names."""
    results = here.cwd / "results/small"
    data, run = results / "data/digits", results / f"runs/{SUMMARY}/seed0"
    shorter = ("--set", "epochs=1", "--set", "train_samples=200")
    trained = ("--run", run, "--data", data, "--threads", "1")
    folded = (*trained, "--folded", run, "--samples", "4")
    options = {"--data": data, "--architecture": "resnet6w4", "--timesteps": "2", "--seed": "0", "--device": "cpu"}
    options |= {"--recipe": "config/recipes/digits.yaml", "--checkpoints": here.cwd / "state", "--threads": "1"}
    training = (*(word for pair in options.items() for word in pair), *shorter)
    notebook = ("--notebook", "notebooks/neuron.py", "--results", results, "--out", results / "notebooks")
    planned = ("--experiments", "table.csv", "--recipes", "config/recipes", "--data", "digits=scikit-learn")
    target = ("--target", run / "evaluation.json", "--probes", "1")
    calls = [
        ("list",),
        ("plan", *planned, *shorter, "--out", results / "plan.csv"),
        ("prepare", "--dataset", "digits", "--out", data),
        ("train", *training, "--neuron", "trainable", "--id", SUMMARY, "--out", run),
        ("evaluate", *trained, "--out", run / "evaluation.json"),
        ("match", *training, *target, "--method-sheet", "config/methods/tet.yaml", "--out", here.cwd / "match.json"),
        ("fold", "--run", run, "--out", run),
        ("verify", *folded, "--out", run / "equivalence.json"),
        ("energy", *folded, "--out", run),
        ("execute", *folded, "--out", run / "execution.json"),
        ("export", *folded, "--out", run),
        ("trace", "--out", results / "trace.csv"),
        ("amplitudes", "--out", results / "amplitudes.csv"),
        ("collect", "--plan", results / "plan.csv", "--results", results, "--out", results / "tables"),
        ("notebook", *notebook),
        ("report", "--results", results, "--out", results / "report"),
        ("watch", results, "--once"),
    ]
    (here.cwd / "table.csv").write_text(TABLE)
    for verb, *words in calls:
        here.run("ternary-spike", verb, *words)
    return {call[0] for call in calls}


@pytest.mark.full
def test_the_wheel_with_its_stages_does_every_verb_outside_of_the_repository(distributions, tmp_path):
    here = installed(tmp_path, distributions["whl"], extras=["stages"])
    assert every_verb(here) == set(verbs()) - {"download", "archive"}  # which need a network, and a clone
    results = here.cwd / "results/small"
    assert "name one by --repository" in here.run("ternary-spike", "archive", results, status=2)
    record = read_json(results / f"runs/{SUMMARY}/seed0/run.json")
    assert record["provenance"]["version"] == ternary_spike.__version__ and record["provenance"]["commit"] is None
    page = (results / f"report/runs/{SUMMARY}.html").read_text()
    assert f"<dt>Version</dt><dd>{ternary_spike.__version__}</dd>" in page
    # what is kept with the package is in the report without having been named
    archives = sorted((results / "report/files/reference").glob("*/set.tar.xz"))
    kept = {path.parts[-3] for path in ROOT.glob("results/reference/*/tables/summary.csv")}
    assert {path.parent.name for path in archives} == kept and kept
    for path in archives:
        with tarfile.open(path) as archive:
            assert "tables/summary.csv" in archive.getnames()
