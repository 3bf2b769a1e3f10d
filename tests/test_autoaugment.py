"""AutoAugment in batches against torchvision's, which works on one PIL picture at a time."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import AutoAugment as Reference
from torchvision.transforms import AutoAugmentPolicy

from ternary_spike.autoaugment import POLICY, AutoAugment, branch

# sub-policy, which of its operations happen, their signs (of those that happen: the others' are of no effect)
BRANCHES = [
    (policy, happens, signs)
    for policy in range(25)
    for happens in itertools.product((0, 1), repeat=2)
    for signs in itertools.product(*((0, 1) if yes else (0,) for yes in happens))
]


class Directed(Reference):
    """torchvision's own transform, told what to draw through the method that it draws with."""

    def __init__(self, policy, chances, signs):
        super().__init__(AutoAugmentPolicy.CIFAR10, fill=(128, 128, 128))
        self.get_params = lambda count: (policy, torch.tensor(chances), torch.tensor(signs))


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
    """Each of the 225 branches, bit for bit."""
    ours = AutoAugment(images.shape[-1])
    for policy, happens, signs in BRANCHES:
        chances = [0.0 if yes else 0.9999 for yes in happens]
        actions = branch(torch.tensor([[policy]]), torch.tensor([chances]), torch.tensor([signs]))
        got = ours(images, actions.expand(len(images), -1))
        reference = Directed(policy, chances, signs)
        expected = torch.stack([to_tensor(reference(to_pil(image))) for image in images])
        assert torch.equal(got, expected), (POLICY[policy], happens, signs)


@pytest.mark.parametrize("side", [32, pytest.param(16, marks=pytest.mark.full)])
def test_every_branch_equals_torchvision(side):
    assert_every_branch_equals(pictures(side))


@pytest.mark.full
@pytest.mark.skipif("TERNARY_SPIKE_DATA" not in os.environ, reason="TERNARY_SPIKE_DATA names no folder of real data")
def test_every_branch_equals_torchvision_on_real_pictures(tmp_path):
    from ternary_spike.data.prepared import read_split
    from ternary_spike.data.registry import prepare

    prepare("cifar10", "jpeg-npz", Path(os.environ["TERNARY_SPIKE_DATA"]) / "cifar10-jpeg", {}, tmp_path)
    assert_every_branch_equals(read_split(tmp_path, "test").images[:24])


def test_a_batch_of_different_branches_equals_each_alone():
    images = pictures(32)
    ours = AutoAugment(32)
    actions = ours.draw(400, torch.Generator().manual_seed(3))
    batch = images.repeat(40, 1, 1, 1)[:400]
    together = ours(batch, actions)
    alone = torch.cat([ours(image[None], action[None]) for image, action in zip(batch, actions, strict=True)])
    assert torch.equal(together, alone)
    assert torch.equal(batch, images.repeat(40, 1, 1, 1)[:400])


def test_the_policy_is_torchvisions():
    theirs = Reference(AutoAugmentPolicy.CIFAR10).policies
    assert [[(name, p, m or 0) for name, p, m in pair] for pair in theirs] == [list(pair) for pair in POLICY]


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


def test_an_operation_of_probability_one_half_happens_up_to_it():
    actions = branch(torch.tensor([[3]]), torch.tensor([[0.5, 0.75]]), torch.tensor([[1, 1]]))
    assert actions.tolist() == [[14, 0]]
