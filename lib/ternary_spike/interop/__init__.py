"""The neurons inside of other libraries' networks: SpikingJelly, snnTorch and Norse. docs/migration.md has examples.

Each wraps a neuron of this library and obeys the other's protocol. All can be imported where the other library is not
installed; where it is, they are of its classes, so that its own functions know them.
"""

from ternary_spike.system.lazily import offered

__all__ = ["NorseCell", "NorseSequence", "SnnTorchNeuron", "SpikingJellyNode"]
__getattr__, __dir__ = offered(
    __name__,
    {
        "NorseCell": "norse",
        "NorseSequence": "norse",
        "SnnTorchNeuron": "snntorch",
        "SpikingJellyNode": "spikingjelly",
    },
)
