"""A walk at random over the workflow: whatever was done to it, what a report shows is what it was made with.

Runs, kills, changes of settings and code, copies without Snakemake's records, touches and reports follow one another.
The test knows with which settings and code each file was made, since a file that a call leaves was made by that call;
it believes nothing that the records say of it. A training is told from another by its history, which has the seconds
that every epoch took.

TERNARY_SPIKE_WALK_STEPS=200 makes the walk longer, TERNARY_SPIKE_WALK_SEED takes another one, and `pytest -s` shows
each step as it begins.
"""

import csv
import hashlib
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path

import pytest

from tests.workflow.running import HEAD, REPOSITORY, copied, snakemake, surroundings

STEPS = int(os.environ.get("TERNARY_SPIKE_WALK_STEPS", "14"))
SEED = int(os.environ.get("TERNARY_SPIKE_WALK_SEED", "1"))
CONFIG = """preset: walk
experiments: table.csv
data:
  digits: {{source: scikit-learn}}
epochs: 1
recipe_changes: {{train_samples: 50}}
verify_samples: {verify_samples}
execute_samples: 2
energy_picojoule: {{synop: {synop}}}
measure_costs: false
"""
RECIPE, SURROGATE, ENERGY = (
    "config/recipes/digits.yaml",
    "lib/ternary_spike/membrane/surrogate.py",
    "lib/ternary_spike/reparam/energy.py",
)


@dataclass(frozen=True)
class World:
    """The settings and the code as they stand: what a call makes is made with these."""

    momentum: float = 0.9
    synop: float = 0.077
    verify_samples: int = 8
    training_code: int = 0
    energy_code: int = 0
    seeds: tuple[int, ...] = (0,)
    ternary: bool = False

    @property
    def runs(self) -> set[tuple[str, int]]:
        neurons = ("binary", "ternary") if self.ternary else ("binary",)
        return {(f"digits-resnet6w4-T1-{n}-e1-train_samples_50", seed) for n in neurons for seed in self.seeds}

    def write(self, folder: Path) -> None:
        """Put them into a clone; files that stay as they are keep their times."""
        seeds = ";".join(map(str, self.seeds))
        neurons = ("binary", "ternary") if self.ternary else ("binary",)
        texts = {
            "table.csv": HEAD + "".join(f"digits,resnet6w4,1,{n},,,digits,{seeds},demo,false\n" for n in neurons),
            "walk.yaml": CONFIG.format(**vars(self)),
            RECIPE: original(RECIPE).replace("momentum: 0.9", f"momentum: {self.momentum}", 1),
            SURROGATE: original(SURROGATE) + f"\nADDED = {self.training_code}\n" * bool(self.training_code),
            ENERGY: original(ENERGY).replace("1e-6", f"1e-{6 - self.energy_code}"),
        }
        for name, text in texts.items():
            if not (folder / name).exists() or (folder / name).read_text() != text:
                (folder / name).write_text(text)


def original(name: str) -> str:
    return (REPOSITORY / name).read_text()


def changed(world: World, what: str) -> World:
    """The world after one change."""
    others = {
        "seeds": {"seeds": (0,) if len(world.seeds) > 1 else (0, 1)},
        "row": {"ternary": not world.ternary},
        "recipe": {"momentum": 0.8 if world.momentum == 0.9 else 0.9},
        "constant": {"synop": 9.0 if world.synop == 0.077 else 0.077},
        "samples": {"verify_samples": 16 if world.verify_samples == 8 else 8},
        "training code": {"training_code": world.training_code + 1},
        "energy code": {"energy_code": 1 - world.energy_code},
    }
    return replace(world, **others[what])


CHANGES = ("seeds", "row", "recipe", "constant", "samples", "training code", "energy code")
DISTURBANCES = ("clone", "forget", "touch")
PAGES = ("cost",)


