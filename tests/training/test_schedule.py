"""The learning rate's course, against torch's own schedulers where torch has the same."""

import pytest
import torch

from ternary_spike.configuration.recipe import Recipe
from ternary_spike.training.schedule import learning_rate


def recipe(**settings) -> Recipe:
    return Recipe(
        **{"name": "x", "epochs": 8, "batch_size": 4, "learning_rate": 0.1, "momentum": 0.9} | settings, weight_decay=0
    )


def torchs(make, epochs: int) -> list[float]:
    """The rates of one of torch's schedulers, epoch by epoch."""
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = make(optimiser)
    found = []
    for _ in range(epochs):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return found


lr_scheduler = torch.optim.lr_scheduler


@pytest.mark.parametrize(
    ("settings", "make"),
    [
        ({}, lambda o: lr_scheduler.CosineAnnealingLR(o, 8)),
        # down in three epochs and up again in the next three
        ({"schedule_epochs": 3}, lambda o: lr_scheduler.CosineAnnealingLR(o, 3)),
        ({"schedule": "step", "schedule_epochs": 3}, lambda o: lr_scheduler.StepLR(o, 3)),
        (
            {"schedule": "multi_step", "milestones": (1, 4, 20), "schedule_factor": 0.5},
            lambda o: lr_scheduler.MultiStepLR(o, [1, 4, 20], 0.5),
        ),
        ({"schedule": "constant"}, lambda o: lr_scheduler.ConstantLR(o, 1.0)),
    ],
)
def test_schedules_are_torchs(settings, make):
    found = [learning_rate(recipe(**settings), epoch) for epoch in range(8)]
    assert found == pytest.approx(torchs(make, 8), abs=1e-12)


def test_a_cosine_ends_at_zero():
    assert [learning_rate(recipe(epochs=4), epoch) for epoch in range(5)] == pytest.approx(
        [0.1, 0.0853553, 0.05, 0.0146447, 0.0], abs=1e-7
    )


def test_a_warm_up_rises_with_each_step_and_the_cosine_takes_what_is_left():
    warmed = recipe(epochs=6, warmup_epochs=2)
    rates = [learning_rate(warmed, epoch, (step + 1) / 4) for epoch in range(2) for step in range(4)]
    assert rates == pytest.approx([0.1 * (i + 1) / 8 for i in range(8)])
    after = [learning_rate(warmed, epoch, 0.25) for epoch in range(2, 6)]
    assert after == pytest.approx([learning_rate(recipe(epochs=4), epoch) for epoch in range(4)])


def test_a_shortened_training_may_end_within_its_warm_up():
    assert learning_rate(recipe(epochs=2, warmup_epochs=2), 1) == pytest.approx(0.1)
    assert learning_rate(recipe(epochs=1, warmup_epochs=4), 0) == pytest.approx(0.025)
