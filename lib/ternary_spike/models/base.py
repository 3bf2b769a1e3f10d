"""What every spiking network has in common: its input, the classifier on its last spikes, its neuron layers' names."""

from torch import Tensor, nn

from ternary_spike.membrane.arguments import whole
from ternary_spike.models.network_input import check_input
from ternary_spike.neurons.base import SpikingNeuron


class SpikingNetwork(nn.Module):
    """A network of spiking neurons with a linear classifier on globally pooled spikes.

    A subclass makes its layers and :attr:`classifier`, and says with :meth:`features` what spikes they emit and with
    ``units()`` which parts compute them (see :func:`named_neurons`).

    Args:
        timesteps: T >= 1.
        in_channels: channels of the image or of an event frame.
        image_size: side of the (square) image in pixels.

    Attributes:
        classifier: from the channels of the last spikes to class scores.

    Raises:
        ValueError: if a size is no whole number from 1.
    """

    classifier: nn.Linear

    def __init__(self, timesteps: int, in_channels: int, image_size: int) -> None:
        super().__init__()
        self.timesteps = whole("timesteps", timesteps)
        self.in_channels = whole("in_channels", in_channels)
        self.image_size = whole("image_size", image_size)

    def features(self, x: Tensor) -> Tensor:
        """The last layer's spikes [T, B, C, H, W] on an input as :meth:`forward` takes it."""
        raise NotImplementedError(f"{type(self).__name__} has no features(x)")

    def forward(self, x: Tensor, each_timestep: bool = False) -> Tensor:
        """Class scores of a batch.

        Args:
            x: static images [B, C, H, W], shown at each of the T timesteps, or event frames [B, T, C, H, W].
            each_timestep: whether the scores of each timestep are wanted, rather than their mean.

        Returns:
            Class scores [B, num_classes], averaged over time; with ``each_timestep`` [T, B, num_classes].

        Raises:
            ValueError: if the input's channels or timesteps are not the network's, or it is not floating point.
        """
        check_input(x, self.in_channels, self.timesteps)
        spikes = self.features(x)
        # the classifier is linear: scoring the mean over time is the mean of the scores, at a T-th of the cost
        return self.classifier(spikes.mean(dim=(3, 4) if each_timestep else (0, 3, 4)))


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
