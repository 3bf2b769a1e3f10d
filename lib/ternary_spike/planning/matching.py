"""Equal firing rates: the threshold at which a network fires as often as another one, found by bisection.

A network's firing rate is what training makes of it, so each threshold that is tried is a whole training (a probe).
Light on purpose (no torch): the workflow and the tables read what the stage has written.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from ternary_spike.system.errors import UserError
from ternary_spike.system.files import read_json

RECORD = "match.json"

#: rates this close are equal, as shares of neurons and timesteps: one percentage point
TOLERANCE = 0.01
#: thresholds between which the search begins. Before training a layer's input has batch norm's unit variance: at 2 one
#: ternary neuron in twenty fires, and far above it networks no longer learn
LOWEST, HIGHEST = 0.0, 2.0
PROBES = 6
#: window of the surrogate gradient where a row sets none: at least this (the neurons' default), and at least twice the
#: threshold, for one that ended at the threshold would leave firing neurons no gradient
LEAST_WINDOW, WINDOW_PER_THRESHOLD = 1.0, 2.0


@dataclass(frozen=True)
class Probe:
    """One threshold, the window that went with it, and the share of neurons and timesteps that fired."""

    threshold: float
    window: float
    rate: float


def firing_rate(evaluation: dict) -> float:
    """The share of all neurons and timesteps that fire, of what the evaluation stage measured.

    Raises:
        ValueError: if the network has no spiking neurons.
    """
    layers = evaluation["layers"]
    if not layers:
        raise ValueError("a network without spiking neurons has no firing rate")
    return sum(layer["rate"] * layer["neurons"] for layer in layers) / sum(layer["neurons"] for layer in layers)


def window_of(threshold: float) -> float:
    """The window of the surrogate gradient that goes with a threshold."""
    return max(LEAST_WINDOW, WINDOW_PER_THRESHOLD * threshold)


def bisect(probe: Callable[[float], Probe], target: float, tolerance: float, limit: int) -> list[Probe]:
    """Try thresholds, each in the middle of what is left, until the rate is the target's.

    A higher threshold is taken to mean fewer spikes. Where none reaches the target, the search closes in on
    the smallest or largest threshold that it may try.

    Args:
        probe: from a threshold to what it gave.
        target: the wanted rate, a share.
        tolerance: how far a rate may be off.
        limit: probes at most.

    Returns:
        All probes, in order.
    """
    low, high = LOWEST, HIGHEST
    found: list[Probe] = []
    while len(found) < limit and not (found and abs(found[-1].rate - target) <= tolerance):
        found.append(probe((low + high) / 2))
        if found[-1].rate > target:
            low = found[-1].threshold
        else:
            high = found[-1].threshold
    return found


def outcome(probes: Iterable[Probe], target: float, tolerance: float) -> dict:
    """What match.json says of the search: every probe, the one whose rate is closest, whether that is close enough."""
    probes = list(probes)
    closest = min(probes, key=lambda probe: abs(probe.rate - target))
    return {
        "tolerance": tolerance,
        "probes": [asdict(probe) for probe in probes],
        "found": asdict(closest),
        "within_tolerance": abs(closest.rate - target) <= tolerance,
    }


def found_options(path: Path, run: str) -> dict[str, float]:
    """Threshold and window that a search has found for a run, as options of the neuron.

    Raises:
        UserError: if the file is missing, not of a search, or of another run's.
    """
    content = read_json(path)
    try:
        if content["id"] != run:
            raise UserError(f"{path} is the search for the threshold of {content['id']}, not of {run}; name its own")
        return {key: float(content["found"][key]) for key in ("threshold", "window")}
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path} does not say which threshold was found; delete it and run `match` again") from None
