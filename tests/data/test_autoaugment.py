"""AutoAugment in batches against Pillow's operations, called as in the authors' script on one picture at a time."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from sklearn.datasets import load_sample_image
from torchvision.transforms import AutoAugment as Torchvisions
from torchvision.transforms import AutoAugmentPolicy

from ternary_spike.data.autoaugment import POLICY, AutoAugment, branch

# sub-policy, which of its operations happen, their signs (of those that happen: the others' are of no effect)
BRANCHES = [
    (policy, happens, signs)
    for policy in range(25)
    for happens in itertools.product((0, 1), repeat=2)
    for signs in itertools.product(*((0, 1) if yes else (0,) for yes in happens))
]


def operate(picture, operation, magnitude, sign):
    """What the authors' script asks of Pillow for one operation on one picture: index of the magnitude, sign +-1."""
    share = np.linspace(0, 0.9, 10)[magnitude]
    slope = np.linspace(0, 0.3, 10)[magnitude] * sign
    way = np.linspace(0, 150 / 331, 10)[magnitude] * picture.width * sign

    def transformed(matrix, resample):
        return picture.transform(picture.size, Image.Transform.AFFINE, matrix, resample, fillcolor=(128, 128, 128))

    if operation == "ShearY":
        return transformed((1, 0, 0, slope, 1, 0), Image.Resampling.BICUBIC)
    if operation == "TranslateX":
        return transformed((1, 0, way, 0, 1, 0), Image.Resampling.NEAREST)
    if operation == "TranslateY":
        return transformed((1, 0, 0, 0, 1, way), Image.Resampling.NEAREST)
    if operation == "Rotate":
        turned = picture.convert("RGBA").rotate(np.linspace(0, 30, 10)[magnitude])
        return Image.composite(turned, Image.new("RGBA", turned.size, (128,) * 4), turned).convert("RGB")
    if operation == "Posterize":
        return ImageOps.posterize(picture, int(np.round(np.linspace(8, 4, 10))[magnitude]))
    if operation == "Solarize":
        return ImageOps.solarize(picture, np.linspace(256, 0, 10)[magnitude])
    if operation in ("AutoContrast", "Equalize", "Invert"):
        return getattr(ImageOps, operation.lower())(picture)
    return getattr(ImageEnhance, operation)(picture).enhance(1 + share * sign)


