"""Whether the parts that rows and method sheets name are there and take the options that these give them."""

from collections.abc import Callable, Mapping
from typing import Any

from ternary_spike.configuration.method_sheet import LEVELS, MethodSheet
from ternary_spike.configuration.register import ELSEWHERE, Registry
from ternary_spike.data import registry
from ternary_spike.methods.registry import METHODS
from ternary_spike.models.normalisations import NORMALISATIONS
from ternary_spike.models.registry import ARCHITECTURES, make_network
from ternary_spike.neurons.registry import NEURONS
from ternary_spike.planning.network_options import NETWORK_OPTIONS, NORMALISATION, network_arguments, of_network
from ternary_spike.planning.run import Run
from ternary_spike.system.errors import UserError


def require_parts(sheet: MethodSheet) -> None:
    """Raise UserError, with the sheet's file and the key, for a part that is not there or does not take an option."""

    def require(key: str, check: Callable) -> None:
        try:
            check()
        except ValueError as error:
            raise UserError(f"{sheet.path}: {key}: {error}") from None

    if sheet.neuron:
        require("neuron", lambda: _require_there(NEURONS, sheet.neuron))
        require("neuron_options", lambda: NEURONS.options(sheet.neuron, sheet.neuron_options, text=True))
    if sheet.training:
        require("training", lambda: _require_there(METHODS, sheet.training))
        require("training_options", lambda: METHODS.options(sheet.training, sheet.training_options, text=True))
    if unknown := sorted(set(sheet.network_options) - set(of_network(sheet.network_options))):
        known = f"{', '.join(NETWORK_OPTIONS)} and {NORMALISATION}.KEY"
        raise UserError(f"{sheet.path}: unknown key 'network_options.{unknown[0]}'; known are {known}")
    options = dict(sheet.network_options)
    stem = {key: options.pop(key) for key in ("stem_batch_norm",) if key in options}
    require("network_options.stem_batch_norm", lambda: network_arguments(stem))
    require("network_options.normalisation", lambda: network_arguments(options))
    _require_no_better_level(sheet)


def _require_there(registered: Registry, name: str) -> None:
    """Raise ValueError if there is no such part. Only a user's own is imported to see: the others would take torch."""
    part = registered[name]
    if ELSEWHERE.fullmatch(name):
        part.load()


def _require_no_better_level(sheet: MethodSheet) -> None:
    """Raise UserError if a sheet promises more than one of its parts does."""
    normalisation = sheet.network_options.get(NORMALISATION, "")
    parts = {
        "neuron": (NEURONS, sheet.neuron),
        "training": (METHODS, sheet.training),
        "normalisation": (NORMALISATIONS, normalisation),
    }
    for key, (registered, name) in parts.items():
        level = registered[name].level if name else ""
        if level and LEVELS.index(level) > LEVELS.index(sheet.level):
            raise UserError(f"{sheet.path}: level is {sheet.level}, but its {key}, {name}, is {level}; write {level}")


def require_known(row: Mapping[str, Any], where: str) -> None:
    """Raise UserError if a row names a dataset, network or neuron that is in no registry and is no ``module:Name``."""
    if row["dataset"] not in registry.names():
        known = ", ".join(registry.names())
        raise UserError(f"{where}: unknown dataset {row['dataset']!r}: choose one of {known}")
    try:
        for parts, name in ((ARCHITECTURES, row["architecture"]), (NEURONS, row["neuron"])):
            parts[name]
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def require_network(run: Run, channels: int, size: int) -> None:
    """Raise an error if a run's network cannot be made.

    One that has a part of a user's own is made, and shown a black picture: nobody knows it but by trying.

    Args:
        run: of the plan.
        channels, size: of its pictures.

    Raises:
        ValueError: if a part does not have an option, or not with that value.
        UserError: if a user's own part cannot be made, or the network gives no class scores.
    """
    options = NEURONS.options(run.neuron, run.given_options, text=True)
    others = network_arguments(run.network_options)
    if not any(ELSEWHERE.fullmatch(name) for name in (run.neuron, run.architecture, others.get(NORMALISATION, ""))):
        return
    import torch

    sizes = {"num_classes": 10, "in_channels": channels, "image_size": size}
    try:
        network = make_network(run.architecture, run.neuron, run.timesteps, neuron_options=options, **others, **sizes)
        with torch.no_grad():
            scores = tuple(network.eval()(torch.zeros(1, channels, size, size)).shape)
    except Exception as error:  # whatever a user's own code may raise
        raise UserError(f"the network cannot be made: {type(error).__name__}: {error}") from error
    if scores != (1, 10):
        raise UserError(f"the network gives scores of shape {scores} for one picture and 10 classes, not (1, 10)")
