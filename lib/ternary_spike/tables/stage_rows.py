"""Rows of the tables from the results of one stage after training, whose files have been read already."""

from collections.abc import Callable

from ternary_spike import paper
from ternary_spike.tables.columns import NOT_FOLDABLE

#: settings of a neuron layer that emits -1, 0 and 1 (or 0 and 1); whatever else it had would scale its spikes
NORMALISED = {"signed", "threshold", "decay"}
#: of the several ways to an energy, the one that stands for a network where a single figure is shown: the paper's
HEADLINE = {"method": "paper's formula, mean over neurons", "encoder": "every timestep"}
COUNTED = {"method": "exact count", "encoder": "every timestep"}


def of_folded(key: dict, result: dict, numbers: Callable[[], dict]) -> dict:
    """A row of a table about folded networks: numbers, or why there is no folded network."""
    if NOT_FOLDABLE in result:
        return {**key, NOT_FOLDABLE: result[NOT_FOLDABLE]}
    return {**key, **numbers(), NOT_FOLDABLE: ""}


def constants(counted: dict) -> str:
    """The energies of the operations that the estimates of energy.json were made with, in words."""
    given = counted.get("constants_picojoule")  # records without them were made with the paper's
    return paper.energies_in_words(**{key: float(value) for key, value in given.items()}) if given else paper.CONSTANTS


def layers(key: dict, evaluation: dict) -> list[dict]:
    """A row for each neuron layer of an evaluation, with the columns of ``key`` before its own."""
    rows = []
    for position, layer in enumerate(evaluation["layers"], start=1):
        amplitude = layer["amplitude"]
        several = isinstance(amplitude, list)
        rows.append(
            {
                **key,
                "position": position,
                "layer": layer["layer"],
                "neurons": layer["neurons"],
                "amplitude": sum(amplitude) / len(amplitude) if several else amplitude,
                "amplitude_min": min(amplitude) if several else amplitude,
                "amplitude_max": max(amplitude) if several else amplitude,
                "rate_percent": 100 * layer["rate"],
                "rate_positive_percent": 100 * layer["rate_positive"],
                "rate_negative_percent": 100 * layer["rate_negative"],
                "entropy_bits": layer["entropy_bits"],
                "entropy_per_neuron_bits": layer["entropy_per_neuron_bits"],
                "membrane_mean": layer["membrane"]["mean"],
                "membrane_std": layer["membrane"]["std"],
            }
        )
    return rows


def over_neurons(layers: list[dict], column: str) -> float:
    """Mean of a layer column, each layer counted by its neurons."""
    return sum(layer[column] * layer["neurons"] for layer in layers) / sum(layer["neurons"] for layer in layers)


def equivalence(found: dict, folded: dict) -> dict:
    """A row of equivalence.csv."""
    row = {"samples": found["samples"], "bound": found["bound"], "passed": found["passed"]}
    for precision in ("float64", "float32"):
        part = found[precision]
        row |= {
            f"{precision}_spikes": part["spikes"],
            f"{precision}_differing_spikes": part["differing_spikes"],
            f"{precision}_largest_relative_logit_difference": part["largest_relative_logit_difference"],
            f"{precision}_class_agreement_percent": part["class_agreement_percent"],
        }
    layers = [operation for operation in folded["operations"] if operation["kind"] == "spikes"]
    amplitudes = [layer for layer in layers if layer["settings"].keys() - NORMALISED]
    return row | {"neuron_layers": len(layers), "layers_with_amplitude": len(amplitudes)}


def execution(found: dict) -> dict:
    """A row of execution.csv: the executor's operations for each image."""
    operations, samples = found["operations"], found["samples"]
    return {
        "samples": samples,
        "spikes": found["spikes"],
        "differing_spikes": found["differing_spikes"],
        "largest_relative_logit_difference": found["largest_relative_logit_difference"],
        "spike_additions_per_image": sum(operations["additions"].values()) / samples,
        "encoder_multiplications_per_image": operations["multiplications"]["encoder"] / samples,
        "decay_multiplications_per_image": operations["multiplications"]["decay"] / samples,
        "other_additions_per_image": (
            operations["bias_additions"] + operations["current_additions"] + operations["membrane_additions"]
        )
        / samples,
        "exponent_shifts_per_image": operations["exponent_shifts"] / samples,
        "comparisons_per_image": operations["comparisons"] / samples,
    }


def chosen(methods: list[dict], wanted: dict) -> dict:
    """The estimate of energy.json that was made in a given way. Raises ValueError if there is none."""
    for method in methods:
        if all(method[key] == value for key, value in wanted.items()):
            return method
    raise ValueError(f"energy.json has no estimate by {' and '.join(wanted.values())}")
