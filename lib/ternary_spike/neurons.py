"""Spiking neurons as modules: binary, ternary and trainable ternary leaky integrate-and-fire.

Multi-step use takes the whole sequence, time first, and starts from a membrane at rest::

    spikes = TernaryLIF()(x)                # x: [T, B, ...] -> spikes: [T, B, ...]

Single-step use takes and returns the membrane potential explicitly; no neuron has hidden state::

    spikes, v = neuron.step(x_t, v)         # v=None starts at rest
"""

import inspect
import math

import torch
from torch import Tensor, nn

from ternary_spike.arguments import number, whole
from ternary_spike.dynamics import Dynamics, multi_step


class LIF(nn.Module):
    """A leaky integrate-and-fire layer with hard reset; what the three neurons share.

    The constants are numbers and can be read (``neuron.threshold``), but not set: another value takes another neuron.

    Args:
        threshold: V_th (the paper gives none; 0.5 is the authors' code's). Fires at the boundary too.
        decay: tau of Eq. 4; 0.25 in the paper.
        surrogate: surrogate gradient, one of :data:`ternary_spike.surrogate.SURROGATES`.
        window: half-width of the surrogate, in units of the membrane potential. Raising V_th to the window's edge
            leaves firing neurons no gradient: vary both.
        detach_reset: if True no gradient flows through the reset.

    Raises:
        ValueError: if a constant is no number (a tensor is none) or out of range, or the surrogate is unknown.
    """

    signed: bool
    #: attributes that cannot be set: nothing would read what is put there
    fixed: tuple[str, ...] = ("threshold", "decay", "surrogate", "window", "detach_reset", "signed")

    def __init__(
        self,
        threshold: float = 0.5,
        decay: float = 0.25,
        surrogate: str = "clamp",
        window: float = 1.0,
        detach_reset: bool = False,
    ) -> None:
        super().__init__()
        self.dynamics = Dynamics(self.signed, threshold, decay, surrogate, window, detach_reset)
        self.amplitude: Tensor | None = None

    def __setattr__(self, name: str, value) -> None:
        if name in self.fixed:
            raise AttributeError(
                f"{name} of {type(self).__name__} is fixed when it is made; make another neuron and put it in its place"
            )
        super().__setattr__(name, value)

    @property
    def threshold(self) -> float:
        return self.dynamics.threshold

    @property
    def decay(self) -> float:
        return self.dynamics.decay

    @property
    def surrogate(self) -> str:
        return self.dynamics.surrogate

    @property
    def window(self) -> float:
        return self.dynamics.window

    @property
    def detach_reset(self) -> bool:
        return self.dynamics.detach_reset

    def forward(self, x: Tensor, v: Tensor | None = None, return_state: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Spikes of an input current through time.

        Args:
            x: input current [T, ...].
            v: membrane potential kept from before, [...]; None starts at rest.
            return_state: also return the membrane potential kept after the last timestep.

        Returns:
            Spikes [T, ...], amplitude included; with ``return_state`` a pair (spikes, membrane potential [...]).
        """
        spikes, last = multi_step(x, self.dynamics, self.amplitude, v, keep_state=return_state)
        return (spikes, last) if return_state else spikes

    def step(self, x: Tensor, v: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One timestep: input current and membrane potential to spikes and membrane potential, each [...]."""
        spikes, last = multi_step(x.unsqueeze(0), self.dynamics, self.amplitude, v)
        return spikes.squeeze(0), last

    def extra_repr(self) -> str:
        d = self.dynamics
        return (
            f"threshold={d.threshold}, decay={d.decay}, surrogate={d.surrogate!r}, window={d.window}, "
            f"detach_reset={d.detach_reset}"
        )


class BinaryLIF(LIF):
    """Binary spikes {0, 1} (Eqs. 4 and 5)."""

    signed = False


class TernaryLIF(LIF):
    """Ternary spikes {-1, 0, 1} (Eqs. 7 and 8)."""

    signed = True


class TrainableTernaryLIF(LIF):
    """Ternary spikes {-a, 0, a} with a trainable amplitude a (Eqs. 13 and 14); the reset sees the un-scaled spike.

    Args:
        initial_amplitude: a before training; 1 as in the authors' code.
        channels: None for one amplitude a layer (the paper's choice, a in R^{1x1x1}), or the number of channels for
            one amplitude each; the layer's input is then [T, B, channels, ...] with two spatial axes.
        options: those of :class:`LIF`.

    Raises:
        ValueError: as of :class:`LIF`; also if the amplitude is no finite number, or ``channels`` no whole one.
    """

    signed = True
    fixed = (*LIF.fixed, "initial_amplitude", "channels")

    def __init__(self, initial_amplitude: float = 1.0, channels: int | None = None, **options) -> None:
        super().__init__(**options)
        shape = () if channels is None else (whole("channels", channels), 1, 1)
        value = number("initial_amplitude", initial_amplitude)
        if not math.isfinite(value):
            raise ValueError(f"initial_amplitude must be finite, not {value}")
        del self.amplitude
        self.amplitude = nn.Parameter(torch.full(shape, value))


def _options(neuron: type[LIF]) -> set[str]:
    """The options of a kind of neuron, those that it hands on to its bases included."""
    named = (inspect.signature(part.__init__).parameters.values() for part in neuron.__mro__ if issubclass(part, LIF))
    keyed = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {p.name for parameters in named for p in parameters if p.kind in keyed} - {"self"}


NEURONS: dict[str, type[LIF]] = {"binary": BinaryLIF, "ternary": TernaryLIF, "trainable": TrainableTernaryLIF}


def make_neuron(name: str, channels: int | None = None, **options) -> nn.Module:
    """A neuron layer by its name in the run table.

    Args:
        name: ``binary``, ``ternary``, ``trainable``, or ``relu`` (the non-spiking reference).
        channels: number of channels of the layer; used by ``trainable`` with ``amplitude_per="channel"``.
        options: keyword arguments of the neuron; for ``trainable`` also ``amplitude_per``, "layer" or "channel".

    Raises:
        ValueError: if the name or an option is unknown.
    """
    if name == "relu":
        if options:
            raise ValueError(f"the relu reference takes no neuron options, but got {', '.join(options)}")
        return nn.ReLU()
    if name not in NEURONS:
        raise ValueError(f"unknown neuron {name!r}: choose one of {', '.join([*NEURONS, 'relu'])}")
    known = _options(NEURONS[name])
    if "channels" in known:
        known = known - {"channels"} | {"amplitude_per"}
        per = options.pop("amplitude_per", "layer")
        if per not in ("layer", "channel"):
            raise ValueError(f"amplitude_per must be 'layer' or 'channel', not {per!r}")
        if per == "channel":
            options["channels"] = channels
            known.add("channels")
    if unknown := set(options) - known:
        raise ValueError(
            f"unknown option {', '.join(sorted(unknown))} for neuron {name!r}: choose from {', '.join(sorted(known))}"
        )
    return NEURONS[name](**options)
