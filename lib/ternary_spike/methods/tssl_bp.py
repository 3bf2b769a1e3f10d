"""TSSL-BP, temporal spike sequence learning (Zhang and Li, NeurIPS 2020): output trains close to a target's.

The method's gradient is in its neurons, :mod:`ternary_spike.neurons.tssl`; here are the loss and the update.
"""

import math

import torch
from torch import Tensor, nn

from ternary_spike.methods.base import Membranes, Method, Run
from ternary_spike.models.base import named_neurons
from ternary_spike.models.chain_units import Votes
from ternary_spike.models.weight_standardisation import trained_weight
from ternary_spike.neurons.tssl import TSSL, post_synaptic
from ternary_spike.system.errors import UserError

# target spikes of the label's output neuron, repeated as long as there are timesteps
SHORT = (0, 1, 1, 1, 1)  # for T below 10
LONG = (0, 1, 0, 1, 0, 1, 0, 1, 0, 1)  # for T from 10 on
LARGEST_WEIGHT = 4.0  # either sign
CONVOLUTIONS_GAIN = 5.0  # of the weights before training, over torch's


def target_spikes(timesteps: int) -> list[int]:
    """The train that the label's output neuron is to fire, of T timesteps; the other neurons are to be silent."""
    pattern = SHORT if timesteps < len(LONG) else LONG
    return [pattern[t % len(pattern)] for t in range(timesteps)]


class SpikeSequenceLearning(Method):
    """The kernel loss of output neurons, summed over the batch.

        L = 1/2 sum over batch, classes and time of (a[t] - d[t])^2

    a are the post-synaptic potentials of the output neurons, d those of the target train. The authors' code filters the
    target twice, once where it is made and once in the loss; the output is filtered once.

    A network that ends with a neuron for each class (``cifarnet_tssl``) has these as output neurons, and the mean of a
    are its class scores, as the authors'. Behind a linear classifier output neurons are part of the loss: what the
    classifier gives at each timestep is the current into them. In evaluation the class scores are then the mean of
    these currents. T is a multiple of 5 in the authors' code; other T cut the pattern of the target off.

    Training begins with the authors' weights: of convolutions five times those that torch makes (uniform in
    +-5 / sqrt(fan_in)), of linear layers N(0, 2 / fan_in). After each update the weights of both are cut off at 4 and
    -4. The loss and its gradient, which are shortened by the recipe's ``gradient_clipping``, are sums over the whole
    batch: several processes, which average over their parts, are refused.

    Args:
        filter_twice: whether the target train is filtered as in the authors' code, or once as the output is.
    """

    each_timestep = True
    one_process = True

    def __init__(self, filter_twice: bool = True) -> None:
        self.filter_twice = filter_twice

    def begin(self, run: Run) -> None:
        """Make the output neurons, and the weights as the authors do.

        Raises:
            UserError: if one of the network's layers is not made of neurons of TSSL-BP.
        """
        layers = named_neurons(run.model)
        for name, layer in layers.items():
            if not isinstance(layer, TSSL):
                raise UserError(
                    f"TSSL-BP goes through post-synaptic potentials, and {type(layer).__name__} of layer {name} has "
                    "none; choose neuron tssl, or another method"
                )
        last = list(layers.values())[-1]
        self.model, self.synapse = run.model, last.synapse
        self.output = nn.Identity()
        if not isinstance(run.model.classifier, Votes):
            self.output = TSSL(last.time_constant, last.synapse, last.threshold)
        for module in self.model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(trained_weight(module), a=math.sqrt(5))
                trained_weight(module).data *= CONVOLUTIONS_GAIN
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(trained_weight(module))

    def target(self, like: Tensor) -> Tensor:
        """d [T] of the label's neuron, for scores [T, B, K]."""
        train = torch.tensor(target_spikes(len(like))).to(like)
        d = post_synaptic(train, self.synapse)
        return post_synaptic(d, self.synapse) if self.filter_twice else d

    def loss(self, scores: Tensor, labels: Tensor, membranes: Membranes, x: Tensor) -> Tensor:
        """L of scores [T, B, K], divided by B: of a, or of currents into output neurons that are part of the loss."""
        d = self.target(scores).view(-1, 1, 1) * nn.functional.one_hot(labels, scores.shape[2]).to(scores)
        return (self.output(scores) - d).square().sum() / (2 * len(labels))

    def gradients(self, run: Run, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient of the batch's sum; the loss is its mean, as of other methods."""
        scores, membranes = run.scores(x)
        loss = self.loss(scores, labels, membranes, x)
        (loss * len(x)).backward()
        return loss, scores

    @torch.no_grad()
    def updated(self) -> None:
        """Clamp the weights to [-4, 4]."""
        for module in self.model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                trained_weight(module).clamp_(-LARGEST_WEIGHT, LARGEST_WEIGHT)
