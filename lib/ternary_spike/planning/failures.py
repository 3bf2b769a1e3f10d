"""Which planned runs failed and why, told from what they left behind.

A stage that fails loses its outputs and leaves its log, however it ended: with a message, by a signal, or killed with
its whole job. So nothing needs to have been written at the moment of the failure.
"""

import re
import signal
from collections.abc import Iterable
from pathlib import Path

from ternary_spike.planning.matching import RECORD as MATCH
from ternary_spike.planning.run import RUNNABLE, Run
from ternary_spike.planning.run_files import STAGES
from ternary_spike.system import room
from ternary_spike.system.files import write_json

DATA_STAGES = {"download": ".downloaded", "prepare": "/manifest.json"}
# Bash in which a command that was killed says so where its messages go, which is its log: a killed process cannot.
# Where the log takes nothing, a command can still reach the terminal, by a number that every bash takes.
# 130 is also what the command line itself returns after Ctrl-C, and says so; above 192 there are no signals.
SHELL_FUNCTION = """exec 9>&2; export WORKFLOW_TERMINAL=9; python() {
  command python "$@" && return; local status=$?
  if ((status > 128 && status <= 192 && status != 130)); then echo "error: killed by signal $((status - 128))" >&2; fi
  return $status; }; """
# what that function says, and what torchrun says of its processes
KILLED = re.compile(r"killed by signal (\d+)|.*\bSignal (\d+) \(SIG\w+\) received by PID \d+")


def described(plan: Iterable[Run], results: Path) -> list[str]:
    """A line for every stage that failed, once for all the runs that share it, with its log."""
    found = {log: stage for _, stage, log in find(plan, results)}
    return [f"{stage} failed: {reason(log)}; see {log}" for log, stage in found.items()]


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
    for run in plan:
        if run.status == RUNNABLE:
            for stage, log in without_result(run.id, run.folder, run.data.name, Path(results)):
                yield run, stage, log


def without_result(name: str, folder: str, data: str, results: Path) -> Iterable[tuple[str, Path]]:
    """The stages of a run that have a log but no result, and that log: they run, or they failed.

    Args:
        name: the run's id.
        folder: of the run, within ``runs/``.
        data: name of its prepared data.
        results: results/<preset>.
    """
    for stage, file in DATA_STAGES.items():
        log = results / "logs" / stage / f"{data}.log"
        if log.exists() and not Path(f"{results}/data/{data}{file}").exists():
            yield stage, log
    log = results / "logs" / "match" / f"{name}.log"
    if log.exists() and not (results / "runs" / name / MATCH).exists():
        yield "match", log
    for stage, files in STAGES.items():
        log = results / "logs" / stage / f"{folder}.log"
        if log.exists() and not (results / "runs" / folder / files[0]).exists():
            yield stage, log


def reason(log: Path) -> str:
    """Why a stage failed, told from its log: its :func:`last_word`, or why there is none."""
    return last_word(log) or _silent(Path(log))


def last_word(log: Path) -> str:
    """A log's last error, or else its last line that says something, without what a progress bar wrote before it.

    Returns:
        The line, a signal in words; empty where the log says nothing.
    """
    text = Path(log).read_text(encoding="utf-8", errors="replace").replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if any(map(str.isalnum, line))]
    said = [line for line in lines if line.startswith("error: ")] or lines
    last = said[-1].removeprefix("error: ") if said else ""
    killed = KILLED.fullmatch(last)
    return _signal_in_words(int(killed[1] or killed[2])) if killed else last


def _silent(log: Path) -> str:
    """Why a log says nothing: nothing can be written where it lies, or its process had no time to."""
    if (error := room.refused(log.parent)) is not None:
        disk = room.disk_of(log.parent)
        return f"its log could not be written on the disk at {disk}: {error.strerror or error}; make room there"
    return "it ended without a message, as if killed"


def _signal_in_words(number: int) -> str:
    if number == signal.SIGKILL:
        return "killed, perhaps for memory (signal 9)"
    name = signal.strsignal(number) if number in signal.valid_signals() else None
    return f"killed by signal {number}" + (f", {name.lower()}" if name else "")
