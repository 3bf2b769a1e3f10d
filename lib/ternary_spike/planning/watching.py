"""Where every run of a plan is right now, told from the small files that trainings and the workflow write anyway.

Whoever looks writes nothing and takes no lock, so it never gets in a training's way. Light on purpose (no torch).
"""

import csv
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ternary_spike.planning import plan_file
from ternary_spike.planning.failures import last_word, without_result
from ternary_spike.planning.run import NOT_RUN
from ternary_spike.planning.run_files import STAGES, run_folder
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import read_json

WAITING, TRAINING, FINISHED, FAILED = "waiting", "training", "finished", "failed"
#: a run that still needs nothing but time
UNFINISHED = (WAITING, TRAINING)
RECORD, HISTORY = STAGES["train"]
LOCK = "lock"
#: what follows the training; its log says nothing of the training
LATER = tuple(stage for stage in STAGES if stage != "train")
#: a process imports torch and its data before it takes its lock
STARTING_SECONDS = 60
EPOCH_OF_LOG = re.compile(r": epoch \d+/(\d+), loss ")
BADLY = re.compile(r"^(error: |Traceback \(most recent call last\))", re.M)
INTERRUPTED = re.compile(r"stopped by \S.* the same command goes on there")


@dataclass(frozen=True)
class Seen:
    """What is known of one run and seed at one moment; None where a figure is not known.

    Attributes:
        state: waiting, training, finished, failed, or "not run".
        epoch: how many are done, of ``epochs``.
        loss, accuracy_percent: of the last one, in training and on the test set.
        images_per_second: in training, in the last epoch or, of a finished run, over all of it.
        seconds_left: of a training; of a run that waits, what its plan expects of all of it.
        note: why it is not run or failed, and where that stands; what else is to be known.
    """

    id: str
    seed: int
    state: str
    epoch: int | None = None
    epochs: int | None = None
    loss: float | None = None
    accuracy_percent: float | None = None
    images_per_second: float | None = None
    seconds_left: float | None = None
    note: str = ""


class Watched:
    """The runs of a preset, looked at again and again; what did not change since is not read a second time.

    Args:
        results: results/<preset>.
    """

    def __init__(self, results: Path) -> None:
        self.results = Path(results)
        self._read: dict[Path, tuple] = {}

    def look(self) -> list[Seen]:
        """Every run of the plan, in its order.

        Raises:
            UserError: if there is no such folder, or no plan in it.
        """
        if not self.results.is_dir():
            raise UserError(f"{self.results} is no folder; name that of a preset: {_presets(self.results.parent)}")
        plan = self.results / "plan.csv"
        if not plan.exists():
            raise UserError(
                f"{plan} is missing; it is among the first files of a call of the workflow, and "
                f"`snakemake --cores 1 plan` writes it alone; folders with a plan: {_presets(self.results)}"
            )
        return [self._seen(row) for row in self._unless_read(plan, plan_file.read_rows)]

    def _unless_read(self, path: Path, read):
        """What ``read`` makes of a file, from memory if it is still the same file."""
        state = path.stat()
        stamp = (state.st_mtime_ns, state.st_size, state.st_ino)
        if self._read.get(path, (None,))[0] != stamp:
            self._read[path] = stamp, read(path)
        return self._read[path][1]

    def _seen(self, row: Mapping[str, str]) -> Seen:
        run = Seen(row["id"], int(row["seed"]), WAITING)
        if row["status"] == NOT_RUN:
            return replace(run, state=NOT_RUN, note=row["reason"])
        log = self.results / "logs" / "train" / row["id"] / f"seed{row['seed']}.log"
        place = _Place.of(self.results / "checkpoints" / row["id"] / f"seed{row['seed']}")
        if place is not None and place.is_held:
            return _training(run, row, log, place)
        record = run_folder(self.results, row["id"], row["seed"]) / RECORD
        done = record.exists()
        if failure := self._failure(row, LATER if done else None):
            return replace(_far(run, place), state=FAILED, note=failure)
        if done:
            try:
                return self._unless_read(record, lambda path: _finished(run, path))
            except UserError as error:
                return replace(run, state=FAILED, note=str(error))
        return _between(run, row, log, place)

    def _failure(self, row: Mapping[str, str], stages: tuple[str, ...] | None) -> str:
        """Which of these stages (None: of those up to the training) failed, why and where that stands; else empty.

        A stage without its result may still run. It failed if the workflow's last call says so, or its own log does.
        """
        folder = f"{row['id']}/seed{row['seed']}"
        for stage, log in without_result(row["id"], folder, row["data"], self.results):
            if (stage in LATER) != (stages is LATER):
                continue
            status = self.results / "status" / folder / f"{stage}.json"
            reason = ""
            if status.exists():
                reason = self._unless_read(status, read_json).get("reason", "")
            elif BADLY.search(_text(log)):
                reason = last_word(log)
            if reason:
                return f"{'' if stage == 'train' else f'{stage}: '}{reason}; see {log}"
        return ""


def _presets(folder: Path) -> str:
    """The folders within one that hold a plan, in words."""
    found = sorted(str(path.parent) for path in folder.glob("*/plan.csv"))
    return ", ".join(found) or f"there is none in {folder}"


