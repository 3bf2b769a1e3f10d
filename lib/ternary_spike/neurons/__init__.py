"""Spiking neurons as modules: one class for each published neuron.

``lif.py`` has the paper's three. ``registry.py`` has all of them by name, with the default of every option (thresholds
among them) and the file of each.
"""

from ternary_spike.system.lazily import offered

__all__ = ["LIF", "BinaryLIF", "TernaryLIF", "TrainableTernaryLIF", "make_neuron"]
__getattr__, __dir__ = offered(
    __name__,
    {
        **dict.fromkeys(("LIF", "BinaryLIF", "TernaryLIF", "TrainableTernaryLIF"), "lif"),
        "make_neuron": "registry",
    },
)
