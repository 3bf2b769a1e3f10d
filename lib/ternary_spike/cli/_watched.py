"""What the verb ``watch`` shows: a table of the runs, and below it why some failed or cannot run."""

import io
import time
from collections.abc import Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ternary_spike.planning.run import NOT_RUN
from ternary_spike.planning.watching import FAILED, FINISHED, TRAINING, UNFINISHED, WAITING, Seen, Watched

COLUMNS = ("run", "seed", "state", "epoch", "loss", "accuracy", "images/s", "time left")
STYLES = {TRAINING: "cyan", FAILED: "red", WAITING: "", FINISHED: "green", NOT_RUN: "dim"}
#: which runs to show where not all fit
INTEREST = (TRAINING, FAILED, WAITING, FINISHED, NOT_RUN)
UNBOUNDED = 10_000


def printed(runs: Sequence[Seen]) -> str:
    """All runs, a line each, for a pipe or a file: as wide as they are, without colours."""
    console = Console(file=io.StringIO(), width=UNBOUNDED, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(page(runs, console.width))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def shown(watched: Watched, every: float) -> None:
    """Show the runs on the terminal, anew every so many seconds, until all have finished or the user presses Ctrl-C."""
    runs = watched.look()
    console = Console()
    with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        try:
            while True:
                live.update(fitting(runs, console), refresh=True)
                # a failed run is tried again: as long as the workflow runs, nothing is final
                if not any(run.state in (*UNFINISHED, FAILED) for run in runs):
                    return
                time.sleep(every)
                runs = watched.look()
        except KeyboardInterrupt:
            return


def fitting(runs: Sequence[Seen], console: Console) -> RenderableType:
    """As many of the runs as the terminal has lines for; those that train come first where not all fit."""

    def lines(many: int) -> int:
        return len(console.render_lines(page(shortened(many), console.width, runs), pad=False))

    def shortened(many: int) -> list[Seen]:
        chosen = {(run.id, run.seed) for run in by_interest[:many]}
        return [run for run in runs if (run.id, run.seed) in chosen]

    by_interest = sorted(runs, key=lambda run: INTEREST.index(run.state))
    low, high = 0, min(len(runs), console.height)  # a run has a line at least
    while low < high:  # the largest number that fits
        middle = (low + high + 1) // 2
        low, high = (middle, high) if lines(middle) < console.height else (low, middle - 1)
    return page(shortened(low), console.width, runs)


def page(runs: Sequence[Seen], width: int, everything: Sequence[Seen] | None = None) -> RenderableType:
    """The runs as a table or, where that is wider than the terminal, as two lines each; notes and totals below.

    Args:
        runs: to show.
        width: columns of the terminal.
        everything: also those that are not shown, for the totals.
    """
    everything = runs if everything is None else everything
    table = _table(runs)
    narrow = Console(width=UNBOUNDED, color_system=None).measure(table).maximum > width
    hidden = len(everything) - len(runs)
    more = [Text(f"and {hidden} more, which do not fit here", style="dim")] if hidden else []
    return Group(*(_lines(runs) if narrow else [table]), *more, *_notes(runs), Text(_totals(everything), style="bold"))


def _table(runs: Iterable[Seen]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in COLUMNS:
        table.add_column(name, no_wrap=True, justify="left" if name in ("run", "state") else "right")
    for run in runs:
        cells = _cells(run)
        table.add_row(*(Text(cell, style=STYLES[run.state]) for cell in cells))
    return table


def _lines(runs: Iterable[Seen]) -> Iterable[RenderableType]:
    """Each run's name, and in a second line what there is to say of it."""
    for run in runs:
        _, _, state, epoch, loss, accuracy, speed, left = _cells(run)
        said = {"epoch ": epoch, "loss ": loss, "": accuracy}
        words = [state, *(f"{name}{text}" for name, text in said.items() if text)]
        words += [f"{speed} images/s"] * bool(speed) + [f"{left} left"] * bool(left)
        yield Text(f"{run.id} seed {run.seed}", style="bold", overflow="fold")
        yield Padding(Text(", ".join(words), style=STYLES[run.state]), (0, 0, 0, 2))


def _cells(run: Seen) -> tuple[str, ...]:
    """A run's cells, in the order of :data:`COLUMNS`."""
    epoch = "" if run.epoch is None else str(run.epoch) if run.epochs is None else f"{run.epoch}/{run.epochs}"
    return (
        run.id,
        str(run.seed),
        run.state,
        epoch,
        "" if run.loss is None else f"{run.loss:.4f}",
        "" if run.accuracy_percent is None else f"{run.accuracy_percent:.2f} %",
        "" if run.images_per_second is None else f"{run.images_per_second:.0f}",
        "" if run.seconds_left is None else duration(run.seconds_left),
    )


def _notes(runs: Iterable[Seen]) -> Iterable[Text]:
    """What is to be said of runs, once for all of which the same is."""
    found: dict[tuple[str, str], list[Seen]] = {}
    for run in runs:
        if run.note:
            found.setdefault((run.state, run.note), []).append(run)
    for (state, note), same in sorted(found.items(), key=lambda item: INTEREST.index(item[0][0])):
        name = f"{same[0].id} seed {same[0].seed}"
        whose = name if len(same) == 1 else f"{name} and {len(same) - 1} more"
        # a log may have anything in it, and a terminal would obey it
        plain = "".join(letter if letter.isprintable() else " " for letter in note)
        yield Text(f"{state}: {whose}: {plain}", style=STYLES[state], overflow="fold")


def _totals(runs: Sequence[Seen]) -> str:
    counts = {state: sum(run.state == state for run in runs) for state in INTEREST}
    return f"{len(runs)} runs: " + ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def duration(seconds: float) -> str:
    """Seconds in words, as exactly as one wants to know: ``45 s``, ``12 min``, ``3 h 05 min``, ``2 d 04 h``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours < 24 else f"{hours // 24} d {hours % 24:02} h"
