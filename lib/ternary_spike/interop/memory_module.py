"""What SpikingJelly's ``MemoryModule`` is to a neuron, for a Python without SpikingJelly.

It has the part of the protocol that :mod:`ternary_spike.interop.spikingjelly` builds on: a step mode, values that
:meth:`MemoryModule.reset` puts back, and a ``forward`` that goes by the mode.
"""

from torch import Tensor, nn


class MemoryModule(nn.Module):
    """A module with a step mode and with values that are kept from call to call."""

    def __init__(self) -> None:
        super().__init__()
        self._at_rest: dict[str, object] = {}
        self._step_mode = "s"

    @property
    def step_mode(self) -> str:
        """ "s" for one timestep a call, "m" for a sequence a call.

        Raises:
            ValueError: when it is set to anything else.
        """
        return self._step_mode

    @step_mode.setter
    def step_mode(self, value: str) -> None:
        if value not in ("s", "m"):
            raise ValueError(f"step_mode must be 's' or 'm', not {value!r}")
        self._step_mode = value

    def register_memory(self, name: str, value: object) -> None:
        """Keep a value from call to call in the attribute of that name; a reset brings back what it is now."""
        self._at_rest[name] = value
        setattr(self, name, value)

    def reset(self) -> None:
        """Put every kept value back to what it was registered with."""
        for name, value in self._at_rest.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        """One timestep [N, ...] or a sequence [T, N, ...], by the step mode."""
        return self.single_step_forward(x) if self.step_mode == "s" else self.multi_step_forward(x)
