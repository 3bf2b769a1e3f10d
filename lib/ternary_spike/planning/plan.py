"""The plan: which runs of the run table are wanted, which of them this machine can do, and how they are shortened.

Light on purpose (no torch): the workflow asks for the plan each time it starts. What a run costs is measured in
:mod:`ternary_spike.training.costs`.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ternary_spike.configuration import recipe as recipes
from ternary_spike.configuration.run_table import COLUMNS, _require_short, run_id
from ternary_spike.neurons.registry import NEURONS
from ternary_spike.system.errors import UserError

RUNNABLE, NOT_RUN = "runnable", "not run"
#: a threshold that is not given but found: the one at which a run fires as often as this neuron does
RATE_OF = re.compile(r"rate_of_(\w+)")
SPIKING = tuple(name for name, neuron in NEURONS.items() if neuron.spikes)
#: what stands among a row's options and is the network's, not its neurons'
NETWORK_OPTIONS = ("stem_batch_norm",)


@dataclass(frozen=True)
class DataSource:
    """Where a dataset comes from.

    Attributes:
        dataset: its name in the run table.
        kind: the source's kind, such as ``torchvision``.
        root: folder or file of the dataset's own files; None where the source has none.
        options: settings of the preparation that differ from their defaults.
        original: whether results made from it may bear the dataset's plain name.
    """

    dataset: str
    kind: str
    root: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    original: bool = True

    @property
    def name(self) -> str:
        """Name of the prepared data: the dataset and whatever sets it apart from the original with default settings."""
        parts = [self.dataset, *([] if self.original else [self.kind])]
        return ".".join(parts + [_part(f"{key}_{value}") for key, value in sorted(self.options.items())])


@dataclass(frozen=True)
class Selection:
    """Which rows are wanted: an empty list wants all. ``seeds`` takes the place of the rows' own seeds."""

    tables: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    neurons: tuple[str, ...] = ()
    timesteps: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()
    controls: bool = False


