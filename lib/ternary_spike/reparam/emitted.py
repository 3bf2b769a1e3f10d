"""Counting operations on a network itself, whether or not it can be folded: its neuron layers say when they fire.

A spike that leaves a layer as -1, 0 or 1 times an amplitude costs as many additions as in a folded network: each weight
behind it, times the amplitude, can be had beforehand. A layer that emits anything else makes the layers behind it
multiply; their operations are not counted, and the reason takes the place of the number.
"""

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn

from ternary_spike.models.base import named_neurons
from ternary_spike.models.recording import recording
from ternary_spike.models.streaming import Encoder, scores_by_timestep
from ternary_spike.neurons.base import SpikingNeuron
from ternary_spike.reparam import synops
from ternary_spike.reparam.network import FoldedNetwork


class _Layer:
    """What one neuron layer emitted so far: spikes by site, and the amplitudes by which they left."""

    def __init__(self, neuron: SpikingNeuron) -> None:
        self.signed = neuron.signed
        self.fired: Tensor | None = None  # un-scaled spikes of the layer's run, until its output is seen
        self.by_site: Tensor | float = 0.0
        self.pooled: dict[str, Tensor] = {}  # spikes by site behind max poolings, by their names
        self.amplitudes: Tensor | None = None  # [2, C], the smallest and minus the largest in each channel
        self.wrong = ""

    def add(self, emitted: Tensor, pooled: Iterable[tuple[str, Tensor]]) -> None:
        """Take account of an output [T, B, C, H, W], of what max poolings make of it, and of this run's spikes."""
        b, self.fired = self.fired, None
        if b is None:
            return  # `recording` names a layer that did not call its observer
        silent = b == 0
        self.by_site = self.by_site + (~silent).sum(dim=(0, 1, 2)).double()
        for name, found in pooled:
            self.pooled[name] = self.pooled.get(name, 0.0) + (found != 0).sum(dim=(0, 1, 2)).double()
        worth = emitted * b  # of a spike of 1, since b b = 1
        extremes = [(sign * worth).masked_fill_(silent, float("inf")).amin(dim=(0, 1, 3, 4)) for sign in (1, -1)]
        lowest = torch.stack(extremes)
        self.amplitudes = lowest if self.amplitudes is None else torch.minimum(self.amplitudes, lowest)
        if not (silent | (b.abs() == 1)).all():
            self.wrong = "spikes other than -1, 0 and 1"
        elif not self.signed and (b < 0).any():
            self.wrong = "spikes of -1, though it says that its spikes have no sign"
        elif not (emitted[silent] == 0).all():
            self.wrong = "something where no neuron fires"
        elif (self.amplitudes[0] < -self.amplitudes[1]).any():
            self.wrong = "spikes that are not worth the same throughout a channel"


@torch.no_grad()
def count(
    model: nn.Module,
    wiring: FoldedNetwork,
    batches: Iterable[Tensor],
    by_timestep: bool = False,
    encode: Encoder | None = None,
) -> tuple[dict[str, float], dict[str, float], int, dict[str, str]]:
    """Measured synaptic operations of a network as it is.

    Args:
        model: the network; put into evaluation mode.
        wiring: what it is made of (:meth:`ternary_spike.reparam.wiring.Wiring.network`).
        batches: inputs [B, C, H, W] or [B, T, C, H, W].
        by_timestep, encode: as for :func:`ternary_spike.reparam.energy.measure_itself`.

    Returns:
        What :func:`ternary_spike.reparam.synops.count` does, without the neuron layers whose output is not spikes and
        the layers behind them; and by name of such a neuron layer what it emits instead, in words.
    """
    neurons = named_neurons(model.eval())
    found = {name: _Layer(neuron) for name, neuron in neurons.items() if isinstance(neuron, SpikingNeuron)}
    samples = 0

    def fired(name: str, _membrane: Tensor, b: Tensor) -> None:
        found[name].fired = b

    def emitted(name: str, _module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        found[name].add(output, synops.max_pooled(wiring, name, output))

    handles = [neurons[name].register_forward_hook(partial(emitted, name)) for name in found]
    try:
        with recording(model, fired):
            for x in batches:
                for _ in scores_by_timestep(model, x, encode) if by_timestep else [model(x)]:
                    pass
                samples += len(x)
    finally:
        for handle in handles:
            handle.remove()
    others = {
        name: f"{name}, {type(neuron).__name__}, emits {found[name].wrong if name in found else 'no spikes'}"
        for name, neuron in neurons.items()
        if name not in found or found[name].wrong
    }
    emitting_spikes = {name: layer for name, layer in found.items() if name not in others}
    by_site = {name: layer.by_site for name, layer in emitting_spikes.items()}
    for layer in emitting_spikes.values():
        by_site |= layer.pooled
    return *synops.per_sample(wiring, by_site, samples), samples, others
