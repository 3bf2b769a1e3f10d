"""A training that takes a second: tiny pictures of two kinds, a tiny network, a short recipe."""

from pathlib import Path

import torch

from ternary_spike.configuration.recipe import Recipe
from ternary_spike.data.prepared import Split, write_prepared
from ternary_spike.training.state import TrainingPlan

SIZE = 8
CLASSES = 4
#: methods of one kind of neurons
NEURON_OF = {"conversion": "if", "diet": "diet", "dsr": "dsr_lif", "ptl": "if", "tssl_bp": "tssl"}
#: and of neurons with certain options
NEURON_OPTIONS_OF = {"dspike": {"surrogate": "tanh", "window": 0.5}}


def prepare_tiny(folder: Path, train: int = 96, test: int = 40) -> Path:
    """Prepared data whose classes can be learnt: a bright quadrant on noise."""
    generator = torch.Generator().manual_seed(0)

    def split(samples: int) -> Split:
        labels = torch.arange(samples) % CLASSES
        images = torch.randint(0, 120, (samples, 1, SIZE, SIZE), generator=generator)
        for image, label in zip(images, labels.tolist(), strict=True):
            top, left = divmod(label, 2)
            image[0, 4 * top : 4 * top + 4, 4 * left : 4 * left + 4] += 100
        return Split(images.to(torch.uint8), labels)

    write_prepared(
        folder, "tiny", "tiny test pictures", {"kind": "test"}, CLASSES, {"train": split(train), "test": split(test)}
    )
    return folder


def prepare_patterns(folder: Path, train: int = 160, test: int = 80) -> Path:
    """Prepared data that any network learns in a few steps: stripes along an axis, a chequerboard or none, on noise."""
    generator = torch.Generator().manual_seed(0)
    rows = (torch.arange(SIZE) % 2).expand(SIZE, SIZE)
    patterns = torch.stack([rows, rows.T, rows ^ rows.T, torch.zeros_like(rows)])

    def split(samples: int) -> Split:
        labels = torch.arange(samples) % CLASSES
        images = torch.randint(0, 100, (samples, 1, SIZE, SIZE), generator=generator)
        return Split((images + 150 * patterns[labels].unsqueeze(1)).to(torch.uint8), labels)

    write_prepared(
        folder, "tiny", "tiny test patterns", {"kind": "test"}, CLASSES, {"train": split(train), "test": split(test)}
    )
    return folder


def tiny_plan(
    data: Path, neuron: str = "trainable", seed: int = 0, method: dict | None = None, **recipe
) -> TrainingPlan:
    """A plan for the tiny data: width 4, two timesteps, three epochs of three steps unless told otherwise.

    ``method`` has the plan's fields that say how to train: method, method_options, source.
    """
    settings = {
        "name": "tiny",
        "epochs": 3,
        "batch_size": 32,
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "crop_padding": 1,
        "mean": [0.3],
        "std": [0.25],
    }
    model = {
        "architecture": "resnet6w4",
        "neuron": neuron,
        "timesteps": 2,
        "num_classes": CLASSES,
        "in_channels": 1,
        "image_size": SIZE,
        "neuron_options": {},
        "stem_batch_norm": "per_step",
    }
    name, chosen = f"tiny-resnet6w4-T2-{neuron}", Recipe(**(settings | recipe))
    return TrainingPlan(name, data, model, chosen, dict(recipe), seed, **(method or {}))
