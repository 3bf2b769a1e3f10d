"""The training loop: one run from prepared data and a recipe to weights, history and record, resumable at any step."""

import math
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from ternary_spike import backends, checkpoints
from ternary_spike.codehash import training_code_hash
from ternary_spike.data.loading import EvaluationBatches, TrainingBatches, evaluation_batch_size
from ternary_spike.data.prepared import read_manifest
from ternary_spike.distributed import Processes
from ternary_spike.errors import UserError
from ternary_spike.evaluation import accuracy, evaluate
from ternary_spike.files import (
    replaced_together,
    require_writable,
    sha256_of,
    sweep,
    write_csv,
    write_json,
    write_tensors,
)
from ternary_spike.models import SpikingResNet
from ternary_spike.optimisation import Sgd
from ternary_spike.provenance import now, provenance
from ternary_spike.recipe import Recipe
from ternary_spike.recording import count_neurons
from ternary_spike.runs import HISTORY, RECORD, WEIGHTS

CHECKPOINT_SECONDS = 300  # beside every epoch's end, so that no more than this is lost within a long one
LOSS_CHECK_STEPS = 50  # how often the device is asked whether the loss is still finite
EXPLODED = 1e4  # nats; chance is ln(classes), below 7


class Interrupted(Exception):
    """A signal asked the training to stop; its state has been saved."""


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


@contextmanager
def _stop_requests():
    """Collects the signals that ask to stop: the terminal's, the scheduler's, and its early warning."""
    received: list[int] = []
    caught = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    previous = {number: signal.signal(number, lambda n, _: received.append(n)) for number in caught}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def learning_rate(recipe: Recipe, epoch: int) -> float:
    """Cosine from the initial learning rate to 0 over all epochs, stepped once an epoch (epoch counts from 0)."""
    return 0.5 * recipe.learning_rate * (1 + math.cos(math.pi * epoch / recipe.epochs))


class _Training:
    """The state of a training: what a checkpoint holds, and how a step changes it."""

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
        with self.autocast():
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
            "peak_memory_bytes": _peak_memory(self.device),
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


def train(
    plan: TrainingPlan, checkpoint_root: Path, out: Path, device: torch.device, report: Callable[[str], None] = print
) -> dict | None:
    """Train one run and write ``weights.safetensors``, ``history.csv`` and, last, ``run.json``.

    Starts where an earlier call with the same code, recipe, network, data and seed was interrupted. On the same
    hardware, versions and threads the result is then bit-equal to an undisturbed run's.

    Args:
        plan: what to train.
        checkpoint_root: folder for checkpoints; the run's own is named after the hash of what decides its result.
        out: folder of the results.
        device: where to compute.
        report: takes one line of progress for people.

    Returns:
        The content of run.json; None in all processes but the first of a distributed training.

    Raises:
        UserError: if data, checkpoint or folders are unusable, another process trains this run, or the loss is not
            finite.
        Interrupted: after SIGTERM, SIGINT or SIGUSR1, with the state saved.
    """
    manifest = read_manifest(plan.data)
    require_writable(out)
    code_hash = training_code_hash()
    decisive = {
        "code": code_hash,
        "recipe": plan.recipe.as_dict(),
        "model": plan.model,
        "data": manifest.checksum,
        "seed": plan.seed,
    }
    folder = Path(checkpoint_root) / checkpoints.key_of(decisive)
    started, clock = now(), time.monotonic()
    processes = Processes(device)
    first = processes.rank == 0
    with ExitStack() as held:
        if first:
            held.enter_context(checkpoints.exclusive(folder))
            held.enter_context(checkpoints.sole_writer(out))
        stop = held.enter_context(_stop_requests())
        if first:
            sweep(out, (WEIGHTS, HISTORY, RECORD))
        run = _Training(plan, device, processes)
        found = checkpoints.load(folder)
        if found is not None:
            run.restore(*found)
            if first:
                report(f"{plan.run} seed {plan.seed}: resuming at epoch {run.epoch + 1}, step {run.step + 1}")
        backends.use(run.backend)
        _run_epochs(run, folder, stop, clock, report if first else lambda _: None)
        record = None
        if first:
            seconds = run.seconds + time.monotonic() - clock
            record = _write_results(run, manifest, out, seconds, started, code_hash)
            for name in (checkpoints.FILE, HISTORY):
                (folder / name).unlink(missing_ok=True)
    processes.close()
    return record


