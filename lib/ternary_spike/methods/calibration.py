"""What flows into the neuron layers of a network when it sees training pictures: thresholds are calibrated on it.

Thresholds of a spiking network, layer by layer in the order of computation, so that the current into a layer is made of
the spikes that those before it emit with the thresholds they have got already::

    x = pictures(run, 512)
    with trial(run.model, timesteps=100):
        for name, layer in named_neurons(run.model).items():
            layer.threshold.data.fill_(percentile(run.model, name, x, 99.7))

The same of the activations of a network without spikes: ``percentile(run.source.network, name, x, 99.9)``, in any
order. The largest current of all is percentile 100.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ternary_spike.methods.base import Run
from ternary_spike.models.base import SpikingNetwork, named_neurons
from ternary_spike.system.errors import UserError

AT_ONCE = 32  # pictures that go through a network together; hundreds of timesteps of more need much memory


def pictures(run: Run, count: int) -> Tensor:
    """The first pictures of the training split as the first epoch shows them, shuffled and augmented.

    Args:
        run: the training; of several processes each has its own part of the split.
        count: how many; the whole epoch's where there are fewer.

    Returns:
        [B, C, H, W], or frames [B, T, C, H, W].
    """
    found: list[Tensor] = []
    for x, _ in run.batches.epoch(0):
        found.append(x)
        if sum(map(len, found)) >= count:
            break
    return torch.cat(found)[:count]


@contextmanager
def trial(
    network: SpikingNetwork, timesteps: int | None = None, training: bool = False, batch_statistics: bool = False
) -> Iterator[None]:
    """Try a network in evaluation or training mode; modes, timesteps and running statistics are then as before.

    Args:
        network: the network.
        timesteps: for how many timesteps pictures are shown in place of its own T. Frames have as many as they have.
        training: whether it computes as in training: dropout drops, batch norm has the statistics of what it is given.
        batch_statistics: whether batch norm does so, and nothing else is as in training.
    """
    modes, own = [(module, module.training) for module in network.modules()], network.timesteps
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    for module, _ in modes:
        module.training = training or (batch_statistics and isinstance(module, nn.modules.batchnorm._BatchNorm))
    network.timesteps = timesteps or own
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        network.timesteps = own
        for buffer, before in buffers:
            buffer.copy_(before)


class _Reached(Exception):
    """The layer in question is about to run."""


@torch.no_grad()
def input_current(network: SpikingNetwork, layer: str, x: Tensor) -> Tensor:
    """What a neuron layer receives, behind normalisation and shortcut: [T, B, C, H, W].

    The network runs as far as that layer only.

    Args:
        network: with neurons of any kind, in the mode it is in.
        layer: one of :func:`ternary_spike.models.base.named_neurons`.
        x: pictures or frames, as the network takes them.

    Raises:
        UserError: if the network does not come past that layer.
    """
    current: list[Tensor] = []

    def stop(_module, inputs: tuple[Tensor, ...]) -> None:
        current.append(inputs[0])
        raise _Reached

    handle = named_neurons(network)[layer].register_forward_pre_hook(stop)
    try:
        network(x)
    except _Reached:
        return current[0]
    finally:
        handle.remove()
    raise UserError(f"the network computes without its layer {layer}, so nothing can be calibrated there")


def percentile(network: SpikingNetwork, layer: str, x: Tensor, percent: float, at_once: int = AT_ONCE) -> float:
    """A percentile of the input current of a neuron layer at each timestep, of which the largest counts.

    Of the n currents of a timestep, over pictures, channels and places, it is the one of rank
    1 + round(percent/100 (n - 1)) from below: no current is made up between two of them.

    Args:
        network, layer, x: as of :func:`input_current`.
        percent: from 0 to 100.
        at_once: how many pictures go through the network together.
    """
    highest: list[Tensor] = []
    for part in x.split(at_once):
        current = input_current(network, layer, part).flatten(1)
        n = current.shape[1] // len(part) * len(x)
        rank = n - round(percent / 100 * (n - 1))  # from above: no more of the largest currents are kept
        highest.append(current.topk(min(rank, current.shape[1])).values)
    return torch.cat(highest, 1).topk(rank).values[:, -1].max().item()


def percentile_of(values: Tensor, percent: float) -> Tensor:
    """A percentile of all of a tensor's numbers, a scalar; its rank is as of :func:`percentile`.

    Args:
        values: any shape.
        percent: from 0 to 100.
    """
    n = values.numel()
    return values.flatten().topk(n - round(percent / 100 * (n - 1))).values[-1]
