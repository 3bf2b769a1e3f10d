"""TET, temporal efficient training (Deng, Li, Zhang and Gu, ICLR 2022): the scores of each timestep have to be right.

    L_SDT   = CE(1/T sum_t O(t), y)                what it replaces, in cross_entropy.py; L_SDT <= L_TET
    L_TET   = 1/T sum_t CE(O(t), y)
    L_MSE   = 1/T sum_t MSE(O(t), phi)             phi = V_th = 1, the threshold of the paper's neurons
    L_TOTAL = (1 - lambda) L_TET + lambda L_MSE

The paper's second idea is no part of the loss: TIT, in time_inheritance.py, goes on with more timesteps.
"""

import torch
from torch import Tensor

from ternary_spike.methods.base import Membranes, Method


class TemporalEfficientTraining(Method):
    """L_TOTAL of the class scores O(t), which the classifier gives at each timestep without firing.

    Args:
        mse_share: lambda. The paper has 0.05 on CIFAR and 0.001 on ImageNet and CIFAR10-DVS; its public code has
            0, 0.0001 and 0.001 as defaults of different scripts.
        mse_target: phi.
    """

    each_timestep = True

    def __init__(self, mse_share: float = 0.05, mse_target: float = 1.0) -> None:
        self.mse_share, self.mse_target = mse_share, mse_target

    def loss(self, scores: Tensor, labels: Tensor, membranes: Membranes, x: Tensor) -> Tensor:
        """L_TOTAL of scores O [T, B, K]."""
        l_tet = torch.stack([self.cross_entropy(step, labels) for step in scores]).mean()
        l_mse = (scores - self.mse_target).square().mean()
        return (1 - self.mse_share) * l_tet + self.mse_share * l_mse
