"""The neuron in plain PyTorch: a Python loop over time, differentiated by autograd, nothing saved and nothing fused.

What the equations say, written as one would write them down. It is the oracle of the tests and the yardstick of the
benchmark, so it shares no line with the library.
"""

import math

import torch
from torch import Tensor

# From torch 2.14 on its clamp has a gradient of 0 at both ends; the authors' surrogate had 1 there, and so has ours.
ENDS_INCLUDED = tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 14)


def clamp(u: Tensor, low: float, high: float) -> Tensor:
    """Between two bounds, with a gradient of 1 from one to the other, both included."""
    return (
        u.clamp(low, high) if ENDS_INCLUDED else torch.where((u >= low) & (u <= high), u, u.detach().clamp(low, high))
    )


def soft_spike(
    u: Tensor, surrogate: str, signed: bool, threshold: float, window: float, temperature: float = 3.0
) -> Tensor:
    """A smooth function of the membrane potential whose derivative, by autograd, is the surrogate gradient."""
    if surrogate == "clamp_symmetric" or (surrogate == "clamp" and signed):
        return clamp(u, -window, window)
    if surrogate == "clamp":
        return clamp(u, 0, window)

    def rise(distance: Tensor) -> Tensor:
        z = distance / window
        if surrogate == "rectangle":
            return clamp(z, -1, 1) / 2
        if surrogate == "triangle":
            z = clamp(z, -1, 1)
            return z - z * z.abs() / 2
        if surrogate == "atan":
            return z.atan() / math.pi
        if surrogate == "sigmoid":
            return z.sigmoid()
        if surrogate == "tanh":
            return (temperature / 2 * clamp(z, -1, 1)).tanh() / (2 * math.tanh(temperature / 2))
        if surrogate == "tanh_unclipped":
            return (temperature / 2 * z).tanh() / 2
        raise ValueError(surrogate)

    if not signed:
        return rise(u - threshold)
    return torch.where(u >= 0, rise(u - threshold), -rise(-u - threshold))


def plain_loop(
    x: Tensor,
    signed: bool = True,
    threshold: float = 0.5,
    decay: float = 0.25,
    surrogate: str = "clamp",
    window: float = 1.0,
    detach_reset: bool = False,
    temperature: float = 3.0,
    amplitude: Tensor | None = None,
    v: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Spikes [T, ...] and last membrane potential [...] of an input current x [T, ...]; see ``dynamics.multi_step``."""
    v = torch.zeros_like(x[0]) if v is None else v
    spikes = []
    for current in x:
        u = decay * v + current
        if signed:
            hard = torch.where(u >= threshold, 1.0, torch.where(u <= -threshold, -1.0, 0.0)).to(u.dtype)
        else:
            hard = torch.where(u >= threshold, 1.0, 0.0).to(u.dtype)
        soft = soft_spike(u, surrogate, signed, threshold, window, temperature)
        spike = hard + (soft - soft.detach())
        v = u * (1 - (spike.detach() if detach_reset else spike).abs())
        spikes.append(spike if amplitude is None else amplitude * spike)
    return torch.stack(spikes), v
