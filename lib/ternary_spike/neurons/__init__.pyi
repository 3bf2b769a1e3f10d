"""What a type checker sees of the package, whose names are imported only when somebody asks for them."""

from ternary_spike.neurons.lif import LIF, BinaryLIF, TernaryLIF, TrainableTernaryLIF
from ternary_spike.neurons.registry import make_neuron

__all__ = ["LIF", "BinaryLIF", "TernaryLIF", "TrainableTernaryLIF", "make_neuron"]
