"""Environments with an installed wheel and chosen packages of the running one, made without the network."""

import os
import subprocess
import sys
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement


@dataclass(frozen=True)
class Installed:
    """An environment.

    Attributes:
        binaries: its folder of commands.
        cwd: where they run.
    """

    binaries: Path
    cwd: Path

    def run(self, command: str, *words: str | Path, status: int = 0) -> str:
        """What a command of the environment prints on both streams. Raises AssertionError at another exit status."""
        unwanted = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
        environment = {key: value for key, value in os.environ.items() if key not in unwanted}
        done = subprocess.run(
            [self.binaries / command, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.cwd,
            env=environment | {"PYTHONNOUSERSITE": "1", "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == status, f"{command} {' '.join(map(str, words))}\n{done.stdout}"
        return done.stdout


def installed(folder: Path, wheel: Path, extras: Iterable[str] = ()) -> Installed:
    """A new environment with a wheel, and of the running one's packages those alone that the wheel asks for.

    Args:
        folder: to make it in; commands run in its subfolder ``elsewhere``, which is empty.
        wheel: the file.
        extras: which of the wheel's.
    """
    venv.create(folder / "environment", with_pip=True)
    binaries = folder / "environment" / "bin"
    pip = [binaries / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-index", "--no-deps", wheel], check=True)
    site = next((folder / "environment" / "lib").glob("python*/site-packages"))
    asked = metadata.Distribution.at(next(site.glob("ternary_spike-*.dist-info"))).requires or []
    link(asked, extras, site)
    (folder / "elsewhere").mkdir()
    return Installed(binaries, folder / "elsewhere")


def link(requirements: Iterable[str], extras: Iterable[str], site: Path) -> None:
    """Links in ``site`` to the running environment's packages that requirements ask for, and to what these ask for."""
    waiting = [(Requirement(line), frozenset(extras) or frozenset([""])) for line in requirements]
    seen = set()
    while waiting:
        requirement, wanted = waiting.pop()
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in wanted):
            continue
        key = (requirement.name.lower(), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        found = metadata.distribution(requirement.name)
        own = frozenset(requirement.extras) or frozenset([""])
        waiting += [(Requirement(line), own) for line in found.requires or []]
        for top in {file.parts[0] for file in found.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            target, place = Path(str(found.locate_file(top))), site / top
            if target.exists() and not place.exists():
                place.symlink_to(target)


def built(out: Path, source: Path) -> dict[str, Path]:
    """Wheel and source distribution of a source tree, by ``whl`` and ``gz``; hatchling as it is installed here."""
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(out)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return {path.suffix.removeprefix("."): path for path in out.iterdir()}
