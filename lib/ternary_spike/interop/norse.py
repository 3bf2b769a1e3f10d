"""A neuron of this library in a network of Norse: ``out, state = module(x, state)``.

Norse's ``SequentialState`` and ``Lift`` ask for nothing but an argument of that name, so its classes are not needed.
"""

from typing import NamedTuple

from torch import Tensor, nn

from ternary_spike.interop.kept_state import must_fit
from ternary_spike.neurons.base import SpikingNeuron

REMEDY = "begin another batch with state=None"


class State(NamedTuple):
    """What Norse's states have in common: the membrane potential after the reset, [B, ...] for most neurons."""

    v: Tensor


class NorseCell(nn.Module):
    """One timestep a call, as Norse's cells: input [B, ...] to spikes [B, ...] and state.

    Args:
        neuron: the layer that computes; its parameters are this module's.

    Raises:
        ValueError: when called, if the state is of another shape than the input.
    """

    def __init__(self, neuron: SpikingNeuron) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, input_tensor: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Spikes and state; state=None starts at rest."""
        return self._run(input_tensor.unsqueeze(0), state, squeeze=True)

    def _run(self, x: Tensor, state: State | None, squeeze: bool) -> tuple[Tensor, State]:
        """A sequence, of which one timestep alone may be wanted."""
        v = None if state is None else state.v
        must_fit(v, x.shape[1:], REMEDY)
        spikes, v = self.neuron(x, v, return_state=True)
        return spikes.squeeze(0) if squeeze else spikes, State(v)


class NorseSequence(NorseCell):
    """A sequence a call, as Norse's modules without "Cell": input [T, B, ...] to spikes [T, B, ...] and state."""

    def forward(self, input_tensor: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Spikes and the state after the last timestep; state=None starts at rest."""
        return self._run(input_tensor, state, squeeze=False)
