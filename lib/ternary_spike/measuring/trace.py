"""One neuron of each kind on one input current: Fig. 1 as a computation."""

import math

import torch
from torch import Tensor

from ternary_spike.membrane.dynamics import fire, integrate, reset
from ternary_spike.neurons.lif import LIF


def input_current(timesteps: int) -> Tensor:
    """An input current [T] of both signs, below and beyond the threshold: two sines of incommensurable periods."""
    return torch.tensor([0.6 * math.sin(0.7 * t) + 0.5 * math.sin(0.31 * t + 1.0) for t in range(timesteps)])


@torch.no_grad()
def trace(name: str, neuron: LIF, current: Tensor) -> list[dict]:
    """What a neuron does with an input current, a row a timestep.

    Args:
        name: the neuron's name in the run table.
        neuron: a layer; its constants are used.
        current: input current [T].

    Returns:
        For each timestep (from 1): input current, membrane potential before and after the reset, un-scaled spike b,
        output a b (Eqs. 4-5, 7-8, 13-14), and the threshold and amplitude that it was made with.
    """
    dynamics = neuron.dynamics
    u = integrate(current, None, dynamics)
    b, kept, output = fire(u, dynamics), reset(u, dynamics), neuron(current)
    amplitude = 1.0 if neuron.amplitude is None else neuron.amplitude.item()
    return [
        {
            "neuron": name,
            "timestep": t + 1,
            "current": current[t].item(),
            "membrane": u[t].item(),
            "membrane_after_reset": kept[t].item(),
            "spike": int(b[t].item()),
            "output": output[t].item(),
            "threshold": dynamics.threshold,
            "amplitude": amplitude,
        }
        for t in range(len(current))
    ]