@dataclass(frozen=True)
class Run:
    """One training: a row of the run table with one seed.

    Attributes:
        id: unique name of row, data and changes; with ``seed`` the name of the results' folder.
        changes: the recipe's keys that are changed, such as ``{"epochs": 3}``.
        reduced: what that makes of the run, in words, such as "3 of 400 epochs"; empty for a full run.
        values: of the recipe, changes applied, by field.
        data: where its data comes from.
        status, reason: "runnable" or "not run" and why.
        target: id of the run whose firing rate this one's threshold is found for; empty where a threshold is given.
    """

    id: str
    seed: int
    dataset: str
    architecture: str
    timesteps: int
    neuron: str
    variant: str
    neuron_options: Mapping[str, str]
    recipe: str
    changes: Mapping[str, Any]
    reduced: str
    values: Mapping[str, Any]
    tables: tuple[str, ...]
    control: bool
    data: DataSource
    status: str
    reason: str
    target: str = ""

    @property
    def folder(self) -> str:
        """The run's folder within ``runs/``."""
        return f"{self.id}/seed{self.seed}"

    @property
    def recipe_hash(self) -> str:
        """A short hash of the recipe's values; its comments, its sources and fields at their default do not count."""
        return hashlib.sha256(json.dumps(recipes.deciding(self.values), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def model(self) -> dict[str, Any]:
        """What decides the run's network, as far as the plan says it; keys as in run.json."""
        return {
            "architecture": self.architecture,
            "neuron": self.neuron,
            "timesteps": self.timesteps,
            "neuron_options": self.given_options,
        }

    @property
    def given_options(self) -> dict[str, str]:
        """The neuron's options without a threshold that is yet to be found."""
        absent = (*NETWORK_OPTIONS, *(["threshold"] if self.target else []))
        return {key: text for key, text in self.neuron_options.items() if key not in absent}

    @property
    def network_options(self) -> dict[str, str]:
        """The network's options among the row's."""
        return {key: text for key, text in self.neuron_options.items() if key in NETWORK_OPTIONS}

    def row(self) -> dict[str, Any]:
        """The run as a row of plan.csv."""
        return {
            "id": self.id,
            "seed": self.seed,
            "dataset": self.dataset,
            "architecture": self.architecture,
            "timesteps": self.timesteps,
            "neuron": self.neuron,
            "variant": self.variant,
            "neuron_options": _joined(self.neuron_options),
            "recipe": self.recipe,
            "changes": _joined(self.changes),
            "reduced": self.reduced,
            "tables": ";".join(self.tables),
            "control": str(self.control).lower(),
            "data": self.data.name,
            "source": self.data.kind,
            "status": self.status,
            "reason": self.reason,
        }


def _joined(pairs: Mapping[str, Any]) -> str:
    return ";".join(f"{key}={value}" for key, value in sorted(pairs.items()))


def _part(text: str) -> str:
    """Text as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", text)


def selected(rows: Iterable[Mapping[str, Any]], selection: Selection) -> list[Mapping[str, Any]]:
    """The rows that a selection wants.

    Raises:
        UserError: if the selection names something that no row has.
    """
    rows = list(rows)
    facets = {
        "tables": lambda row: set(row["tables"]),
        "datasets": lambda row: {row["dataset"]},
        "architectures": lambda row: {row["architecture"]},
        "neurons": lambda row: {row["neuron"]},
        "timesteps": lambda row: {row["timesteps"]},
    }
    for facet, of in facets.items():
        wanted = set(getattr(selection, facet))
        known = set().union(*map(of, rows)) if rows else set()
        if unknown := sorted(map(str, wanted - known)):
            raise UserError(f"{facet}: no run has {', '.join(unknown)}; there are {', '.join(sorted(map(str, known)))}")
        if wanted:
            rows = [row for row in rows if of(row) & wanted]
    return [row for row in rows if selection.controls or not row["control"]]


def make_plan(
    rows: Iterable[Mapping[str, Any]],
    selection: Selection,
    sources: Mapping[str, DataSource],
    recipe_folder: Path,
    changes: Mapping[str, Any],
    unavailable: Callable[[DataSource], str | None],
) -> list[Run]:
    """The plan, in the order of the table.

    Args:
        rows: of :func:`read_experiments`.
        selection: which of them.
        sources: of every dataset in the table.
        recipe_folder: holds the recipes.
        changes: of every run's recipe. A key that a recipe has with that very value changes nothing.
        unavailable: why a dataset cannot be had here, None if it can.

    Raises:
        UserError: if a dataset has no source, or a recipe or a change is unusable.
    """
    seeds = selection.seeds
    if len(set(seeds)) < len(seeds) or any(seed < 0 for seed in seeds):
        raise UserError(f"seeds is {list(seeds)}, but must be whole numbers of at least 0, each of them once")
    plan = []
    rows = selected(rows, selection)
    reasons: dict[str, str | None] = {}
    trained: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {}
    for row in rows:
        if row["dataset"] not in sources:
            raise UserError(f"data: no source is given for the dataset {row['dataset']}, which the run table names")
        source = sources[row["dataset"]]
        if source.name not in reasons:
            reasons[source.name] = unavailable(source)
        reason = reasons[source.name]
        if row["recipe"] not in trained:
            trained[row["recipe"]] = _changed(Path(recipe_folder) / f"{row['recipe']}.yaml", changes)
        changed, reduced, values = trained[row["recipe"]]
        name = run_id(row, source.name, _suffix(changed))
        _require_short(name, f"run {run_id(row)}")
        twin = _twin(row)
        target = run_id(twin, source.name, _suffix(changed)) if twin else ""
        if twin and not any(run_id(other) == run_id(twin) for other in rows):
            reason = reason or f"its threshold is found for the firing rate of {target}, which is not planned"
        for seed in selection.seeds or row["seeds"]:
            plan.append(
                Run(
                    id=name,
                    seed=seed,
                    changes=changed,
                    reduced=reduced,
                    values=values,
                    data=source,
                    status=NOT_RUN if reason else RUNNABLE,
                    reason=reason or "",
                    target=target,
                    **{key: row[key] for key in COLUMNS if key != "seeds"},
                )
            )
    return plan


def _twin(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The row whose firing rate a row's threshold is found for: another neuron and no variant, all else equal."""
    found = RATE_OF.fullmatch(row["neuron_options"].get("threshold", ""))
    if found and found[1] not in SPIKING:
        raise UserError(
            f"run {run_id(row)}: threshold is {found[0]!r}, but must be a number or rate_of_ and one of "
            f"{', '.join(SPIKING)}"
        )
    return {**row, "neuron": found[1], "variant": ""} if found else None


def _changed(path: Path, changes: Mapping[str, Any]) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """The changes that change something in a recipe, what they are in words, and the changed recipe's values."""
    original, changed = recipes.load(path).as_dict(), recipes.load(path, changes).as_dict()
    real = {key: changed[key] for key in changes if changed[key] != original[key]}
    words = []
    for key, value in real.items():
        if key == "epochs":
            words.append(f"{value} of {original[key]} epochs")
        else:
            absent = "all" if key == "train_samples" else "none"
            words.append(f"{key} {value} instead of {absent if original[key] is None else original[key]}")
    return real, ", ".join(words), changed


def _suffix(changes: Mapping[str, Any]) -> str:
    """What changes add to a run's id: ``-e3`` for the epochs, key and value for any other."""
    return "".join(
        f"-e{value}" if key == "epochs" else f"-{_part(f'{key}_{value}')}" for key, value in sorted(changes.items())
    )


def totals(plan: Iterable[Run]) -> Iterator[tuple[str, int, int, tuple[str, ...]]]:
    """By table: its name, the runs that can run, all its runs, and why the others cannot."""
    plan = list(plan)
    for table in sorted({table for run in plan for table in run.tables}):
        runs = [run for run in plan if table in run.tables]
        reasons = sorted({run.reason for run in runs if run.status == NOT_RUN})
        yield table, sum(run.status == RUNNABLE for run in runs), len(runs), tuple(reasons)
