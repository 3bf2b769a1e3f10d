"""A network timestep by timestep: what it holds in memory does not grow with the number of timesteps.

A network computes unit by unit, each over all timesteps, which is fast and holds T of everything. Here it computes all
units for one timestep, then for the next, and each neuron layer keeps its membrane potential in between. Thousands of
timesteps fit so, and the class scores of every timestep come out on the way.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from ternary_spike.models.base import SpikingNetwork
from ternary_spike.models.network_input import check_input
from ternary_spike.neurons.base import SpikingNeuron

SEED = 0  # of what an encoder draws in evaluation


class Encoder(Protocol):
    """What a network is shown of a static image at one timestep."""

    def __call__(self, x: Tensor, generator: Generator | None) -> Tensor:
        """The input of one timestep [B, C, H, W], drawn anew, of images x [B, C, H, W]."""


@contextmanager
def streaming(network: SpikingNetwork, online: bool = False) -> Iterator[None]:
    """Within it each call of the network is one timestep more, and its T is 1.

    Args:
        network: in evaluation mode, of units that do not mix timesteps. A neuron layer runs once in each call.
        online: whether no gradient flows from one timestep into the one before. The network may then be in training
            mode, in which a batch norm has statistics of each timestep alone. What the neurons keep must be a tensor.

    Raises:
        ValueError: if the network is in training mode, in which batch norm takes statistics over time.
    """
    if network.training and not online:
        raise ValueError("a network runs timestep by timestep in evaluation mode only: call network.eval()")
    kept: dict[SpikingNeuron, Any] = {}

    def give(neuron: SpikingNeuron, inputs: tuple, options: dict) -> tuple[tuple, dict]:
        return inputs, {**options, "v": kept.get(neuron), "return_state": True}

    def take(neuron: SpikingNeuron, _inputs: tuple, output: tuple[Tensor, Any]) -> Tensor:
        spikes, state = output
        kept[neuron] = state.detach() if online else state
        return spikes

    neurons = [module for module in network.modules() if isinstance(module, SpikingNeuron)]
    # the first of the hooks behind a layer: others see its spikes alone, as they do outside
    handles = [neuron.register_forward_hook(take, prepend=True) for neuron in neurons]
    handles += [neuron.register_forward_pre_hook(give, with_kwargs=True) for neuron in neurons]
    timesteps, network.timesteps = network.timesteps, 1
    try:
        yield
    finally:
        network.timesteps = timesteps
        for handle in handles:
            handle.remove()


def scores_by_timestep(network: SpikingNetwork, x: Tensor, encode: Encoder | None = None) -> Iterator[Tensor]:
    """Class scores [B, num_classes] of one timestep after the other; their mean is what the network gives at once.

    Args:
        network: as for :func:`streaming`.
        x: static images [B, C, H, W], or event frames [B, T, C, H, W].
        encode: what is shown of static images; None for the images themselves, at each timestep.

    Raises:
        ValueError: as :func:`streaming`; if the input is not the network's; or if frames are to be encoded.
    """
    check_input(x, network.in_channels, network.timesteps)
    if encode is not None:
        require_static(x)
    forward = type(network).forward  # not what evaluates_by_timestep puts in its place
    generator = None if encode is None else Generator(x.device).manual_seed(SEED)
    timesteps = network.timesteps
    with streaming(network):
        for t in range(timesteps):
            now = x[:, t : t + 1] if x.dim() == 5 else x
            yield forward(network, now if encode is None else encode(now, generator))


def require_static(x: Tensor) -> None:
    """Raise ValueError for event frames, which are shown as they are."""
    if x.dim() != 4:
        raise ValueError(f"only static images are encoded, but the input has the shape {tuple(x.shape)} of frames")


def evaluates_by_timestep(network: SpikingNetwork, encode: Encoder | None = None) -> None:
    """Make a network run timestep by timestep whenever it is called in evaluation mode.

    In training mode it computes all timesteps at once, as back-propagation through time needs it. There an encoder
    draws from torch's global generator, which a training seeds for each step; in evaluation always the same.

    In evaluation the observer of a neuron layer is called once for each call of the network, as otherwise, but with
    tensors of a single timestep: the last membrane potential, and of each neuron its last spike, 0 if it never fired.

    Args:
        network: any; its class stays what it is.
        encode: what is shown of static images; None for the images themselves.
    """
    forward = type(network).forward

    def call(x: Tensor, each_timestep: bool = False) -> Tensor:
        if network.training:
            if encode is not None:
                require_static(x)
                x = torch.stack([encode(x, None) for _ in range(network.timesteps)], 1)
            return forward(network, x, each_timestep)
        with _one_observation_a_call(network):
            scores = scores_by_timestep(network, x, encode if x.dim() == 4 else None)
            if each_timestep:
                return torch.stack(list(scores))
            # a sum of all timesteps is what an accumulating output layer has at the end; T scales it and no more
            return sum(scores, start=torch.zeros((), device=x.device)) / network.timesteps

    network.forward = call


@contextmanager
def _one_observation_a_call(network: SpikingNetwork) -> Iterator[None]:
    """One call of each neuron layer's observer for all timesteps, see :func:`evaluates_by_timestep`."""
    watched = {m: m.observer for m in network.modules() if isinstance(m, SpikingNeuron) and m.observer is not None}
    seen: dict[SpikingNeuron, tuple[Tensor, Tensor]] = {}

    def note(neuron: SpikingNeuron, u: Tensor, b: Tensor) -> None:
        fired = torch.where(b != 0, b, seen[neuron][1]) if neuron in seen else b
        seen[neuron] = (u, fired)

    for neuron in watched:
        neuron.observer = partial(note, neuron)
    try:
        yield
    finally:
        for neuron, observer in watched.items():
            neuron.observer = observer
    for neuron, last in seen.items():
        watched[neuron](*last)
