"""What every spiking neuron layer has in common."""

from torch import Tensor, nn

from ternary_spike.membrane.dynamics import Dynamics
from ternary_spike.membrane.multi_step import multi_step


class LIF(nn.Module):
    """A leaky integrate-and-fire layer with hard reset; what the three neurons share.

    The constants are numbers and can be read (``neuron.threshold``), but not set: another value takes another neuron.

    Args:
        threshold: V_th (the paper gives none; 0.5 is the authors' code's). Fires at the boundary too.
        decay: tau of Eq. 4; 0.25 in the paper.
        surrogate: surrogate gradient, one of :data:`ternary_spike.membrane.surrogate.SURROGATES`.
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
