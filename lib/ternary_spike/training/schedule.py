"""The learning rate's course over a training, as the recipe names it."""

import math
from bisect import bisect_right

from ternary_spike.configuration.recipe import Recipe


def learning_rate(recipe: Recipe, epoch: int, part: float = 1.0) -> float:
    """The learning rate of a step.

    Args:
        recipe: says the schedule. It acts once an epoch; the warm-up before it acts at each step.
        epoch: the step's, from 0.
        part: the share of the epoch's steps that are done with this one, above 0 and up to 1.
    """
    highest = recipe.learning_rate
    if epoch < recipe.warmup_epochs:
        return highest * (epoch + part) / recipe.warmup_epochs
    if recipe.schedule == "cosine":
        done = epoch - recipe.warmup_epochs
        return 0.5 * highest * (1 + math.cos(math.pi * done / (recipe.schedule_epochs or _after_warmup(recipe))))
    if recipe.schedule == "step":
        return highest * recipe.schedule_factor ** (epoch // recipe.schedule_epochs)
    if recipe.schedule == "multi_step":
        return highest * recipe.schedule_factor ** bisect_right(recipe.milestones, epoch)
    return highest


def _after_warmup(recipe: Recipe) -> int:
    return recipe.epochs - recipe.warmup_epochs
