"""Watching the neuron layers of a network while it runs: each tells its observer what it computed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from ternary_spike.models.base import named_neurons
from ternary_spike.neurons.base import SpikingNeuron


@contextmanager
def recording(model: nn.Module, observe: Callable[[str, Tensor, Tensor], None]) -> Iterator[None]:
    """Call ``observe(layer, membrane potential before the reset, un-scaled spikes)`` whenever a spiking layer has run.

    Both tensors are [T, B, C, H, W], as the layer itself computed them; gradients flow through both where they are
    wanted. The spikes are un-scaled: where an amplitude is 0 the neuron still fires and resets.

    Raises:
        ValueError: at the end, if the network ran and one of its spiking layers told nothing.
    """
    watched = {name: neuron for name, neuron in named_neurons(model).items() if isinstance(neuron, SpikingNeuron)}
    before = {name: neuron.observer for name, neuron in watched.items()}
    told = set()

    def tell(name: str, u: Tensor, b: Tensor) -> None:
        told.add(name)
        observe(name, u, b)

    for name, neuron in watched.items():
        neuron.observer = partial(tell, name)
    try:
        yield
        if silent := [name for name in watched if name not in told]:
            kind = type(watched[silent[0]]).__name__
            raise ValueError(
                f"layer {silent[0]}, {kind}, ran without telling its observer what it computed; a forward of its own "
                "must call self.observer(u, b) where there is one"
            )
    finally:
        for name, neuron in watched.items():
            neuron.observer = before[name]


@torch.no_grad()
def count_neurons(model: nn.Module) -> int:
    """Number of spiking neurons of a network, of one image at one timestep; 0 for the ReLU reference."""
    sizes = []
    was_training = model.training
    weight = model.classifier.weight
    shape = (1, model.timesteps, model.in_channels, model.image_size, model.image_size)
    with recording(model.eval(), lambda _name, u, _spikes: sizes.append(u[0, 0].numel())):
        model(torch.zeros(shape, dtype=weight.dtype, device=weight.device))
    model.train(was_training)
    return sum(sizes)
