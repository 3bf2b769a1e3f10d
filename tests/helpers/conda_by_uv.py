"""A stand-in for conda where its channels cannot be reached: environments of an env file's ``pip:`` part, made by uv.

It answers the calls that Snakemake makes of conda. ``install_stand_in`` puts it into a folder; the rest is what runs
there. Only Python itself is not what conda would give: it is the env file's version if uv has it, or else the one that
runs the tests, with the versions that requirements.txt has for that one.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

REQUIREMENTS = Path(__file__).parents[2] / "requirements.txt"
# conda's leaves the rest of PATH as it was; without it nothing but the environment can serve a command
ACTIVATE = 'export CONDA_PREFIX="$1" PATH="$1/bin:/usr/bin:/bin"\n'


def find_uv() -> str | None:
    """The uv on the PATH or beside this Python."""
    return shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))


def install_stand_in(folder: Path, uv: str) -> Path:
    """Write ``conda`` and ``activate`` into ``folder/bin`` and return that."""
    bin_folder = folder / "bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "conda").write_text(f'#!/bin/sh\nUV={uv} exec {sys.executable} {__file__} {folder} "$@"\n')
    (bin_folder / "conda").chmod(0o755)
    (bin_folder / "activate").write_text(ACTIVATE)
    return bin_folder


def create(env_file: Path, prefix: Path) -> None:
    """Make the environment that an env file describes."""
    dependencies = yaml.safe_load(env_file.read_text())["dependencies"]
    wanted = next(part.partition("=")[2] for part in dependencies if str(part).startswith("python="))
    pins = next(part["pip"] for part in dependencies if isinstance(part, dict))
    uv = os.environ["UV"]
    found = subprocess.run([uv, "python", "find", "--no-python-downloads", wanted], capture_output=True, check=False)
    constraints: list[str | Path] = []
    if found.returncode != 0:
        wanted = sys.executable
        pins = [pin.partition("==")[0] for pin in pins]
        constraints = ["--constraint", REQUIREMENTS]
    subprocess.run([uv, "venv", "--quiet", "--python", wanted, prefix], check=True)
    python = prefix / "bin/python"
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *constraints, *pins], check=True)


if __name__ == "__main__":
    base, *words = sys.argv[1:]
    if words == ["--version"]:
        print("conda 24.7.1")
    elif words == ["info", "--json"]:
        print(json.dumps({"conda_prefix": base, "platform": "linux-64"}))
    elif words[:2] == ["config", "--get"]:
        print(json.dumps({"get": {"channel_priority": "strict"}}))
    elif words[:2] == ["env", "create"]:
        create(Path(words[words.index("--file") + 1]), Path(words[words.index("--prefix") + 1]))
    elif words[:1] != ["clean"]:
        sys.exit(f"the stand-in for conda knows no {words}")
