"""One training step: the same in a training, in the estimate of its costs and in the benchmarks."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from ternary_spike.configuration.recipe import Recipe
from ternary_spike.data.loading import TrainingBatches
from ternary_spike.methods.base import Membranes, Method, Source
from ternary_spike.models.base import SpikingNetwork
from ternary_spike.models.recording import gauging, recording
from ternary_spike.system.errors import UserError
from ternary_spike.training.distributed import Processes
from ternary_spike.training.optimiser import Optimiser


class TrainingStep:
    """A network and what updates it: a method, an optimiser, a recipe. It is the ``run`` of the method's hooks.

    Args:
        model: the network, on its device and in training mode.
        method: has not begun yet.
        recipe: precision and the optimiser's settings.
        source: the run that the method starts from.
        batches: the training split, for methods that calibrate on it.
        processes: those that train the network together; None for this one alone.

    Attributes:
        parallel_model: what a step calls: the network itself, or where several processes share the training a wrapper
            around it that averages gradients over them.
        trained: what the optimiser updates: the network, and the method's companion where it has one.
        weight: factor of the next step's loss; see :class:`ternary_spike.methods.base.Run`.

    Raises:
        UserError: if several processes share a training whose method takes one alone.
    """

    def __init__(
        self,
        model: SpikingNetwork,
        method: Method,
        recipe: Recipe,
        source: Source | None = None,
        batches: TrainingBatches | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.model, self.method, self.recipe, self.source, self.batches = model, method, recipe, source, batches
        self.processes = processes
        self.weight, self.learning_rate = 1.0, 0.0
        if method.one_process and processes is not None and processes.count > 1:
            raise UserError(
                f"{type(method).__name__} trains in one process, and here are {processes.count}; start it without "
                "torchrun, in the workflow with one GPU"
            )
        method.label_smoothing = recipe.label_smoothing
        method.begin(self)
        self.trained = model
        if method.companion is not None:
            self.trained = nn.ModuleDict({"network": model, "companion": method.companion})
        self.optimiser = Optimiser(self.trained, recipe)
        self.parallel_model, self._average = model, None
        if processes is not None:
            # credit that a method assigns in its own way, or a companion's, does not pass through the wrapped network's
            # backward pass
            own = type(method).gradients is not Method.gradients or method.companion is not None
            self.parallel_model = processes.wrap(model, model.classifier.weight.device, averaging=not own)
            self._average = processes.average if own else None

    def __call__(self, x: Tensor, labels: Tensor, learning_rate: float) -> tuple[Tensor, Tensor]:
        """One update; nothing in it waits for the device.

        Args:
            x: [B, C, H, W] or [B, T, C, H, W].
            labels: int64 [B].
            learning_rate: of this step.

        Returns:
            The loss times the weight, and how many pictures the scores' mean over time puts into the right class.
        """
        self.learning_rate = learning_rate
        self.optimiser.zero_gradients()
        loss, scores = self.method.gradients(self, x, labels)
        self._step()
        mean = scores.detach() if scores.dim() == 2 else scores.detach().mean(0)
        return loss.detach(), (mean.argmax(1) == labels).sum()

    def update(self) -> None:
        """One more update within a step: by the gradients that are there, which then are gone."""
        self._step()
        self.optimiser.zero_gradients()

    def _step(self) -> None:
        if self._average is not None:
            self._average(p.grad for p in self.trained.parameters() if p.grad is not None)
        self.optimiser.step(self.learning_rate)
        self.method.updated()

    def scores(self, x: Tensor) -> tuple[Tensor, Membranes]:
        """Class scores [B, K] in float32, or [T, B, K], and the watched membranes, as the method wants them."""
        membranes: Membranes = {}
        watching = nullcontext()
        if self.method.watches and self.method.terms:
            watching = gauging(self.model, self.method.terms, lambda name, means: membranes.update({name: means}))
        elif self.method.watches:
            watching = recording(self.model, lambda name, u, b: membranes.update({name: (u, b)}))
        options = {"each_timestep": True} if self.method.each_timestep else {}
        with watching, self.autocast():
            return self.parallel_model(x, **options).float(), membranes

    def mean(self, part: Tensor) -> Tensor:
        """Means over the whole batch, given those over this process's part of it; gradients flow through them."""
        return part if self.processes is None else self.processes.mean(part * self.weight)

    def autocast(self):
        """The recipe's precision, as a context."""
        if self.recipe.precision == "bfloat16":
            device = self.model.classifier.weight.device
            return torch.autocast(device.type, dtype=torch.bfloat16)
        return nullcontext()
