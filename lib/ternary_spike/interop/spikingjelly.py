"""A neuron of this library in a network of SpikingJelly: ``step_mode``, ``functional.reset_net`` and its memories.

Where SpikingJelly is installed the class is one of its ``MemoryModule``, since some of its functions ask for that
(``base.named_memories``, ``base.to_functional_forward``); where it is not, a base of the same protocol takes its place.
"""

from collections.abc import Callable

from torch import Tensor, nn

from ternary_spike.interop.kept_state import each_tensor, must_fit
from ternary_spike.neurons.base import SpikingNeuron

try:
    from spikingjelly.activation_based.base import MemoryModule
except ImportError:
    from ternary_spike.interop.memory_module import MemoryModule

REMEDY = "call functional.reset_net(net) before another batch"


class SpikingJellyNode(MemoryModule):
    """A neuron that keeps its membrane potential from call to call until it is reset, as SpikingJelly's nodes do.

    Unlike SpikingJelly's nodes it does not begin anew in silence when the shape of the input changes.

    Args:
        neuron: the layer that computes; its parameters are this module's.
        step_mode: "s" takes one timestep [N, ...] a call, "m" a sequence [T, N, ...]; both give spikes of that shape.

    Attributes:
        v: membrane potential after the last timestep's reset, [N, ...] for most neurons; None at rest.

    Raises:
        ValueError: if ``step_mode`` is neither; when called, if the input's shape is not that of the batch before.
    """

    def __init__(self, neuron: SpikingNeuron, step_mode: str = "s") -> None:
        super().__init__()
        self.neuron = neuron
        self.register_memory("v", None)
        self.step_mode = step_mode

    def single_step_forward(self, x: Tensor) -> Tensor:
        """Spikes [N, ...] of one timestep."""
        (spikes,), (self.v,) = self.single_step_functional_forward((x,), (self.v,))
        return spikes

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        """Spikes [T, N, ...] of a sequence."""
        (spikes,), (self.v,) = self.multi_step_functional_forward((x_seq,), (self.v,))
        return spikes

    def single_step_functional_forward(self, inputs: tuple, states: tuple) -> tuple[tuple, tuple]:
        """(x,) and (v,) to (spikes,) and (v,): the form that SpikingJelly's ``to_functional_forward`` asks for."""
        must_fit(states[0], inputs[0].shape, REMEDY)
        spikes, v = self.neuron.step(inputs[0], states[0])
        return (spikes,), (v,)

    def multi_step_functional_forward(self, inputs: tuple, states: tuple) -> tuple[tuple, tuple]:
        """The same of a sequence."""
        must_fit(states[0], inputs[0].shape[1:], REMEDY)
        spikes, v = self.neuron(inputs[0], states[0], return_state=True)
        return (spikes,), (v,)

    def detach(self) -> None:
        """Cut the membrane potential off from the timesteps before: truncated back-propagation through time."""
        # not in place: what is kept may be a view, or a tuple of tensors
        self.v = each_tensor(self.v, Tensor.detach)

    def _apply(self, fn: Callable[[Tensor], Tensor], *arguments) -> nn.Module:
        """Moved to another device or dtype, it takes what it keeps along."""
        super()._apply(fn, *arguments)
        self.v = each_tensor(self.v, fn)
        return self

    def extra_repr(self) -> str:
        return f"step_mode={self.step_mode!r}"
