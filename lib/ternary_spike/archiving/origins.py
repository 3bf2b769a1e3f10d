"""Which runs a table or a figure came from."""

import csv
import re
from html import unescape
from pathlib import Path

from ternary_spike.archiving.preset import Preset

#: columns of the tables that hold ids of runs, several of them parted by spaces
COLUMNS = ("id", "base", "runs")
#: the element of an SVG file in which :func:`ternary_spike.report.figures.figure` names the runs
SOURCE = re.compile("<dc:source>(.*?)</dc:source>", re.S)


def of_table(path: Path, preset: Preset) -> list[str]:
    """Folders of the runs in a table's rows, as ``<preset>/runs/<id>/seed<seed>``; of its seed where a row has one."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = {(name, row.get("seed")) for row in rows for key in COLUMNS for name in (row.get(key) or "").split()}
    return [place(preset, run.id, run.seed) for run in preset.runs if wanted & {(run.id, run.seed), (run.id, None)}]


def of_figure(path: Path, preset: Preset) -> tuple[list[str], bool]:
    """Folders of the runs that a figure names, of this preset and of kept ones.

    Returns:
        The folders, and whether the figure itself names them: one that an earlier version drew may show any run.
    """
    drawn = path.with_suffix(".svg")
    named = SOURCE.search(drawn.read_text(encoding="utf-8")) if drawn.exists() else None
    if named is None:
        return [place(preset, run.id, run.seed) for run in preset.runs], False
    own = f"{preset.name}/runs/"
    words = unescape(named[1]).split()
    ids = {word.removeprefix(own) for word in words if word.startswith(own)}
    others = [word for word in words if "/runs/" in word and not word.startswith(own)]
    return [place(preset, run.id, run.seed) for run in preset.runs if run.id in ids] + others, True


def place(preset: Preset, run: str, seed: str) -> str:
    """The folder of a run below ``results/``."""
    return f"{preset.name}/runs/{run}/seed{seed}"
