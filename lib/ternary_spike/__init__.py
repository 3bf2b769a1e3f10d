"""Ternary spiking neurons and a reproduction of "Ternary Spike" (Guo et al., AAAI 2024).

Importing this package needs torch and nothing of the workflow.
"""

from ternary_spike.errors import UserError
from ternary_spike.models import SpikingResNet
from ternary_spike.neurons import LIF, BinaryLIF, TernaryLIF, TrainableTernaryLIF, make_neuron

__version__ = "0.1.0"
__all__ = ["LIF", "BinaryLIF", "SpikingResNet", "TernaryLIF", "TrainableTernaryLIF", "UserError", "make_neuron"]
