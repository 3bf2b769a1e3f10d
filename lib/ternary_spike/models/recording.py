"""Watching the neuron layers of a network while it runs: each tells what it computed, or means of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from ternary_spike.membrane.potential_terms import TERMS, Gauge, means
from ternary_spike.models.base import named_neurons
from ternary_spike.models.known_modules import has_forward_of
from ternary_spike.neurons.base import SpikingNeuron


@contextmanager
def recording(model: nn.Module, observe: Callable[[str, Tensor, Tensor], None]) -> Iterator[None]:
    """Call ``observe(layer, membrane potential before the reset, un-scaled spikes)`` whenever a spiking layer has run.

    Both tensors are [T, B, C, H, W], as the layer itself computed them; gradients flow through both where they are
    wanted. The spikes are un-scaled: where an amplitude is 0 the neuron still fires and resets.

    Raises:
        ValueError: at the end, if the network ran and one of its spiking layers told nothing.
    """
    with _watched(model) as (layers, told):

        def tell(name: str, u: Tensor, b: Tensor) -> None:
            told.add(name)
            observe(name, u, b)

        for name, neuron in layers.items():
            neuron.observer = partial(tell, name)
        yield


@contextmanager
def gauging(
    model: nn.Module, terms: tuple[str, ...], observe: Callable[[str, dict[str, Tensor]], None]
) -> Iterator[None]:
    """Call ``observe(layer, means)`` whenever a spiking layer has run: means over each channel's membrane potentials.

    They are those of :func:`ternary_spike.membrane.potential_terms.means`, by term [C]; gradients flow through them. A
    training step with them takes hardly longer than without, while one that records potentials computes each
    operation by itself and keeps what each gives.

    Args:
        model: the network.
        terms: names of :data:`ternary_spike.membrane.potential_terms.TERMS`.
        observe: whom to tell.

    Raises:
        ValueError: as of :func:`recording`; or if a term is unknown.
    """
    if unknown := [name for name in terms if name not in TERMS]:
        raise ValueError(f"unknown term {unknown[0]!r} of membrane potentials: choose among {', '.join(TERMS)}")
    with _watched(model) as (layers, told):

        def tell(name: str, found: dict[str, Tensor]) -> None:
            told.add(name)
            observe(name, found)

        def tell_of_potentials(name: str, u: Tensor, _spikes: Tensor) -> None:
            tell(name, means(u, terms, layers[name].signed))

        for name, neuron in layers.items():
            if has_forward_of(neuron, SpikingNeuron):
                neuron.gauge = Gauge(terms, partial(tell, name))
            else:  # its forward knows the observer alone
                neuron.observer = partial(tell_of_potentials, name)
        yield


@contextmanager
def _watched(model: nn.Module) -> Iterator[tuple[dict[str, SpikingNeuron], set[str]]]:
    """The spiking layers by name and an empty set for the names of those that told something; puts all back."""
    layers = {name: neuron for name, neuron in named_neurons(model).items() if isinstance(neuron, SpikingNeuron)}
    before = {name: (neuron.observer, neuron.gauge) for name, neuron in layers.items()}
    told: set[str] = set()
    try:
        yield layers, told
        if silent := [name for name in layers if name not in told]:
            kind = type(layers[silent[0]]).__name__
            raise ValueError(
                f"layer {silent[0]}, {kind}, ran without telling its observer what it computed; a forward of its own "
                "must call self.observer(u, b) where there is one"
            )
    finally:
        for name, neuron in layers.items():
            neuron.observer, neuron.gauge = before[name]


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
