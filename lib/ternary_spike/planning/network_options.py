"""What stands among a row's options and is the network's, not its neurons'."""

from collections.abc import Mapping
from typing import Any

from ternary_spike.models.normalisations import BATCH_NORM, NORMALISATIONS

NORMALISATION, OF_NORMALISATION = "normalisation", "normalisation."
#: an option of the normalisation is written behind its name and a dot: normalisation.KEY
NETWORK_OPTIONS = ("stem_batch_norm", NORMALISATION)
#: what the networks take, the default first; they themselves would import torch
STEM_BATCH_NORM = ("per_step", "over_time")


def of_network(options: Mapping[str, str]) -> dict[str, str]:
    """Those of a row's options that are the network's."""
    return {key: text for key, text in options.items() if key.partition(".")[0] in NETWORK_OPTIONS}


def normalisation(options: Mapping[str, str]) -> dict[str, Any]:
    """What options say of the normalisation, as keyword arguments of a network: nothing where it is plain batch norm.

    Args:
        options: those of a network, as text.

    Raises:
        ValueError: if there is no such normalisation, or it does not have an option, or not with this value.
    """
    name = options.get(NORMALISATION, BATCH_NORM)
    prefix = OF_NORMALISATION
    given = {key.removeprefix(prefix): text for key, text in options.items() if key.startswith(prefix)}
    typed = NORMALISATIONS.options(name, given, text=True)
    return {} if name == BATCH_NORM and not typed else {NORMALISATION: name, f"{NORMALISATION}_options": typed}


def network_arguments(options: Mapping[str, str]) -> dict[str, Any]:
    """A network's options, given as text, as its keyword arguments.

    Raises:
        ValueError: as :func:`normalisation`, or if another option has no such value.
    """
    stem_batch_norm = options.get("stem_batch_norm", STEM_BATCH_NORM[0])
    if stem_batch_norm not in STEM_BATCH_NORM:
        allowed = " or ".join(map(repr, STEM_BATCH_NORM))
        raise ValueError(f"stem_batch_norm must be {allowed}, not {stem_batch_norm!r}")
    return {"stem_batch_norm": stem_batch_norm, **normalisation(options)}
