"""The neurons of DSR: no surrogate gradient, but that of the clamp which their firing rates approximate.

Q. Meng et al., "Training High-Performance Low-Latency Spiking Neural Networks by Differentiation on Spike
Representation", CVPR 2022 (arXiv 2205.00459), and its code.

A train z[1..T] is represented by its weighted mean r(z) = sum_t w[t] z[t], where w[t] is in proportion to beta^(T-t)
and sums to 1; beta is what the leak leaves. Of a layer with the input current x and the output y, nearly

    IF:   r(y) = clamp(r(x), 0, V_th)
    LIF:  r(y) = clamp(r(x) / tau_m, 0, V_th / dt)

and that function is what is differentiated, whatever the membrane potentials were in between.
"""

import math

import torch
from torch import Tensor, nn

from ternary_spike.membrane.arguments import number
from ternary_spike.membrane.dynamics import membrane_dtype
from ternary_spike.neurons.base import SpikingNeuron


def representation_weights(timesteps: int, beta: float, like: Tensor) -> Tensor:
    """w [T], in the dtype and on the device of a tensor: beta^(T-t) over their sum."""
    powers = torch.tensor([beta ** (timesteps - 1 - t) for t in range(timesteps)], dtype=torch.float64)
    return (powers / powers.sum()).to(like)


def representation(z: Tensor, beta: float) -> Tensor:
    """r(z) [...] of a train z [T, ...]."""
    return torch.tensordot(representation_weights(len(z), beta, z), z, 1)


class _Represented(torch.autograd.Function):
    """Spikes as they are; the gradient is the clamp's, the same at every timestep.

    With g = r(dL/dy): dL/dx[t] = slope g inside of the clamp, dL/dV_th = T factor (sum of g above it).
    """

    @staticmethod
    def forward(ctx, x: Tensor, threshold: Tensor, b: Tensor, neuron: "RepresentedNeuron") -> Tensor:
        amplitude = neuron.amplitude.to(b.dtype)
        ctx.save_for_backward(*neuron.clamp_of(representation(x, neuron.beta), amplitude / neuron.slope))
        ctx.beta, ctx.slope, ctx.factor, ctx.dtype = neuron.beta, neuron.slope, neuron.factor, threshold.dtype
        return b * amplitude

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        inside, above = ctx.saved_tensors
        g = representation(grad, ctx.beta)
        grad_x = torch.where(inside, ctx.slope * g, 0.0)
        grad_threshold = ctx.factor * len(grad) * torch.where(above, g, 0.0).sum()
        return grad_x.expand(grad.shape), grad_threshold.to(ctx.dtype), None, None


