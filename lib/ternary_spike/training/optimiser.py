"""What updates the weights: SGD, Adam or AdamW, over torch's functional forms.

``torch.optim.SGD`` itself would do, but constructing any ``torch.optim.Optimizer`` imports the whole compiler front
end: seconds at the start of every process, more than a demo's training spends on its updates. The functional form is
the same code without that, and leaves the state where a checkpoint can see it.
"""

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from ternary_spike.configuration.recipe import Recipe
from ternary_spike.models.weight_standardisation import trained_weight

SECOND_BETA, EPSILON = 0.999, 1e-8  # of Adam and AdamW, as their authors and torch have them
# what an optimiser remembers of each parameter; SGD's buffer that starts at zero takes the first gradient as it is
MEMORY = {
    "sgd": ("momentum",),
    "adam": ("momentum", "variance", "updates"),
    "adamw": ("momentum", "variance", "updates"),
}


class Optimiser:
    """The optimiser that a recipe names.

    Args:
        model: whose parameters are updated. Those without a gradient stay as they are.
        recipe: optimiser, momentum, weight decay and what it acts on, the gradient's largest norm.
    """

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        self.recipe = recipe
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}
        decayed, free = decayed_and_free_parameters(model)
        if recipe.weight_decay_on == "all":
            decayed, free = [*model.parameters()], []
        self._groups = [(decayed, recipe.weight_decay), (free, 0.0)]
        self._memory = {kind: {id(p): _blank(kind, p) for p in model.parameters()} for kind in MEMORY[recipe.optimiser]}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update every parameter by its gradient, shortened where the recipe says so."""
        if self.recipe.gradient_clipping is not None:
            parameters = [p for group, _ in self._groups for p in group]
            nn.utils.clip_grad_norm_(parameters, self.recipe.gradient_clipping)
        for group, weight_decay in self._groups:
            parameters = [p for p in group if p.grad is not None]
            memory = [[buffers[id(p)] for p in parameters] for buffers in self._memory.values()]
            if parameters:
                self._update(parameters, memory, learning_rate, weight_decay)

    def _update(self, parameters: list[Tensor], memory: list[list[Tensor]], lr: float, weight_decay: float) -> None:
        gradients, momentum = [p.grad for p in parameters], self.recipe.momentum
        settings = {"fused": True, "lr": lr, "weight_decay": weight_decay, "maximize": False}
        if self.recipe.optimiser == "sgd":
            sgd(parameters, gradients, *memory, momentum=momentum, dampening=0.0, nesterov=False, **settings)
            return
        momenta, variances, updates = memory
        adam(
            parameters,
            gradients,
            momenta,
            variances,
            [],
            updates,
            decoupled_weight_decay=self.recipe.optimiser == "adamw",
            amsgrad=False,
            beta1=momentum,
            beta2=SECOND_BETA,
            eps=EPSILON,
            **settings,
        )

    def zero_gradients(self) -> None:
        """Drop every gradient."""
        for parameters, _ in self._groups:
            for p in parameters:
                p.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """Everything that the optimiser remembers, for a checkpoint: "momentum.stem.0.conv.weight" and so on."""
        return {
            f"{kind}.{self._names[key]}": buffer
            for kind, buffers in self._memory.items()
            for key, buffer in buffers.items()
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take from a checkpoint what :meth:`tensors` gave for the same network and recipe."""
        for name, remembered in self.tensors().items():
            remembered.copy_(tensors[name])


def _blank(kind: str, parameter: Tensor) -> Tensor:
    """What an optimiser remembers of a parameter before its first update."""
    if kind == "updates":
        return torch.zeros((), device=parameter.device)
    return torch.zeros_like(parameter)


def decayed_and_free_parameters(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters with weight decay (conv and linear weights) and without (biases, BN, amplitudes), as the authors."""
    decayed = [trained_weight(m) for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    ids = {id(p) for p in decayed}
    return decayed, [p for p in model.parameters() if id(p) not in ids]
