"""Which rows of the run table are wanted."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ternary_spike.configuration.method_sheet import PAPER
from ternary_spike.configuration.run_table import RIVALS, run_id
from ternary_spike.planning.source_runs import source_of
from ternary_spike.system.errors import UserError


@dataclass(frozen=True)
class Selection:
    """Which rows are wanted: an empty list wants all. ``seeds`` takes the place of the rows' own seeds.

    Among ``methods`` the paper's own way is called "paper".
    """

    tables: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    neurons: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    timesteps: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()
    controls: bool = False


def selected(rows: Iterable[Mapping[str, Any]], selection: Selection) -> list[Mapping[str, Any]]:
    """The rows that a selection wants; controls that prior methods build on are among them.

    Raises:
        UserError: if the selection names something that no row has, or its seeds are none.
    """
    seeds = selection.seeds
    if len(set(seeds)) < len(seeds) or any(seed < 0 for seed in seeds):
        raise UserError(f"seeds is {list(seeds)}, but must be whole numbers of at least 0, each of them once")
    rows = list(rows)
    facets = {
        "tables": lambda row: set(row["tables"]),
        "datasets": lambda row: {row["dataset"]},
        "architectures": lambda row: {row["architecture"]},
        "neurons": lambda row: {row["neuron"]},
        "methods": lambda row: {row["method"].name if row["method"] else PAPER},
        "timesteps": lambda row: {row["timesteps"]},
    }
    for facet, values_of in facets.items():
        wanted = set(getattr(selection, facet))
        known = set().union(*map(values_of, rows)) if rows else set()
        if unknown := sorted(map(str, wanted - known)):
            raise UserError(f"{facet}: no run has {', '.join(unknown)}; there are {', '.join(sorted(map(str, known)))}")
        if wanted:
            rows = [row for row in rows if values_of(row) & wanted]
    return rows if selection.controls else _without_controls(rows)


def _without_controls(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows that are no controls, all of prior methods, and those that these build on, controls or not."""
    table = {run_id(row): row for row in rows}
    wanted = {name for name, row in table.items() if not row["control"] or RIVALS in row["tables"]}
    for name in [name for name in wanted if RIVALS in table[name]["tables"]]:
        while (name := source_of(table[name])) in table:
            wanted.add(name)
    return [row for name, row in table.items() if name in wanted]
