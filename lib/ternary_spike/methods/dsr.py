"""DSR, differentiation on spike representation (Meng et al., CVPR 2022): the loss of a weighted mean over time.

The method's gradient is in its neurons, :mod:`ternary_spike.neurons.dsr`.
"""

from torch import Tensor

from ternary_spike.methods.base import Membranes, Method, Run
from ternary_spike.models.base import named_neurons
from ternary_spike.neurons.dsr import RepresentedNeuron, representation
from ternary_spike.system.errors import UserError


class SpikeRepresentation(Method):
    """L = CE(r(O), y) of the class scores O[t]; r is the weighted mean over time of the last neurons.

    The authors' networks end in a neuron for each class, whose spikes are O (``resnet18_dsr``). Where a classifier ends
    them, O[t] = W s[t] + b of the last spikes s, so that r(O) = W r(s) + b. In evaluation the class scores are the
    plain mean over time, as of every network here; with neurons that have no leak r is that mean too.
    """

    each_timestep = True

    def begin(self, run: Run) -> None:
        """Take r from the network's last neurons.

        Raises:
            UserError: if one of the network's layers is not made of neurons of DSR.
        """
        layers = named_neurons(run.model)
        for name, layer in layers.items():
            if not isinstance(layer, RepresentedNeuron):
                raise UserError(
                    f"DSR differentiates spike representations, and {type(layer).__name__} of layer {name} has none; "
                    "choose neuron dsr_lif or dsr_if, or another method"
                )
        self.beta = list(layers.values())[-1].beta

    def loss(self, scores: Tensor, labels: Tensor, membranes: Membranes, x: Tensor) -> Tensor:
        """L of scores O [T, B, K]."""
        return self.cross_entropy(representation(scores, self.beta), labels)
