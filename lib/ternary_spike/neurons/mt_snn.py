"""Candidates for MT-SNN's neuron: one membrane, several thresholds, a spike for each that is reached.

X. Wang et al., "Enhance Spiking Neural Network with Multiple Thresholds", 2023 (arXiv 2303.11127). No code is public;
of the text the abstract alone was read.
"""

import math

import torch
from torch import Tensor, nn

from ternary_spike.membrane.arguments import number, whole
from ternary_spike.membrane.dynamics import Dynamics
from ternary_spike.membrane.spike import spike
from ternary_spike.neurons.base import SpikingNeuron

MODES = ("parallel", "separate", "cascade")


class MultiThreshold(SpikingNeuron):
    """A layer of neurons with thresholds V_1 < ... < V_K (or all alike) and spikes y = sum_k b_k, from 0 to K.

        parallel: u[t] = tau v[t-1] + x[t],   b_k = 1[u >= V_k],   v = u (1 - b_1)
        separate: u_k[t] = tau v_k[t-1] + x[t],   b_k = 1[u_k >= V_k],   v_k = u_k (1 - b_k)
        cascade:  r_0 = u[t],   b_k = 1[r_{k-1} >= V_k],   r_k = r_{k-1} - V_k b_k,   v = r_K

    From the abstract: several thresholds, two modes named parallel and cascade that differ in how the membrane is
    updated, and a trained leak, one a layer, as in PLIF. Everything else is a guess: the thresholds and that they are
    fixed, the resets, the surrogate gradient around each threshold (its window the distance between two by default, so
    that the windows tile the axis), that b_k are added up, that the input has no gain. ``separate`` is what others
    published as MLF (IJCAI 2022, code in langfengQ/MLF-DSResNet), but for firing at the threshold itself and for the
    trained leak. No reset is detached. Results are none of MT-SNN.

    It cannot be folded: what a folded network knows is spikes of one size.

    Args:
        mode: "parallel", "separate" or "cascade".
        levels: K.
        threshold: V_1.
        spacing: V_{k+1} - V_k.
        decay: tau before training.
        surrogate, window: the surrogate gradient of each b_k and its half-width.

    Attributes:
        levels: K; an observer is told y, and of separate membranes u_1.

    Raises:
        ValueError: if a constant is no number or out of range, or mode or surrogate are unknown.
    """

    def __init__(
        self,
        mode: str = "parallel",
        levels: int = 3,
        threshold: float = 0.5,
        spacing: float = 1.0,
        decay: float = 0.25,
        surrogate: str = "rectangle",
        window: float = 0.5,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
        spacing, decay = number("spacing", spacing), number("decay", decay)
        if spacing < 0:
            raise ValueError(f"spacing must be at least 0, not {spacing}")
        if not 0 < decay < 1:
            raise ValueError(f"decay must lie between 0 and 1, and be neither, not {decay}")
        thresholds = [number("threshold", threshold) + k * spacing for k in range(whole("levels", levels))]
        self.mode, self.levels = mode, levels
        self.firing = [Dynamics(False, v_k, 0.0, surrogate, window) for v_k in thresholds]
        self.w = nn.Parameter(torch.tensor(math.log(decay / (1 - decay))))

    def update(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """u, y and the v that is kept: of separate membranes [K, ...], else [...]."""
        # from rest the leak takes part with a gradient of 0, so that no training finds it unused
        u = self.w.to(x.dtype).sigmoid() * (torch.zeros_like(x) if v is None else v) + x
        if self.mode == "cascade":
            y, left = torch.zeros_like(u), u
            for firing in self.firing:
                b = spike(left, firing)
                y, left = y + b, left - firing.threshold * b
            return u, y, left
        if self.mode == "parallel":
            lowest, *higher = [spike(u, firing) for firing in self.firing]
            return u, sum(higher, lowest), u * (1 - lowest)
        u = u if v is not None else u.expand(self.levels, *x.shape)
        b = torch.stack([spike(u_k, firing) for u_k, firing in zip(u, self.firing, strict=True)])
        return u[0], b.sum(0), u * (1 - b)

    def extra_repr(self) -> str:
        thresholds = ", ".join(f"{firing.threshold:g}" for firing in self.firing)
        return f"mode={self.mode!r}, thresholds=({thresholds}), decay={self.w.sigmoid().item():.4g}"
