"""scikit-learn's handwritten digits: real data that needs no download, for the demo.

1,797 pictures of 8x8 pixels (the test half of UCI's optical digits), enlarged to 16x16; a stratified quarter is held
out for testing.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ternary_spike.data.dataset import Dataset

if TYPE_CHECKING:  # a job of the workflow asks what there is when it starts, and must not wait for torch
    from ternary_spike.data.prepared import Manifest

SIZE = 16
TEST_SAMPLES = 450
SPLIT_SEED = 0
ROOTS: dict[str, str] = {}
HOW_TO_GET = "scikit-learn brings it along; run `prepare` at once"

DATASETS = {
    "digits": Dataset(
        name="digits",
        label="scikit-learn digits, 16x16",
        num_classes=10,
        channels=1,
        image_size=SIZE,
        train_samples=1347,
        test_samples=TEST_SAMPLES,
        sources={"scikit-learn": "scikit-learn digits, 16x16"},
    )
}


def missing(dataset: Dataset, source: str, root: Path | None, options: dict[str, Any]) -> None:
    """None: the digits are always there."""


def prepare(dataset: Dataset, source: str, root: Path | None, options: dict[str, Any], folder: Path) -> "Manifest":
    """Write the digits as prepared data: 1,347 training and 450 test pictures, uint8 [N, 1, 16, 16]."""
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from torch.nn import functional as F

    from ternary_spike.data.prepared import Split, write_prepared

    digits = load_digits()
    images = torch.from_numpy(digits.images).float().unsqueeze(1) * (255 / 16)
    images = F.interpolate(images, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    images = images.round().clamp(0, 255).to(torch.uint8)
    labels = torch.from_numpy(digits.target).long()
    train, test = train_test_split(
        torch.arange(len(labels)).numpy(), test_size=TEST_SAMPLES, stratify=digits.target, random_state=SPLIT_SEED
    )
    splits = {name: Split(images[index], labels[index]) for name, index in (("train", train), ("test", test))}
    described = {"kind": source, "size": SIZE, "test_samples": TEST_SAMPLES, "split_seed": SPLIT_SEED}
    return write_prepared(folder, dataset.name, dataset.sources[source], described, dataset.num_classes, splits)
