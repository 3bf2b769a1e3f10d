"""Which planned runs failed and why, told from what they left behind.

A stage that fails loses its outputs and leaves its log, however it ended: with a message, by a signal, or killed with
its whole job. So nothing needs to have been written at the moment of the failure.
"""

from collections.abc import Iterable
from pathlib import Path

from ternary_spike.files import write_json
from ternary_spike.matching import RECORD as MATCH
from ternary_spike.plan import RUNNABLE, Run
from ternary_spike.run_files import STAGES

DATA_STAGES = {"download": ".downloaded", "prepare": "/manifest.json"}


def record(plan: Iterable[Run], results: Path) -> list[Path]:
    """Write status/<id>/seed<seed>/<stage>.json for every stage that failed; see :func:`find`."""
    written = []
    for run, stage, log in find(plan, results):
        path = Path(results) / "status" / run.folder / f"{stage}.json"
        content = {"state": "failed", "id": run.id, "seed": run.seed, "stage": stage}
        write_json(path, {**content, "reason": reason(log), "log": str(log)})
        written.append(path)
    return written


def find(plan: Iterable[Run], results: Path) -> Iterable[tuple[Run, str, Path]]:
    """The stages of runnable runs that have a log but no result: run, stage and log."""
    results = Path(results)
    for run in plan:
        if run.status != RUNNABLE:
            continue
        for stage, file in DATA_STAGES.items():
            log = results / "logs" / stage / f"{run.data.name}.log"
            if log.exists() and not Path(f"{results}/data/{run.data.name}{file}").exists():
                yield run, stage, log
        log = results / "logs" / "match" / f"{run.id}.log"
        if log.exists() and not (results / "runs" / run.id / MATCH).exists():
            yield run, "match", log
        for stage, files in STAGES.items():
            log = results / "logs" / stage / f"{run.folder}.log"
            if log.exists() and not (results / "runs" / run.folder / files[0]).exists():
                yield run, stage, log


def reason(log: Path) -> str:
    """The last line of a log that says something, without what a progress bar wrote before it."""
    text = Path(log).read_text(encoding="utf-8", errors="replace").replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("error: ")] or lines
    return said[-1].removeprefix("error: ") if said else "it ended without a message, as if killed"
