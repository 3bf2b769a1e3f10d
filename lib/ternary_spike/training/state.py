"""The state of a training: everything that a checkpoint holds, and how a step and an epoch's end change it."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ternary_spike.configuration.recipe import Recipe
from ternary_spike.data.loading import EvaluationBatches, TrainingBatches, derived_seed, evaluation_batch_size
from ternary_spike.membrane import backends
from ternary_spike.methods.base import Source, frozen
from ternary_spike.methods.registry import METHODS, PAPERS_WAY, make_method
from ternary_spike.models.recording import count_neurons
from ternary_spike.models.registry import make_network
from ternary_spike.system.errors import UserError
from ternary_spike.training.accuracy import accuracy
from ternary_spike.training.distributed import Processes
from ternary_spike.training.record import RECORD, WEIGHTS, load_model, read_record
from ternary_spike.training.schedule import learning_rate
from ternary_spike.training.step import TrainingStep

EXPLODED = 1e4  # nats; chance is ln(classes), below 7
HISTORY_COLUMNS = (
    *("epoch", "learning_rate", "train_loss", "train_accuracy_percent", "test_loss", "test_accuracy_percent"),
    *("seconds", "images_per_second", "peak_memory_bytes"),
)


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides a training's result, besides the code.

    Attributes:
        run: the run's id in the run table.
        data: folder of the prepared data.
        model: keyword arguments of :func:`ternary_spike.models.registry.make_network`.
        recipe: the recipe, changes applied.
        changed: the recipe's keys that were changed from its file, with their values.
        seed: of initialisation, order and augmentation.
        method: how to train, a name of :data:`ternary_spike.methods.registry.METHODS`.
        method_options: its options.
        source: folder of the finished run that the method starts from; None for a method that starts from none.
        sheet: what the record says of the published method that this is a run of; None for the paper's own way.
    """

    run: str
    data: Path
    model: dict
    recipe: Recipe
    changed: dict
    seed: int
    method: str = PAPERS_WAY
    method_options: dict = field(default_factory=dict)
    source: Path | None = None
    sheet: dict | None = None

    def decisive(self) -> dict:
        """What decides the training's result, besides code and data, as its record names it.

        Raises:
            UserError: if the method is unknown, or there is no record of the source run, which it needs, or it takes
                no source and one is given.
        """
        from_run = METHODS[self.method].from_run
        if from_run and self.source is None:
            raise UserError(f"method {self.method} starts from another run; name its folder with --source")
        if self.source is not None and not from_run:
            raise UserError(f"method {self.method} starts from no other run; leave --source {self.source} out")
        source = None
        if self.source is not None:
            record = read_record(self.source)
            source = {"id": record["id"], "seed": record.get("seed"), "weights": record["files"][WEIGHTS]}
        return {
            "model": self.model,
            "recipe": self.recipe.as_dict(),
            "method": self.method,
            "method_options": self.method_options,
            "source": source,
            "seed": self.seed,
        }


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
        torch.manual_seed(plan.seed)  # initialisation only; order, augmentation and steps have streams of their own
        self.model = make_network(**plan.model).to(device, memory_format=torch.channels_last)
        self.train = TrainingBatches(
            plan.data, recipe, plan.seed, device, rank=processes.rank, world_size=processes.count
        )
        self.method = make_method(plan.method, **plan.method_options)
        self.update = TrainingStep(
            self.model,
            self.method,
            recipe,
            None if plan.source is None else self._source(plan.source),
            self.train,
            processes,
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

    def _source(self, folder: Path) -> Source:
        record, network = load_model(folder)
        if (found := record["model"]["num_classes"]) != (wanted := self.plan.model["num_classes"]):
            raise UserError(f"{folder / RECORD} is of a network for {found} classes; the data has {wanted}")
        return Source(record, frozen(network.to(self.device, memory_format=torch.channels_last)))

    def begin_epoch(self) -> None:
        """Make network and method ready for the epoch that is to come or goes on."""
        self.model.train()
        self.method.epoch(self.epoch / self.plan.recipe.epochs)

    def train_step(self, x: Tensor, labels: Tensor) -> None:
        """One update; nothing in it waits for the device."""
        # what a method or a layer draws here depends on the step alone, so that a resumed training draws the same
        self._seed_draws(derived_seed(self.plan.seed, self.epoch, "step", self.step, self.processes.rank))
        self.update.weight = self.train.weight(self.step)
        rate = learning_rate(self.plan.recipe, self.epoch, (self.step + 1) / self.train.steps)
        loss, correct = self.update(x, labels, rate)
        self.losses[self.step] = loss
        self.correct += correct
        self.step += 1

    def _seed_draws(self, seed: int) -> None:
        """Seed the global generators; torch.manual_seed takes fifty times as long."""
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def score(self) -> tuple[float, float]:
        """Accuracy in percent and loss in nats on the test set, of the network as it is."""
        # in float32 whatever the steps compute in, as the verb `evaluate` and the authors do
        percent, loss = accuracy(self.model, self.test)
        if not math.isfinite(loss):
            when = f"after epoch {self.epoch + 1}" if self.plan.recipe.epochs else "without any training"
            raise self._gone_wrong(f"the test loss is {loss:g} {when}")
        return percent, loss

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
        test_percent, test_loss = self.score()
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
        self.epoch, self.step, self.epoch_seconds = self.epoch + 1, 0, 0.0
        self._reset_epoch_sums()
        return row

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps as tensors: the network's, the method's, the optimiser's, the epoch's sums so far."""
        found = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        found |= {f"method.{name}": tensor for name, tensor in self.method.tensors().items()}
        found |= self.update.optimiser.tensors()
        return found | {"losses": self._shared_losses(), "correct": self.processes.sum(self.correct)}

    def _shared_losses(self) -> Tensor:
        """The epoch's losses over the whole of each batch."""
        return self.processes.sum(self.losses) / self.processes.count

    def state(self, seconds: float) -> dict:
        """What a checkpoint keeps as JSON; ``seconds`` are those of the training so far."""
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
        """Go on where a checkpoint was written, of which these are the tensors and the state."""

        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}

        self.model.load_state_dict(part("model."))
        self.method.load(part("method."))
        self.update.optimiser.load(tensors)
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