class RepresentedNeuron(SpikingNeuron):
    """A layer of binary neurons with soft reset and one trained threshold V_th, which fires below it.

        u[t] = beta v[t-1] + gain x[t],   b[t] = 1[u[t] >= alpha V_th],   v[t] = u[t] - V_th b[t],   y[t] = V_th h b[t]

    The threshold is brought back to its lowest value before each use. It cannot be folded: what a folded network knows
    is the hard reset. Gradients do not flow into the membrane potential kept from before. An observer is given u,
    whose gradient flows to the currents as if spikes and threshold were constants.

    Args:
        threshold: V_th before training.
        level: alpha.
        lowest_threshold: what V_th does not fall below.
        threshold_gradient: factor of V_th's gradient; the authors' code for ImageNet has 0.001.

    Attributes:
        beta, gain, height: as above.
        slope: dr(y) / dr(x) inside of the clamp.
        factor: of V_th's gradient in all.

    Raises:
        ValueError: if an argument is no number or out of range.
    """

    beta: float
    gain: float
    height: float
    slope: float
    factor: float

    def __init__(self, threshold: float, level: float, lowest_threshold: float, threshold_gradient: float) -> None:
        super().__init__()
        v_th = _positive("threshold", threshold)
        self.lowest_threshold = _positive("lowest_threshold", lowest_threshold)
        self.level = _positive("level", level)
        if self.level > 1:
            raise ValueError(f"level must be at most 1, in units of the threshold, not {self.level}")
        self.factor = number("threshold_gradient", threshold_gradient)
        self.threshold = nn.Parameter(torch.tensor(v_th))

    @property
    def amplitude(self) -> Tensor:
        """What a spike is worth, V_th h, a scalar."""
        return self.threshold * self.height

    @amplitude.setter
    def amplitude(self, value: None) -> None:
        if value is not None:  # the base class begins with None
            raise AttributeError(f"the amplitude of {type(self).__name__} is its threshold; set that")

    def clamp_of(self, r: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Where a representation r of the input lies inside of the clamp from 0 to ``upper``, and where above it."""
        raise NotImplementedError

    def update(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """u, b and the v that is kept; b has no gradient here."""
        threshold = self.threshold.detach().to(x.dtype)
        u = self.gain * x if v is None else self.beta * v + self.gain * x
        b = (u >= self.level * threshold).to(u.dtype)
        return u, b, u - threshold * b

    def forward(self, x: Tensor, v: Tensor | None = None, return_state: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """As of any neuron layer; the gradient is that of all timesteps together."""
        self.threshold.data.clamp_(min=self.lowest_threshold)
        wide = x.to(membrane_dtype(x))
        v = v if v is None else v.to(wide.dtype)
        potentials, spikes = [], []
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.observer is not None):
            for current in wide.unbind(0):
                u, b, v = self.update(current, v)
                spikes.append(b)
                if self.observer is not None:
                    potentials.append(u)
        emitted = _Represented.apply(wide, self.threshold, torch.stack(spikes), self)
        if self.observer is not None:
            self.observer(torch.stack(potentials), emitted / self.amplitude.detach().to(emitted.dtype))
        emitted = emitted.to(x.dtype)
        return (emitted, v) if return_state else emitted

    def extra_repr(self) -> str:
        return f"threshold={self.threshold.item():.4g}, level={self.level}"


class RepresentedIF(RepresentedNeuron):
    """DSR's integrate-and-fire neuron: beta = gain = h = 1, and w[t] = 1/T.

    Args:
        threshold, level, lowest_threshold, threshold_gradient: see :class:`RepresentedNeuron`.
    """

    beta, gain, height, slope = 1.0, 1.0, 1.0, 1.0

    def __init__(
        self,
        threshold: float = 6.0,
        level: float = 0.5,
        lowest_threshold: float = 0.01,
        threshold_gradient: float = 1.0,
    ) -> None:
        super().__init__(threshold, level, lowest_threshold, threshold_gradient)

    def clamp_of(self, r: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Both ends are inside."""
        return (r >= 0) & (r <= upper), r > upper


class RepresentedLIF(RepresentedNeuron):
    """DSR's leaky integrate-and-fire neuron: beta = exp(-dt / tau_m), gain = 1 - beta, h = 1 / dt.

    The gradient of V_th is the authors' code's: dt times the sum above the clamp, where the clamp's own derivative is
    1 / dt. For another tau_m than their 1 the clamp ends here where it does, at r(x) = tau_m V_th / dt, for V_th too.

    Args:
        threshold, level, lowest_threshold, threshold_gradient: see :class:`RepresentedNeuron`.
        time_constant: tau_m.
        step: dt, the length of a timestep, in the same units.
    """

    def __init__(
        self,
        threshold: float = 0.3,
        level: float = 0.3,
        lowest_threshold: float = 0.0005,
        threshold_gradient: float = 1.0,
        time_constant: float = 1.0,
        step: float = 0.05,
    ) -> None:
        super().__init__(threshold, level, lowest_threshold, threshold_gradient)
        tau_m, dt = _positive("time_constant", time_constant), _positive("step", step)
        self.beta = math.exp(-dt / tau_m)
        self.gain, self.height, self.slope = 1 - self.beta, 1 / dt, 1 / tau_m
        self.factor *= dt

    def clamp_of(self, r: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Neither end is inside."""
        return (r > 0) & (r < upper), r > upper


def _positive(name: str, value: float) -> float:
    """A finite number above 0. Raises ValueError."""
    value = number(name, value)
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be above 0 and finite, not {value}")
    return value
