"""The state of a training: everything that a checkpoint holds, and how a step and an epoch's end change it."""

import math
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ternary_spike.configuration.recipe import Recipe
from ternary_spike.data.loading import EvaluationBatches, TrainingBatches, evaluation_batch_size
from ternary_spike.membrane import backends
from ternary_spike.models.recording import count_neurons
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.system.errors import UserError
from ternary_spike.training.accuracy import accuracy
from ternary_spike.training.distributed import Processes
from ternary_spike.training.optimiser import Sgd

EXPLODED = 1e4  # nats; chance is ln(classes), below 7


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides a training's result, besides the code.

    Attributes:
        run: the run's id in the run table.
        data: folder of the prepared data.
        model: keyword arguments of :class:`SpikingResNet`.
        recipe: the recipe, changes applied.
        changed: the recipe's keys that were changed from its file, with their values.
        seed: of initialisation, order and augmentation.
    """

    run: str
    data: Path
    model: dict
    recipe: Recipe
    changed: dict
    seed: int


def learning_rate(recipe: Recipe, epoch: int) -> float:
    """Cosine from the initial learning rate to 0 over all epochs, stepped once an epoch (epoch counts from 0)."""
    return 0.5 * recipe.learning_rate * (1 + math.cos(math.pi * epoch / recipe.epochs))


class TrainingState:
    """A training that has not begun, until steps are made or a checkpoint is restored.

    Args:
        plan: what is trained.
        device: where.
        processes: those that train it together.

    Attributes:
        epoch, step: how far it is; epochs and an epoch's steps count from 0.
        history: a row of history.csv for each finished epoch.
        backend: of the neurons, chosen from the whole plan; :func:`ternary_spike.membrane.backends.use` sets it.

    Raises:
        UserError: if the data are unusable.
    """

    def __init__(self, plan: TrainingPlan, device: torch.device, processes: Processes) -> None:
        self.plan, self.device, self.processes = plan, device, processes
        recipe = plan.recipe
        torch.manual_seed(plan.seed)  # initialisation only; order and augmentation have streams of their own
        self.model = SpikingResNet(**plan.model).to(device, memory_format=torch.channels_last)
        self.optimiser = Sgd(self.model, recipe.momentum, recipe.weight_decay)
        self.called = processes.wrap(self.model, device)
        self.train = TrainingBatches(
            plan.data, recipe, plan.seed, device, rank=processes.rank, world_size=processes.count
        )
        # a step needs more memory than an evaluation of as many pictures, so no fewer are evaluated at a time
        size = max(recipe.batch_size, evaluation_batch_size(self.train.manifest.image_size, self.model.timesteps))
        self.test = EvaluationBatches(plan.data, "test", recipe, batch_size=size, device=device)
        self.backend = backends.choose(
            recipe.epochs * self.train.steps,
            count_neurons(self.model) * self.model.timesteps * min(recipe.batch_size, self.train.samples),
            device,
        )
        self.epoch = self.step = 0
        self.history: list[dict] = []
        self.seconds = 0.0  # in earlier processes
        self.epoch_seconds = 0.0
        self.resumed = 0
        self.kept = "there is no checkpoint yet"
        self._reset_epoch_sums()

    def _reset_epoch_sums(self) -> None:
        self.losses = torch.zeros(self.train.steps, device=self.device)
        self.correct = torch.zeros((), dtype=torch.int64, device=self.device)

    def autocast(self):
        if self.plan.recipe.precision == "bfloat16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def train_step(self, x: Tensor, labels: Tensor) -> None:
        """One update; nothing in it waits for the device."""
        with self.autocast():
            logits = self.called(x).float()
        # the mean over the whole batch, where processes hold parts of unequal size and gradients are averaged
        loss = F.cross_entropy(logits, labels) * self.train.weight(self.step)
        self.optimiser.zero_gradients()
        loss.backward()
        self.optimiser.step(learning_rate(self.plan.recipe, self.epoch))
        self.losses[self.step] = loss.detach()
        self.correct += (logits.argmax(1) == labels).sum()
        self.step += 1

    def check_losses(self) -> None:
        """Raise UserError if a loss of this epoch is not finite or has exploded; waits for the device."""
        losses = self._shared_losses()[: self.step]
        bad = ~losses.isfinite() | (losses > EXPLODED)
        if bad.any():
            step = int(bad.nonzero()[0])
            raise self._gone_wrong(f"the loss is {losses[step].item():g} at step {step + 1} of epoch {self.epoch + 1}")

    def check_weights(self) -> None:
        """Raise UserError if the last update made a weight or a running statistic infinite or NaN; waits."""
        tensors = [t for t in self.model.state_dict().values() if t.is_floating_point()]
        if not torch.stack([t.isfinite().all() for t in tensors]).all():
            raise self._gone_wrong(f"weights are not finite after step {self.step} of epoch {self.epoch + 1}")

    def _gone_wrong(self, what: str) -> UserError:
        return UserError(
            f"run {self.plan.run}, seed {self.plan.seed}: {what}; {self.kept}; lower learning_rate in the recipe"
        )

    def finish_epoch(self, seconds: float) -> dict:
        """Score the test set, append the epoch to the history, and make ready for the next."""
        # in float32 whatever the steps compute in, as the verb `evaluate` and the authors do
        test_percent, test_loss = accuracy(self.model, self.test)
        if not math.isfinite(test_loss):
            raise self._gone_wrong(f"the test loss is {test_loss:g} after epoch {self.epoch + 1}")
        losses = self._shared_losses()
        row = {
            "epoch": self.epoch + 1,
            "learning_rate": learning_rate(self.plan.recipe, self.epoch),
            "train_loss": losses.double().mean().item(),
            "train_accuracy_percent": 100 * self.processes.sum(self.correct).item() / self.train.samples,
            "test_loss": test_loss,
            "test_accuracy_percent": test_percent,
            "seconds": round(seconds, 3),
            "images_per_second": round(self.train.samples / seconds, 1),
            "peak_memory_bytes": peak_memory(self.device),
        }
        self.history.append(row)
        self.epoch, self.step = self.epoch + 1, 0
        self._reset_epoch_sums()
        return row

    def tensors(self) -> dict[str, Tensor]:
        found = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        found |= {f"momentum.{name}": buffer for name, buffer in self.optimiser.momenta.items()}
        return found | {"losses": self._shared_losses(), "correct": self.processes.sum(self.correct)}

    def _shared_losses(self) -> Tensor:
        """The epoch's losses over the whole of each batch."""
        return self.processes.sum(self.losses) / self.processes.count

    def state(self, seconds: float) -> dict:
        return {
            "epoch": self.epoch,
            "step": self.step,
            "history": self.history,
            "seconds": seconds,
            "epoch_seconds": self.epoch_seconds,
            "resumed": self.resumed,
            "backend": self.backend,
        }

    def remember_checkpoint(self) -> None:
        """The state of this moment is on the disk."""
        self.kept = f"the checkpoint of epoch {self.epoch + 1}, step {self.step} is kept"

    def restore(self, tensors: dict[str, Tensor], state: dict) -> None:
        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}

        self.model.load_state_dict(part("model."))
        self.optimiser.load(part("momentum."))
        self.losses.copy_(tensors["losses"])
        if self.processes.rank == 0:  # it is the sum over all processes
            self.correct.copy_(tensors["correct"])
        self.epoch, self.step = state["epoch"], state["step"]
        self.history = state["history"]
        self.seconds, self.epoch_seconds = state["seconds"], state["epoch_seconds"]
        self.resumed = state["resumed"] + 1
        self.remember_checkpoint()
        self.backend = state["backend"]  # chosen once, from the whole plan: a resumed run stays with it


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: the device's allocator on a GPU, the process's resident set on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
