"""What a measurement leaves: tables with checksums, and where they come from."""

import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import torch

from ternary_spike.system import provenance
from ternary_spike.system.files import csv_text, write_json, write_listed


class Measurement:
    """Tables and the record of their making, on the disk as far as they are measured: an interruption loses nothing.

    Args:
        out: their folder, made if it is missing.
        record: name of the record.
        setting: gives what the record says.
    """

    def __init__(self, out: Path, record: str, setting: Callable[[], dict]) -> None:
        self.out, self.record, self.setting = out, record, setting
        self.tables: dict[str, list[dict]] = {}
        out.mkdir(parents=True, exist_ok=True)

    def add(self, **rows: list[dict]) -> None:
        """Add rows to tables, by their names."""
        for name, more in rows.items():
            self.tables[name] = self.tables.get(name, []) + more
            write(self.out / f"{name}.csv", self.tables[name])
        write_json(self.out / self.record, self.setting())


def write(path: Path, rows: list[dict]) -> None:
    """A table to four digits, and its checksum beside it."""
    fields = list(dict.fromkeys(key for row in rows for key in row))
    shown = [{k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    write_listed(path, csv_text(shown, fields))


def origin(device: str, started: str) -> dict:
    """Where a measurement comes from, for its record."""
    return {
        **provenance.commit(),
        "hardware": provenance.hardware(torch.device(device)),
        "command": ["python", f"benchmarks/{Path(sys.argv[0]).name}", *without_places(sys.argv[1:])],
        "started": started,
        "finished": provenance.now(),
    }


def without_places(words: list[str]) -> list[str]:
    """A command's words, of absolute paths the last part alone: where a machine has its folders concerns nobody."""
    parted = [word.rpartition("=") for word in words]  # --out FOLDER and --out=FOLDER
    return [key + sign + (Path(last).name if Path(last).is_absolute() else last) for key, sign, last in parted]


def processor(device: str) -> str:
    """The name of what computes."""
    found = provenance.hardware(torch.device(device))
    return found.get("gpu", found["cpu"])


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 numbers itself (otherwise they are converted, and slower)."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def version(package: str) -> str | None:
    """The version of an installed package, None where it is absent."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
