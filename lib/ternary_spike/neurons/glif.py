"""Gated leaky integrate-and-fire (GLIF): trained gates mix kinds of leak, of input gain and of reset.

X. Yao et al., "GLIF: A Unified Gated Leaky Integrate-and-Fire Neuron for Spiking Neural Networks", NeurIPS 2022 (arXiv
2210.13768), and the initial values of the authors' code for static images.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ternary_spike.membrane.arguments import number, whole
from ternary_spike.membrane.dynamics import SMALLEST_THRESHOLD, Dynamics
from ternary_spike.membrane.spike import spike
from ternary_spike.neurons.base import SpikingNeuron

# V_th is a parameter and not a constant, so that U - V_th is compared, and fires above 0: the difference of two numbers
# is either 0 or far larger than this smallest threshold. The surrogate is 1 where |U - V_th| <= 0.5 (the authors' code
# says < 0.5, which differs on the boundary alone) and 0 elsewhere.
FIRING = Dynamics(False, SMALLEST_THRESHOLD, surrogate="rectangle", window=0.5)
RANDOM_GATES = 0.1  # raw gates are drawn from [-0.1, 0.1], the gates so from [0.475, 0.525]


class Kept(NamedTuple):
    """What is kept between timesteps: U and S of the last one, and how many there have been."""

    u: Tensor
    s: Tensor
    timesteps: int

    def to(self, dtype: torch.dtype) -> "Kept":
        """The same in another dtype."""
        return Kept(self.u.to(dtype), self.s.to(dtype), self.timesteps)


class GatedLIF(SpikingNeuron):
    """A layer of binary neurons whose gates and constants are trained, each the logistic function of a raw parameter.

    Args:
        timesteps: T, for how many timesteps there is an input gain g; the layer cannot run longer.
        channels: number of channels, each of which has 7 + T parameters of its own; None for one set a layer.
        alpha: gate of the leak before training: exponential where 1, linear where 0. None draws it near 0.5.
        beta: gate of the input's gain: g of the timestep where 1, none where 0. None draws it near 0.5.
        gamma: gate of the reset: to 0 (hard) where 1, by V_re (soft) where 0. None draws it near 0.5.
        decay: tau_exp, what the exponential leak leaves of the membrane potential.
        leak: tau_lin, what the linear leak takes away each timestep, also of a membrane at rest.
        threshold: V_th. It fires above, not at the boundary.
        reset: V_re, what the soft reset takes away, after the leak.
        gain: g of every timestep.

    Raises:
        ValueError: if a value does not lie between 0 and 1, or timesteps or channels are no whole number from 1.
    """

    per_timestep = True

    def __init__(
        self,
        timesteps: int = 4,
        channels: int | None = None,
        alpha: float | None = None,
        beta: float | None = None,
        gamma: float | None = None,
        decay: float = 0.25,
        leak: float = 0.0625,
        threshold: float = 0.5,
        reset: float = 0.5,
        gain: float = 0.5,
    ) -> None:
        super().__init__()
        shape = () if channels is None else (whole("channels", channels), 1, 1)
        constants = {"decay": decay, "leak": leak, "threshold": threshold, "reset": reset}
        self.raw = nn.ParameterDict()
        for name, gate in {"alpha": alpha, "beta": beta, "gamma": gamma}.items():
            drawn = torch.empty(shape).uniform_(-RANDOM_GATES, RANDOM_GATES)
            self.raw[name] = nn.Parameter(drawn if gate is None else drawn.fill_(_logit(name, gate)))
        for name, value in constants.items():
            self.raw[name] = nn.Parameter(torch.full(shape, _logit(name, value)))
        self.raw["gain"] = nn.Parameter(torch.full((whole("timesteps", timesteps), *shape), _logit("gain", gain)))

    @classmethod
    def build(cls, channels: int | None, parameters_per: str = "channel", timesteps: int = 4, **options) -> "GatedLIF":
        """One set of parameters for each channel, or with ``parameters_per="layer"`` one for the layer."""
        return cls(timesteps, channels if parameters_per == "channel" else None, **options)

    def update(self, x: Tensor, kept: Kept | None) -> tuple[Tensor, Tensor, Kept]:
        """The paper's unified equation, with C the input current x and U, S of the timestep before.

        U' = (1 - alpha (1 - tau_exp)) U (1 - gamma S) - (1 - alpha) tau_lin + (1 - beta (1 - g)) C - (1 - gamma) V_re S
        S' = 1 where U' > V_th, else 0. Gradient flows through the resets.

        Raises:
            ValueError: if there is no input gain for this timestep.
        """
        t = 0 if kept is None else kept.timesteps
        if t == len(self.raw["gain"]):
            raise ValueError(
                f"the gated neuron has input gains for {t} timesteps and cannot run longer; make it with the number of "
                "timesteps that it is to run for"
            )
        alpha, beta, gamma, tau_exp, tau_lin, v_th, v_re = (
            self.raw[name].to(x.dtype).sigmoid()
            for name in ("alpha", "beta", "gamma", "decay", "leak", "threshold", "reset")
        )
        g = self.raw["gain"][t].to(x.dtype).sigmoid()
        u = (1 - beta * (1 - g)) * x - (1 - alpha) * tau_lin
        if kept is not None:
            u = u + (1 - alpha * (1 - tau_exp)) * kept.u * (1 - gamma * kept.s) - (1 - gamma) * v_re * kept.s
        s = spike(u - v_th, FIRING)
        return u, s, Kept(u, s, t + 1)


def _logit(name: str, value: float) -> float:
    """The raw parameter of a value. Raises ValueError."""
    value = number(name, value)
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie between 0 and 1, and be neither, not {value}")
    return math.log(value / (1 - value))
