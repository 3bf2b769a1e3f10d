"""A planned training and what the workflow and the tables ask of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ternary_spike.configuration.method_sheet import MethodSheet
from ternary_spike.configuration.recipe import deciding
from ternary_spike.methods.registry import METHODS, PAPERS_WAY
from ternary_spike.planning.data_source import DataSource
from ternary_spike.planning.network_options import normalisation, of_network
from ternary_spike.planning.source_runs import finds_threshold

RUNNABLE, NOT_RUN = "runnable", "not run"


@dataclass(frozen=True)
class Run:
    """One training: a row of the run table with one seed.

    Attributes:
        id: unique name of row, data and changes; with ``seed`` the name of the results' folder.
        neuron_options: the row's and its method's, as text; the network's among them.
        changes: the recipe's keys that are changed, such as ``{"epochs": 3}``, beyond what the method changes.
        reduced: what that makes of the run, in words, such as "3 of 400 epochs"; empty for a full run.
        values: of the recipe, the method's and other changes applied, by field.
        data: where its data comes from.
        status, reason: "runnable" or "not run" and why.
        method: the sheet of the method that it is a run of; None for the paper's own way.
        source: id of the run that it builds on; empty where it builds on none.
        source_seed: which of that run's seeds it starts from: its own, or the first where there is no such.
    """

    id: str
    seed: int
    dataset: str
    architecture: str
    timesteps: int
    neuron: str
    variant: str
    neuron_options: Mapping[str, str]
    recipe: str
    changes: Mapping[str, Any]
    reduced: str
    values: Mapping[str, Any]
    tables: tuple[str, ...]
    control: bool
    data: DataSource
    status: str
    reason: str
    method: MethodSheet | None = None
    source: str = ""
    source_seed: int = 0

    @property
    def folder(self) -> str:
        """The run's folder within ``runs/``."""
        return f"{self.id}/seed{self.seed}"

    @property
    def training(self) -> str:
        """How it is trained, a name of :data:`ternary_spike.methods.registry.METHODS`."""
        return (self.method.training if self.method else "") or PAPERS_WAY

    @property
    def target(self) -> str:
        """Id of the run whose firing rate its threshold is found for; empty where a threshold is given."""
        return self.source if finds_threshold(self.neuron_options) else ""

    @property
    def source_folder(self) -> str:
        """The folder, within ``runs/``, of the run that its training starts from; empty where it starts from none."""
        starts = self.source and (not self.target or METHODS[self.training].from_run)
        return f"{self.source}/seed{self.source_seed}" if starts else ""

    @property
    def recipe_hash(self) -> str:
        """A short hash of the recipe's values, and of how to train where that is not the paper's way.

        Comments, sources of values and fields at their default do not count.
        """
        decisive: Any = deciding(self.values)
        if self.method is not None:
            decisive = [decisive, self.training, dict(self.method.training_options)]
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def model(self) -> dict[str, Any]:
        """What decides the run's network, as far as the plan says it; keys as in run.json."""
        return {
            "architecture": self.architecture,
            "neuron": self.neuron,
            "timesteps": self.timesteps,
            "neuron_options": self.given_options,
            **normalisation(self.network_options),
        }

    @property
    def decisive(self) -> dict[str, Any]:
        """What decides which code a stage of the run reaches, as far as the plan says it; keys as in run.json."""
        options = dict(self.method.training_options) if self.method else {}
        return {"model": self.model, "recipe": self.values, "method": self.training, "method_options": options}

    @property
    def given_options(self) -> dict[str, str]:
        """The neuron's options without a threshold that is yet to be found."""
        absent = {*self.network_options, *(["threshold"] if self.target else [])}
        return {key: text for key, text in self.neuron_options.items() if key not in absent}

    @property
    def network_options(self) -> dict[str, str]:
        """The network's options among the row's."""
        return of_network(self.neuron_options)

    def row(self) -> dict[str, Any]:
        """The run as a row of plan.csv."""
        return {
            "id": self.id,
            "seed": self.seed,
            "dataset": self.dataset,
            "architecture": self.architecture,
            "timesteps": self.timesteps,
            "neuron": self.neuron,
            "method": self.method.name if self.method else "",
            "method_label": self.method.label if self.method else "",
            "own_recipe": str(self.method.own_recipe).lower() if self.method else "",
            "variant": self.variant,
            "neuron_options": _joined(self.neuron_options),
            "recipe": self.recipe,
            "changes": _joined(self.changes),
            "reduced": self.reduced,
            "tables": ";".join(self.tables),
            "control": str(self.control).lower(),
            "data": self.data.name,
            "source": self.data.kind,
            "source_run": self.source,
            "status": self.status,
            "reason": self.reason,
        }


def _joined(pairs: Mapping[str, Any]) -> str:
    return ";".join(f"{key}={value}" for key, value in sorted(pairs.items()))
