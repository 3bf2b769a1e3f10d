"""Integrate-and-fire for networks that are converted from one without spikes: no leak, a threshold that is calibrated.

A. Sengupta et al., "Going Deeper in Spiking Neural Networks: VGG and Residual Architectures", Front. Neurosci. 13, 2019
(hard reset); B. Han et al., "RMP-SNN: Residual Membrane Potential Neuron", CVPR 2020 (soft reset); N. Rathi et al.,
"Enabling Deep Spiking Neural Networks with Hybrid Conversion and Spike Timing Dependent Backpropagation", ICLR 2020,
and its code (the surrogate gradients).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ternary_spike.membrane.arguments import flag, number
from ternary_spike.membrane.dynamics import SMALLEST_THRESHOLD, Dynamics
from ternary_spike.neurons.base import Folded, SpikingNeuron

RESETS = ("hard", "soft")
SURROGATES = ("linear", "stdb")
SPIKE_VALUES = ("threshold", "one")
NEVER = 1000.0  # timesteps since the last spike of a neuron that has not fired: the authors' code of STDB has it


class Kept(NamedTuple):
    """What is kept between timesteps: v, and how many timesteps ago a neuron fired (None where no gradient asks)."""

    v: Tensor
    since: Tensor | None

    def to(self, dtype: torch.dtype) -> "Kept":
        """The same in another dtype."""
        return Kept(self.v.to(dtype), None if self.since is None else self.since.to(dtype))


class IntegrateAndFire(SpikingNeuron):
    """A layer of binary neurons without leak and with one threshold V_th, which is stored and not trained.

        u[t] = v[t-1] + x[t],   b[t] = 1[u[t] >= V_th],   y[t] = V_th b[t],   v[-1] = V_0
        v[t] = u[t] (1 - b[t]) (hard reset: Spike-Norm)   or   u[t] - V_th b[t] (soft: RMP-SNN, Hybrid-Train)

    The published networks emit 1 and not V_th. Where no layer has a bias both are the same network, with its thresholds
    in other units: a spike of V_th in front of weights W is a spike of 1 in front of V_th W. With V_th the mean of y
    over time stands for the activation of the network that was converted, so that its biases, its batch norm and its
    identity shortcuts stay as they are.

    With the soft reset and 0 <= x <= V_th the number of spikes is floor((sum of x + V_0) / V_th).

    The gradient of b is g / V_th, and none flows through the reset:

        linear: g = alpha max(0, 1 - |u / V_th - 1|)
        stdb:   g = alpha exp(-beta dt), dt the timesteps since the neuron's last spike, 1 in the next timestep

    Of a neuron that has not fired dt is 1000 and more, as in the authors' code; there g is exactly 0 for such numbers,
    because exp(-dt) is taken to the power of beta in float32, and here it is alpha exp(-1000 beta).

    The authors' neurons of Hybrid-Train hand on in each timestep what they integrated in the one before. Here a layer
    fires in the timestep of its input: the same spikes, each layer's one timestep earlier.

    Args:
        threshold: V_th before it is calibrated.
        reset: "hard" or "soft".
        strict: whether it fires above V_th alone, not at it.
        spike_value: what a spike is: "threshold" for V_th, or "one".
        initial_potential: V_0 in units of V_th; 1/2 makes rounding of the floor.
        surrogate: "linear" or "stdb".
        height: alpha.
        forgetting: beta.

    Raises:
        ValueError: if an argument is no number, no flag, out of range or unknown.
    """

    def __init__(
        self,
        threshold: float = 1.0,
        reset: str = "hard",
        strict: bool = False,
        spike_value: str = "threshold",
        initial_potential: float = 0.0,
        surrogate: str = "linear",
        height: float = 0.3,
        forgetting: float = 0.01,
    ) -> None:
        super().__init__()
        v_th = number("threshold", threshold)
        if not SMALLEST_THRESHOLD <= v_th < math.inf:
            raise ValueError(f"threshold must be above 0 (at least {SMALLEST_THRESHOLD:g}), not {v_th}")
        chosen = {"reset": (reset, RESETS), "spike_value": (spike_value, SPIKE_VALUES)}
        for name, (value, allowed) in (chosen | {"surrogate": (surrogate, SURROGATES)}).items():
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
        self.reset, self.spike_value, self.surrogate = reset, spike_value, surrogate
        self.strict = flag("strict", strict)
        self.initial_potential = number("initial_potential", initial_potential)
        self.height, self.forgetting = number("height", height), number("forgetting", forgetting)
        self.register_buffer("threshold", torch.tensor(v_th))

    @property
    def amplitude(self) -> Tensor | None:
        """V_th, or None where a spike is 1."""
        return self.threshold if self.spike_value == "threshold" else None

    @amplitude.setter
    def amplitude(self, value: None) -> None:
        if value is not None:  # the base class begins with None
            raise AttributeError("the amplitude of IntegrateAndFire is its threshold; set that with threshold.fill_()")

    def update(self, x: Tensor, kept: Kept | None) -> tuple[Tensor, Tensor, Kept]:
        """u, b and what is kept."""
        v_th = self.threshold.to(x.dtype)
        if kept is None:
            kept = Kept(self.initial_potential * v_th, None)
        u = kept.v + x
        still = u.detach()
        fired = (still > v_th if self.strict else still >= v_th).to(u.dtype)
        v = u * (1 - fired) if self.reset == "hard" else u - v_th * fired
        if not torch.is_grad_enabled():
            return u, fired, Kept(v, None)
        since = None
        if self.surrogate == "stdb":
            dt = torch.full_like(fired, NEVER) if kept.since is None else kept.since
            since = torch.where(fired > 0, 1.0, dt + 1)
            g = self.height * torch.exp(-self.forgetting * dt)
        else:
            g = self.height * (1 - (still / v_th - 1).abs()).clamp(min=0)
        # the difference is 0 and carries the gradient
        return u, fired + g / v_th * (u - still), Kept(v, since)

    @property
    def not_folded(self) -> str:
        """Why the layer does not fold, in words; empty where it does."""
        lacks = {"a soft reset": self.reset == "soft", "a strict comparison": self.strict}
        lacks["an initial potential"] = bool(self.initial_potential)
        return next((f"has {what}, which a folded network does not" for what, set_so in lacks.items() if set_so), "")

    def folds(self) -> Folded | None:
        """The same neuron without its amplitude, its threshold a constant; None for :attr:`not_folded`."""
        if self.not_folded:
            return None
        return Folded(Dynamics(False, self.threshold.item(), 1.0), self.amplitude)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold.item():.4g}, reset={self.reset!r}, spike_value={self.spike_value!r}"
