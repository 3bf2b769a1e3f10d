"""What a type checker sees of the package, whose names are imported only when somebody asks for them."""

from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.neurons.lif import LIF, BinaryLIF, TernaryLIF, TrainableTernaryLIF
from ternary_spike.neurons.registry import make_neuron
from ternary_spike.system.errors import UserError

__version__: str
__all__ = ["LIF", "BinaryLIF", "SpikingResNet", "TernaryLIF", "TrainableTernaryLIF", "UserError", "make_neuron"]
