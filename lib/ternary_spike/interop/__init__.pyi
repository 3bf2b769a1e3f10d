"""What a type checker sees of the package, whose names are imported only when somebody asks for them."""

from ternary_spike.interop.norse import NorseCell, NorseSequence
from ternary_spike.interop.snntorch import SnnTorchNeuron
from ternary_spike.interop.spikingjelly import SpikingJellyNode

__all__ = ["NorseCell", "NorseSequence", "SnnTorchNeuron", "SpikingJellyNode"]
