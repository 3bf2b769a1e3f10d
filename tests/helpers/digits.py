"""scikit-learn's handwritten digits, at any size, and how well a training learns them."""

from pathlib import Path

import torch
from torch.nn import functional as F

from ternary_spike.data.digits import DATASETS, prepare
from ternary_spike.data.prepared import Split, read_split, write_prepared
from ternary_spike.training.distributed import Processes
from ternary_spike.training.state import TrainingPlan, TrainingState

DIGITS = DATASETS["digits"]


def prepare_digits(folder: Path, side: int) -> Path:
    """The dataset ``digits`` with pictures of another size: the same pictures train and test."""
    whole, source = folder / "as-prepared", {"kind": "test"}
    if not whole.exists():
        prepare(DIGITS, "scikit-learn", None, {}, whole)

    def resized(name: str) -> Split:
        split = read_split(whole, name)
        images = F.interpolate(split.images.float(), size=(side, side), mode="bilinear", antialias=True)
        return Split(images.round().to(torch.uint8), split.labels)

    splits = {name: resized(name) for name in ("train", "test")}
    write_prepared(folder / str(side), DIGITS.name, f"digits, {side}x{side}", source, DIGITS.num_classes, splits)
    return folder / str(side)


def accuracies(plan: TrainingPlan, enough: float) -> list[float]:
    """Test accuracy in percent after each epoch of a training, which ends once there is enough of it."""
    run, found = TrainingState(plan, torch.device("cpu"), Processes(torch.device("cpu"))), []
    while len(found) < plan.recipe.epochs and max(found, default=0) < enough:
        run.begin_epoch()
        for x, labels in run.train.epoch(run.epoch, run.step):
            run.train_step(x, labels)
        run.check_losses()
        found.append(run.finish_epoch(1.0)["test_accuracy_percent"])
    return found
