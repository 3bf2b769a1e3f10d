"""The neurons by name."""

import inspect

from torch import nn

from ternary_spike.neurons.base import LIF
from ternary_spike.neurons.lif import BinaryLIF, TernaryLIF, TrainableTernaryLIF


def _options(neuron: type[LIF]) -> set[str]:
    """The options of a kind of neuron, those that it hands on to its bases included."""
    named = (inspect.signature(part.__init__).parameters.values() for part in neuron.__mro__ if issubclass(part, LIF))
    keyed = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {p.name for parameters in named for p in parameters if p.kind in keyed} - {"self"}


NEURONS: dict[str, type[LIF]] = {"binary": BinaryLIF, "ternary": TernaryLIF, "trainable": TrainableTernaryLIF}


def make_neuron(name: str, channels: int | None = None, **options) -> nn.Module:
    """A neuron layer by its name in the run table.

    Args:
        name: ``binary``, ``ternary``, ``trainable``, or ``relu`` (the non-spiking reference).
        channels: number of channels of the layer; used by ``trainable`` with ``amplitude_per="channel"``.
        options: keyword arguments of the neuron; for ``trainable`` also ``amplitude_per``, "layer" or "channel".

    Raises:
        ValueError: if the name or an option is unknown.
    """
    if name == "relu":
        if options:
            raise ValueError(f"the relu reference takes no neuron options, but got {', '.join(options)}")
        return nn.ReLU()
    if name not in NEURONS:
        raise ValueError(f"unknown neuron {name!r}: choose one of {', '.join([*NEURONS, 'relu'])}")
    known = _options(NEURONS[name])
    if "channels" in known:
        known = known - {"channels"} | {"amplitude_per"}
        per = options.pop("amplitude_per", "layer")
        if per not in ("layer", "channel"):
            raise ValueError(f"amplitude_per must be 'layer' or 'channel', not {per!r}")
        if per == "channel":
            options["channels"] = channels
            known.add("channels")
    if unknown := set(options) - known:
        raise ValueError(
            f"unknown option {', '.join(sorted(unknown))} for neuron {name!r}: choose from {', '.join(sorted(known))}"
        )
    return NEURONS[name](**options)
