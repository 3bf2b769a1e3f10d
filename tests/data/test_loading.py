"""Batches: what a step sees depends on (seed, epoch, step) alone, and the processes' shares make up the whole."""

import random

import numpy as np
import pytest
import torch

from ternary_spike import UserError
from ternary_spike.configuration.recipe import Recipe
from ternary_spike.data.loading import EvaluationBatches, TrainingBatches, balanced_subset, evaluation_batch_size
from ternary_spike.data.prepared import Split, write_prepared

RECIPE = Recipe(
    name="test", epochs=2, batch_size=8, learning_rate=0.1, momentum=0.9, weight_decay=0.0,
    crop_padding=2, flip=True, cutout=4, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4),
)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """30 training and 10 test pictures; each one's first label digit tells its class."""
    generator = torch.Generator().manual_seed(0)
    splits = {
        name: Split(
            torch.randint(0, 256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8), torch.arange(count) % 5
        )
        for name, count in (("train", 30), ("test", 10))
    }
    write_prepared(tmp_path, "test", "Test", {}, 5, splits)
    return tmp_path


def collected(batches, *args):
    """Copies of an epoch's batches."""
    return [(images.clone(), labels.clone()) for images, labels in batches.epoch(*args)]


def assert_same(left, right):
    assert len(left) == len(right)
    for (images, labels), (other_images, other_labels) in zip(left, right, strict=True):
        assert torch.equal(images, other_images)
        assert torch.equal(labels, other_labels)


def test_an_epoch_can_be_entered_at_any_step(folder):
    whole = collected(TrainingBatches(folder, RECIPE, 7), 3)
    # another object, as after a restart, and another epoch in between
    batches = TrainingBatches(folder, RECIPE, 7)
    next(iter(batches.epoch(1)))
    assert_same(whole[2:], collected(batches, 3, 2))


def test_neither_reads_nor_moves_global_generators(folder):
    batches = TrainingBatches(folder, RECIPE, 7)
    torch.manual_seed(1)
    first = collected(batches, 0)
    torch.manual_seed(2), np.random.seed(2), random.seed(2)
    state = torch.get_rng_state()
    assert_same(first, collected(batches, 0))
    assert torch.equal(state, torch.get_rng_state())


