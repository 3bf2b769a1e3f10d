"""Which run another one builds on: its teacher, the network that it converts, or the run whose firing rate it matches.

A row of the run table names that row by its id, in the column ``source``. A threshold of ``rate_of_source`` is to be
found: the one at which the run fires as often as its source. ``rate_of_`` and a neuron is short for the source that
agrees with the row in everything but the neuron and has no variant.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ternary_spike.configuration.register import ELSEWHERE
from ternary_spike.configuration.run_table import run_id
from ternary_spike.neurons.registry import NEURONS
from ternary_spike.system.errors import UserError

#: a threshold that is not given but found
RATE_OF = re.compile(r"rate_of_(\S+)")
SOURCE = "source"
SPIKING = tuple(name for name, neuron in NEURONS.items() if neuron.spikes)

Row = Mapping[str, Any]


def finds_threshold(neuron_options: Mapping[str, str]) -> bool:
    """Whether these options leave the threshold to be found."""
    return RATE_OF.fullmatch(neuron_options.get("threshold", "")) is not None


def source_of(row: Row) -> str:
    """The id, as in the run table, of the row that a row builds on; empty where it builds on none.

    Raises:
        UserError: if the row says two things of it, or nothing of what it needs.
    """
    found = RATE_OF.fullmatch(row["neuron_options"].get("threshold", ""))
    if found is None:
        return row["source"]
    where = f"run {run_id(row)}: threshold is {found[0]!r}"
    if found[1] == SOURCE:
        if not row["source"]:
            raise UserError(f"{where}, but source is empty; name the run whose firing rate is wanted")
        return row["source"]
    if found[1] not in SPIKING and not ELSEWHERE.fullmatch(found[1]):
        known = f"{', '.join((SOURCE, *SPIKING))}, or module:Name of your own"
        raise UserError(f"{where}, but must be a number or rate_of_ and one of {known}")
    twin = run_id({**row, "neuron": found[1], "variant": ""})
    if row["source"] not in ("", twin):
        raise UserError(f"{where}, but source is {row['source']}; write rate_of_source, or leave source out")
    return twin


def require_sources(rows: Iterable[Row]) -> None:
    """Raise UserError for a source that is no row of the table, or a run that would have to end before it begins."""
    table = {run_id(row): row for row in rows}
    for name, row in table.items():
        if row["source"] and row["source"] not in table:
            close = [other for other in table if other.casefold() == row["source"].casefold()]
            hint = f"did you mean {close[0]}?" if close else "name another row by its id, without data and changes"
            raise UserError(f"run {name}: source is {row['source']!r}, but no row is that run; {hint}")
        chain = [name]
        while following := source_of(table[chain[-1]]) if chain[-1] in table else "":
            if following in chain:
                loop = " -> ".join([*chain[chain.index(following) :], following])
                raise UserError(f"run {following}: it would build on itself: {loop}; change the source of one of them")
            chain.append(following)
