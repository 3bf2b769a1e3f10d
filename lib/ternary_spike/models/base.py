"""What every spiking network has in common: its input, the classifier on its last spikes, its neuron layers' names."""

import math
from collections.abc import Iterable

from torch import Tensor, nn

from ternary_spike.membrane.arguments import whole
from ternary_spike.models.blocks import ConvUnit
from ternary_spike.models.known_modules import has_forward_of
from ternary_spike.models.network_input import check_input
from ternary_spike.neurons.base import SpikingNeuron


class SpikingNetwork(nn.Module):
    """A network of units of spiking neurons, one behind the other, and a linear classifier on globally pooled spikes.

    A subclass makes its units and :attr:`classifier`, and names the units with :meth:`units`; what it computes and what
    it is once folded follow. One whose units do not follow each other says both itself, with :meth:`features` and
    ``fold``.

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

    def initialise(self) -> None:
        """The authors' initialisation: conv N(0, 2 / (k k c_out)), linear N(0, 1 / fan_in^2), BN weight 1, bias 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 1.0 / module.in_features)
                nn.init.zeros_(module.bias)

    def units(self) -> Iterable[tuple[str, nn.Module]]:
        """What computes the last spikes, in the order of computation, by the names used in every result file."""
        raise NotImplementedError(f"{type(self).__name__} has no units()")

    def features(self, x: Tensor) -> Tensor:
        """The last unit's spikes [T, B, C, H, W] on an input as :meth:`forward` takes it."""
        first_unit, *later_units = [unit for _, unit in self.units()]
        if x.dim() == 5:
            spikes = first_unit(x.transpose(0, 1))
        elif has_forward_of(first_unit, ConvUnit):
            spikes = first_unit(x, timesteps=self.timesteps)
        else:
            spikes = first_unit(x.expand(self.timesteps, *x.shape))
        for unit in later_units:
            spikes = unit(spikes)
        return spikes

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

    def fold(self, folder, name: str, source: str) -> str:
        """What :meth:`forward` is once folded; see :mod:`ternary_spike.models.blocks`."""
        for where, unit in self.units():
            source = folder.unit(where, unit, source)
        return folder.classifier("classifier", self.classifier, source)


def named_neurons(model: nn.Module) -> dict[str, nn.Module]:
    """Neuron layers of a network in the order of computation, by the names used in every result file.

    The network's ``units()`` say where they are: pairs of a name and a module, of which those with neuron layers name
    them by ``neurons(name)``.

    Raises:
        ValueError: if a unit has spiking neurons and does not name them.
    """
    found = {}  # type: ignore[var-annotated]
    for where, unit in model.units():  # type: ignore[operator]
        here = unit.neurons(where) if hasattr(unit, "neurons") else {}
        known = {module for neuron in here.values() for module in neuron.modules()}
        if any(isinstance(module, SpikingNeuron) and module not in known for module in unit.modules()):
            raise ValueError(
                f"{where}, {type(unit).__name__}, has spiking neurons that it does not name: give it a method "
                "neurons(name) that returns all of them by name"
            )
        found |= here
    return found