def _text(path: Path) -> str:
    """A log as far as it is there."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@dataclass(frozen=True)
class _Place:
    """Where a training keeps its state, of those places of the run the one that was used last.

    Attributes:
        folder: holds lock and history.
        holder: the process in its lock, empty if it was given back.
        node: its machine.
        taken: when it took the lock, in seconds.
    """

    folder: Path
    holder: str
    node: str
    taken: float

    @classmethod
    def of(cls, run: Path) -> "_Place | None":
        """That of a run, whose checkpoints of different code or recipes lie side by side; None if there is none."""
        found = []
        for lock in run.glob(f"*/{LOCK}"):
            try:
                holder, _, node = lock.read_text(errors="replace").strip().partition(" on ")
                found.append(cls(lock.parent, holder, node, lock.stat().st_mtime))
            except OSError:
                continue  # its training has just ended
        return max(found, key=lambda place: (place.is_held, place.taken), default=None)

    @property
    def is_elsewhere(self) -> bool:
        return bool(self.holder) and self.node != os.uname().nodename

    @property
    def is_held(self) -> bool:
        """Whether its process still runs; of another machine's it is taken to."""
        return self.is_elsewhere or (self.holder.isdecimal() and _runs(int(self.holder), self.taken))

    def history(self) -> tuple[list[dict[str, float]], float]:
        """A row for each finished epoch, and when the last one was written."""
        path = self.folder / HISTORY
        try:
            return _history(path), path.stat().st_mtime
        except (OSError, ValueError):
            return [], self.taken


def _runs(process: int, since: float) -> bool:
    """Whether a process that ran at a time still does; its number may be another's by now, which began later."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        pass
    try:
        began = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        up = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return True  # a system that does not say when
    return time.time() - up + began <= since + 2


def _history(path: Path) -> list[dict[str, float]]:
    """history.csv as numbers. Raises ValueError where a cell is none, OSError where there is no such file."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def _far(run: Seen, place: _Place | None) -> Seen:
    """A run with how far its training came."""
    rows = place.history()[0] if place else []
    if not rows:
        return run
    last = rows[-1]
    return replace(
        run,
        epoch=len(rows),
        loss=last["train_loss"],
        accuracy_percent=last["test_accuracy_percent"],
        images_per_second=last["images_per_second"],
    )


def _training(run: Seen, row: Mapping[str, str], log: Path, place: _Place) -> Seen:
    rows, written = place.history()
    epochs, left = _epochs(row, log), None
    if rows and epochs:
        left = (epochs - len(rows)) * _seconds_an_epoch(rows, written - place.taken) - (time.time() - written)
    elif not rows and (planned := _planned_seconds(row)) is not None:
        left = planned - (time.time() - place.taken)
    note = ""
    if place.is_elsewhere:
        note = f"on {place.node}, last heard of {time.strftime('%Y-%m-%d %H:%M', time.localtime(written))}"
    left = None if left is None else max(0.0, left)
    return replace(_far(run, place), state=TRAINING, epoch=len(rows), epochs=epochs, seconds_left=left, note=note)


def _seconds_an_epoch(rows: list[dict[str, float]], spent: float) -> float:
    """What an epoch takes with all that comes with it: the time that this process has spent by those it has finished.

    Args:
        rows: of every finished epoch; an earlier process may have finished the first ones.
        spent: seconds from this process' beginning to its last finished epoch.
    """
    own = 0
    total = 0.0
    for row in reversed(rows):
        total += row["seconds"]
        if total > spent:
            break
        own += 1
    return spent / own if own else rows[-1]["seconds"]


def _epochs(row: Mapping[str, str], log: Path) -> int | None:
    """How many epochs a training has: the plan says so of a shortened one, its log after the first epoch."""
    changed = re.search(r"(?:^|;)epochs=(\d+)(?:;|$)", row["changes"])
    said = EPOCH_OF_LOG.findall(_text(log))
    return int(said[-1]) if said else int(changed[1]) if changed else None


def _planned_seconds(row: Mapping[str, str]) -> float | None:
    """What the plan expects of a training; None where nothing was measured."""
    try:
        return 3600 * float(row.get("projected_hours") or "")
    except ValueError:
        return None


def _finished(run: Seen, record: Path) -> Seen:
    """A finished run. Raises UserError if its record is damaged or none."""
    content = read_json(record)
    try:
        epochs = content["recipe"]["epochs"]
        run = replace(
            run,
            state=FINISHED,
            epoch=epochs,
            epochs=epochs,
            accuracy_percent=float(content["accuracy"]["last_epoch_percent"]),
            images_per_second=float(content["cost"]["images_per_second"]),
        )
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{record} is not the record of a training run; run `train` again") from None
    try:
        return replace(run, loss=_history(record.with_name(HISTORY))[-1]["train_loss"])
    except (OSError, ValueError, KeyError, IndexError):
        return run


def _between(run: Seen, row: Mapping[str, str], log: Path, place: _Place | None) -> Seen:
    """A run that has no result, no process and no message of a failure."""
    if place is not None and place.holder:
        where = f"; see {log}" if log.exists() else ""
        note = f"killed: process {place.holder} is gone; the next call goes on after the last epoch{where}"
        return replace(_far(run, place), state=FAILED, note=note)
    if log.exists() and not (said := next(_interrupted(log), "")):
        if time.time() - log.stat().st_mtime < STARTING_SECONDS:
            return replace(run, state=TRAINING, seconds_left=_planned_seconds(row), note="starting")
        return replace(_far(run, place), state=FAILED, note=f"it ended without a message, as if killed; see {log}")
    return replace(_far(run, place), note=said if log.exists() else "", seconds_left=_planned_seconds(row))


def _interrupted(log: Path) -> Iterator[str]:
    """What a training said that was asked to stop."""
    return (match[0] for match in INTERRUPTED.finditer(_text(log)))
