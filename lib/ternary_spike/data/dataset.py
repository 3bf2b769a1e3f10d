"""What is known of a dataset before any of its files is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ternary_spike.configuration.register import Option


@dataclass(frozen=True)
class Dataset:
    """A dataset of the run table.

    Attributes:
        name: in the run table, such as ``cifar10``.
        label: of results made from the original data, such as "CIFAR-10".
        num_classes, channels, image_size: of the prepared data, with default options.
        sources: kind -> label of the results; the first is the original and the default. A kind called "subset" is
            a smaller set in the original's own format, and its label is completed by its size.
        downloadable: kinds of source that ``download`` fetches.
        options: settings of the preparation.
        frames: T of event frames, None for static pictures.
        of_varying_size: whether its pictures are, and are cropped in training.
        train_samples, test_samples: of the original with default options; None where nobody has counted.
    """

    name: str
    label: str
    num_classes: int
    channels: int
    image_size: int
    sources: Mapping[str, str]
    downloadable: tuple[str, ...] = ()
    options: Mapping[str, Option] = field(default_factory=dict)
    frames: int | None = None
    of_varying_size: bool = False
    train_samples: int | None = None
    test_samples: int | None = None

    def settings(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of a preparation: the defaults, but for those given."""
        return {name: option.default for name, option in self.options.items()} | dict(options)

    def prepared_size(self, options: Mapping[str, Any]) -> int:
        """Side of the pictures prepared with these options, in pixels."""
        settings = self.settings(options)
        return int(settings.get("size", settings.get("image_size", self.image_size)))


def subset_label(label: str, samples: Mapping[str, int]) -> str:
    """A subset's label with its size, such as "CIFAR-10 subset (200 + 100)": training and test samples."""
    return f"{label} ({samples['train']:,} + {samples['test']:,})"
