"""The plan: which runs of the run table are wanted, which of them this machine can do, and how they are shortened.

Light on purpose (no torch): the workflow asks for the plan each time it starts. What a run costs is measured in
:mod:`ternary_spike.training.costs`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ternary_spike.configuration import recipe as recipes
from ternary_spike.configuration.method_sheet import MethodSheet
from ternary_spike.configuration.run_table import COLUMNS, file_part, require_short, run_id
from ternary_spike.planning.data_source import DataSource
from ternary_spike.planning.run import NOT_RUN, RUNNABLE, Run
from ternary_spike.planning.selection import Selection, selected
from ternary_spike.planning.source_runs import finds_threshold, require_sources, source_of
from ternary_spike.system.errors import UserError

#: columns whose values a run has in its method's sheet, or by other names
OF_OTHERS = ("seeds", "own_recipe", "source", "method_options")


@dataclass(frozen=True)
class _Wanted:
    """A row that is wanted, the id of its runs, their data, and what is changed in its recipe; see :class:`Run`."""

    row: Mapping[str, Any]
    id: str
    data: DataSource
    changes: Mapping[str, Any]
    reduced: str
    values: Mapping[str, Any]


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
        UserError: if a dataset has no source, a recipe or a change is unusable, a row builds on a run that is none, or
            two rows are the same run.
    """
    rows = list(rows)
    require_sources(rows)
    wanted = _wanted(selected(rows, selection), sources, Path(recipe_folder), changes)
    data = {each.data.name: each.data for each in wanted.values()}
    missing = {name: unavailable(source) for name, source in data.items()}
    plan = []
    for each in wanted.values():
        reason, source = _reason(each, wanted, missing), source_of(each.row)
        planned_source = wanted.get(source)
        source_seeds = () if planned_source is None else selection.seeds or planned_source.row["seeds"]
        for seed in selection.seeds or each.row["seeds"]:
            plan.append(
                Run(
                    id=each.id,
                    seed=seed,
                    changes=each.changes,
                    reduced=each.reduced,
                    values=each.values,
                    data=each.data,
                    status=NOT_RUN if reason else RUNNABLE,
                    reason=reason,
                    source=source if planned_source is None else planned_source.id,
                    source_seed=source_seeds[0] if source_seeds and seed not in source_seeds else seed,
                    **{key: each.row[key] for key in COLUMNS if key not in OF_OTHERS},
                )
            )
    return plan


def _wanted(
    rows: Iterable[Mapping[str, Any]],
    sources: Mapping[str, DataSource],
    recipe_folder: Path,
    changes: Mapping[str, Any],
) -> dict[str, _Wanted]:
    """What is wanted, by the row's id in the run table."""
    wanted: dict[str, _Wanted] = {}
    trained: dict[tuple[str, str], tuple[dict[str, Any], str, dict[str, Any]]] = {}
    taken: dict[str, str] = {}
    for row in rows:
        if row["dataset"] not in sources:
            raise UserError(f"data: no source is given for the dataset {row['dataset']}, which the run table names")
        data, method = sources[row["dataset"]], row["method"]
        _require_no_change(row["variant"], f"run {run_id(row)}: the variant")
        _require_no_change(method.name if method else "", f"run {run_id(row)}: the method")
        key = (row["recipe"], method.id_part if method else "")
        if key not in trained:
            trained[key] = _changed(recipe_folder / f"{row['recipe']}.yaml", method, changes)
        name, full = run_id(row), run_id(row, data.name, _suffix(trained[key][0]))
        require_short(full, f"run {name}")
        # some disks take small and large letters for the same
        other = taken.setdefault(full.casefold(), name)
        if other != name:
            raise UserError(f"run {name} would have the id of {other}, {full}; give one of them another variant")
        wanted[name] = _Wanted(row, full, data, *trained[key])
    return wanted


def _require_no_change(name: str, where: str) -> None:
    """Raise UserError if a name in an id could be a change there, whose run another call would put into one folder."""
    spelled = name.casefold()
    keys = (key for key in recipes.FIELDS if spelled.startswith(f"{key}_"))
    if re.fullmatch(r"e\d+", spelled) or any(keys):
        raise UserError(
            f"{where} {name!r} is what a change of the recipe adds to the id of a run, such as e3 for 3 epochs; "
            "give it another name"
        )


def _reason(each: _Wanted, wanted: Mapping[str, _Wanted], missing: Mapping[str, str | None]) -> str:
    """Why a run cannot run: for its data, or for the run that it builds on; empty where it can."""
    if reason := missing[each.data.name]:
        return reason
    if not (source := source_of(each.row)):
        return ""
    finds = finds_threshold(each.row["neuron_options"])
    needs = "its threshold is found for the firing rate of" if finds else "it starts from"
    if source not in wanted:
        return f"{needs} {source}, which is not planned"
    reason = _reason(wanted[source], wanted, missing)
    return f"{needs} {wanted[source].id}, which cannot run: {reason}" if reason else ""


def _changed(
    path: Path, method: MethodSheet | None, changes: Mapping[str, Any]
) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """The changes that change something in a recipe, what they are in words, and the changed recipe's values.

    What a method changes is its own and no reduction: it comes before.
    """
    try:
        original = recipes.load(path, method.recipe if method else {}).as_dict()
    except UserError as error:
        raise UserError(f"{method.path}: recipe: {error}" if method and method.recipe else str(error)) from None
    if original["epochs"] == 0:  # nothing is trained, so nothing is shortened
        changes = {key: value for key, value in changes.items() if key != "epochs"}
    changed = recipes.load(path, {**(method.recipe if method else {}), **changes}).as_dict()
    real = {key: changed[key] for key in sorted(changes) if changed[key] != original[key]}
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
        f"-e{value}" if key == "epochs" else f"-{file_part(f'{key}_{value}')}" for key, value in sorted(changes.items())
    )


def totals(plan: Iterable[Run]) -> Iterator[tuple[str, int, int, tuple[str, ...]]]:
    """By table: its name, the runs that can run, all its runs, and why the others cannot."""
    plan = list(plan)
    for table in sorted({table for run in plan for table in run.tables}):
        runs = [run for run in plan if table in run.tables]
        reasons = sorted({run.reason for run in runs if run.status == NOT_RUN})
        yield table, sum(run.status == RUNNABLE for run in runs), len(runs), tuple(reasons)
