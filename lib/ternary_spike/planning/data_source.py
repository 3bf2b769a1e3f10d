"""Where the data of planned runs comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ternary_spike.configuration.run_table import file_part


@dataclass(frozen=True)
class DataSource:
    """Where a dataset comes from.

    Attributes:
        dataset: its name in the run table.
        kind: the source's kind, such as ``torchvision``.
        root: folder or file of the dataset's own files; None where the source has none.
        options: settings of the preparation that differ from their defaults.
        original: whether results made from it may bear the dataset's plain name.
    """

    dataset: str
    kind: str
    root: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    original: bool = True

    @property
    def name(self) -> str:
        """Name of the prepared data: the dataset and whatever sets it apart from the original with default settings."""
        parts = [self.dataset, *([] if self.original else [self.kind])]
        return ".".join(parts + [file_part(f"{key}_{value}") for key, value in sorted(self.options.items())])
