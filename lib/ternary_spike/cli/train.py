"""The verb ``train``."""

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ternary_spike.cli import _training

SECONDS_BETWEEN_TRIES = 2
HELP = "train one run: prepared data and a recipe to weights, history and record"


def arguments(parser: ArgumentParser) -> None:
    _training.add_arguments(parser)
    parser.add_argument(
        "--matched", type=Path, metavar="MATCH", help="take threshold and window that `match` has found and written"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")


def run(args: Namespace) -> None:
    import sys

    from ternary_spike.planning import matching
    from ternary_spike.system.errors import UserError
    from ternary_spike.training.loop import Interrupted

    plan = _training.training_plan(args, threshold_found=args.matched is not None)
    if args.matched is not None:
        found = matching.found_options(args.matched, plan.run)
        for key, value in found.items():
            given = plan.model["neuron_options"].get(key, value)
            if given != value:
                raise UserError(
                    f"--neuron-option {key}={given}: --matched {args.matched} says {value:g}; leave one of them out"
                )
        plan.model["neuron_options"] |= found
    try:
        record = _trained(plan, args)
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(130)
    if record is None:  # not the first process of a distributed training
        return
    accuracy = record["accuracy"]
    print(
        f"{plan.run} seed {plan.seed}: {accuracy['last_epoch_percent']:.2f} % (last epoch), "
        f"{accuracy['best_epoch_percent']:.2f} % (best), {record['cost']['wall_seconds']:.0f} s, in {args.out}"
    )


def _trained(plan, args: Namespace) -> dict | None:
    """Train, or wait for the process that trains this run already and take up what it leaves.

    The workflow deletes a failed job's results: those of a training that it began earlier, or that another copy of the
    repository began, must not be among them. So a job of the workflow waits where a call by hand is refused.
    """
    import time

    from ternary_spike.planning import kept_checkpoints
    from ternary_spike.system import devices
    from ternary_spike.training.checkpoints import InUse
    from ternary_spike.training.loop import train

    workflow, told = kept_checkpoints.in_workflow(), False
    while True:
        try:
            return train(plan, args.checkpoints, args.out, devices.choose(args.device), keep_checkpoint=workflow)
        except InUse as busy:
            if not workflow or "RANK" in os.environ:  # the other processes of a distributed training would not wait
                raise
            if not told:
                print(f"{busy} (this job of the workflow waits for it)", flush=True)
            told = True
            time.sleep(SECONDS_BETWEEN_TRIES)
