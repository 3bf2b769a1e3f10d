"""The files of `make bench`: this machine's where it has measured, or else those that came with the repository."""

from pathlib import Path

from ternary_spike.report.results import Results
from ternary_spike.system.files import require_listed

#: the folder within ``files/`` of a report that holds copies of them, and beside the presets' folders the originals
PLACE = "bench"
#: what one call measures: the record of hardware and versions, and the tables that go with it
BATTERIES = {
    "benchmark.json": ("neuron.csv", "training_step.csv", "epoch.csv", "start_up.csv"),
    "roofline.json": ("roofline.csv", "roofline_profile.csv"),
    "precision.csv": (),
    "threads.csv": (),
}


def benchmark_files(results: Results, kept: Path | str) -> dict[str, Path]:
    """The files by their names; what one call measured always comes from one folder.

    Args:
        results: a preset; ``bench`` beside it is this machine's.
        kept: results/reference.

    Raises:
        UserError: if a table is not the one whose checksum was written beside it.
    """
    found = {}
    for first, others in BATTERIES.items():
        for folder in (results.folder.parent / PLACE, Path(kept) / PLACE):
            if (folder / first).exists():
                found |= {name: folder / name for name in (first, *others) if (folder / name).exists()}
                break
    for path in found.values():
        require_listed(path)
    return found
