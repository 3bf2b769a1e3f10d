"""ResNet20 with its parts exchanged: with the neurons of others, or with nothing but its convolutions."""

from collections.abc import Callable

import torch
from benchmarks import rivals
from torch import Tensor, nn

from ternary_spike import SpikingResNet
from ternary_spike.models.base import named_neurons


class Layer(nn.Module):
    """A function of the input current [T, B, C, H, W] as a neuron layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class PassOn(nn.Module):
    """In place of batch norm or neuron where only the convolutions are wanted."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    def repeated(self, x: Tensor, timesteps: int) -> Tensor:
        return x


def variants(timesteps: int, batch: int, device: str) -> dict[str, tuple[nn.Module, str, Tensor]]:
    """ResNet20 by variant: (network, backend, input batch). Rivals' get the image once for each timestep."""
    image = torch.randn(batch, 3, 32, 32, device=device)
    frames = image.unsqueeze(1).repeat(1, timesteps, 1, 1, 1)

    def make() -> SpikingResNet:
        torch.manual_seed(0)
        return SpikingResNet("resnet20", "ternary", timesteps).to(device, memory_format=torch.channels_last).train()

    found = {}
    for name, function in rivals.neurons(device).items():
        found[name] = (with_neurons(make(), function).to(memory_format=torch.contiguous_format), "eager", frames)
    return found | {
        "ternary, eager": (make(), "eager", image),
        "ternary, compiled": (make(), "compiled", image),
        "convolutions alone": (convolutions_alone(make()), "eager", image),
    }


def with_neurons(model: SpikingResNet, function: Callable[[Tensor], Tensor]) -> SpikingResNet:
    """The network with its neurons exchanged for those of ``function``."""
    for module in named_neurons(model).values():
        replace(model, module, Layer(function))
    return model


def convolutions_alone(model: SpikingResNet) -> SpikingResNet:
    """The network without batch norm and neurons."""
    for module in list(model.modules()):
        if isinstance(module, nn.BatchNorm2d) or module in named_neurons(model).values():
            replace(model, module, PassOn())
    return model


def replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for parent in model.modules():
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)
