"""What ran, on what, from which code: the part of every result file that lets a reader walk back to its making."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch

import ternary_spike
from ternary_spike.system import cores

PACKAGES = ("torch", "torchvision", "numpy", "tonic", "scikit-learn", "safetensors")

RESULTS = "results"  # of the repository


def now() -> str:
    """The present moment, ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def commit(folder: Path = Path(__file__).parent) -> dict:
    """The version and the commit of the code that runs, as the part of a record that says so.

    Args:
        folder: that holds this module's file.

    Returns:
        "version" of the package; "commit" and "dirty", whether files differ from it other than results, which a call
        of the workflow writes beside kept ones. Where git cannot tell, both are None and "commit_unknown" is the
        reason: so it is for a package that was installed.
    """
    version = {"version": ternary_spike.__version__}
    try:
        revision = _git(folder, "rev-parse", "HEAD")
        # a package installed into an environment that lies inside some other checkout is not that checkout's code
        if not _git(folder, "ls-files", Path(__file__).name):
            raise _NoAnswer("this copy of the code belongs to no checkout")
        # untracked files do not count: results and environments lie in the checkout too
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ":/", f":(top,exclude){RESULTS}")
        dirty = bool(changed)
        return {**version, "commit": revision, "dirty": dirty}
    except _NoAnswer as reason:
        return {**version, "commit": None, "dirty": None, "commit_unknown": str(reason)}


def commit_warnings(origin: dict) -> list[str]:
    """A warning where git could not tell the commit of a record's code; nothing where it could."""
    reason = origin.get("commit_unknown")
    return [f"commit unknown: {reason}; the results will not name the code that they come from"] if reason else []


class _NoAnswer(Exception):
    """Why git did not answer."""


def _git(folder: Path, *arguments: str) -> str:
    """What git answers in a folder. Raises _NoAnswer with its own words."""
    try:
        done = subprocess.run(
            ["git", "-C", folder, *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            env=os.environ | {"LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise _NoAnswer("git is not installed") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _NoAnswer(f"git did not answer ({error})") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"git ended with status {done.returncode}"]
        raise _NoAnswer(said[0].removeprefix("fatal: "))
    return done.stdout.strip()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can decide a result, as far as they are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware(device: torch.device) -> dict:
    """Processor, number of cores that this process may use, memory in bytes, and the accelerator if it was used."""
    found = {"cpu": _processor(), "cores": cores.available(), "device": device.type}
    if hasattr(os, "sysconf"):
        found["memory_bytes"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"gpu": properties.name, "gpu_memory_bytes": properties.total_memory, "cuda": torch.version.cuda}
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def command(argv: list[str] | None = None) -> list[str]:
    """The command that runs, as one would type it."""
    words = sys.argv[1:] if argv is None else argv
    processes = int(os.environ.get("WORLD_SIZE", "1"))  # torchrun's
    if processes > 1:
        launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
        return ["python", "-m", *launch, "ternary_spike", *words]
    return ["python", "-m", "ternary_spike", *words]


def provenance(device: torch.device, started: str, code: dict | None = None) -> dict:
    """The provenance of a result: version, commit, versions of packages, hardware, threads, command, start and end.

    Args:
        device: where it was computed.
        started: :func:`now` at the start.
        code: :func:`commit` at the start, where the work took so long that the checkout may be at another one now.
    """
    return {
        **(code or commit()),
        "versions": versions(),
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
        "command": command(),
        "started": started,
        "finished": now(),
    }
