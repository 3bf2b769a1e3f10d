"""The neuron of TSSL-BP: it emits filtered spike trains, and its gradient goes through the times of its spikes.

W. Zhang and P. Li, "Temporal Spike Sequence Learning via Backpropagation for Deep Spiking Neural Networks", NeurIPS
2020 (arXiv 2002.10085), and its code.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ternary_spike.membrane.arguments import number
from ternary_spike.membrane.dynamics import membrane_dtype
from ternary_spike.neurons.base import SpikingNeuron

STEEPEST = 8.0  # what 1 / du is cut off at
SCALE = 0.2  # of the logistic density that trains neurons which hardly fire
FAR = 8.0  # from the threshold, in units of that scale: the density is cut off there


class Kept(NamedTuple):
    """What is kept between timesteps: membrane potential and post-synaptic potential, each [...]."""

    v: Tensor
    a: Tensor

    def to(self, dtype: torch.dtype) -> "Kept":
        """The same in another dtype."""
        return Kept(self.v.to(dtype), self.a.to(dtype))


def post_synaptic(b: Tensor, tau_s: float, a: Tensor | None = None) -> Tensor:
    """Post-synaptic potentials a [T, ...] of a train b [T, ...]: a[t] = a[t-1] + (b[t] - a[t-1]) / tau_s.

    Args:
        b: the train.
        tau_s: time constant of the synapse, in timesteps.
        a: the potential kept from before, [...]; None for 0.
    """
    filtered = []
    for now in b.unbind(0):
        a = now / tau_s if a is None else a + (now - a) / tau_s
        filtered.append(a)
    return torch.stack(filtered)


class _SpikeTimes(torch.autograd.Function):
    """Spikes b of a current x, with E = dL/db to dL/dx as :class:`TSSL` says it."""

    @staticmethod
    def forward(ctx, x: Tensor, kept: Kept | None, neuron: "TSSL") -> Tensor:
        ctx.save_for_backward(x, *(kept or ()))
        ctx.neuron = neuron
        v, spikes = None if kept is None else kept.v, []
        for now in x.unbind(0):
            _, b, v = neuron.update(now, v)
            spikes.append(b)
        return torch.stack(spikes)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        x, *kept = ctx.saved_tensors
        neuron: TSSL = ctx.neuron
        v, a = kept or (torch.zeros_like(x[0]), torch.zeros_like(x[0]))
        steps = []
        for now in x.unbind(0):
            du = now - v / neuron.time_constant
            u, b, v = neuron.update(now, v)
            a = a + (b - a) / neuron.synapse
            steps.append((u, du, b, a))
        psi, grads = torch.zeros_like(x[0]), []
        for e, (u, du, b, a) in zip(grad.flip(0).unbind(0), reversed(steps), strict=True):
            q = b / du.clamp(min=1 / STEEPEST)  # who fires has du > 0, for v has not been above the threshold
            # psi is 0 at the last timestep, so that nothing is added there
            s = q * e + psi * (u * q / neuron.time_constant + neuron.leak * (1 - b))
            psi = torch.where(b > 0, s, neuron.leak * psi)
            grads.append(torch.where(a < 1 / (4 * neuron.synapse), neuron.surrogate(u) * e, s))
        return torch.stack(grads[::-1]), None, None


class TSSL(SpikingNeuron):
    """A layer of leaky integrate-and-fire neurons with hard reset that emits post-synaptic potentials a.

        du[t] = x[t] - v[t-1] / tau_m,   u[t] = v[t-1] + du[t],   b[t] = 1[u[t] > V_th],   v[t] = u[t] (1 - b[t])
        a[t]  = a[t-1] + (b[t] - a[t-1]) / tau_s

    Backwards, with E[t] = dL/db[t] through a, and q[t] = min(1/du[t], 8) b[t]:

        S[t]    = q[t] E[t] + psi[t+1] (u[t] q[t] / tau_m + (1 - 1/tau_m) (1 - b[t])),   psi[T+1] = 0
        psi[t]  = S[t] where b[t] = 1, else (1 - 1/tau_m) psi[t+1]
        dL/dx[t] = S[t], but where a[t] < 1 / (4 tau_s) E[t] d(u[t])

    q is how the time of a spike moves with the potential; psi carries the error of the next spike back to this one,
    through the reset; d, the logistic density of scale 0.2 around V_th, trains neurons that have hardly fired so far.
    No gradient flows into what is kept from before. An observer is given u, whose gradient flows to the currents as if
    the spikes were constants.

    It emits potentials and not spikes, so it cannot be folded. ``emit`` takes a whole train, since a[t] depends on all
    spikes up to t.

    Args:
        time_constant: tau_m, in timesteps.
        synapse: tau_s, in timesteps; 1 emits spikes.
        threshold: V_th; fires above it.

    Raises:
        ValueError: if a constant is no number, a time constant is below 1, or the threshold not above 0.
    """

    def __init__(self, time_constant: float = 5.0, synapse: float = 3.0, threshold: float = 1.0) -> None:
        super().__init__()
        self.time_constant, self.synapse = _timesteps("time_constant", time_constant), _timesteps("synapse", synapse)
        self.threshold = number("threshold", threshold)
        if not 0 < self.threshold < math.inf:
            raise ValueError(f"threshold must be above 0 and finite, not {self.threshold}")

    @property
    def leak(self) -> float:
        """What a timestep leaves of the membrane potential, 1 - 1 / tau_m."""
        return 1 - 1 / self.time_constant

    def update(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """u, b and the v that is kept; b has no gradient here."""
        u = x if v is None else v + (x - v / self.time_constant)
        b = (u > self.threshold).to(u.dtype)
        return u, b, u * (1 - b)

    def surrogate(self, u: Tensor) -> Tensor:
        """d(u)."""
        s = torch.sigmoid(((u - self.threshold) / SCALE).clamp(-FAR, FAR))
        return s * (1 - s) / SCALE

    def emit(self, b: Tensor) -> Tensor:
        """Post-synaptic potentials [T, ...] of a whole train of spikes [T, ...]."""
        return post_synaptic(b, self.synapse)

    def forward(self, x: Tensor, v: Kept | None = None, return_state: bool = False) -> Tensor | tuple[Tensor, Kept]:
        """As of any neuron layer; what is kept is a pair."""
        wide = x.to(membrane_dtype(x))
        kept = v if v is None else v.to(wide.dtype)
        b = _SpikeTimes.apply(wide, kept, self)
        a = post_synaptic(b, self.synapse, None if kept is None else kept.a)
        if self.observer is not None or return_state:
            potentials, last = [], None if kept is None else kept.v
            for now in wide.unbind(0):
                u, _, last = self.update(now, last)
                potentials.append(u)
            if self.observer is not None:
                self.observer(torch.stack(potentials), b)
        emitted = a.to(x.dtype)
        return (emitted, Kept(last, a[-1])) if return_state else emitted

    def extra_repr(self) -> str:
        return f"time_constant={self.time_constant}, synapse={self.synapse}, threshold={self.threshold}"


def _timesteps(name: str, value: float) -> float:
    """A finite number of at least 1. Raises ValueError."""
    value = number(name, value)
    if not 1 <= value < math.inf:
        raise ValueError(f"{name} must be at least 1 timestep and finite, not {value}")
    return value
