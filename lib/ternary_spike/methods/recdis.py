"""Candidates for RecDis-SNN's loss (Guo et al., CVPR 2022): the distribution of membrane potentials is rectified.

The paper's loss on the membrane potential distribution (MPD-Loss) could not be had: no code is public, and of the text
the abstract alone was read. By the abstract it penalises three shifts: degeneration, saturation and gradient mismatch.
What stands here are two losses that it may be close to; their results are not those of RecDis-SNN.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ternary_spike.methods.membrane_losses import MembraneLoss

# the {0, 1} variant of a loss for binary activations (see channel_penalties): from where to where potentials may lie,
# how many standard deviations must lie within, and what is too wide
LOW, HIGH, DEVIATIONS, WIDEST = 0.0, 1.0, 0.25, 4.0
TINY = 1e-5  # added to variances: the root of a silent channel's would have an infinite slope
CENTRE = (LOW + HIGH) / 2


class Penalties(NamedTuple):
    """Of each channel, [C]."""

    mismatch: Tensor
    saturation: Tensor
    degeneration: Tensor


def channel_penalties(
    mean: Tensor, deviation: Tensor, low: float = LOW, high: float = HIGH, deviations: float = DEVIATIONS
) -> Penalties:
    """Penalties on the distribution of a channel's potentials, with (z)_+ = max(z, 0).

        mismatch      (min(high - mean - k std, mean - low - k std))_+^2     all potentials within the window
        saturation    (std - 4)_+^2                                          too wide
        degeneration  ((mean - centre)^2 - std^2)_+                          nearly all on one side of the threshold

    Of Ding et al., "Regularizing Activation Distribution for Training Binarized Deep Networks", CVPR 2019, these are
    the terms with the window -2 to 2, k = 1 and the centre 0, for activations of -1 or 1. The defaults, 0 to 1, k = 1/4
    and the centre 1/2, are a public variant for 0 or 1.

    Args:
        mean, deviation: [C].
        low, high: the window; the threshold is its centre.
        deviations: k.
    """
    spread = deviations * deviation
    return Penalties(
        torch.minimum(high - mean - spread, mean - low - spread).clamp(min=0).square(),
        (deviation - WIDEST).clamp(min=0).square(),
        ((mean - (low + high) / 2).square() - deviation.square()).clamp(min=0),
    )


class RecDisCandidate(MembraneLoss):
    """L = L_CE + lambda sum_l L_l, with either of two losses on the potentials u_l before the reset, for spikes {0, 1}.

        channels: the mean over channels of :func:`channel_penalties`, all three, of each channel's mean and deviation
        bimodal:  mean min(|u|, |1 - u|)^2 + (mean u - 1/2)^2

    The second stands switched off in the same group's code for IM-Loss (``models/distrloss_layer.py``). Means and
    deviations are over time, batch and space, in several processes over the whole batch. lambda, that it is constant
    and that layers are added up is as with Ding et al., whose loss ends after 60 of 65 epochs.

    Args:
        weight: lambda.
        form: "channels" or "bimodal".
    """

    def __init__(self, weight: float = 2.0, form: str = "channels") -> None:
        self.weight, self.form = weight, form
        self.terms = ("potential", "distance") if form == "bimodal" else ("potential", "square")

    def on(self, means: list[dict[str, Tensor]]) -> Tensor:
        """The sum of L_l."""
        return self.bimodal(means) if self.form == "bimodal" else self.of_channels(means)

    def bimodal(self, means: list[dict[str, Tensor]]) -> Tensor:
        """The sum of L_l of the second form, from the means [C] of each layer's potentials."""
        distances, potentials = (
            torch.stack([of_layer[name].mean() for of_layer in means]) for name in ("distance", "potential")
        )
        return (distances + (self.run.mean(potentials) - CENTRE).square()).sum()

    def of_channels(self, means: list[dict[str, Tensor]]) -> Tensor:
        """The sum of L_l of the first form; the channels of all layers at once, since small tensors cost by number."""
        potentials, squares = (torch.cat([of_layer[name] for of_layer in means]) for name in ("potential", "square"))
        mean, square = self.run.mean(torch.stack([potentials, squares]))
        deviation = ((square - mean.square()).clamp(min=0) + TINY).sqrt()
        penalty = torch.stack(channel_penalties(mean, deviation)).sum(0)
        shares = torch.cat([torch.full_like(m["potential"], 1 / len(m["potential"])) for m in means])
        return torch.dot(penalty, shares)  # the sum of the layers' means