def _run_epochs(run: _Training, folder: Path, stop: list[int], clock: float, report: Callable[[str], None]) -> None:
    recipe, first = run.plan.recipe, run.processes.rank == 0

    def save() -> None:
        run.check_losses()
        run.check_weights()
        tensors = run.tensors()
        if first:
            checkpoints.save(folder, tensors, run.state(run.seconds + time.monotonic() - clock))
        run.remember_checkpoint()

    saved = time.monotonic()
    bar = tqdm(
        total=recipe.epochs * run.train.steps,
        initial=run.epoch * run.train.steps + run.step,
        desc=f"{run.plan.run} seed {run.plan.seed}",
        unit="step",
        disable=not (first and sys.stderr.isatty()),
    )
    with bar:
        while run.epoch < recipe.epochs:
            run.model.train()
            earlier, begun = run.epoch_seconds, time.monotonic()
            for x, labels in run.train.epoch(run.epoch, run.step):
                run.train_step(x, labels)
                bar.update()
                if run.step % LOSS_CHECK_STEPS == 0:
                    run.check_losses()
                stopping, due = run.processes.any(bool(stop), time.monotonic() - saved > CHECKPOINT_SECONDS)
                if stopping or due:
                    run.epoch_seconds = earlier + time.monotonic() - begun
                    save()
                    saved = time.monotonic()
                if stopping:
                    name = signal.Signals(stop[0]).name if stop else "another process"
                    raise Interrupted(
                        f"stopped by {name} at epoch {run.epoch + 1}, step {run.step}; the same command goes on there"
                    )
            run.check_losses()
            run.check_weights()
            row = run.finish_epoch(earlier + time.monotonic() - begun)
            run.epoch_seconds = 0.0
            save()
            saved = time.monotonic()
            if first:  # to be watched; among the results there is none before the last epoch
                write_csv(folder / HISTORY, run.history)
            if not bar.disable:
                bar.set_postfix(loss=f"{row['train_loss']:.3f}", test=f"{row['test_accuracy_percent']:.2f}%")
            else:
                report(
                    f"{run.plan.run} seed {run.plan.seed}: epoch {row['epoch']}/{recipe.epochs}, "
                    f"loss {row['train_loss']:.4f}, test {row['test_accuracy_percent']:.2f} %, "
                    f"{row['images_per_second']:.0f} images/s"
                )


def _write_results(run: _Training, manifest, out: Path, seconds: float, started: str, code_hash: str) -> dict:
    with replaced_together(out, RECORD) as folder:
        write_tensors(folder / WEIGHTS, run.model.state_dict())
        write_csv(folder / HISTORY, run.history)
        files = {name: sha256_of(folder / name) for name in (WEIGHTS, HISTORY)}
        record = _record(run, manifest, files, seconds, started, code_hash)
        write_json(folder / RECORD, record)
    return record


def _record(run: _Training, manifest, files: dict[str, str], seconds: float, started: str, code_hash: str) -> dict:
    """What run.json says."""
    plan, last = run.plan, run.history[-1]
    best = max(run.history, key=lambda row: row["test_accuracy_percent"])
    return {
        "id": plan.run,
        "dataset": manifest.dataset,
        "architecture": plan.model["architecture"],
        "neuron": plan.model["neuron"],
        "timesteps": plan.model["timesteps"],
        "seed": plan.seed,
        "model": plan.model,
        "recipe": plan.recipe.as_dict(),
        "changed": plan.changed,
        "data": {
            "dataset": manifest.dataset,
            "label": manifest.label,
            "checksum": manifest.checksum,
            "source": manifest.source,
            "train_samples": run.train.samples,
            "test_samples": run.test.samples,
        },
        "accuracy": {
            "last_epoch_percent": last["test_accuracy_percent"],
            "best_epoch_percent": best["test_accuracy_percent"],
            "best_epoch": best["epoch"],
        },
        "cost": {
            "wall_seconds": round(seconds, 3),
            "images_per_second": round(
                run.train.samples * len(run.history) / max(sum(row["seconds"] for row in run.history), 1e-9), 1
            ),
            "peak_memory_bytes": _peak_memory(run.device),
            "resumed": run.resumed,
            "backend": backends.current(),
            "processes": run.processes.count,
            "deterministic": torch.are_deterministic_algorithms_enabled(),
        },
        "files": files,
        "warnings": [*_dead_layers(run), *backends.notices],
        "provenance": {**provenance(run.device, started), "code_hash": code_hash},
    }


def _dead_layers(run: _Training) -> list[str]:
    """A warning for each neuron layer that emits no spike at all on a batch of the test set."""
    x, labels = next(iter(run.test))
    strict = torch.are_deterministic_algorithms_enabled()
    # a GPU's histograms, which this does not look at, have no deterministic form
    torch.use_deterministic_algorithms(strict, warn_only=True)
    try:
        layers = evaluate(run.model, [(x, labels)])["layers"]
    finally:
        torch.use_deterministic_algorithms(strict)
    return [f"layer {layer['layer']} emits no spikes" for layer in layers if layer["rate"] == 0]


def _peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: the device's allocator on a GPU, the process's resident set on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
