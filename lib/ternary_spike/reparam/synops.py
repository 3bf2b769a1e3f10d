"""Counting operations: multiply-accumulates of the dense network, and the additions that spikes really cause.

A synaptic operation is one addition of a weight, caused by one spike at one timestep. A spike's fan-out is the number
of synaptic operations it causes in a layer; it is smaller at the picture's edges, where a kernel hangs over.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ternary_spike.models.convolution import conv2d
from ternary_spike.reparam.network import IMAGE, FoldedNetwork, Operation, pool_settings


@dataclass(frozen=True)
class Layer:
    """A layer that adds up what spikes (or the image) send it.

    Attributes:
        name: operation of the folded network.
        kind: "conv", "classifier" or "add" (an identity shortcut).
        source: the neuron layer, or the max pooling behind one, whose spikes it receives, or "image".
        neurons: the neuron layer that these come from, or "image".
        pooled: whether average pooling lies between.
        macs: multiply-accumulates of the dense layer for one image and one timestep; 0 for "add".
        fan_out: synaptic operations caused by one spike at each site (H, W) of the source, alike for every channel.
            Through average pooling a spike is counted once for every pooled site that it reaches, as an event-driven
            execution would add it. None for the image.
    """

    name: str
    kind: str
    source: str
    neurons: str
    pooled: bool
    macs: int
    fan_out: Tensor | None


@dataclass(frozen=True)
class PaperCount:
    """The operation count A for one image and timestep behind Table 5's #SOPs, and its parts.

    The paper prints neither A nor its rule; this one (the counting tool ptflops has it in versions 0.6.4 to 0.7) gives
    its ternary row to the digit: a multiply-accumulate is 1, a batch norm element 2, a neuron 1, a pooling input 1, a
    classifier bias 1. Later versions count activations and pooling twice: 217,183,242 for ResNet20.
    """

    macs: int
    batch_norm: int
    neurons: int
    pooling: int
    bias: int

    @property
    def total(self) -> int:
        """All operations."""
        return self.macs + self.batch_norm + self.neurons + self.pooling + self.bias


def layers(network: FoldedNetwork) -> list[Layer]:
    """The layers of a folded network that receive spikes or the image, in the order of computation."""
    shapes = network.shapes()
    operations = {op.name: op for op in network.operations}
    found = []
    for op in network.operations:
        if op.kind not in ("conv", "classifier", "add"):
            continue
        if op.kind == "add" and f"{op.name}.constant" not in network.weights:
            continue  # a projection's sum of two currents: no spike takes part
        pools, source = origin(op.inputs[-1], operations)
        macs = 0
        if op.kind != "add":
            weight = network.weights[f"{op.name}.weight"]
            sites = shapes[op.name][-1] * shapes[op.name][-2] if op.kind == "conv" else 1
            macs = weight.numel() * sites
        fan_out = None if source == IMAGE else _fan_out(network, op, pools, shapes[source])
        neurons = source
        while neurons != IMAGE and operations[neurons].kind == "max_pool":
            neurons = operations[neurons].inputs[0]
        found.append(Layer(op.name, op.kind, source, neurons, bool(pools), macs, fan_out))
    return found


def origin(name: str, operations: dict[str, Operation]) -> tuple[list[Operation], str]:
    """The average poolings, in order, between a value and the spikes or image that it is made of."""
    pools = []
    while name != IMAGE and operations[name].kind == "pool":
        pools.insert(0, operations[name])
        name = operations[name].inputs[0]
    return pools, name


def max_pooled(network: FoldedNetwork, layer: str, spikes: Tensor) -> Iterator[tuple[str, Tensor]]:
    """What the max poolings behind a neuron layer make of its spikes [T, B, C, H, W], by name."""
    values = {layer: spikes}
    for op in network.operations:
        if op.kind == "max_pool" and op.inputs[0] in values:
            values[op.name] = network.apply(op, [values[op.inputs[0]]])
            yield op.name, values[op.name]


def _fan_out(network: FoldedNetwork, op: Operation, pools: list[Operation], shape: tuple[int, ...]) -> Tensor:
    """The fan-out map (H, W): the gradient of the number of additions with respect to the spikes' number at a site."""
    spikes = torch.zeros(1, 1, *shape[-2:], dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        reached = spikes
        for pool in pools:
            settings = pool_settings(pool)
            reached = F.avg_pool2d(reached, **settings, divisor_override=1)
        if op.kind == "classifier":
            additions = reached.sum() * network.num_classes
        elif op.kind == "add":
            additions = reached.sum()
        else:
            weight = network.weights[f"{op.name}.weight"]
            ones = torch.ones(1, 1, *weight.shape[-2:], dtype=torch.float64)
            stride, padding = op.settings["stride"], op.settings["padding"]
            additions = conv2d(reached, ones, stride=stride, padding=padding).sum() * weight.shape[0]
        additions.backward()
    return spikes.grad[0, 0].round()


def paper_count(network: FoldedNetwork) -> PaperCount:
    """The operation count A of Table 5 for a network (for ResNet20 on 3x32x32: 216,767,498)."""
    shapes = network.shapes()

    def elements(name: str) -> int:
        shape = (network.in_channels, network.image_size, network.image_size) if name == IMAGE else shapes[name]
        return int(torch.tensor(shape).prod())

    by_kind = {
        kind: [op for op in network.operations if op.kind == kind]
        for kind in ("conv", "spikes", "pool", "max_pool", "classifier")
    }
    return PaperCount(
        macs=sum(layer.macs for layer in layers(network)),
        batch_norm=2 * sum(elements(op.name) for op in by_kind["conv"]),
        neurons=sum(elements(op.name) for op in by_kind["spikes"]),
        pooling=sum(elements(op.inputs[0]) for op in by_kind["pool"] + by_kind["max_pool"] + by_kind["classifier"]),
        bias=network.num_classes,
    )


@torch.no_grad()
def count(network: FoldedNetwork, batches: Iterable[Tensor]) -> tuple[dict[str, float], dict[str, float], int]:
    """Measured synaptic operations of a folded network.

    Args:
        network: the folded network.
        batches: inputs [B, C, H, W] or [B, T, C, H, W].

    Returns:
        Synaptic operations per sample by layer (its name in :func:`layers`; the image's layer is not among them),
        spikes per sample by neuron layer and by max pooling, and the number of samples.
    """
    by_site: dict[str, Tensor] = {}
    samples = 0

    def observe(layer: str, _membrane: Tensor, spikes: Tensor) -> None:
        for name, found in ((layer, spikes), *max_pooled(network, layer, spikes)):
            # a sum of magnitudes 1, exact in float32 up to 2^24 in a batch, and much quicker than count_nonzero
            counted = found.abs().sum(dim=(0, 1, 2)).double()
            by_site[name] = by_site[name] + counted if name in by_site else counted

    for x in batches:
        network.compute(x, observe)
        samples += len(x)
    return *per_sample(network, by_site, samples), samples


def per_sample(
    network: FoldedNetwork, by_site: dict[str, Tensor], samples: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Additions by layer that receives spikes, and spikes by what sends them, as means for one sample.

    Args:
        network: says where spikes go.
        by_site: number of spikes at each site (H, W), by neuron layer and max pooling; layers behind others have no
            additions.
        samples: how many inputs caused them.
    """
    additions = {
        layer.name: (by_site[layer.source].cpu() * layer.fan_out).sum().item() / samples
        for layer in layers(network)
        if layer.fan_out is not None and layer.source in by_site
    }
    return additions, {name: counts.sum().item() / samples for name, counts in by_site.items()}
