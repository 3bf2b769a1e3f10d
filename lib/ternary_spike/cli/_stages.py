"""What the stages behind training have in common: a trained run, its data, a device."""

from argparse import Namespace

import torch

from ternary_spike import devices
from ternary_spike.data.loading import EvaluationBatches, evaluation_batch_size
from ternary_spike.data.prepared import read_manifest
from ternary_spike.errors import UserError
from ternary_spike.models import SpikingResNet
from ternary_spike.recipe import Recipe
from ternary_spike.runs import RECORD, load_model, require_same_data

# Pictures at a time where every spike of two networks is held at once: 250 would take 6 GB for ResNet20 on CIFAR.
COMPARED = 16


def open_run(
    args: Namespace, samples: int | None = None, batch_size: int | None = None
) -> tuple[dict, SpikingResNet, EvaluationBatches, torch.device]:
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
    try:
        recipe = Recipe(**record["recipe"])
    except (TypeError, ValueError) as error:
        raise UserError(f"{args.run / RECORD}: its recipe cannot be used ({error}); train again") from None
    if batch_size is None:
        batch_size = evaluation_batch_size(manifest.image_size, model.timesteps)
    batches = EvaluationBatches(args.data, "test", recipe, batch_size=batch_size, device=device, limit=samples)
    return record, model, batches, device
