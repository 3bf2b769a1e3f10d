"""A training on random pictures of CIFAR's size, for what times its steps and epochs."""

from pathlib import Path

import torch

from ternary_spike.configuration import recipe as recipes
from ternary_spike.data.prepared import Split, write_prepared
from ternary_spike.training.distributed import Processes
from ternary_spike.training.state import TrainingPlan, TrainingState

ROOT = Path(__file__).resolve().parent.parent


def random_training(
    folder: Path, architecture: str, timesteps: int, steps: int, device: str, **changes
) -> TrainingState:
    """A long training by CIFAR-10's recipe with ``steps`` steps an epoch, and nothing of it done yet.

    Args:
        folder: empty; takes the prepared data.
        architecture, timesteps: of the ternary network.
        steps: training steps an epoch.
        device: "cpu" or "cuda".
        changes: settings of the recipe that are to be others.

    Returns:
        ``train_step`` is one update, ``train.epoch(0)`` an epoch's batches.
    """
    recipe = recipes.load(ROOT / "config/recipes/cifar10.yaml", {"epochs": 1000, **changes})
    samples = steps * recipe.batch_size
    pictures = torch.Generator().manual_seed(0)
    images = torch.randint(256, (samples, 3, 32, 32), dtype=torch.uint8, generator=pictures)
    split = Split(images, torch.arange(samples) % 10)
    write_prepared(folder, "cifar10", "random pictures", {}, 10, {"train": split, "test": split})
    model = {"architecture": architecture, "neuron": "ternary", "timesteps": timesteps}
    plan = TrainingPlan("benchmark", folder, model, recipe, {}, seed=0)
    return TrainingState(plan, torch.device(device), Processes(torch.device(device)))
