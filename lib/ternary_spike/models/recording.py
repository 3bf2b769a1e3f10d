"""Watching the neuron layers of a model while it runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ternary_spike.membrane.dynamics import fire, integrate
from ternary_spike.models.base import named_neurons
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.neurons.base import LIF
from ternary_spike.reparam.known_modules import require_known_neuron


@contextmanager
def recording(model: SpikingResNet, observe: Callable[[str, Tensor, Tensor], None]) -> Iterator[None]:
    """Call ``observe(layer, membrane potential, un-scaled spikes)`` whenever a spiking layer has run.

    Both tensors are [T, B, C, H, W]. The un-scaled spikes b are taken from the membrane, not from the output a b:
    where an amplitude is 0 the neuron still fires and resets.

    Raises:
        ValueError: if a layer has equations of its own: its potentials are computed from its input by those of LIF.
    """
    spiking = {name: neuron for name, neuron in named_neurons(model).items() if isinstance(neuron, LIF)}
    for name, neuron in spiking.items():
        require_known_neuron(name, neuron, "recorded")
    handles = []
    for name, neuron in spiking.items():

        def hook(module, inputs, output, name=name):
            u = integrate(inputs[0].detach(), None, module.dynamics)
            observe(name, u, fire(u, module.dynamics))

        handles.append(neuron.register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def count_neurons(model: SpikingResNet) -> int:
    """Number of spiking neurons of a network, of one image at one timestep; 0 for the ReLU reference."""
    sizes = []
    was_training = model.training
    weight = model.classifier.weight
    shape = (1, model.timesteps, model.in_channels, model.image_size, model.image_size)
    with recording(model.eval(), lambda _name, u, _spikes: sizes.append(u[0, 0].numel())):
        model(torch.zeros(shape, dtype=weight.dtype, device=weight.device))
    model.train(was_training)
    return sum(sizes)
