"""The loss of PLIF (Fang et al., ICCV 2021): how far the rates of classes are from those of the label."""

from torch import Tensor
from torch.nn import functional as F

from ternary_spike.methods.base import Membranes, Method


class RateMSE(Method):
    """Mean squared distance of the class scores' mean over time from the one-hot label.

    Meant for networks whose scores are firing rates, of neurons that vote. The paper (Sec. 3.7) squares at each
    timestep and takes the mean then; its code, and this, squares the mean.
    """

    def loss(self, scores: Tensor, labels: Tensor, membranes: Membranes, x: Tensor) -> Tensor:
        """1 / (B K) sum (scores - one_hot)^2 of scores [B, K]."""
        return F.mse_loss(scores, F.one_hot(labels, scores.shape[1]).to(scores.dtype))
