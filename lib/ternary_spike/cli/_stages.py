"""What the stages behind training have in common: a trained run, its data, a device."""

from argparse import Namespace
from pathlib import Path

import torch

from ternary_spike.cli._made_by import made_by
from ternary_spike.configuration.recipe import from_dict
from ternary_spike.data.loading import EvaluationBatches, evaluation_batch_size
from ternary_spike.data.prepared import read_manifest
from ternary_spike.models.base import SpikingNetwork
from ternary_spike.reparam.network import NOT_FOLDABLE, STRUCTURE_FILE, FoldedNetwork
from ternary_spike.reparam.refusal import refusal_of
from ternary_spike.system import devices
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import write_json
from ternary_spike.training.record import RECORD, WEIGHTS, load_model, require_same_data

# Pictures at a time where every spike of two networks is held at once: 250 would take 6 GB for ResNet20 on CIFAR.
COMPARED = 16


def open_run(
    args: Namespace, samples: int | None = None, batch_size: int | None = None
) -> tuple[dict, SpikingNetwork, EvaluationBatches, torch.device]:
    """The record and network of ``--run``, the test batches of ``--data`` as it was trained to see them, the device.

    With ``samples``, a class-balanced part of the test set of that size, or all of a smaller one; ``batch_size`` at a
    time, by default as many as memory is meant for.

    Raises:
        UserError: if a file is unusable or the data is not the run's.
    """
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    device = devices.choose(args.device)
    record, model = load_model(args.run)
    manifest = read_manifest(args.data)
    require_same_data(record, manifest.checksum, args.data)
    if samples is not None:
        samples = min(samples, manifest.splits["test"]["samples"])
    recipe = from_dict(record["recipe"], args.run / RECORD)
    if batch_size is None:
        batch_size = evaluation_batch_size(manifest.image_size, model.timesteps)
    batches = EvaluationBatches(args.data, "test", recipe, batch_size=batch_size, device=device, limit=samples)
    return record, model, batches, device


def open_folded(args: Namespace, record: dict) -> FoldedNetwork:
    """The folded network of ``--folded``.

    Raises:
        UserError: if a file is unusable, or it was folded from other weights than the run's.
    """
    network = FoldedNetwork.load(args.folded)
    model = record["model"]
    # a network that an earlier version folded does not say what from
    if (network.trained_weights or record["files"][WEIGHTS]) != record["files"][WEIGHTS] or any(
        getattr(network, name) != model.get(name, getattr(network, name))
        for name in ("timesteps", "in_channels", "image_size", "num_classes")
    ):
        raise UserError(
            f"{args.folded / STRUCTURE_FILE} was folded from another training than {args.run}; fold this one again"
        )
    return network


def not_foldable(args: Namespace, record: dict) -> str | None:
    """Why the run was not folded, if the files of ``--folded`` say that it could not be.

    Raises:
        UserError: if a file is unusable, or of another training than the run's.
    """
    return refusal_of(args.folded, record["files"][WEIGHTS])


def pass_on(stage: str, reason: str, path: Path, record: dict, device: torch.device, started: str) -> None:
    """Write, as the result of a stage that takes a folded network, why there is none; say it in one line."""
    content = {**of_run(record), NOT_FOLDABLE: reason, "provenance": made_by(stage, record, device, started)}
    write_json(path, content)
    print(f"{record['id']}: not foldable: {reason}")


def of_run(record: dict) -> dict[str, str]:
    """What a stage's result says of the run that it was made from."""
    return {"id": record["id"], "trained_weights": record["files"][WEIGHTS]}
