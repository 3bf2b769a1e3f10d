"""Where a layer's amplitude can have any effect at all.

A convolution with batch norm behind it is blind to the scale of its input. An amplitude whose spikes meet nothing else
has a gradient of zero, up to batch norm's epsilon, and stays where it began. It can act only where the spikes reach an
identity shortcut, whose sum charges a membrane, or the classifier.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ternary_spike.models.base import SpikingNetwork, named_neurons
from ternary_spike.reparam import synops
from ternary_spike.reparam.network import FoldedNetwork


def live_layers(network: FoldedNetwork) -> list[str]:
    """Neuron layers whose spikes reach an identity shortcut or the classifier, in the order of computation."""
    reached = {layer.neurons for layer in synops.layers(network) if layer.kind in ("add", "classifier")}
    return [name for name in network.spike_layers() if name in reached]


def gradient_shares(model: SpikingNetwork, x: Tensor, labels: Tensor) -> dict[str, float]:
    """How much of the gradient at a layer's spikes its amplitude sees: |dL/da| over the sum of |dL/dy b|.

    Args:
        model: a network with trainable amplitudes, none of them 0; it is put into training mode.
        x: a batch [B, C, H, W] or [B, T, C, H, W] in the model's dtype.
        labels: its classes, int64 [B].

    Returns:
        By layer a number in [0, 1]: 0 up to rounding and batch norm's epsilon where the amplitude is blind.
    """
    model.train()
    seen: dict[str, Tensor] = {}
    handles = []
    for name, neuron in named_neurons(model).items():

        def hook(module, inputs, output, name=name):
            b = output.detach() / module.amplitude.detach()
            output.register_hook(lambda grad: seen.__setitem__(name, (grad * b).abs().sum()))

        handles.append(neuron.register_forward_hook(hook))
    try:
        model.zero_grad(set_to_none=True)
        F.cross_entropy(model(x), labels).backward()
    finally:
        for handle in handles:
            handle.remove()
    return {
        name: (neuron.amplitude.grad.abs().sum() / seen[name].clamp_min(torch.finfo(x.dtype).tiny)).item()
        for name, neuron in named_neurons(model).items()
    }
