"""TIT, time inheritance training (Deng, Li, Zhang and Gu, ICLR 2022): few timesteps first, then as many as are wanted.

The weights of a network hold for any number of timesteps. Most of a training can so have few, each step of it being
cheaper, and a short one by the same loss follows with the wanted number.
"""

import torch

from ternary_spike.methods.base import Run
from ternary_spike.methods.sources import take_over_weights
from ternary_spike.methods.tet import TemporalEfficientTraining


class TimeInheritance(TemporalEfficientTraining):
    """L_TOTAL of TET, from the weights of the source: a run of the same network, as a rule with fewer timesteps.

    What its neurons have learnt, such as an amplitude, is taken over too where this network's have the same; what they
    have for each timestep has another shape there and begins anew.
    """

    @torch.no_grad()
    def begin(self, run: Run) -> None:
        """Start where the source ended.

        Raises:
            UserError: as :func:`~ternary_spike.methods.sources.take_over_weights`.
        """
        take_over_weights(run)
        learnt = run.source.network.state_dict()
        for name, own in run.model.state_dict().items():
            if name in learnt and learnt[name].shape == own.shape:
                own.copy_(learnt[name])
