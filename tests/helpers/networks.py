"""Networks for tests: untrained ones whose amplitudes and batch norm are no longer at their trivial initial values."""

import torch
from torch import Tensor, nn

from ternary_spike.models.base import SpikingNetwork, named_neurons
from ternary_spike.models.batch_norm import BatchNorm2d
from ternary_spike.models.chain_units import FullyConnected
from ternary_spike.models.layers import Conv2d
from ternary_spike.models.normaliser_free import NormaliserFreeResNet
from ternary_spike.models.registry import ARCHITECTURES, make_network
from ternary_spike.models.resnet import SpikingResNet


@torch.no_grad()
def draw_amplitudes(model: SpikingResNet, generator: torch.Generator) -> None:
    """Every trained amplitude uniformly from ±[0.5, 2]: they mostly stay at 1 and would hide a wrong fold."""
    for neuron in named_neurons(model).values():
        if isinstance(getattr(neuron, "amplitude", None), nn.Parameter):
            size = 0.5 + 1.5 * torch.rand(neuron.amplitude.shape, generator=generator)
            sign = torch.where(torch.rand(neuron.amplitude.shape, generator=generator) < 0.5, -1.0, 1.0)
            neuron.amplitude.copy_(size * sign)


@torch.no_grad()
def recalibrate(model: SpikingResNet, x: Tensor, generator: torch.Generator, rounds: int = 3) -> None:
    """Batch norm with drawn weights and biases, and running statistics near those of the given inputs.

    A large momentum and a few rounds let them settle; each layer's firing rate then lies well between 0 and 1.
    """
    norms = [m for m in model.modules() if isinstance(m, BatchNorm2d)]
    for norm in norms:
        norm.weight.copy_(0.5 + torch.rand(norm.weight.shape, generator=generator))
        norm.bias.copy_(0.2 * torch.randn(norm.bias.shape, generator=generator))
        norm.momentum = 0.7
    model.train()
    for _ in range(rounds):
        model(x)
    model.eval()


@torch.no_grad()
def settle(model: SpikingNetwork, x: Tensor) -> None:
    """Scale every layer's weights so that its currents have variance 1 on these inputs.

    Without batch norm nothing else keeps spikes from dying out with depth.
    """

    def scale(layer, _inputs, current):
        factor = 1 / current.std().clamp_min(0.01)  # a silent layer may be in front
        layer.weight.mul_(factor)
        return current * factor

    handles = [m.register_forward_hook(scale) for m in model.modules() if isinstance(m, Conv2d | FullyConnected)]
    model.eval()(x)
    for handle in handles:
        handle.remove()


def tiny_network(name: str, neuron: str = "", side: int = 0, **options):
    """A registered network, of whatever family, at a small width whose layers fire; and inputs [8, C, H, W] for it.

    Its neurons are trainable ternary ones if none are named, or binary ones where spikes are joined by logic.
    """
    neuron = neuron or any_neuron(name)
    side = side or _small_side(name)
    torch.manual_seed(0)
    model = make_network(f"{name}w4", neuron, 2, num_classes=3, in_channels=1, image_size=side, **options)
    x = torch.randn(8, 1, side, side)
    if isinstance(model, NormaliserFreeResNet):
        open_branches(model)
    settle(model, x)
    return model, x


@torch.no_grad()
def open_branches(model: NormaliserFreeResNet) -> None:
    """Draw what is 0 before training, where each block is an identity and every class score a constant."""
    for block in model.blocks:
        block.skip.uniform_(0.5, 1.5)
    model.classifier.weight.normal_()


def _small_side(name: str) -> int:
    """Pictures of which the last layer, too, has more than one place, in all lists of layers but the longest."""
    data = ARCHITECTURES[name].data
    smallest = data.stem_pool[0] if data.stem_pool else 1
    return next(side for side in (8, 16, 32, 64, 128) if side >= min(2 * smallest, 128))


def any_neuron(name: str) -> str:
    """The most general neuron that an architecture takes."""
    return "binary" if getattr(ARCHITECTURES[name].data, "connect", "add") != "add" else "trainable"


def random_network(seed: int, architecture: str, neuron: str, image_size: int, channels: int = 3, **options):
    """A network with drawn amplitudes and batch norm, recalibrated on noise; and inputs [8, C, H, W] to run it on."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    options.setdefault("timesteps", 2)
    model = SpikingResNet(architecture, neuron, image_size=image_size, in_channels=channels, **options)
    x = torch.randn(16, channels, image_size, image_size, generator=generator)
    draw_amplitudes(model, generator)
    recalibrate(model, x, generator)
    return model, x[:8]
