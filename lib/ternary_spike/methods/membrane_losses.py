"""Losses on membrane potentials: RMP-Loss (Guo et al., ICCV 2023) and IM-Loss (Guo et al., NeurIPS 2022).

Both take the potential before the reset, u[t] = tau v[t-1] + x[t], and pull it directly, not through the surrogate
gradient: far from the threshold too, and in earlier timesteps through v[t-1].

They were published for spikes {0, 1}. For spikes {-1, 0, 1} they take |u| here, which is our own reading: a potential
and its negative cause spikes that differ in sign alone.
"""

import math

import torch
from torch import Tensor, nn

from ternary_spike.methods.base import Membranes, Method, Run
from ternary_spike.methods.temperature import layers_with_temperature
from ternary_spike.models.base import named_neurons
from ternary_spike.neurons.base import SpikingNeuron
from ternary_spike.system.errors import UserError


class MembraneLoss(Method):
    """L = L_CE + lambda L_u, where L_u is a loss on the potentials of some layers of spiking neurons.

    It takes means over each channel's potentials, which are :attr:`terms`.

    Attributes:
        weight: lambda of this epoch. Where it is 0 nothing is watched, and the training is the paper's to the bit.
    """

    weight: float

    @property
    def watches(self) -> bool:
        """Whether the loss takes membrane potentials: not in an epoch whose lambda is 0."""
        return self.weight > 0

    def begin(self, run: Run) -> None:
        """Find the layers.

        Raises:
            UserError: if the network has no spiking neurons.
        """
        self.run, self.layers = run, self.layers_of(run.model)
        if not self.layers:
            raise UserError(
                f"{type(self).__name__} is a loss on membrane potentials, and this network's neurons have none; "
                "choose another neuron, or another method"
            )

    def layers_of(self, model: nn.Module) -> dict[str, SpikingNeuron]:
        """The layers that the loss is on, by name: all of the network's spiking ones."""
        return {name: layer for name, layer in named_neurons(model).items() if isinstance(layer, SpikingNeuron)}

    def loss(self, scores: Tensor, labels: Tensor, membranes: Membranes, x: Tensor) -> Tensor:
        """L of scores [B, K] and, of each layer, the means [C] of its potentials by term."""
        l_ce = self.cross_entropy(scores, labels)
        if not self.watches:
            return l_ce
        return l_ce + self.weight * self.on([membranes[name] for name in self.layers])

    def on(self, means: list[dict[str, Tensor]]) -> Tensor:
        """L_u of the means [C] over the potentials of each of :attr:`layers`, by term; a scalar."""
        raise NotImplementedError


class RMPLoss(MembraneLoss):
    """Potentials close to the spikes that they cause, so that firing loses little.

        L_RMP = 1/(T L B C W H) sum min(|u|, |1 - u|)^2,   L = L_CE + lambda(n) L_RMP
        lambda(n) = k (1 - cos(n pi / N)) in epoch n of N

    The paper's text could not be had: square and mean agree with a line that the same group left, switched off, in its
    code for IM-Loss; that lambda grows, that k is 0.1, and that layers of different size weigh alike (1/L of each
    layer's mean) is taken from memory of the paper.

    Args:
        k: half of what lambda grows to; it starts from 0.
    """

    terms = ("distance",)

    def __init__(self, k: float = 0.1) -> None:
        self.k = k

    def epoch(self, share: float) -> None:
        """lambda(n), where share is n / N."""
        self.weight = self.k * (1 - math.cos(math.pi * share))

    def on(self, means: list[dict[str, Tensor]]) -> Tensor:
        """L_RMP."""
        return torch.stack([of_layer["distance"].mean() for of_layer in means]).mean()


class IMLoss(MembraneLoss):
    """Each layer's mean potential at its threshold, so that its spikes carry the most information (half of them fire).

        L_IM = sum_l (mean u_l - V_th)^2,   L = L_CE + lambda L_IM

    The mean is over time, batch, channels and space, in several processes over the whole batch; layers inside a
    residual block are left out. The paper was read in another's summary: that the mean goes over time is our reading.
    The authors' public code, a simplification as it says, is another loss and not offered here: lambda 0.005, target
    0.5/T, means of emitted spikes and of input currents, averaged over layers without the first and the last.

    The paper's other half is a surrogate gradient that steepens with the epochs (ESG), which the authors' code leaves
    out. In epoch i of N it is the derivative of tanh(K_i (u - V_th)) / 2, not cut off anywhere:

        K_i / 2 sech^2(K_i (u - V_th)),   K_i = ((10^(i/N) - 10^0) K_max + (10^1 - 10^(i/N)) K_min) / 9

    K_i is the neurons' temperature; this is the curve of the surrogate ``tanh_unclipped`` with ``window=0.5``. Only
    the first and the last K are confirmed by the summary; how K grows between them is taken from memory of the paper.

    Args:
        weight: lambda.
        esg: whether the surrogate gradient steepens; the neurons' surrogate must have a temperature.
        k_min, k_max: K in the first epoch, and what it grows to.
    """

    terms = ("potential",)

    def __init__(self, weight: float = 2.0, esg: bool = False, k_min: float = 1.0, k_max: float = 10.0) -> None:
        self.weight, self.esg, self.k_min, self.k_max = weight, esg, k_min, k_max
        self.steepening: list[SpikingNeuron] = []

    def begin(self, run: Run) -> None:
        """Find the layers.

        Raises:
            UserError: as of :class:`MembraneLoss`; or if with ``esg`` a layer has no temperature.
        """
        super().begin(run)
        if self.esg:
            self.steepening = layers_with_temperature(run.model, "IM-Loss with esg")

    def epoch(self, share: float) -> None:
        """K_i, where share is i / N."""
        grown = 10**share
        k = ((grown - 1) * self.k_max + (10 - grown) * self.k_min) / 9
        for layer in self.steepening:
            layer.set_temperature(k)

    def layers_of(self, model: nn.Module) -> dict[str, SpikingNeuron]:
        """The last layer of each unit: those before it lie inside a residual block.

        Raises:
            UserError: if one has no threshold.
        """
        names = [list(unit.neurons(where)) for where, unit in model.units() if hasattr(unit, "neurons")]
        ends = {name for of_unit in names for name in of_unit[-1:]}
        layers = {name: layer for name, layer in super().layers_of(model).items() if name in ends}
        for name, layer in layers.items():
            if not hasattr(layer, "threshold"):
                raise UserError(
                    f"IMLoss pulls membrane potentials to the threshold, and {type(layer).__name__} of layer {name} "
                    "has no attribute `threshold`; choose another neuron, or another method"
                )
        return layers

    def on(self, means: list[dict[str, Tensor]]) -> Tensor:
        """L_IM."""
        of_layers = self.run.mean(torch.stack([of_layer["potential"].mean() for of_layer in means]))
        return sum((mean - layer.threshold) ** 2 for mean, layer in zip(of_layers, self.layers.values(), strict=True))
