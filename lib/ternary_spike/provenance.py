"""What ran, on what, from which code: the part of every result file that lets a reader walk back to its making."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch

from ternary_spike import cores

PACKAGES = ("torch", "torchvision", "numpy", "tonic", "scikit-learn", "safetensors")


def now() -> str:
    """The present moment, ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def commit() -> tuple[str | None, bool | None]:
    """The commit of the code that runs, and whether its files differ from it; (None, None) outside a checkout."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    revision = git("rev-parse", "HEAD")
    # a package installed into an environment that lies inside some other checkout is not that checkout's code
    if revision is None or git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None, None
    # untracked files do not count: results and environments lie in the checkout too
    return revision, bool(git("status", "--porcelain", "--untracked-files=no"))


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


def provenance(device: torch.device, started: str) -> dict:
    """The provenance of a result: commit, versions, hardware, threads, command, start and end."""
    revision, dirty = commit()
    return {
        "commit": revision,
        "dirty": dirty,
        "versions": versions(),
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
        "command": command(),
        "started": started,
        "finished": now(),
    }
