"""How the stages behind training run a network: at once, or timestep by timestep where its method says so."""

from pathlib import Path
from typing import Any

from ternary_spike.configuration.recipe import from_dict
from ternary_spike.methods.registry import PAPERS_WAY, make_method
from ternary_spike.methods.streamed import Streamed
from ternary_spike.training.record import RECORD


def how_it_runs(record: dict, folder: Path) -> dict[str, Any]:
    """``by_timestep`` and ``encode`` of a run's network, as evaluations and counts take them; empty if all at once.

    Args:
        record: run.json of the run.
        folder: its folder.

    Raises:
        ValueError: if its method is unknown, or one of a user's own that is not found.
        UserError: if its recipe is damaged.
    """
    method = make_method(record.get("method") or PAPERS_WAY, **record.get("method_options") or {})
    if not isinstance(method, Streamed):
        return {}
    return {"by_timestep": True, "encode": method.encoder(from_dict(record["recipe"], folder / RECORD))}
