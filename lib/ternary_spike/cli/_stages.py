"""What the stages behind training have in common: a trained run, its data, a device."""

from argparse import Namespace

import torch

from ternary_spike import devices, recipe
from ternary_spike.data.loading import EvaluationBatches
from ternary_spike.data.prepared import read_manifest
from ternary_spike.models import SpikingResNet
from ternary_spike.runs import load_model, require_same_data

BATCH_SIZE = 250


def open_run(
    args: Namespace, samples: int | None = None
) -> tuple[dict, SpikingResNet, EvaluationBatches, torch.device]:
    """The record and network of ``--run``, the test batches of ``--data`` as it was trained to see them, the device.

    Raises:
        UserError: if a file is unusable or the data is not the run's.
    """
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    device = devices.choose(args.device)
    record, model = load_model(args.run)
    require_same_data(record, read_manifest(args.data).checksum, args.data)
    chosen = recipe.from_dict(record["recipe"], args.run / "run.json")
    batches = EvaluationBatches(args.data, "test", chosen, batch_size=BATCH_SIZE, device=device, limit=samples)
    return record, model, batches, device