def test_order_and_augmentation_differ_between_epochs_and_seeds(folder):
    plain = RECIPE.as_dict() | {"crop_padding": 0, "flip": False, "cutout": 0}
    recipe = Recipe(**plain)
    epochs = [collected(TrainingBatches(folder, recipe, seed), epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    labels = [torch.cat([labels for _, labels in epoch]) for epoch in epochs]
    assert not torch.equal(labels[0], labels[1])
    assert not torch.equal(labels[0], labels[2])
    assert torch.equal(labels[0].sort().values, labels[1].sort().values)
    holes = [collected(TrainingBatches(folder, RECIPE, 0), epoch)[0][0] for epoch in (0, 1)]
    assert not torch.equal(holes[0], holes[1])


def test_every_sample_comes_once_an_epoch_and_the_last_step_is_smaller(folder):
    recipe = Recipe(**(RECIPE.as_dict() | {"crop_padding": 0, "flip": False, "cutout": 0, "mean": None, "std": None}))
    batches = TrainingBatches(folder, recipe, 0)
    epoch = collected(batches, 0)
    assert (batches.samples, batches.steps) == (30, 4)
    assert [len(labels) for _, labels in epoch] == [8, 8, 8, 6]
    seen = torch.cat([images for images, _ in epoch]).flatten(1)
    stored = torch.cat([images for images, _ in EvaluationBatches(folder, "train", recipe, 30)]).flatten(1)
    assert seen.unique(dim=0).equal(stored.unique(dim=0))
    assert len(seen.unique(dim=0)) == 30


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_shares_of_all_processes_make_up_the_whole_batch(folder, world_size):
    whole = collected(TrainingBatches(folder, RECIPE, 5), 1)
    shares = [TrainingBatches(folder, RECIPE, 5, rank=rank, world_size=world_size) for rank in range(world_size)]
    parts = [collected(share, 1) for share in shares]
    joined = [tuple(torch.cat(tensors) for tensors in zip(*step, strict=True)) for step in zip(*parts, strict=True)]
    assert_same(whole, joined)
    for step, (_, labels) in enumerate(whole):
        weights = [share.weight(step) for share in shares]
        assert sum(weights) == pytest.approx(world_size)
        assert weights[0] * len(labels) / world_size == pytest.approx(len(parts[0][step][1]))


def test_a_last_step_too_small_for_the_processes_is_refused(folder):
    with pytest.raises(UserError, match="cannot be shared by 7 processes"):
        TrainingBatches(folder, RECIPE, 0, rank=0, world_size=7)


def test_evaluation_is_in_order_normalised_and_not_augmented(folder):
    from ternary_spike.data.prepared import read_split

    split = read_split(folder, "test")
    images, labels = (torch.cat(part) for part in zip(*EvaluationBatches(folder, "test", RECIPE, 4), strict=True))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (RECIPE.mean, RECIPE.std))
    assert torch.equal(labels, split.labels)
    assert torch.equal(images, (split.images.float() / 255 - mean) / std)


def test_a_subset_is_class_balanced_whatever_the_order():
    labels = torch.tensor([0] * 6 + [1] * 3 + [2] * 1)
    assert balanced_subset(labels, 6).tolist() == [0, 1, 2, 6, 7, 9]
    assert balanced_subset(labels, None).tolist() == list(range(10))
    shuffled = labels[torch.randperm(10, generator=torch.Generator().manual_seed(1))]
    assert shuffled[balanced_subset(shuffled, 5)].bincount().tolist() == [2, 2, 1]
    for count in (0, 11):
        with pytest.raises(UserError, match="choose from 1"):
            balanced_subset(labels, count)


def test_subsets_of_training_and_evaluation(folder):
    recipe = Recipe(**(RECIPE.as_dict() | {"train_samples": 10}))
    batches = TrainingBatches(folder, recipe, 0)
    assert (batches.samples, batches.steps) == (10, 2)
    assert torch.cat([labels for _, labels in batches.epoch(0)]).bincount().tolist() == [2] * 5
    evaluation = EvaluationBatches(folder, "test", recipe, 3, limit=5)
    assert (evaluation.samples, len(evaluation)) == (5, 2)
    assert torch.cat([labels for _, labels in evaluation]).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "image_size, timesteps, pictures", [(8, 2, 250), (32, 4, 250), (32, 8, 125), (48, 10, 44), (224, 4, 16)]
)
def test_fewer_pictures_are_evaluated_at_a_time_where_each_takes_more(image_size, timesteps, pictures):
    assert evaluation_batch_size(image_size, timesteps) == pictures


def test_a_recipe_for_other_channels_is_refused(folder):
    recipe = Recipe(**(RECIPE.as_dict() | {"mean": [0.5], "std": [0.2]}))
    with pytest.raises(UserError, match="mean has 1 values, but test has 3 channels"):
        TrainingBatches(folder, recipe, 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_sees_the_same_batches_and_no_step_waits_for_it(tmp_path):
    generator = torch.Generator().manual_seed(0)
    splits = {
        name: Split(
            torch.randint(0, 256, (5000, 3, 32, 32), generator=generator, dtype=torch.uint8), torch.arange(5000) % 5
        )
        for name in ("train", "test")
    }
    write_prepared(tmp_path, "test", "Test", {}, 5, splits)
    recipe = Recipe(**(RECIPE.as_dict() | {"batch_size": 128, "autoaugment": "cifar10", "roll": 2}))
    here = collected(TrainingBatches(tmp_path, recipe, 7), 0)
    batches = TrainingBatches(tmp_path, recipe, 7, "cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        there = collected(batches, 0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for (images, labels), (other_images, other_labels) in zip(here, there, strict=True):
        assert torch.equal(labels, other_labels.cpu())
        assert torch.allclose(images, other_images.cpu(), rtol=0, atol=1e-6)
