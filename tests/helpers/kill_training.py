"""A training in a process of its own, to be killed: ``python -m tests.helpers.kill_training DATA CHECKPOINTS OUT``."""

import sys
from pathlib import Path

import torch

from ternary_spike.system.errors import UserError
from ternary_spike.training.loop import Interrupted, train
from tests.helpers.tiny import tiny_plan

EPOCHS = 12

if __name__ == "__main__":
    torch.set_num_threads(1)
    data, checkpoints, out = map(Path, sys.argv[1:4])
    try:
        plan = tiny_plan(data, epochs=EPOCHS)
        train(plan, checkpoints, out, torch.device("cpu"), lambda line: print(line, flush=True))
    except Interrupted:
        sys.exit(130)
    except UserError as error:
        sys.exit(f"error: {error}")
