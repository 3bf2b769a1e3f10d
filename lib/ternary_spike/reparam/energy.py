"""From operations to joules: the paper's estimate (Table 5), the same with measured firing rates, and exact counts.

The paper's formula charges F floating-point operations (its #FLOPs), S synaptic operations (#SOPs) and C comparisons
(#Sign):

    E = 12.5 pJ F + 77 fJ S + 3.7 pJ C,   S = s T A,   C = k s T N

F are the encoder's, counted at each timestep; s is the mean firing rate, A the operation count, N the number of
neurons, and k = 1 comparison for a binary, 2 for a ternary spike. It leaves open which mean s is; three are
computed here.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from torch import Tensor, nn

from ternary_spike.models.known_modules import NotFoldable
from ternary_spike.models.streaming import Encoder
from ternary_spike.reparam import emitted, synops
from ternary_spike.reparam.network import IMAGE, FoldedNetwork
from ternary_spike.reparam.wiring import Wiring

#: of energy.csv
COLUMNS = (
    *("layer", "kind", "input", "pooled", "macs", "input_neurons", "input_rate", "flops", "synops"),
    *("energy_microjoule", "sign", "not_counted"),
)


@dataclass(frozen=True)
class Constants:
    """Energy of an operation in picojoule; the defaults are the paper's.

    Attributes:
        flop: a floating-point operation of the encoder (the paper's 12.5 pJ).
        synop: a synaptic operation (77 fJ).
        sign: a comparison of the neuron (3.7 pJ).
    """

    flop: float = 12.5
    synop: float = 0.077
    sign: float = 3.7


@dataclass(frozen=True)
class Estimate:
    """An energy estimate for one image.

    Attributes:
        method: how the operations were found.
        encoder: "every timestep" or "once", how often the first convolution of a static image was counted.
        rate: the firing rate that was used, a share of neuron-timesteps; None for exact counts.
        flops, synops, sign: numbers of operations.
        energy_microjoule: their energy.
        encoder_share: the encoder's share of it.
    """

    method: str
    encoder: str
    rate: float | None
    flops: float
    synops: float
    sign: float
    energy_microjoule: float
    encoder_share: float


def energy_microjoule(flops: float, synops: float, sign: float, constants: Constants | None = None) -> float:
    """The paper's formula, from numbers of operations to microjoule (Table 5)."""
    c = constants or Constants()
    return (c.flop * flops + c.synop * synops + c.sign * sign) * 1e-6


def estimate(
    method: str,
    encoder: str,
    rate: float | None,
    flops: float,
    synops: float,
    sign: float,
    constants: Constants | None = None,
) -> Estimate:
    """An :class:`Estimate` from numbers of operations."""
    c = constants or Constants()
    total = energy_microjoule(flops, synops, sign, c)
    share = c.flop * flops * 1e-6 / total if total else 0.0
    return Estimate(method, encoder, rate, flops, synops, sign, total, share)


def comparisons_per_spike(signed: bool) -> int:
    """Comparisons that Table 5 charges for a spike: two for a ternary one, one for a binary one."""
    return 2 if signed else 1


def measure(
    network: FoldedNetwork, batches: Iterable[Tensor], constants: Constants | None = None
) -> tuple[list[dict], dict]:
    """Count a folded network's operations on real inputs and turn them into energy.

    Args:
        network: the folded network.
        batches: inputs [B, C, H, W] (static, so that the encoder may be counted once) or [B, T, C, H, W].
        constants: energies of the operations.

    Returns:
        A row for each layer (for energy.csv) and the totals by method (for energy.json). All counts are means for one
        sample, over all its timesteps unless said otherwise.
    """
    inputs = _Inputs(batches)
    counted, spikes, samples = synops.count(network, inputs)
    return _measured(network, counted, spikes, samples, {}, inputs.static, constants)


def measure_itself(
    model: nn.Module,
    batches: Iterable[Tensor],
    constants: Constants | None = None,
    by_timestep: bool = False,
    encode: Encoder | None = None,
) -> tuple[list[dict], dict]:
    """Count a network's operations on real inputs as it is, folded or not, and turn them into energy.

    Args:
        model: the trained network; put into evaluation mode.
        batches, constants: as for :func:`measure`.
        by_timestep: whether the network runs timestep by timestep, so that memory does not grow with T.
        encode: what is then shown of static images. The first convolution counts as the encoder all the same, with
            floating-point operations at each timestep, though where it is shown spikes it would only add.

    Returns:
        As :func:`measure`. What cannot be counted has no number and says why in "not_counted": in the row of a layer
        whose input is not spikes, and in the totals, which then have no energy by any method.
    """
    inputs = _Inputs(batches)
    try:
        wiring = Wiring().network(model)
    except NotFoldable as unknown:
        return [], {"samples": sum(len(x) for x in inputs), "methods": [], "not_counted": str(unknown)}
    counted = emitted.count(model, wiring, inputs, by_timestep, encode)
    return _measured(wiring, *counted, inputs.static and encode is None, constants)


class _Inputs:
    """Batches of inputs, which remember whether they were static images."""

    def __init__(self, batches: Iterable[Tensor]) -> None:
        self.batches = batches
        self.static = True

    def __iter__(self) -> Iterator[Tensor]:
        for x in self.batches:
            self.static = x.dim() == 4
            yield x


def _measured(
    network: FoldedNetwork,
    counted: dict[str, float],
    spikes: dict[str, float],
    samples: int,
    others: dict[str, str],
    static: bool,
    constants: Constants | None,
) -> tuple[list[dict], dict]:
    """Rows and totals from the counts; ``others`` are the neuron layers whose output is no spikes, and what it is."""
    c = constants or Constants()
    shapes, timesteps = network.shapes(), network.timesteps
    neurons = {name: math.prod(shapes[name]) for name in network.spike_layers()}
    rates = {name: spikes[name] / (neurons[name] * timesteps) for name in neurons if name in spikes}
    signed = {op.name: op.settings["signed"] for op in network.operations if op.kind == "spikes"}
    passes = 1 if static else timesteps
    rows = [
        _of_connections(layer, counted.get(layer.name), neurons, rates, passes, others.get(layer.neurons, ""), c)
        for layer in synops.layers(network)
    ]
    for name, size in neurons.items():
        sign = None if name in others else comparisons_per_spike(signed[name]) * size * timesteps
        rows.append(_of_neurons(name, size, rates.get(name), sign, others.get(name, ""), c))
    return rows, totals(network, rows, samples, static, c)


def mean_rates(network: FoldedNetwork, rates: dict[str, float]) -> dict[str, float]:
    """Three means of the layers' firing rates; each lies between the smallest and the largest of them.

    Args:
        network: the folded network.
        rates: firing rate of each neuron layer, a share of neuron-timesteps.

    Returns:
        The means by name: every layer alike, by its neurons, and by its fan-out, which is the number of additions that
        its neurons would cause in the layers behind it if each fired once (identity shortcuts, which have no weights
        and no place in the paper's A, left out).
    """
    shapes = network.shapes()
    fan_out = dict.fromkeys(rates, 0.0)
    for layer in synops.layers(network):
        if layer.fan_out is not None and layer.kind != "add":
            fan_out[layer.neurons] += shapes[layer.source][0] * layer.fan_out.sum().item()
    weights = {
        "mean over layers": dict.fromkeys(rates, 1),
        "mean over neurons": {name: math.prod(shapes[name]) for name in rates},
        "weighted by fan-out": fan_out,
    }
    return {mean: sum(rates[n] * w[n] for n in rates) / sum(w.values()) for mean, w in weights.items()}


def totals(
    network: FoldedNetwork, rows: list[dict], samples: int, static: bool, constants: Constants | None = None
) -> dict:
    """The content of energy.json: operations and energy by method, from the counts of each layer.

    Args:
        network: the folded network.
        rows: of its layers, as :func:`measure` gives them and energy.csv keeps them.
        samples: how many inputs they are the mean of.
        static: whether the inputs were static images, whose encoder may be counted once.
        constants: energies of the operations.
    """
    c = constants or Constants()
    timesteps = network.timesteps
    of_neurons = [row for row in rows if row["kind"] == "neurons"]
    total_neurons = sum(row["input_neurons"] for row in of_neurons)
    encoder_macs = sum(row["macs"] for row in rows if row["input"] == IMAGE)
    a = synops.paper_count(network)
    found = {
        "samples": samples,
        "timesteps": timesteps,
        "constants_picojoule": asdict(c),
        "neurons": total_neurons,
        "encoder_macs": encoder_macs,
        "macs": sum(row["macs"] for row in rows),
        "paper_operation_count": {**asdict(a), "total": a.total},
    }
    if reasons := [row["not_counted"] for row in rows if row.get("not_counted")]:
        return {**found, "methods": [], "not_counted": "; ".join(dict.fromkeys(reasons))}
    means = mean_rates(network, {row["layer"]: row["input_rate"] for row in of_neurons})
    k = comparisons_per_spike(any(op.settings["signed"] for op in network.operations if op.kind == "spikes"))
    estimates = []
    for encoder, flops in [("every timestep", encoder_macs * timesteps)] + [("once", encoder_macs)] * static:
        for mean, rate in means.items():
            sign = k * rate * timesteps * total_neurons
            estimates.append(
                estimate(f"paper's formula, {mean}", encoder, rate, flops, rate * timesteps * a.total, sign, c)
            )
        exact, signs = (sum(row[column] for row in rows) for column in ("synops", "sign"))
        estimates.append(estimate("exact count", encoder, None, flops, exact, signs, c))
    return {**found, "rates": means, "methods": [asdict(e) for e in estimates]}


def _of_connections(
    layer: synops.Layer,
    additions: float | None,
    neurons: dict,
    rates: dict,
    encoder_passes: int,
    not_counted: str,
    constants: Constants,
) -> dict:
    """A row of energy.csv for a layer's weights, or for a shortcut."""
    from_image = layer.source == IMAGE
    additions = 0.0 if from_image else additions
    flops = layer.macs * encoder_passes if from_image else None if not_counted else 0
    return {
        "layer": layer.name,
        "kind": "shortcut" if layer.kind == "add" else layer.kind,
        "input": layer.neurons,
        "pooled": layer.pooled,
        "macs": layer.macs,
        "input_neurons": 0 if from_image else neurons[layer.neurons],
        "input_rate": rates.get(layer.neurons),
        "flops": flops,
        "synops": additions,
        "energy_microjoule": None if not_counted else energy_microjoule(flops, additions, 0, constants),
        "sign": 0,
        "not_counted": not_counted,
    }


def _of_neurons(
    name: str, size: int, rate: float | None, sign: float | None, not_counted: str, constants: Constants
) -> dict:
    """A row of energy.csv for a layer's neurons."""
    return {
        "layer": name,
        "kind": "neurons",
        "input": "",
        "pooled": False,
        "macs": 0,
        "input_neurons": size,
        "input_rate": rate,
        "flops": 0,
        "synops": 0.0,
        "energy_microjoule": None if not_counted else energy_microjoule(0, 0, sign, constants),
        "sign": sign,
        "not_counted": not_counted,
    }
