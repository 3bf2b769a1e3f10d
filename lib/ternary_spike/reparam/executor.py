"""An addition-only executor: runs a folded network spike by spike, as event-driven hardware would, and counts.

Behind the encoder no floating-point number is ever multiplied: each spike adds or subtracts one weight for every
neuron that it reaches (Eqs. 10 and 12). What the paper's wording leaves out is made explicit and counted:

* the encoder sees real-valued pixels, so its convolution multiplies;
* average pooling behind spikes divides. The division is moved into copies of the weights behind the pooling, made
  once beforehand, one copy for each divisor (at the edges fewer sites share a window);
* the membrane's decay multiplies by tau. For tau = 0.25 (any power of two) it is a subtraction from the exponent; a tau
  that is none of 0, 1 and a power of two needs a multiplication for each neuron and timestep;
* biases (batch norm's) are added once for each neuron and timestep, spike or no spike; where a layer has none, nothing;
* max pooling passes a spike on if one of its window fires: no arithmetic.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ternary_spike.models.network_input import require_finite
from ternary_spike.reparam import synops
from ternary_spike.reparam.comparison import Comparison
from ternary_spike.reparam.network import IMAGE, FoldedNetwork, Operation
from ternary_spike.reparam.routes import _pool_routes, _Synapses

EVENTS_AT_ONCE = 4096  # bounds the memory of a layer's gathered weights
_MANTISSA_BITS = {torch.float64: 52, torch.float32: 23}
_INTEGER = {torch.float64: torch.int64, torch.float32: torch.int32}


@dataclass
class Operations:
    """What an execution did, summed over the samples that it ran.

    Attributes:
        additions: synaptic operations by layer: a weight (or an identity shortcut's constant) added or subtracted
            because of a spike.
        bias_additions: additions of a bias, one for each neuron and timestep of a layer.
        current_additions: sums of a block's current and its projection's, one for each neuron and timestep.
        membrane_additions: charges of a membrane that kept something from before.
        comparisons: with the threshold; two for a ternary neuron, one for a binary one.
        exponent_shifts: decays of a membrane by a power of two.
        multiplications: floating-point multiplications: the encoder's, and decays by another factor.
    """

    additions: dict[str, int] = field(default_factory=dict)
    bias_additions: int = 0
    current_additions: int = 0
    membrane_additions: int = 0
    comparisons: int = 0
    exponent_shifts: int = 0
    multiplications: dict[str, int] = field(default_factory=lambda: {"encoder": 0, "decay": 0})


class AdditionOnlyExecutor:
    """Runs a folded network on single images by additions.

    Args:
        network: a folded network in float64 or float32, on the CPU. If all weights are multiples of one power of
            two, and pooling windows have sizes that are powers of two, every sum is exact and its spikes are those of
            the dense network to the last bit; in float64 on trained weights the order of the sums is the only
            difference.
    """

    def __init__(self, network: FoldedNetwork) -> None:
        self.network = network
        self.shapes = network.shapes()
        operations = {op.name: op for op in network.operations}
        layers = synops.layers(network)
        self.macs = {layer.name: layer.macs for layer in layers}
        self.sources = {layer.name: layer.source for layer in layers}
        self.synapses: dict[str, _Synapses] = {}
        for layer in layers:
            if layer.source != IMAGE:
                op = operations[layer.name]
                pools, _ = synops.origin(op.inputs[-1], operations)
                self.synapses[layer.name] = self._connect(op, pools, layer.source)

    def _connect(self, op: Operation, pools: list[Operation], source: str) -> _Synapses:
        """The tables of one layer: every route from a site of the source, through pooling, to a site of the target."""
        routes: list[list[tuple[int, int, int]]] = []  # by source site: (target site, kernel offset, divisor)
        height, width = self.shapes[source][-2:]
        pool_routes = _pool_routes(pools, height, width)
        layer_routes = self._layer_routes(op, pool_routes.height, pool_routes.width)
        for site in range(height * width):
            routes.append([(t, k, d) for p, d in pool_routes.routes[site] for t, k in layer_routes[p]])
        divisors = sorted({d for site in routes for _, _, d in site})
        weight = self.network.weights.get(f"{op.name}.weight")
        offsets = weight.shape[-1] * weight.shape[-2] if op.kind == "conv" else self._places(op)
        longest = max(len(site) for site in routes)
        target = torch.full((len(routes), longest), -1)
        row = torch.zeros_like(target)
        for s, site in enumerate(routes):
            for r, (t, k, d) in enumerate(site):
                target[s, r] = t
                row[s, r] = divisors.index(d) * offsets + k
        return _Synapses(
            target, row, self._weight_table(op, divisors, source), offsets * len(divisors), op.kind == "add"
        )

    def _places(self, op: Operation) -> int:
        """For how many places the classifier has weights of their own: 1 if for none, and for an identity shortcut."""
        channels = self.shapes[op.inputs[0]][0]
        return self.network.weights[f"{op.name}.weight"].shape[1] // channels if op.kind == "classifier" else 1

    def _layer_routes(self, op: Operation, height: int, width: int) -> list[list[tuple[int, int]]]:
        """By input site: the target sites that it feeds and the kernel offset on the way."""
        sites = range(height * width)
        if op.kind == "classifier":
            return [[(0, site % self._places(op))] for site in sites]
        if op.kind == "add":
            return [[(site, 0)] for site in sites]
        kernel = self.network.weights[f"{op.name}.weight"].shape[-1]
        stride, padding = op.settings["stride"], op.settings["padding"]
        out_height, out_width = self.shapes[op.name][-2:]
        found: list[list[tuple[int, int]]] = [[] for _ in sites]
        for oy in range(out_height):
            for ox in range(out_width):
                for ky in range(kernel):
                    for kx in range(kernel):
                        y, x = oy * stride - padding + ky, ox * stride - padding + kx
                        if 0 <= y < height and 0 <= x < width:
                            found[y * width + x].append((oy * out_width + ox, ky * kernel + kx))
        return found

    def _weight_table(self, op: Operation, divisors: list[int], source: str) -> Tensor:
        """[2 x channels x divisors x offsets, target channels]: weights over each divisor, then all of them negated."""
        channels = self.shapes[source][0]
        if op.kind == "add":
            constant = self.network.weights[f"{op.name}.constant"].reshape(-1).expand(channels)
            weight = constant.view(1, channels, 1)  # [target, source, offsets]
        elif op.kind == "classifier":
            _, height, width = self.shapes[op.inputs[0]]
            places = self._places(op)
            weight = self.network.weights[f"{op.name}.weight"].unflatten(1, (-1, places))
            weight = weight / (self.network.timesteps * height * width // places)
        else:
            weight = self.network.weights[f"{op.name}.weight"].flatten(2)
        by_divisor = torch.stack([weight / d for d in divisors])  # [divisors, target, source, offsets]
        table = by_divisor.permute(2, 0, 3, 1).flatten(0, 2)
        return torch.cat([table, table.neg()]).contiguous()

    def compute(self, image: Tensor, observe=None, operations: Operations | None = None) -> Tensor:
        """Class scores of one image by additions; ValueError if it is not the network's, or not finite.

        Args:
            image: [C, H, W], or event frames [T, C, H, W].
            observe: called for each neuron layer with its name and spikes [T, C, H, W], after the last timestep.
            operations: counts are added to it.

        Returns:
            Class scores [num_classes].
        """
        self.network.check_input(image.unsqueeze(0))
        counted = Operations() if operations is None else operations
        encoded = self._encode(image, counted)
        membranes: dict[str, Tensor] = {}
        history: dict[str, list[Tensor]] = {name: [] for name in self.network.spike_layers()}
        last = self.network.operations[-1]
        scores = torch.zeros(1, self.network.num_classes, dtype=self.network.dtype)
        for t in range(self.network.timesteps):
            currents: dict[str, Tensor] = {}
            events: dict[str, tuple[Tensor, Tensor]] = {}
            fired: dict[str, Tensor] = {}
            for op in self.network.operations:
                if op.kind == "conv":
                    if self.sources[op.name] == IMAGE:
                        currents[op.name] = encoded[min(t, len(encoded) - 1)].clone()
                    else:
                        currents[op.name] = self._biased(op, counted)
                        self._add_spikes(op.name, currents[op.name], events, counted)
                elif op.kind == "add":
                    current = currents.pop(op.inputs[0])
                    if op.name in self.synapses:
                        self._add_spikes(op.name, current, events, counted)
                    else:
                        current = current.add_(currents.pop(op.inputs[1]))
                        counted.current_additions += current.numel()
                    currents[op.name] = current
                elif op.kind == "spikes":
                    fired[op.name] = self._charge_fire_reset(op, currents.pop(op.inputs[0]), membranes, counted)
                    history[op.name].append(fired[op.name])
                    events[op.name] = _events(fired[op.name])
                elif op.kind == "max_pool":
                    fired[op.name] = self._strongest(op, fired[op.inputs[0]])
                    events[op.name] = _events(fired[op.name])
            self._add_spikes(last.name, scores, events, counted)
        scores = scores[0].add_(self.network.weights[f"{last.name}.bias"])
        counted.bias_additions += scores.numel()
        if observe is not None:
            for name, steps in history.items():
                channels, height, width = self.shapes[name]
                observe(name, torch.stack([s.t().reshape(channels, height, width) for s in steps]))
        return scores

    def _encode(self, image: Tensor, counted: Operations) -> list[Tensor]:
        """The first convolution, which multiplies: currents [sites, channels], one, or one for each frame."""
        require_finite(image)
        op = self.network.operations[0]
        frames = image.unsqueeze(0) if image.dim() == 3 else image
        currents = self.network.apply(op, [frames])
        counted.multiplications["encoder"] += self.macs[op.name] * len(frames)
        return [current.flatten(1).t().contiguous() for current in currents]

    def _biased(self, op: Operation, counted: Operations) -> Tensor:
        """A layer's current before any spike, its bias: [sites, channels]."""
        height, width = self.shapes[op.name][-2:]
        bias = self.network.weights[f"{op.name}.bias"]
        counted.bias_additions += bias.numel() * height * width if bias.any() else 0
        return bias.repeat(height * width, 1)

    def _add_spikes(
        self, name: str, current: Tensor, events: dict[str, tuple[Tensor, Tensor]], counted: Operations
    ) -> None:
        """Let every spike of a layer's source add its weights to the current [sites, channels]."""
        synapses = self.synapses[name]
        sites, signed_channels = events[self.sources[name]]
        channels = current.shape[1]
        # addresses come from tables: not even they are multiplied
        first_row = torch.arange(0, len(synapses.table), synapses.rows)
        first_place = torch.arange(0, current.numel(), channels)
        own = torch.arange(channels).repeat(2) if synapses.own_channel else first_row
        additions = 0
        for site, channel in zip(sites.split(EVENTS_AT_ONCE), signed_channels.split(EVENTS_AT_ONCE), strict=True):
            target = synapses.target[site]
            reached = target >= 0
            row = synapses.row[site] + first_row[channel].unsqueeze(1)
            weights = synapses.table[row[reached]]
            if synapses.own_channel:
                place = first_place[target] + own[channel].unsqueeze(1)
                current.view(-1, 1).index_add_(0, place[reached], weights)
            else:
                current.index_add_(0, target[reached], weights)
            additions += weights.numel()
        counted.additions[name] = counted.additions.get(name, 0) + additions

    def _charge_fire_reset(
        self, op: Operation, current: Tensor, membranes: dict[str, Tensor], counted: Operations
    ) -> Tensor:
        """One timestep of a neuron layer (Eqs. 4-5, 7-8): spikes [sites, channels] in {-1, 0, 1}."""
        u = current
        if op.name in membranes:
            u = u.add_(self._decayed(membranes[op.name], op.settings["decay"], counted))
            counted.membrane_additions += u.numel()
        positive, negative = self._compared(op, u)
        counted.comparisons += u.numel() * (2 if op.settings["signed"] else 1)
        membranes[op.name] = u.masked_fill(positive | negative, 0.0)
        return positive.to(torch.int8).sub_(negative.to(torch.int8))

    def _compared(self, op: Operation, u: Tensor) -> tuple[Tensor, Tensor]:
        """Where membrane potentials [sites, channels] fire 1, and where -1."""
        threshold = op.settings["threshold"]
        if threshold is not None:
            positive, negative = threshold, -threshold
        else:
            by_channel = {key: x.flatten() for key, x in self.network.channel_thresholds(op).tensors().items()}
            # where a falling potential fires its sign is turned: no product, and on hardware the other comparison
            u = torch.where(by_channel["direction"] < 0, u.neg(), u).masked_fill(by_channel["direction"] == 0, 0.0)
            positive, negative = by_channel["positive"], by_channel.get("negative")
        fires = u >= positive
        return fires, u <= negative if op.settings["signed"] else torch.zeros_like(fires)

    def _strongest(self, op: Operation, spikes: Tensor) -> Tensor:
        """Max pooling of one timestep's spikes [sites, channels]."""
        grid = spikes.t().reshape(self.shapes[op.inputs[0]])
        return self.network.apply(op, [grid.float().unsqueeze(0)])[0].flatten(1).t().to(spikes.dtype)

    def _decayed(self, v: Tensor, decay: float, counted: Operations) -> Tensor:
        if decay in (0.0, 1.0):
            return torch.zeros_like(v) if decay == 0.0 else v
        mantissa, exponent = math.frexp(decay)
        if mantissa != 0.5:
            counted.multiplications["decay"] += v.numel()
            return v * decay
        counted.exponent_shifts += v.numel()
        # 2^-n: subtract n from the exponent's bits; what is too small to have such an exponent becomes zero
        bits = v.view(_INTEGER[v.dtype])
        shift = (1 - exponent) << _MANTISSA_BITS[v.dtype]
        smallest = torch.finfo(v.dtype).tiny * 2.0 ** (1 - exponent)
        return torch.where(v.abs() >= smallest, bits - shift, torch.zeros_like(bits)).view(v.dtype)


def _events(spikes: Tensor) -> tuple[Tensor, Tensor]:
    """Sites and channels of the spikes [sites, channels]; a negative spike's channel counts on behind the last one."""
    by_sign = torch.cat([spikes > 0, spikes < 0], dim=1)
    site, channel = by_sign.nonzero(as_tuple=True)
    return site, channel


def compare_with_dense(network: FoldedNetwork, images: Iterable[Tensor]) -> tuple[dict, Operations]:
    """Run images by additions and densely, and count the spikes that differ.

    Args:
        network: a folded network on the CPU; float64 for trained weights.
        images: [C, H, W] or event frames [T, C, H, W] each.

    Returns:
        The comparison (:meth:`ternary_spike.reparam.comparison.Comparison.result`), and what the executor did, summed
        over the images.
    """
    executor = AdditionOnlyExecutor(network)
    operations = Operations()
    comparison = Comparison(network.spike_layers())
    for image in images:
        image = image.to(network.dtype)
        dense: dict[str, Tensor] = {}
        scores = network.compute(image.unsqueeze(0), lambda layer, _, b: dense.__setitem__(layer, b[:, 0]))  # noqa: B023
        found: dict[str, Tensor] = {}
        by_additions = executor.compute(image, found.__setitem__, operations)
        for layer, expected in dense.items():
            comparison.add_spikes(layer, expected, found[layer])
        comparison.add_scores(scores, by_additions.unsqueeze(0))
    return comparison.result(), operations
