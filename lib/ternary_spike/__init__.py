"""Ternary spiking neurons and a reproduction of "Ternary Spike" (Guo et al., AAAI 2024).

Importing this package needs torch and nothing of the workflow; torch itself is imported only when a neuron or a network
is asked for, so that the stages that read small files start at once.
"""

from ternary_spike.system.lazily import offered

__version__ = "0.1.0"

__all__ = ["LIF", "BinaryLIF", "SpikingResNet", "TernaryLIF", "TrainableTernaryLIF", "UserError", "make_neuron"]
__getattr__, __dir__ = offered(
    __name__,
    {
        "LIF": "neurons.lif",
        "BinaryLIF": "neurons.lif",
        "SpikingResNet": "models.resnet",
        "TernaryLIF": "neurons.lif",
        "TrainableTernaryLIF": "neurons.lif",
        "UserError": "system.errors",
        "make_neuron": "neurons.registry",
    },
)
