"""The temperature of a network's surrogate gradients, for methods that move it in the course of a training."""

from torch import nn

from ternary_spike.membrane.surrogate import WITH_TEMPERATURE
from ternary_spike.models.base import named_neurons
from ternary_spike.neurons.base import SpikingNeuron
from ternary_spike.system.errors import UserError


def layers_with_temperature(model: nn.Module, method: str) -> list[SpikingNeuron]:
    """A network's spiking layers, each with a temperature to set.

    Args:
        model: the network.
        method: what wants to set it, for the message.

    Raises:
        UserError: if there are none, or a layer has no temperature.
    """
    neurons = named_neurons(model)
    for name, layer in neurons.items():
        if getattr(layer, "temperature", None) is None:
            raise UserError(
                f"{method} moves the temperature of the surrogate gradient, and layer {name} has none; choose a neuron "
                f"with the option surrogate, and one of {', '.join(WITH_TEMPERATURE)} for it"
            )
    if not neurons:
        raise UserError(f"{method} moves the temperature of the surrogate gradient, and this network has no neurons")
    return list(neurons.values())
