"""Scaled weight standardisation: weights are normalised in place of currents, in networks without batch norm.

A. Brock et al., "Characterizing Signal Propagation to Close the Performance Gap in Unnormalized ResNets", ICLR 2021;
for spiking networks M. Xiao et al., "Online Training Through Time for Spiking Neural Networks", NeurIPS 2022, and its
code. Nothing about it looks at a batch or at other timesteps, which suits a training timestep by timestep.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

SPIKE_SCALE = 2.74  # 1 / standard deviation of 1[z >= 1], z of the standard normal distribution
EPSILON = 1e-4


class ScaledStandardisation(nn.Module):
    """The weights of a convolution, standardised for each output channel c.

        W'_c = factor g_c (W_c - mean W_c) / sqrt(n var W_c + 1e-4)

    n weights lead to a channel, and the variance divides by n - 1, so that the sum of squares is (n - 1) / n for g = 1.

    Args:
        channels: output channels.
        factor: a constant times the layer's input; multiplied with its weights it gives the same current.

    Attributes:
        gain: g, trained, 1 at the start.
    """

    def __init__(self, channels: int, factor: float = 1.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1, 1, 1))
        self.factor = factor

    def forward(self, weight: Tensor) -> Tensor:
        """W' of W, [C', C, k, k]."""
        variance, mean = torch.var_mean(weight, dim=(1, 2, 3), keepdim=True)
        return self.factor * self.gain * (weight - mean) * torch.rsqrt(variance * weight[0].numel() + EPSILON)


class Scaled(nn.Module):
    """Weights times a constant, which gives the same current as the layer's input times that constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, weight: Tensor) -> Tensor:
        """The weights, of any shape, times the factor."""
        return self.factor * weight


def standardise(conv: nn.Conv2d, factor: float = 1.0) -> None:
    """Give a convolution standardised weights, from now on; its own weights remain what is trained."""
    parametrize.register_parametrization(conv, "weight", ScaledStandardisation(conv.out_channels, factor))


def scale(layer: nn.Conv2d | nn.Linear, factor: float) -> None:
    """Multiply what a layer is given by a constant, bias apart; its own weights remain what is trained."""
    parametrize.register_parametrization(layer, "weight", Scaled(factor))


def trained_weight(layer: nn.Module) -> Tensor:
    """The parameter behind a layer's weights, whether these are computed from it or are itself."""
    if parametrize.is_parametrized(layer, "weight"):
        return layer.parametrizations.weight.original
    return layer.weight
