"""Spike-element-wise blocks (SEW ResNet: Fang et al., NeurIPS 2021): the shortcut joins behind the last neurons.

With A[t] the spikes of the residual branch and S[t] those of the shortcut, a block gives g(A, S): A + S ("add"), A S
("and") or (1 - A) S ("iand"). Sums of spikes are whole numbers, so that the layer behind an "add" multiplies them with
its weights, or adds a weight several times.
"""

from torch import Tensor, nn

from ternary_spike.models.blocks import ConvUnit, Make
from ternary_spike.models.known_modules import NotFoldable
from ternary_spike.models.layers import Conv2d
from ternary_spike.models.normalise_and_fire import normalise_and_fire

CONNECT = {
    "add": lambda branch, shortcut: branch + shortcut,
    "and": lambda branch, shortcut: branch * shortcut,
    "iand": lambda branch, shortcut: (1 - branch) * shortcut,
}


class ElementWiseBlock(nn.Module):
    """conv-BN-neuron-conv-BN-neuron, joined with the block's input; where the shape changes, with conv-BN-neuron of it.

    Args:
        in_channels, channels, stride: of its first convolution.
        connect: one of :data:`CONNECT`.
        largest: the largest number that it is given; 1 for spikes.
        neuron, norm: make a neuron layer and a normalisation of so many channels.

    Attributes:
        largest: the largest number that it gives, of spikes {0, 1}.

    Raises:
        ValueError: if ``connect`` is a logical operation and the neurons' spikes are not 0 and 1.
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int, connect: str, largest: int, neuron: Make, norm: Make
    ) -> None:
        super().__init__()
        self.conv1 = Conv2d(in_channels, channels, 3, stride)
        self.bn1 = norm(channels)
        self.neuron1 = neuron(channels)
        self.conv2 = Conv2d(channels, channels, 3)
        self.bn2 = norm(channels)
        self.neuron2 = neuron(channels)
        changes = stride != 1 or in_channels != channels
        self.shortcut = ConvUnit(in_channels, channels, 1, stride, neuron, norm) if changes else None
        self.connect = connect
        of_shortcut = 1 if changes else largest
        self.largest = of_shortcut + 1 if connect == "add" else of_shortcut
        other_spikes = getattr(self.neuron2, "signed", True) or self.neuron2.amplitude is not None
        if connect != "add" and other_spikes:
            raise ValueError(f"{connect!r} joins spikes 0 and 1: choose a neuron without a sign and an amplitude")

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] to [T, B, C', H', W']."""
        y = normalise_and_fire(self.bn1, self.neuron1, self.conv1(x))
        y = normalise_and_fire(self.bn2, self.neuron2, self.conv2(y))
        return CONNECT[self.connect](y, x if self.shortcut is None else self.shortcut(x))

    def fold(self, folder, name: str, source: str) -> str:
        """A folded network has neither sums of spikes nor logical operations."""
        if self.connect == "add":
            raise NotFoldable(
                f"{name} adds spikes to spikes: it emits whole numbers up to {self.largest}, which are no spikes"
            )
        raise NotFoldable(f"{name} joins spikes by {self.connect}, which a folded network does not have")

    def neurons(self, name: str) -> dict[str, nn.Module]:
        """The neuron layers, in the order of computation."""
        found = {f"{name}.1": self.neuron1, f"{name}.2": self.neuron2}
        return found if self.shortcut is None else found | self.shortcut.neurons(f"{name}.shortcut")