@dataclass
class Walk:
    """A clone, the world in it, and of every file that calls have made, by its content, the world that made it.

    ``made_at`` and ``forgotten`` count steps: Snakemake remembers how those files were made that came after it was last
    made to forget. ``finished`` has, by the folder of a run, the world in which its training came to its end and the
    checksum of its history.
    """

    base: Path
    rng: random.Random
    world: World = World()
    folder: Path = Path()
    clones: int = 0
    forgotten: int = 0
    made_in: dict[str, World] = field(default_factory=dict)
    made_at: dict[str, int] = field(default_factory=dict)
    finished: dict[Path, tuple[World, str]] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = copied(self.base / "0", notebooks=PAGES)
        self.world.write(self.folder)

    # what happens -----------------------------------------------------------------------------------------------------

    def step(self, what: str) -> None:
        self.done.append(what)
        print(time.strftime("%H:%M:%S"), len(self.done), what, flush=True)
        if what in CHANGES:
            self.world = changed(self.world, what)
            self.world.write(self.folder)
        else:
            getattr(self, what)()

    def clone(self) -> None:
        """Another folder gets the results, without what Snakemake knows of them, and with times as they happen."""
        self.clones += 1
        self.forgotten = len(self.done)
        before, self.folder = self.folder, copied(self.base / str(self.clones), notebooks=PAGES)
        self.world.write(self.folder)
        shutil.copytree(before / "results", self.folder / "results", symlinks=True)
        self.touch()
        shutil.rmtree(before)

    def forget(self) -> None:
        self.forgotten = len(self.done)
        shutil.rmtree(self.folder / ".snakemake", ignore_errors=True)

    def touch(self) -> None:
        """Any order of times, all of them past."""
        for path in [path for path in (self.folder / "results").rglob("*") if path.is_file()]:
            moment = time.time() - self.rng.uniform(10, 1000)
            os.utime(path, (moment, moment))

    def run(self) -> None:
        outcome = self.call()
        assert outcome.status == 0, self.told(outcome.text)
        self.look()
        self.check()
        self.check_repeated()

    def report(self) -> None:
        before = self.content()
        outcome = self.call("--", "report")
        if (self.folder / "results/walk/report/index.html").exists():
            assert outcome.status == 0, self.told(outcome.text)
        assert self.content() == before, self.told("a report has changed a file of a run")
        self.check()

    def kill(self) -> None:
        """Half of the times after some seconds, else when some new files are there: a slow machine comes so far too."""
        moment = self.rng.uniform(0, 25)
        by_files, enough = moment % 1 < 0.5, int(moment) % 5 + 1
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "walk.yaml"]
        with (self.base / "killed.log").open("a") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=surroundings(), stdout=log, stderr=log, start_new_session=True
            )
            limit = time.monotonic() + moment
            while process.poll() is None and (self.new() < enough if by_files else time.monotonic() < limit):
                time.sleep(0.1)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.look(killed=True)

    def call(self, *arguments: str):
        return snakemake(self.folder, "--cores", "2", "--configfile", "walk.yaml", *arguments)

    # what is seen -----------------------------------------------------------------------------------------------------

    def content(self) -> dict[Path, str]:
        """The checksums of the small files of all runs, planned or not, by their path."""
        runs = self.folder / "results/walk/runs"
        return {path.relative_to(runs): sum_of(path) for path in runs.glob("*/*/*.json")}

    def new(self) -> int:
        """How many of these files no earlier call has left; none while one of them is being replaced."""
        with suppress(OSError):
            return sum(checksum not in self.made_in for checksum in self.content().values())
        return 0

    def look(self, killed: bool = False) -> None:
        """Take down which world made what is new; no training that is what is wanted may have been made again."""
        for checksum in self.content().values():
            self.made_in.setdefault(checksum, self.world)
            self.made_at.setdefault(checksum, len(self.done))
        runs = self.folder / "results/walk/runs"
        histories = {path.parent.relative_to(runs): sum_of(path) for path in runs.glob("*/*/history.csv")}
        complete = {path.parent.relative_to(runs): sum_of(path) for path in runs.glob("*/*/run.json")}
        complete = {run: complete[run] for run in complete.keys() & histories.keys()}
        for run, (world, history) in list(self.finished.items()):
            if not self.would_be_trained_alike(world):
                del self.finished[run]
            elif run in complete or not killed:
                assert histories.get(run) == history, self.told(f"the training of {run} was finished and is lost")
            else:
                # Snakemake has removed what it calls incomplete, and was killed before the same was written again
                kept = (self.folder / "results/walk/checkpoints" / run).glob("*/history.csv")
                assert history in map(sum_of, kept), self.told(f"the training of {run} was finished and is not kept")
        for run, checksum in complete.items():
            self.finished[run] = self.made_in[checksum], histories[run]

    def would_be_trained_alike(self, made: World) -> bool:
        return (made.momentum, made.training_code) == (self.world.momentum, self.world.training_code)

    def table(self, name: str) -> list[dict[str, str]]:
        with (self.folder / "results/walk/tables" / f"{name}.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    def check(self) -> None:
        """Everything that the tables show is of the settings that stand there, and of this code or says otherwise."""
        runs = self.table("runs")
        assert {(row["id"], int(row["seed"])) for row in runs} == self.world.runs, self.told("other runs than planned")
        for row in runs:
            self.check_run(row)
        for row in self.table("summary"):
            self.check_summary(row, [each for each in runs if each["id"] == row["id"]])
        for row in self.table("equivalence"):
            made = self.maker(row, "equivalence.json")
            assert int(row["samples"]) == self.world.verify_samples == made.verify_samples, self.told(str(row))
        picojoule = f"{1000 * self.world.synop:g} fJ an addition"
        for row in self.table("energy"):
            assert picojoule in row["constants"], self.told(str(row))
        self.check_pages(runs)

    def check_pages(self, runs: list[dict[str, str]]) -> None:
        """The front page and a notebook's show what the tables have, and the energies of operations that are set."""
        front, cost = self.shown_in("index"), self.shown_in("cost")
        columns = ["last_epoch_mean_percent", "best_epoch_mean_percent", "n", "rate_mean_percent"]
        finished = {row["id"]: row for row in self.table("summary") if int(row["n"])}
        assert {run for run, _, _ in front} == finished.keys(), self.told(f"other runs on the front page: {front}")
        for run, _, values in front:
            wanted = [finished[run][key] for key in [*columns, "energy_mean_microjoule"] if finished[run][key]]
            assert values[1:] == pytest.approx(list(map(float, wanted))), self.told(f"the front page has {values}")
        text = self.page("index")
        constants = f"12.5 pJ a FLOP, {1000 * self.world.synop:g} fJ an addition" * bool(self.table("energy"))
        assert constants in text, self.told(f"the front page lacks {constants}")
        papers = "energies at the paper&#x27;s constants" in text
        assert papers == (bool(constants) and self.world.synop == 0.077), self.told("under another's name")
        shown = {(run, values[0]): (html, values) for run, html, values in cost}
        assert shown.keys() == {(row["id"], float(row["seed"])) for row in runs}, self.told(str(shown))
        for row in runs:
            html, values = shown[row["id"], float(row["seed"])]
            assert row["state"] == "done" or escape(row["state"]) in html, self.told(f"{row['state']}: {html}")
            assert values[2:3] == ([float(row["wall_seconds"])] if row["wall_seconds"] else []), self.told(html)

    def page(self, name: str) -> str:
        return (self.folder / f"results/walk/report/{name}.html").read_text()

    def shown_in(self, name: str) -> list[tuple[str, str, list[float]]]:
        """The rows of a page's first table: the run that a row links to, its HTML, and its numbers as they sort."""
        body = re.search(r"<tbody>(.*?)</tbody>", self.page(name), re.S)
        rows = re.findall(r"<tr>.*?</tr>", body[1] if body else "", re.S)
        links = [(re.search(r'<a href="runs/([^"]+)\.html"', row), row) for row in rows]
        number = re.compile(r' data-order="([^"]*)"')
        return [(link[1], row, list(map(float, number.findall(row)))) for link, row in links if link]

    def check_repeated(self) -> None:
        """After a run, what Snakemake remembers the making of is as it is wanted: it was made again if need be.

        A recipe decides a training alone. What follows it is of the training that is there, which may be one that
        nobody remembers the making of, with another recipe.
        """
        now = self.world
        for run, seed in now.runs:
            folder = self.folder / "results/walk/runs" / run / f"seed{seed}"
            weights = sum_of(folder / "weights.safetensors")
            for name in ("run.json", "evaluation.json", "energy.json"):
                checksum = sum_of(folder / name)
                made = self.made_in[checksum]
                same = made.training_code == now.training_code
                if name == "run.json":
                    same = same and made.momentum == now.momentum
                else:
                    of = json.loads((folder / name).read_text())["trained_weights"]
                    assert of == weights, self.told(f"{folder / name} is of another training")
                if name == "energy.json":
                    same = same and (made.energy_code, made.synop) == (now.energy_code, now.synop)
                assert same or self.made_at[checksum] <= self.forgotten, self.told(f"{folder / name} is of {made}")

    def check_run(self, row: dict[str, str]) -> None:
        path = self.folder / "results/walk/runs" / row["id"] / f"seed{row['seed']}" / "run.json"
        trained = self.made_in.get(sum_of(path)) if path.exists() else None
        wanted = trained is not None and trained.momentum == self.world.momentum
        assert bool(row["last_epoch_percent"]) == wanted, self.told(f"{row['state']}: {trained}")
        others = re.search(r"other code: ([^;]*)", row["state"])
        others = set(others[1].split(", ")) if others else set()
        if wanted:
            assert ("train" in others) == (trained.training_code != self.world.training_code), self.told(row["state"])
        if row["energy_microjoule"]:
            made = self.maker(row, "energy.json")
            codes = [(world.training_code, world.energy_code) for world in (made, self.world)]
            assert made.synop == self.world.synop, self.told(row["state"])
            assert ("energy" in others) == (codes[0] != codes[1]), self.told(f"{row['state']}: {made}")
        if row["evaluated_percent"]:
            made = self.maker(row, "evaluation.json")
            assert ("evaluate" in others) == (made.training_code != self.world.training_code), self.told(row["state"])

    def check_summary(self, summary: dict[str, str], seeds: list[dict[str, str]]) -> None:
        """Means are those of the seeds that are shown, and of one code in the stages after training."""
        shown = [float(row["last_epoch_percent"]) for row in seeds if row["last_epoch_percent"]]
        assert int(summary["n"]) == len(shown), self.told(str(summary))
        if shown:
            assert float(summary["last_epoch_mean_percent"]) == pytest.approx(statistics.mean(shown))
        if len(shown) < len(seeds):
            assert summary["state"] != "done" and not summary["state"].startswith("done;"), self.told(str(summary))
        energies = [row for row in seeds if row["energy_microjoule"]]
        codes = {(m.training_code, m.energy_code) for m in (self.maker(row, "energy.json") for row in energies)}
        assert len(codes) <= 1, self.told(f"energies of different code have a mean: {summary}")

    def maker(self, row: dict[str, str], name: str) -> World:
        path = self.folder / "results/walk/runs" / row["id"] / f"seed{row['seed']}" / name
        return self.made_in[sum_of(path)]

    def told(self, what: str) -> str:
        return f"after {', '.join(self.done)}: {what[-3000:]}\nnow: {self.world}"


def sum_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def steps(rng: random.Random, count: int):
    """What to do, in order: a change or a disturbance, then a call; each of them before one comes again."""
    changes, calls = [], []
    for number in range(count):
        if number % 2:
            calls = calls or rng.sample(["run", "report", "report", "kill"], 4)
            yield calls.pop()
        else:
            changes = changes or rng.sample([*CHANGES, *DISTURBANCES], len(CHANGES) + len(DISTURBANCES))
            yield changes.pop()


@pytest.mark.full
def test_whatever_is_done_the_tables_say_with_what_each_number_was_made(tmp_path):
    walk = Walk(tmp_path, random.Random(SEED))
    walk.step("run")
    for what in steps(walk.rng, STEPS):
        walk.step(what)
    walk.step("run")
