"""The tables of Guo et al., "Ternary Spike: Learning Ternary Spikes for Spiking Neural Networks" (AAAI 2024) as data.

``accuracy.csv`` holds every row of Tables 1-4 (own: the paper's own runs; the others are the literature, as quoted
there), ``energy.csv`` Table 5. Accuracies, rates and sparsities are in percent, energies in microjoule.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TITLE = "Ternary Spike: Learning Ternary Spikes for Spiking Neural Networks (Guo et al., AAAI 2024)"
HERE = Path(__file__).parent

#: the paper's trials behind a printed mean with a standard deviation (Experiment, "Comparison with SoTA methods")
TRIALS = 3

#: energy of one operation in picojoule (Energy Estimation): a multiply-accumulate, a synaptic operation, a sign
ENERGY_PJ = {"mac": 12.5, "synop": 0.077, "sign": 3.7}


def energies_in_words(flop: float, synop: float, sign: float) -> str:
    """Energies of operations in picojoule as a sentence names them."""
    return f"{flop:g} pJ a FLOP, {1000 * synop:g} fJ an addition, {sign:g} pJ a comparison"


#: the paper's energies in words
CONSTANTS = energies_in_words(*ENERGY_PJ.values())

#: decimals that Table 5 prints
ENERGY_DECIMALS = 2

NEURON_OF_METHOD = {"Binary spike": "binary", "Ternary spike": "ternary", "Trainable ternary spike": "trainable"}


@dataclass(frozen=True)
class Dataset:
    """What makes a run's data the paper's own.

    Attributes:
        name: the name that the paper prints.
        label: how prepared data from the original source is labelled; a substitute's label differs.
        train_samples, test_samples: sizes of the splits.
        epochs: length of the schedule in the authors' code; None where they give none.
    """

    name: str
    label: str
    train_samples: int
    test_samples: int
    epochs: int | None


DATASETS = {
    "cifar10": Dataset("CIFAR-10", "CIFAR-10", 50_000, 10_000, 400),
    "cifar100": Dataset("CIFAR-100", "CIFAR-100", 50_000, 10_000, 400),
    "imagenet": Dataset("ImageNet", "ImageNet", 1_281_167, 50_000, 320),
    "cifar10dvs": Dataset("CIFAR10-DVS", "CIFAR10-DVS", 9_000, 1_000, None),
}
DATASET_OF_NAME = {dataset.name: key for key, dataset in DATASETS.items()}


@dataclass(frozen=True)
class Accuracy:
    """A row of Tables 1-4; percentages. ``std_percent`` is None where the paper prints none."""

    table: int
    dataset: str
    method: str
    citation: str
    type: str
    architecture: str
    timesteps: int
    accuracy_percent: float
    std_percent: float | None
    own: bool

    @property
    def neuron(self) -> str | None:
        """The neuron's name in the run table; None for the literature."""
        return NEURON_OF_METHOD[self.method] if self.own else None

    @property
    def trials(self) -> int:
        """Trials behind the printed figure: 3 where a standard deviation is printed, else taken as 1."""
        return 1 if self.std_percent is None else TRIALS


@dataclass(frozen=True)
class Energy:
    """A row of Table 5: operations in millions an image, energy in microjoule, sparsity in percent."""

    method: str
    flops_million: float
    sops_million: float
    sign_million: float
    energy_microjoule: float
    sparsity_percent: float
    timesteps: int
    architecture: str
    dataset: str

    @property
    def neuron(self) -> str:
        """The neuron's name in the run table."""
        return NEURON_OF_METHOD[self.method]

    def from_counts(self) -> float:
        """The energy that follows from the row's own printed counts, in microjoule, unrounded."""
        pj = ENERGY_PJ
        return self.flops_million * pj["mac"] + self.sops_million * pj["synop"] + self.sign_million * pj["sign"]


def _rows(file: str) -> list[dict[str, str]]:
    with (HERE / file).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@cache
def accuracies() -> tuple[Accuracy, ...]:
    """Every row of Tables 1-4, in the paper's order."""
    return tuple(
        Accuracy(
            table=int(row["table"]),
            dataset=row["dataset"],
            method=row["method"],
            citation=row["citation"],
            type=row["type"],
            architecture=row["architecture"],
            timesteps=int(row["timesteps"]),
            accuracy_percent=float(row["accuracy_percent"]),
            std_percent=float(row["std_percent"]) if row["std_percent"] else None,
            own=row["own"] == "true",
        )
        for row in _rows("accuracy.csv")
    )


@cache
def energies() -> tuple[Energy, ...]:
    """The two rows of Table 5."""
    numbers = ("flops_million", "sops_million", "sign_million", "energy_microjoule", "sparsity_percent")
    return tuple(
        Energy(**{**row, **{key: float(row[key]) for key in numbers}, "timesteps": int(row["timesteps"])})
        for row in _rows("energy.csv")
    )


def own(table: int, dataset: str, architecture: str, timesteps: int, neuron: str) -> Accuracy:
    """The paper's own row of a table, by the run table's names.

    Raises:
        KeyError: if the paper has no such row.
    """
    for row in accuracies():
        key = (row.table, DATASET_OF_NAME[row.dataset], row.architecture.lower(), row.timesteps, row.neuron)
        if key == (table, dataset, architecture, timesteps, neuron):
            return row
    raise KeyError(f"Table {table} has no own row {dataset}, {architecture}, T = {timesteps}, {neuron}")
