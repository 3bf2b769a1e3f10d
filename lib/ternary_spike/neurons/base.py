"""What every spiking neuron layer has in common: the loop over time, single steps, whoever watches, what it folds to.

A published neuron is a subclass with one method, the equations of one timestep::

    class IntegrateAndFire(SpikingNeuron):
        def update(self, x, v):
            u = x if v is None else v + x                 # charge
            b = spike(u, self.firing)                     # fire
            return u, b, u - self.firing.threshold * b    # soft reset

Everything else has a default that is right for it, if slow; what a neuron says beyond that (``kernel``, ``folds``) must
be true of its own ``update``. A subclass that changes an equation of its parent inherits neither.

What is kept between timesteps, v, need not be a membrane potential alone: anything does that has ``to(dtype)`` as a
tensor has.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ternary_spike.membrane.arguments import number
from ternary_spike.membrane.dynamics import Dynamics, membrane_dtype
from ternary_spike.membrane.multi_step import multi_step
from ternary_spike.membrane.potential_terms import Gauge, means
from ternary_spike.membrane.surrogate import WITH_TEMPERATURE

EQUATIONS = ("update", "emit", "forward", "step")
CLAIMS = ("kernel", "folds")


def _temperature(value: float) -> float:
    """The number. Raises ValueError where it is none above 0."""
    value = number("temperature", value)
    if not 0 < value < math.inf:
        raise ValueError(f"temperature must be above 0 and finite, not {value}")
    return value


@dataclass(frozen=True)
class Folded:
    """What a neuron layer is once its amplitude has moved into the weights behind it (Eqs. 15-17).

    Attributes:
        dynamics: charge, fire and hard reset of the layer that is left; it emits {-1, 0, 1} or {0, 1}.
        amplitude: the factor that moved, a scalar or [C, 1, 1]; None for 1.
    """

    dynamics: Dynamics
    amplitude: Tensor | None = None


class SpikingNeuron(nn.Module):
    """A layer of spiking neurons, of any published kind.

    Attributes:
        amplitude: what a spike is multiplied by, a scalar, [C, 1, 1] or [C, H, W]; None for 1.
        temperature: of its surrogate gradient, a scalar; None for a surrogate that has none. It is no parameter and is
            not stored: a method that moves it keeps it.
        observer: called with the membrane potential before the reset and the un-scaled spikes, both [T, ...], whenever
            the layer has run; gradients flow through both. None if nobody watches.
        gauge: told means over its membrane potentials whenever the layer has run; None if nobody wants any.
        signed: whether its spikes have a sign.
        per_timestep: whether it has parameters for each timestep; ``build`` is then told ``timesteps``.
        per_element: whether it can have parameters for each place of a picture; ``build`` is then told its ``side`` in
            pixels, or None by a network that does not know it.
    """

    signed: bool = False
    per_timestep: bool = False
    per_element: bool = False
    #: attributes that cannot be set, since nothing would read what is put there
    fixed: tuple[str, ...] = ("signed",)

    def __init__(self) -> None:
        super().__init__()
        self.amplitude: Tensor | None = None
        self.observer: Callable[[Tensor, Tensor], None] | None = None
        self.gauge: Gauge | None = None
        self.register_buffer("temperature", None, persistent=False)

    def __init_subclass__(cls, **arguments) -> None:
        super().__init_subclass__(**arguments)
        # a subclass with an equation of its own must not be computed or folded by its parent's
        if any(name in vars(cls) for name in EQUATIONS):
            for claim in CLAIMS:
                if claim not in vars(cls):
                    setattr(cls, claim, vars(SpikingNeuron)[claim])

    def __setattr__(self, name: str, value) -> None:
        if name in self.fixed:
            raise AttributeError(
                f"{name} of {type(self).__name__} is fixed when it is made; make another neuron and put it in its place"
            )
        super().__setattr__(name, value)

    @classmethod
    def build(cls, channels: int | None, **options) -> "SpikingNeuron":
        """The layer for a place in a network that has so many channels; options are those of the run table."""
        return cls(**options)

    def begin_at_temperature(self, surrogate: str, value: float) -> None:
        """Make the layer's temperature, if its surrogate gradient has one.

        Raises:
            ValueError: if the value is no number above 0.
        """
        value = _temperature(value)
        if surrogate in WITH_TEMPERATURE:
            self.temperature = torch.tensor(value)

    def set_temperature(self, value: float) -> None:
        """Give the surrogate gradient another temperature; no kernel is compiled for it.

        Raises:
            ValueError: if the value is no number above 0, or the layer's surrogate gradient has no temperature.
        """
        if self.temperature is None:
            raise ValueError(
                f"the surrogate gradient of this {type(self).__name__} has no temperature; choose one of "
                f"{', '.join(WITH_TEMPERATURE)}"
            )
        self.temperature.fill_(_temperature(value))

    def update(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """One timestep: the neuron's equations.

        Args:
            x: input current [...], float32 or float64.
            v: membrane potential kept from the timestep before, [...]; None at rest.

        Returns:
            The membrane potential before the reset, the un-scaled spike and the membrane potential kept, each [...].
        """
        raise NotImplementedError(f"{type(self).__name__} has no update(x, v)")

    def emit(self, b: Tensor) -> Tensor:
        """What the layer emits for un-scaled spikes b [...]: a b (Eq. 14), in b's dtype."""
        return b if self.amplitude is None else b * self.amplitude.to(b.dtype)

    @property
    def kernel(self) -> Dynamics | None:
        """Constants for which the fused kernels compute the same as ``update``; None if they do not."""
        return None

    def folds(self) -> Folded | None:
        """What the layer is once folded; None, the default, if it cannot be."""
        return None

    def forward(self, x: Tensor, v: Tensor | None = None, return_state: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Spikes of an input current through time.

        Args:
            x: input current [T, ...].
            v: membrane potential kept from before, [...]; None starts at rest.
            return_state: also return the membrane potential kept after the last timestep.

        Returns:
            Spikes [T, ...], amplitude included; with ``return_state`` a pair (spikes, membrane potential [...]).
        """
        if self.kernel is None or self.observer is not None or self.gauge is not None:
            spikes, last = self._loop(x, v)
        else:
            # with return_state there is a last membrane potential, else None, which no caller sees
            spikes, last = multi_step(  # type: ignore[assignment]
                x, self.kernel, self.amplitude, v, return_state, self.temperature
            )
        return (spikes, last) if return_state else spikes

    def step(self, x: Tensor, v: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One timestep: input current and membrane potential to spikes and membrane potential, each [...]."""
        spikes, last = self(x.unsqueeze(0), v, return_state=True)
        return spikes.squeeze(0), last

    def _loop(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        """Spikes [T, ...] and the membrane potential kept at the end, timestep by timestep; tells who watches."""
        wide = x.to(membrane_dtype(x))
        v = v if v is None else v.to(wide.dtype)
        potentials, spikes = [], []
        for current in wide.unbind(0):
            u, b, v = self.update(current, v)
            potentials.append(u)
            spikes.append(b)
        if self.observer is not None:
            self.observer(torch.stack(potentials), torch.stack(spikes))
        if self.gauge is not None:
            self.gauge.tell(means(torch.stack(potentials), self.gauge.terms, self.signed))
        return torch.stack([self.emit(b) for b in spikes]).to(x.dtype), v  # type: ignore[return-value]
