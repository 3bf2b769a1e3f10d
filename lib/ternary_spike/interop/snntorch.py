"""A neuron of this library in a network of snnTorch: ``spk, mem = lif(x, mem)``, or with its state hidden.

Where snnTorch is installed the class is one of its ``Leaky``, which is how ``utils.reset`` and ``backprop`` find the
neurons of a network; nothing but that is taken from it.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from ternary_spike.interop.kept_state import must_fit
from ternary_spike.membrane.dynamics import membrane_dtype
from ternary_spike.neurons.base import SpikingNeuron
from ternary_spike.neurons.lif import LIF
from ternary_spike.neurons.soft_reset import SoftResetLIF

try:
    from snntorch import Leaky
    from snntorch import SpikingNeuron as Known
except ImportError:
    Leaky = nn.Module

    class Known:
        """Where snnTorch keeps its neurons, in a Python without it."""

        instances: ClassVar[list] = []


# Of these the membrane potential that is kept follows from the one before the reset.
LATE_RESET = (LIF.update, SoftResetLIF.update)


class SnnTorchNeuron(Leaky):
    """A neuron whose membrane potential its caller holds, or with ``init_hidden`` the neuron itself.

    Takes one timestep [B, ...] and returns (spikes, mem), both [B, ...]. With ``mem=None`` it starts at rest, and so it
    does with a ``mem`` of zeros, whatever its shape: ``reset_mem()`` and ``utils.reset(net)`` give such.

    Args:
        neuron: the layer that computes; its parameters are this module's.
        init_hidden: keep ``mem`` in the module; a call then takes the input alone and returns the spikes alone.
        output: with ``init_hidden``, return ``mem`` too.
        reset_delay: True as in snnTorch: ``mem`` is the membrane potential before the reset, which the next call makes
            first. False: the one after the reset. The spikes are the same.

    Raises:
        ValueError: if a neuron keeps more than a tensor, or with ``reset_delay`` if it has not :class:`LIF`'s reset or
            the soft one; when called, if ``mem`` is of another shape than the input.
        TypeError: when called with a ``mem`` although ``init_hidden`` is set.
    """

    def __init__(
        self, neuron: SpikingNeuron, init_hidden: bool = False, output: bool = False, reset_delay: bool = True
    ) -> None:
        nn.Module.__init__(self)  # Leaky's own would make a threshold and a decay that nothing reads
        if reset_delay and type(neuron).update not in LATE_RESET:
            raise ValueError(
                f"what {type(neuron).__name__} keeps does not follow from its membrane potential before the reset: "
                "pass reset_delay=False"
            )
        self.neuron, self.init_hidden, self.output, self.reset_delay = neuron, init_hidden, output, reset_delay
        self.register_buffer("mem", torch.zeros(0), persistent=False)
        if init_hidden:
            Known.instances.append(self)  # whom utils.reset resets

    def forward(self, x: Tensor, mem: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """One timestep: spikes [B, ...] and ``mem`` [B, ...], or the spikes alone."""
        if self.init_hidden and mem is not None:
            raise TypeError("a neuron with init_hidden=True keeps mem itself: call it with the input alone")
        spikes, mem = self._step(x, self._before(x, self.mem if self.init_hidden else mem))
        if not isinstance(mem, Tensor):
            raise ValueError(
                f"{type(self.neuron).__name__} keeps more than a membrane potential between timesteps: "
                "use its own step(x, state)"
            )
        mem = mem.clone()  # snnTorch detaches it in place, which must not be the input, nor may it be a view
        if not self.init_hidden:
            return spikes, mem
        self.mem = mem
        return (spikes, mem) if self.output else spikes

    def reset_mem(self) -> Tensor:
        """Put the membrane at rest, and return it."""
        self.mem = torch.zeros_like(self.mem)
        return self.mem

    def _before(self, x: Tensor, mem: Tensor | None) -> Tensor | None:
        """``mem`` from the timestep before, None at rest."""
        if mem is None or (mem.shape != x.shape and not mem.any()):
            return None
        how = "utils.reset(net)" if self.init_hidden else "mem=None"
        must_fit(mem, x.shape, f"begin another batch with {how}")
        return mem

    def _step(self, x: Tensor, mem: Tensor | None) -> tuple[Tensor, Tensor]:
        """Spikes and the membrane potential, after the reset or before it."""
        if not self.reset_delay:
            return self.neuron.step(x, mem)
        wide = x.to(membrane_dtype(x))
        # from rest a neuron's membrane is its current, so that this is the reset alone
        v = None if mem is None else self.neuron.update(mem.to(wide.dtype), None)[2]
        u, b, _ = self.neuron.update(wide, v)
        if self.neuron.observer is not None:
            self.neuron.observer(u.unsqueeze(0), b.unsqueeze(0))
        return self.neuron.emit(b).to(x.dtype), u

    def extra_repr(self) -> str:
        return f"init_hidden={self.init_hidden}, output={self.output}, reset_delay={self.reset_delay}"
