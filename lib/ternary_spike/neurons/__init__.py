"""Spiking neurons as modules: one class for each published neuron."""

from ternary_spike.system.lazily import offered

__all__ = ["LIF", "BinaryLIF", "TernaryLIF", "TrainableTernaryLIF", "make_neuron"]
__getattr__, __dir__ = offered(
    __name__,
    {
        **dict.fromkeys(("LIF", "BinaryLIF", "TernaryLIF", "TrainableTernaryLIF"), "lif"),
        "make_neuron": "registry",
    },
)
