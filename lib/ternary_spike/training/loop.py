"""The training loop: one run from prepared data and a recipe to weights, history and record, resumable at any step."""

import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ternary_spike.configuration import recipe as recipes
from ternary_spike.data.prepared import Manifest, read_manifest
from ternary_spike.membrane import backends
from ternary_spike.models.recording import recording
from ternary_spike.planning.run_code import run_code_hash
from ternary_spike.system.files import (
    replaced_together,
    require_writable,
    sha256_of,
    sweep,
    write_csv,
    write_json,
    write_tensors,
)
from ternary_spike.system.provenance import commit, commit_warnings, now, provenance
from ternary_spike.training import checkpoints
from ternary_spike.training.distributed import Processes
from ternary_spike.training.record import HISTORY, RECORD, WEIGHTS
from ternary_spike.training.state import HISTORY_COLUMNS, TrainingPlan, TrainingState, peak_memory

CHECKPOINT_SECONDS = 300  # beside every epoch's end, so that no more than this is lost within a long one
LOSS_CHECK_STEPS = 50  # how often the device is asked whether the loss is still finite


class Interrupted(Exception):
    """A signal asked the training to stop; its state has been saved."""


@contextmanager
def _stop_requests():
    """Collects the signals that ask to stop: SIGINT (Ctrl-C), SIGTERM, and SIGUSR1 (a scheduler's early warning)."""
    received: list[int] = []
    caught = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    previous = {number: signal.signal(number, lambda n, _: received.append(n)) for number in caught}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def train(
    plan: TrainingPlan,
    checkpoint_root: Path,
    out: Path,
    device: torch.device,
    report: Callable[[str], None] = print,
    keep_checkpoint: bool = False,
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
        keep_checkpoint: leave the last epoch's checkpoint, from which the same call writes the same results again in
            seconds, until :mod:`~ternary_spike.planning.kept_checkpoints` takes it away.

    Returns:
        The content of run.json; None in all processes but the first of a distributed training.

    Raises:
        UserError: if data, checkpoint or folders are unusable, another process trains this run, or the loss is not
            finite.
        Interrupted: after SIGTERM, SIGINT or SIGUSR1, with the state saved.
    """
    manifest = read_manifest(plan.data)
    require_writable(out)
    decisive = plan.decisive()
    code_hash = run_code_hash("train", decisive)
    counting = {**decisive, "recipe": recipes.deciding(decisive["recipe"])}
    key = checkpoints.key_of({"code": code_hash, "data": manifest.checksum, **counting})
    folder = Path(checkpoint_root) / key
    started, clock = now(), time.monotonic()
    processes = Processes(device)
    main_process = processes.rank == 0
    origin = commit() if main_process else {}
    with ExitStack() as held:
        if main_process:
            if not held.enter_context(checkpoints.exclusive(folder)):
                report(f"warning: no locks on the disk of {folder}; see that no other machine trains this run")
            held.enter_context(checkpoints.sole_writer(out))
        stop = held.enter_context(_stop_requests())
        if main_process:
            sweep(out, (WEIGHTS, HISTORY, RECORD))
            for warning in commit_warnings(origin):
                report(f"warning: {warning}")
        run = TrainingState(plan, device, processes)
        found = checkpoints.load(folder)
        if found is not None:
            run.restore(*found)
            if main_process:
                report(f"{plan.run} seed {plan.seed}: resuming at epoch {run.epoch + 1}, step {run.step + 1}")
        backends.use(run.backend)
        _run_epochs(run, folder, stop, clock, report if main_process else lambda _: None)
        record = None
        if main_process:
            seconds = run.seconds + time.monotonic() - clock
            made = {"seconds": seconds, "started": started, "decisive": decisive}
            made |= {"code": origin, "code_hash": code_hash}
            record = _write_results(run, manifest, out, **made)
            if keep_checkpoint:
                (folder / checkpoints.FINISHED).touch()
            else:
                for name in (checkpoints.FINISHED, checkpoints.FILE, HISTORY):
                    (folder / name).unlink(missing_ok=True)
    processes.close()
    return record


def _run_epochs(run: TrainingState, folder: Path, stop: list[int], clock: float, report: Callable[[str], None]) -> None:
    """Train what is left of the training, and keep its state on the disk."""
    keeper = _Keeper(run, folder, stop, clock)
    with _Progress(run, report) as progress:
        while run.epoch < run.plan.recipe.epochs:
            run.begin_epoch()
            earlier, begun = run.epoch_seconds, time.monotonic()
            for x, labels in run.train.epoch(run.epoch, run.step):
                run.train_step(x, labels)
                progress.step()
                if run.step % LOSS_CHECK_STEPS == 0:
                    run.check_losses()
                keeper.after_step(earlier + time.monotonic() - begun)
            run.check_losses()
            run.check_weights()
            row = run.finish_epoch(earlier + time.monotonic() - begun)
            keeper.save()
            if run.processes.rank == 0:  # for people who watch: the results get their history after the last epoch
                write_csv(folder / HISTORY, run.history, HISTORY_COLUMNS)
            progress.epoch(row)


class _Keeper:
    """Keeps a training's state on the disk: whenever it is asked to, from time to time, and when a signal says stop."""

    def __init__(self, run: TrainingState, folder: Path, stop: list[int], clock: float) -> None:
        self.run, self.folder, self.stop, self.clock = run, folder, stop, clock
        self.saved = time.monotonic()

    def save(self) -> None:
        run = self.run
        run.check_losses()
        run.check_weights()
        tensors = run.tensors()
        if run.processes.rank == 0:
            checkpoints.save(self.folder, tensors, run.state(run.seconds + time.monotonic() - self.clock))
        run.remember_checkpoint()
        self.saved = time.monotonic()

    def after_step(self, epoch_seconds: float) -> None:
        """Save if it is time to. Raises Interrupted, with the state saved, if a signal has asked to stop."""
        run = self.run
        overdue = time.monotonic() - self.saved > CHECKPOINT_SECONDS
        stopping, due = run.processes.any(bool(self.stop), overdue)
        if stopping or due:
            run.epoch_seconds = epoch_seconds
            self.save()
        if stopping:
            name = signal.Signals(self.stop[0]).name if self.stop else "another process"
            raise Interrupted(
                f"stopped by {name} at epoch {run.epoch + 1}, step {run.step}; the same command goes on there"
            )


class _Progress:
    """How far a training is: a bar on a terminal, a line an epoch elsewhere."""

    def __init__(self, run: TrainingState, report: Callable[[str], None]) -> None:
        self.name, self.epochs, self.report = f"{run.plan.run} seed {run.plan.seed}", run.plan.recipe.epochs, report
        self.bar = tqdm(
            total=self.epochs * run.train.steps,
            initial=run.epoch * run.train.steps + run.step,
            desc=self.name,
            unit="step",
            disable=not (run.processes.rank == 0 and sys.stderr.isatty()),
        )

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def step(self) -> None:
        self.bar.update()

    def epoch(self, row: dict) -> None:
        if not self.bar.disable:
            self.bar.set_postfix(loss=f"{row['train_loss']:.3f}", test=f"{row['test_accuracy_percent']:.2f}%")
            return
        self.report(
            f"{self.name}: epoch {row['epoch']}/{self.epochs}, "
            f"loss {row['train_loss']:.4f}, test {row['test_accuracy_percent']:.2f} %, "
            f"{row['images_per_second']:.0f} images/s"
        )


def _write_results(run: TrainingState, manifest: Manifest, out: Path, **made: Any) -> dict:
    with replaced_together(out, RECORD) as folder:
        write_tensors(folder / WEIGHTS, run.model.state_dict())
        write_csv(folder / HISTORY, run.history, HISTORY_COLUMNS)
        files = {name: sha256_of(folder / name) for name in (WEIGHTS, HISTORY)}
        record = _record(run, manifest, files, **made)
        write_json(folder / RECORD, record)
    return record


def _record(
    run: TrainingState,
    manifest: Manifest,
    files: dict,
    seconds: float,
    started: str,
    code: dict,
    code_hash: str,
    decisive: dict,
) -> dict:
    """What run.json says."""
    plan = run.plan
    origin = provenance(run.device, started, code)
    return {
        "id": plan.run,
        "dataset": manifest.dataset,
        "architecture": plan.model["architecture"],
        "neuron": plan.model["neuron"],
        "timesteps": plan.model["timesteps"],
        **decisive,
        "sheet": plan.sheet,
        "changed": plan.changed,
        "data": {
            "dataset": manifest.dataset,
            "label": manifest.label,
            "checksum": manifest.checksum,
            "source": manifest.source,
            "train_samples": run.train.samples,
            "test_samples": run.test.samples,
        },
        "accuracy": _accuracy(run),
        "cost": {
            "wall_seconds": round(seconds, 3),
            "images_per_second": round(
                run.train.samples * len(run.history) / max(sum(row["seconds"] for row in run.history), 1e-9), 1
            ),
            "peak_memory_bytes": peak_memory(run.device),
            "resumed": run.resumed,
            "backend": backends.current(),
            "processes": run.processes.count,
            "deterministic": torch.are_deterministic_algorithms_enabled(),
        },
        "files": files,
        "warnings": [*commit_warnings(origin), *_dead_layers(run), *backends.notices],
        "provenance": {**origin, "code_hash": code_hash},
    }


def _accuracy(run: TrainingState) -> dict:
    """Accuracy of the last and the best epoch; of a network that was not trained, of the network as it is."""
    if not run.history:
        run.check_weights()
        percent, _ = run.score()
        return {"last_epoch_percent": percent, "best_epoch_percent": percent, "best_epoch": 0}
    best = max(run.history, key=lambda row: row["test_accuracy_percent"])
    return {
        "last_epoch_percent": run.history[-1]["test_accuracy_percent"],
        "best_epoch_percent": best["test_accuracy_percent"],
        "best_epoch": best["epoch"],
    }


def _dead_layers(run: TrainingState) -> list[str]:
    """A warning for each neuron layer that emits no spike at all on a batch of the test set."""
    x, _ = next(iter(run.test))
    silent = {}
    with torch.no_grad(), recording(run.model.eval(), lambda name, u, b: silent.update({name: not b.any()})):
        run.model(x)
    return [f"layer {name} emits no spikes" for name, none in silent.items() if none]
