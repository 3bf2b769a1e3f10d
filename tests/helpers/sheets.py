"""Method sheets for tests: the toy methods of :mod:`tests.helpers.methods`, each with a source for every value."""

from pathlib import Path
from typing import Any

import yaml

TOYS = "tests.helpers.methods"


def sheet(**changes: Any) -> dict[str, Any]:
    """The content of a sheet that is right: a loss at each timestep, on binary neurons with a threshold of their own.

    A change to None leaves a key out.
    """
    content = {
        "title": "Each Step",
        "citation": "Nobody, nowhere",
        "level": "partly",
        "filled_in": ["the margin"],
        "neuron": "binary",
        "neuron_options": {"threshold": 1.0, "surrogate": "triangle"},
        "training": f"{TOYS}:AtEachTimestep",
        "training_options": {"margin": 0.5},
        "recipe": {"momentum": 0.5, "weight_decay": "1e-4"},
        "sources": {
            "neuron": "paper: section 3",
            "neuron_options.threshold": "paper: section 3",
            "neuron_options.surrogate": "authors' code: neuron.py",
            "training": "paper: Eq. 1",
            "training_options.margin": "our choice: the paper has none",
            "recipe.momentum": "paper: section 5",
            "recipe.weight_decay": "paper: section 5",
        },
    } | changes
    return {key: value for key, value in content.items() if value is not None}


def training_alone(title: str, training: str) -> dict[str, Any]:
    """The content of a sheet that says how to train and leaves all else to the row and its recipe."""
    unused = dict.fromkeys(("neuron", "neuron_options", "training_options", "recipe", "filled_in"))
    sources = {"training": "paper: Eq. 2"}
    return sheet(**unused, title=title, level="faithful", training=f"{TOYS}:{training}", sources=sources)


def write_sheet(folder: Path, name: str, content: dict[str, Any]) -> Path:
    """Write a sheet into a folder of sheets."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path
