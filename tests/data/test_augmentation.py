"""The augmentations against their definitions, one picture at a time."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from ternary_spike import UserError
from ternary_spike.configuration.recipe import Recipe
from ternary_spike.data.augmentation import Augmentation, Normalisation, crop, cut_out, roll
from ternary_spike.data.autoaugment import AutoAugment

PLAIN = Recipe(name="x", epochs=1, batch_size=1, learning_rate=1.0, momentum=0.0, weight_decay=0.0)


def pictures(count, *shape, seed=0):
    return torch.randint(1, 256, (count, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_crop_is_a_window_of_the_padded_picture():
    images = pictures(4, 2, 6, 7)
    offsets = torch.tensor([[0, 0], [4, 4], [2, 2], [3, 1]])
    got = crop(images, 2, offsets)
    padded = F.pad(images, (2, 2, 2, 2))
    for i, (down, right) in enumerate(offsets.tolist()):
        assert torch.equal(got[i], padded[i, :, down : down + 6, right : right + 7])


def test_roll_wraps_round():
    images = pictures(3, 2, 5, 6)
    shifts = torch.tensor([[0, 0], [2, -3], [-5, 5]])
    got = roll(images, shifts)
    for i, shift in enumerate(shifts.tolist()):
        assert torch.equal(got[i], images[i].roll(shift, dims=(1, 2)))


@pytest.mark.parametrize("size", [4, 5])
def test_the_hole_is_clipped_at_the_border(size):
    images = pictures(3, 3, 8, 9)
    centres = torch.tensor([[4, 4], [0, 8], [7, 0]])
    got = cut_out(images, size, centres)
    for i, (y, x) in enumerate(centres.tolist()):
        expected = images[i].clone()
        top, left = y - size // 2, x - size // 2
        expected[:, max(0, top) : top + size, max(0, left) : left + size] = 0
        assert torch.equal(got[i], expected)


def test_each_augmentation_of_a_recipe_is_applied_in_the_authors_order():
    recipe = replace(PLAIN, crop_padding=4, flip=True, roll=3, autoaugment="cifar10", cutout=16)
    images = pictures(300, 3, 32, 32)
    augmentation = Augmentation(recipe, (3, 32, 32))
    draws = augmentation.draw(300, torch.Generator().manual_seed(1))
    got = augmentation(images, draws)
    expected = crop(images, 4, draws["crop"])
    expected = torch.where(draws["flip"].view(-1, 1, 1, 1), expected.flip(-1), expected)
    expected = roll(expected, draws["roll"])
    expected = AutoAugment(32)(expected, draws["autoaugment"])
    expected = cut_out(expected, 16, draws["cutout"])
    assert torch.equal(got, expected)
    # Cutout comes last: whatever AutoAugment makes of black, the hole is black
    for picture, (y, x) in zip(got, draws["cutout"].tolist(), strict=True):
        assert not picture[:, max(0, y - 8) : y + 8, max(0, x - 8) : x + 8].any()


@pytest.mark.parametrize(
    ("change", "name", "low", "high"),
    [
        ({"crop_padding": 4}, "crop", 0, 8),
        ({"flip": True}, "flip", 0, 1),
        ({"roll": 5}, "roll", -5, 5),
        ({"cutout": 16}, "cutout", 0, 31),
    ],
)
def test_draws_are_uniform(change, name, low, high):
    augmentation = Augmentation(replace(PLAIN, **change), (3, 32, 32))
    drawn = augmentation.draw(40_000, torch.Generator().manual_seed(0))[name].long().view(40_000, -1)
    for axis in drawn.unbind(1):
        counts = (axis - low).bincount(minlength=high - low + 1)
        expected = 40_000 / (high - low + 1)
        assert len(counts) == high - low + 1
        assert (counts - expected).abs().max() <= 5 * expected**0.5
    if drawn.shape[1] == 2:
        assert abs(torch.corrcoef(drawn.T.double())[0, 1]) < 0.03


def test_all_frames_of_a_recording_move_alike():
    recordings = pictures(6, 4, 2, 8, 8)
    augmentation = Augmentation(replace(PLAIN, flip=True, roll=3), (4, 2, 8, 8))
    draws = augmentation.draw(6, torch.Generator().manual_seed(2))
    together = augmentation(recordings, draws)
    assert together.shape == recordings.shape
    alone = Augmentation(replace(PLAIN, flip=True, roll=3), (2, 8, 8))
    for t in range(4):
        assert torch.equal(together[:, t], alone(recordings[:, t].clone(), draws))


def test_nothing_is_drawn_or_done_without_augmentation():
    images = pictures(2, 1, 8, 8)
    augmentation = Augmentation(PLAIN, (1, 8, 8))
    draws = augmentation.draw(2, torch.Generator())
    assert draws == {}
    assert torch.equal(augmentation(images, draws), images)


def test_the_hole_is_black_before_normalisation_and_counts_stay_counts():
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    holes = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    expected = (-torch.tensor(mean) / torch.tensor(std)).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert torch.equal(Normalisation(mean, std)(holes), expected)
    counts = pictures(1, 4, 2, 3, 3)
    assert torch.equal(Normalisation(None, None)(counts), counts.to(torch.float32))


@pytest.mark.parametrize("shape", [(1, 16, 16), (10, 3, 16, 16), (3, 16, 32)])
def test_autoaugment_is_refused_where_it_means_nothing(shape):
    with pytest.raises(UserError, match="set autoaugment to none"):
        Augmentation(replace(PLAIN, autoaugment="cifar10"), shape)
