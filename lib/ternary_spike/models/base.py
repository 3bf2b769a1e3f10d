"""What every spiking network has in common."""

from torch import nn

from ternary_spike.neurons.base import SpikingNeuron


def named_neurons(model: nn.Module) -> dict[str, nn.Module]:
    """Neuron layers of a network in the order of computation, by the names used in every result file.

    The network's ``units()`` say where they are: pairs of a name and a module, of which those with neuron layers name
    them by ``neurons(name)``.

    Raises:
        ValueError: if a unit has spiking neurons and does not name them.
    """
    found = {}
    for where, unit in model.units():
        here = unit.neurons(where) if hasattr(unit, "neurons") else {}
        known = {module for neuron in here.values() for module in neuron.modules()}
        if any(isinstance(module, SpikingNeuron) and module not in known for module in unit.modules()):
            raise ValueError(
                f"{where}, {type(unit).__name__}, has spiking neurons that it does not name: give it a method "
                "neurons(name) that returns all of them by name"
            )
        found |= here
    return found
