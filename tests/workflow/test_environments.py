"""The conda environments hold what uv installs, and what the rules import."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from tests.helpers.conda_by_uv import find_uv, install_stand_in
from tests.helpers.datasets import write_cifar, write_dvs, write_imagefolder
from tests.workflow.running import HEAD, REPOSITORY, SMOKE_CONFIG, SMOKE_ROWS, copied, snakemake

FILES = [REPOSITORY / "environment.yml", *sorted((REPOSITORY / "envs").glob("*.yaml"))]


def pinned_requirements(python: str) -> dict[str, str]:
    """Package -> version of requirements.txt under a version of Python."""
    found = {}
    for line in (REPOSITORY / "requirements.txt").read_text().splitlines():
        if re.match(r"[A-Za-z0-9]", line):
            requirement = Requirement(line.partition(" \\")[0])
            environment = {"python_version": python, "python_full_version": f"{python}.0"}
            if requirement.marker is None or requirement.marker.evaluate(environment):
                found[requirement.name] = next(iter(requirement.specifier)).version
    return found


def read(path: Path) -> tuple[str, dict[str, str]]:
    """Python's version and the pins of an environment file."""
    content = yaml.safe_load(path.read_text())
    assert content["channels"] == ["conda-forge"]
    conda = [part for part in content["dependencies"] if isinstance(part, str)]
    (pip,) = (part["pip"] for part in content["dependencies"] if isinstance(part, dict))
    python = next(part.partition("=")[2] for part in conda if part.startswith("python="))
    assert conda == [f"python={python}", "pip"]
    pins = dict(line.split("==") for line in pip)
    assert len(pins) == len(pip), path
    return python, pins


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_pins_are_those_of_the_requirements(path):
    python, pins = read(path)
    locked = pinned_requirements(python)
    assert {name: locked.get(name) for name in pins} == pins


def test_the_one_environment_holds_all_others():
    everything = read(REPOSITORY / "environment.yml")[1]
    for path in FILES[1:]:
        assert read(path)[1].items() <= everything.items(), path


def test_one_environment_alone_has_torch():
    """It takes gigabytes."""
    assert [path.name for path in FILES[1:] if "torch" in read(path)[1]] == ["stages.yaml"]


@pytest.mark.parametrize(
    "extras, path",
    [(("training", "onnx"), "envs/stages.yaml"), (("report",), "envs/report.yaml")],
    ids=["stages", "report"],
)
def test_the_extras_of_the_package_say_the_same(extras, path):
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = {Requirement(line).name for extra in extras for line in project["optional-dependencies"][extra]}
    assert wanted == set(read(REPOSITORY / path)[1])


def test_every_rule_that_runs_something_has_an_environment_and_a_log():
    for path in (REPOSITORY / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^rule ", path.read_text(), flags=re.M)[1:]:
            if "shell:" in rule:
                name = rule.partition(":")[0]
                environment = re.search(r'conda:\s*"([^"]+)"', rule)
                assert environment and (path.parent / environment[1]).exists(), name
                assert "log:" in rule, name
                assert "run:" not in rule and "script:" not in rule, name


IMPORTED_AS = {"scikit-learn": "sklearn", "pillow": "PIL", "pyyaml": "yaml", "markdown-it-py": "markdown_it"}


def guarded(tree: ast.AST) -> set[ast.AST]:
    """What stands where the lack of a package is caught: the library does without it."""
    tries = [node for node in ast.walk(tree) if isinstance(node, ast.Try)]
    caught = [each for each in tries if any(getattr(h.type, "id", "") == "ImportError" for h in each.handlers)]
    return {node for each in caught for line in each.body for node in ast.walk(line)}


def test_every_package_that_the_library_imports_is_in_the_one_environment():
    installed = {IMPORTED_AS.get(name, name.replace("-", "_")) for name in read(REPOSITORY / "environment.yml")[1]}
    imported = {}
    for path in (REPOSITORY / "lib").rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in {*ast.walk(tree)} - guarded(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.partition(".")[0]: path.name for name in names}
    assert imported.keys() - sys.stdlib_module_names - {"ternary_spike"} <= installed, imported


@pytest.fixture
def conda(tmp_path, monkeypatch):
    """Something that makes environments as conda would, and nothing else that the rules could use by accident."""
    uv = find_uv()
    if uv is None:
        pytest.skip("no uv here to make the rules' environments with")
    probe = tmp_path / "probe"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, probe], check=True)
    trial = [uv, "pip", "install", "--quiet", "--no-cache", "--python", probe / "bin/python", "pyyaml"]
    if subprocess.run(trial, capture_output=True, check=False).returncode != 0:
        pytest.skip("no package index can be reached from here")
    monkeypatch.setenv("PATH", os.pathsep.join([str(install_stand_in(tmp_path / "conda", uv)), "/usr/bin", "/bin"]))


DATASETS = """cifar10,resnet20w2,1,ternary,,,cifar10,0,,false
cifar10dvs,resnet20w2,10,ternary,,,cifar10dvs,0,,false
imagenet,resnet18w2,1,ternary,,,imagenet,0,,false
"""
DATASETS_CONFIG = """preset: datasets
experiments: datasets.csv
data:
  cifar10: {{source: subset, root: {root}/cifar}}
  cifar10dvs: {{source: subset, root: {root}/dvs}}
  imagenet: {{source: subset, root: {root}/imagenet, options: {{image_size: 32}}}}
measure_costs: false
"""


@pytest.mark.full
def test_every_rule_finds_what_it_needs_in_its_own_environment(conda, tmp_path):
    notebooks = tuple(path.stem for path in (REPOSITORY / "notebooks").glob("*.py"))
    folder = copied(tmp_path / "repository", notebooks)
    (folder / "table.csv").write_text(HEAD + SMOKE_ROWS.splitlines(keepends=True)[0])
    (folder / "smoke.yaml").write_text(SMOKE_CONFIG)
    call = ("--cores", "2", "--use-conda", "--configfile")
    done = snakemake(folder, *call, "smoke.yaml", timeout=2400)
    assert done.status == 0, done.text
    assert done.text.count("conda makes two environments before the first job, about 6 GB") == 1
    assert (folder / "results/smoke/report/index.html").exists()
    assert len(list(folder.glob(".snakemake/conda/*/pyvenv.cfg"))) == len(FILES) - 1

    write_cifar(tmp_path / "cifar", "cifar10", 20, 10)
    write_dvs(tmp_path / "dvs", recordings=2)
    write_imagefolder(tmp_path / "imagenet", ["n01440764", "n01443537"], train=2, val=1)
    (folder / "datasets.csv").write_text(HEAD + DATASETS)
    (folder / "datasets.yaml").write_text(DATASETS_CONFIG.format(root=tmp_path))
    prepared = snakemake(folder, *call, "datasets.yaml", "--until", "prepare")
    assert prepared.status == 0, prepared.text
    assert "conda makes" not in prepared.text
    assert len(list(folder.glob("results/datasets/data/*/manifest.json"))) == 3
