"""Stochastic gradient descent with momentum, over torch's functional form.

``torch.optim.SGD`` itself would do, but constructing any ``torch.optim.Optimizer`` imports the whole compiler front
end: seconds at the start of every process, more than a demo's training spends on its updates. The functional form is
the same code without that, and leaves the state where a checkpoint can see it.
"""

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from ternary_spike.models.resnet import SpikingResNet


class Sgd:
    """SGD with momentum; weight decay acts on convolution and linear weights only, as in the authors' code.

    Args:
        model: whose parameters are updated.
        momentum: factor of the momentum buffers.
        weight_decay: L2 decay of convolution and linear weights; biases, batch norm and amplitudes have none.

    Attributes:
        momenta: momentum buffers, by parameter name.
    """

    def __init__(self, model: SpikingResNet, momentum: float, weight_decay: float) -> None:
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        decayed, free = decayed_and_free_parameters(model)
        self.momentum = momentum
        self.groups = [(decayed, weight_decay), (free, 0.0)]
        # a buffer that starts at zero takes the first gradient as it is, as torch's optimiser does
        self.momenta = {names[id(p)]: torch.zeros_like(p) for group, _ in self.groups for p in group}
        self._buffers = [[self.momenta[names[id(p)]] for p in group] for group, _ in self.groups]

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update every parameter by its gradient."""
        for (parameters, weight_decay), buffers in zip(self.groups, self._buffers, strict=True):
            sgd(
                parameters,
                [p.grad for p in parameters],
                buffers,
                fused=True,
                weight_decay=weight_decay,
                momentum=self.momentum,
                lr=learning_rate,
                dampening=0.0,
                nesterov=False,
                maximize=False,
            )

    def zero_gradients(self) -> None:
        """Drop every gradient."""
        for parameters, _ in self.groups:
            for p in parameters:
                p.grad = None

    def load(self, momenta: dict[str, Tensor]) -> None:
        """Take momentum buffers from a checkpoint; names and shapes must be the model's."""
        for name, buffer in self.momenta.items():
            buffer.copy_(momenta[name])


@torch.no_grad()
def decayed_and_free_parameters(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters with weight decay (conv and linear weights) and without (biases, BN, amplitudes), as the authors."""
    decayed = [m.weight for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    ids = {id(p) for p in decayed}
    return decayed, [p for p in model.parameters() if id(p) not in ids]