def pictures(side):
    """Noise, smooth gradients, pictures of few colours or one, dark, light: what tables and borders could get wrong."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (3, 3, side, side), generator=generator)
    ramp = torch.linspace(0, 255, side).view(1, side) * torch.linspace(0.2, 1, side).view(side, 1)
    smooth = torch.stack([ramp, ramp.T, 255 - ramp]).unsqueeze(0)
    few = torch.randint(0, 2, (1, 3, side, side), generator=generator) * 200 + 10
    nearly_constant = torch.full((1, 3, side, side), 90)
    nearly_constant[0, 1, 3, 5] = 91
    constant = torch.full((1, 3, side, side), 17)
    narrow = torch.randint(100, 131, (2, 3, side, side), generator=generator)
    edges = torch.cat([torch.zeros(1, 3, side, side), torch.full((1, 3, side, side), 255)])
    return torch.cat([noise, smooth, few, nearly_constant, constant, narrow, edges]).to(torch.uint8)


def to_pil(picture):
    return Image.fromarray(picture.permute(1, 2, 0).numpy())


def to_tensor(picture):
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def assert_every_branch_equals(images):
    """Each branch of the policy, bit for bit."""
    ours = AutoAugment(images.shape[-1])
    for policy, happens, signs in BRANCHES:
        chances = [0.0 if yes else 0.9999 for yes in happens]
        happens = [yes and probability > 0 for yes, (_, probability, _) in zip(happens, POLICY[policy], strict=True)]
        actions = branch(torch.tensor([[policy]]), torch.tensor([chances]), torch.tensor([signs]))
        got = ours(images, actions.expand(len(images), -1))
        expected = []
        for image in images:
            picture = to_pil(image)
            for yes, sign, (operation, _, magnitude) in zip(happens, signs, POLICY[policy], strict=True):
                if yes:
                    picture = operate(picture, operation, magnitude, 2 * sign - 1)
            expected.append(to_tensor(picture))
        assert torch.equal(got, torch.stack(expected)), (POLICY[policy], happens, signs)


@pytest.mark.parametrize("side", [32, pytest.param(16, marks=pytest.mark.full)])
def test_every_branch_equals_the_authors_on_pillow(side):
    assert_every_branch_equals(pictures(side))


def test_every_branch_equals_the_authors_on_pillow_on_photographs():
    tiles = []
    for name in ("china.jpg", "flower.jpg"):
        photograph = to_tensor(Image.fromarray(load_sample_image(name)).resize((96, 64)))
        tiles += photograph.unfold(1, 32, 32).unfold(2, 32, 32).flatten(1, 2).unbind(1)
    assert_every_branch_equals(torch.stack(tiles))


@pytest.mark.full
@pytest.mark.skipif("TERNARY_SPIKE_DATA" not in os.environ, reason="TERNARY_SPIKE_DATA names no folder of real data")
def test_every_branch_equals_the_authors_on_pillow_on_cifar(tmp_path):
    from ternary_spike.data.prepared import read_split
    from ternary_spike.data.registry import prepare

    prepare("cifar10", "jpeg-npz", Path(os.environ["TERNARY_SPIKE_DATA"]) / "cifar10-jpeg", {}, tmp_path)
    assert_every_branch_equals(read_split(tmp_path, "test").images[:24])


def changed(operation, magnitude, images, sign=1):
    """What one operation alone makes of the pictures."""
    ours = AutoAugment(images.shape[-1])
    index = next(
        1 + 4 * number + 2 * position + sign
        for number, pair in enumerate(POLICY)
        for position, (name, _, level) in enumerate(pair)
        if (name, level) == (operation, magnitude)
    )
    return ours(images, torch.tensor([[index, 0]], dtype=torch.int32).expand(len(images), -1))


@pytest.mark.parametrize(
    ("operation", "magnitude", "pixels"), [("TranslateX", 9, 15), ("TranslateX", 8, 13), ("TranslateY", 3, 5)]
)
def test_translations_are_as_long_as_the_authors(operation, magnitude, pixels):
    along = torch.arange(32, dtype=torch.uint8).expand(1, 3, 32, 32)
    images = along if operation == "TranslateX" else along.mT.contiguous()
    for sign, source in ((0, 16 - pixels), (1, 16 + pixels)):
        moved = changed(operation, magnitude, images, sign)
        assert moved[0, 0, 16, 16] == source
        assert (moved == 128).sum() == 3 * 32 * pixels


@pytest.mark.parametrize(("magnitude", "first"), [(2, 200), (3, 171), (5, 114), (8, 29)])
def test_solarize_inverts_from_the_authors_grey_level(magnitude, first):
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    kept = (changed("Solarize", magnitude, levels) == levels)[0, 0].flatten()
    assert kept.tolist() == [level < first for level in range(256)]


def test_a_batch_of_different_branches_equals_each_alone():
    images = pictures(32)
    ours = AutoAugment(32)
    actions = ours.draw(400, torch.Generator().manual_seed(3))
    batch = images.repeat(40, 1, 1, 1)[:400]
    together = ours(batch, actions)
    alone = torch.cat([ours(image[None], action[None]) for image, action in zip(batch, actions, strict=True)])
    assert torch.equal(together, alone)
    assert torch.equal(batch, images.repeat(40, 1, 1, 1)[:400])


def test_the_policy_is_torchvisions_but_for_one_probability():
    theirs = [[(name, p, m or 0) for name, p, m in pair] for pair in Torchvisions(AutoAugmentPolicy.CIFAR10).policies]
    theirs[16] = [("Equalize", 0.2, 0), ("Equalize", 0.8, 0)]
    assert theirs == [list(pair) for pair in POLICY]


def test_draws_have_the_policys_distribution():
    count = 200_000
    actions = AutoAugment.draw(count, torch.Generator().manual_seed(0)).long()
    policies, slots = (actions - 1) // 4, (actions - 1) % 4
    for index, pair in enumerate(POLICY):
        for position, (_, probability, _) in enumerate(pair):
            chosen = slots[policies[:, position] == index, position]
            assert set(chosen.tolist()) <= {2 * position, 2 * position + 1}
            # five standard deviations of the binomial, for 25 x 2 x 2 comparisons
            for sign in (0, 1):
                expected = count / 25 * probability / 2
                assert abs((chosen == 2 * position + sign).sum() - expected) <= 5 * expected**0.5
    both = (actions > 0).all(1).float().mean()
    expected = sum(first[1] * second[1] for first, second in POLICY) / 25
    assert both == pytest.approx(expected, abs=0.006)


def test_an_operation_happens_below_its_probability():
    actions = branch(torch.tensor([[3], [14]]), torch.tensor([[0.5, 0.6875], [0.25, 0.0]]), torch.tensor([[1, 1]] * 2))
    assert actions.tolist() == [[0, 16], [58, 0]]
