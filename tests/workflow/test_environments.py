"""The conda environments hold what uv installs, and what the rules import."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from tests.workflow.running import REPOSITORY

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


@pytest.mark.parametrize("extra, path", [("stages", "envs/stages.yaml"), ("report", "envs/report.yaml")])
def test_the_extras_of_the_package_say_the_same(extra, path):
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = {Requirement(line).name for line in project["optional-dependencies"][extra]}
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


def test_every_package_that_the_library_imports_is_in_the_one_environment():
    installed = {IMPORTED_AS.get(name, name.replace("-", "_")) for name in read(REPOSITORY / "environment.yml")[1]}
    imported = {}
    for path in (REPOSITORY / "lib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.partition(".")[0]: path.name for name in names}
    assert imported.keys() - sys.stdlib_module_names - {"ternary_spike"} <= installed, imported
