"""Whether the parts that a method sheet names are there and take the options that it gives them."""

from collections.abc import Callable

from ternary_spike.configuration.method_sheet import MethodSheet
from ternary_spike.methods.registry import METHODS
from ternary_spike.neurons.registry import NEURONS
from ternary_spike.planning.run import NETWORK_OPTIONS
from ternary_spike.system.errors import UserError


def require_parts(sheet: MethodSheet) -> None:
    """Raise UserError, with the sheet's file and the key, for a part that is not there or does not take an option."""
    from ternary_spike.models.resnet import require_stem_batch_norm

    def require(key: str, check: Callable) -> None:
        try:
            check()
        except ValueError as error:
            raise UserError(f"{sheet.path}: {key}: {error}") from None

    if sheet.neuron:
        require("neuron", lambda: NEURONS[sheet.neuron])
        require("neuron_options", lambda: NEURONS.options(sheet.neuron, sheet.neuron_options, text=True))
    if sheet.training:
        require("training", lambda: METHODS[sheet.training])
        require("training_options", lambda: METHODS.options(sheet.training, sheet.training_options, text=True))
    for key, value in sheet.network_options.items():
        if key not in NETWORK_OPTIONS:
            raise UserError(
                f"{sheet.path}: unknown key 'network_options.{key}'; known are {', '.join(NETWORK_OPTIONS)}"
            )
        require(f"network_options.{key}", lambda text=value: require_stem_batch_norm(text))
