"""Folding: re-parameterisation of a trained network into one that emits normalised spikes (Eqs. 15-17).

A trained layer emits a * b. What follows is linear up to the next membrane, so a moves into it:

    convolution      K * (a b) = (a K) * b                                   Eq. 17
    batch norm       gamma (x - mean) / sigma + beta, a factor and a bias for each output channel of the same K
    average pooling  pool(a b) = a pool(b), so a passes through into the convolution behind it
    classifier       linear too; global pooling passes a through
    identity shortcut   no weights to fold into: a stays as the constant that a spike adds to the membrane

An amplitude a channel is folded the same way, along the input channels.
"""

import torch
from torch import Tensor, nn

from ternary_spike.membrane.dynamics import Dynamics
from ternary_spike.models.batch_norm import BatchNorm2d
from ternary_spike.models.blocks import BasicBlock, ConvUnit, Shortcut
from ternary_spike.models.known_modules import NotFoldable, require_known
from ternary_spike.models.layers import AvgPool2d, Conv2d
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.neurons.base import SpikingNeuron
from ternary_spike.reparam.network import IMAGE, FoldedNetwork, Operation


class _Folder:
    """Collects operations and weights; remembers the amplitude that each value still carries."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.operations: list[Operation] = []
        self.weights: dict[str, Tensor] = {}
        self.carried: dict[str, Tensor] = {IMAGE: torch.ones((), dtype=torch.float64)}

    def _append(self, name: str, kind: str, inputs: tuple[str, ...], **settings) -> str:
        self.operations.append(Operation(name, kind, inputs, settings))
        return name

    def conv(self, name: str, conv: nn.Conv2d, bn: BatchNorm2d, source: str) -> str:
        _require(name, conv, Conv2d if isinstance(conv, Conv2d) else nn.Conv2d)
        _require(name.replace("conv", "bn"), bn, BatchNorm2d)
        if bn.running_var is None:
            raise NotFoldable(f"{name.replace('conv', 'bn')} has no running statistics, so it cannot be folded")
        for option, known in {"groups": 1, "dilation": (1, 1), "padding_mode": "zeros"}.items():
            if getattr(conv, option) != known:
                raise _unknown(name, conv, option)
        gain = torch.rsqrt(bn.running_var.double() + bn.eps)
        gain = gain if bn.weight is None else bn.weight.double() * gain
        kernel = conv.weight.double() * _along_inputs(self.carried[source], 3) * gain.view(-1, 1, 1, 1)
        bias = (_or_zero(conv.bias) - bn.running_mean.double()) * gain + _or_zero(bn.bias)
        self.weights[f"{name}.weight"] = kernel.to(self.dtype)
        self.weights[f"{name}.bias"] = bias.to(self.dtype)
        _side(name, conv, "kernel_size")
        stride, padding = (_side(name, conv, option) for option in ("stride", "padding"))
        return self._append(name, "conv", (source,), stride=stride, padding=padding)

    def pool(self, name: str, pool: AvgPool2d, source: str) -> str:
        _require(name, pool, AvgPool2d)
        if pool.divisor_override is not None:
            raise _unknown(name, pool, "divisor_override")
        self.carried[name] = self.carried[source]
        sides = {option: _side(name, pool, option) for option in ("kernel_size", "stride", "padding")}
        edges = {"ceil_mode": pool.ceil_mode, "count_include_pad": pool.count_include_pad}
        return self._append(name, "pool", (source,), **sides, **edges)

    def add(self, name: str, current: str, other: str) -> str:
        amplitude = self.carried.get(other)
        if amplitude is not None:  # spikes, on an identity shortcut
            self.weights[f"{name}.constant"] = amplitude.to(self.dtype)
        return self._append(name, "add", (current, other))

    def spikes(self, name: str, neuron: nn.Module, source: str) -> str:
        folded = neuron.folds() if isinstance(neuron, SpikingNeuron) and "forward" not in vars(neuron) else None
        if folded is None or type(folded.dynamics) is not Dynamics:
            raise NotFoldable(f"layer {name}, {type(neuron).__name__}, does not say what it is once folded")
        _require_no_hooks(name, neuron)
        d = folded.dynamics
        amplitude = torch.ones(()) if folded.amplitude is None else folded.amplitude
        if amplitude.numel() != 1 and (amplitude.dim() != 3 or amplitude[0].numel() != 1):
            raise NotFoldable(
                f"{name} has an amplitude of shape {tuple(amplitude.shape)}, which cannot be folded: it must be one "
                "number, or one for each channel ([C, 1, 1])"
            )
        self.carried[name] = amplitude.double().cpu()
        return self._append(name, "spikes", (source,), signed=d.signed, threshold=d.threshold, decay=d.decay)

    def classifier(self, name: str, linear: nn.Linear, source: str) -> str:
        _require(name, linear, nn.Linear)
        weight = linear.weight.double() * _along_inputs(self.carried[source], 1)
        self.weights[f"{name}.weight"] = weight.to(self.dtype)
        self.weights[f"{name}.bias"] = (torch.zeros_like(weight[:, 0]) + _or_zero(linear.bias)).to(self.dtype)
        return self._append(name, "classifier", (source,))


def _along_inputs(amplitude: Tensor, dims: int) -> Tensor:
    """An amplitude, a scalar or [C, 1, 1], so that it multiplies a weight's input channels (its axis 1)."""
    return amplitude.view(1, -1, *(1,) * (dims - 1)) if amplitude.dim() else amplitude


def _or_zero(bias: Tensor | None) -> Tensor | float:
    return 0.0 if bias is None else bias.double()


def _require(name: str, module: nn.Module, base: type[nn.Module]) -> None:
    require_known(name, module, base)
    _require_no_hooks(name, module)


def _require_no_hooks(name: str, module: nn.Module) -> None:
    if module._forward_hooks or module._forward_pre_hooks:
        raise NotFoldable(
            f"{name} has a forward hook, which may change what it computes and cannot be folded; remove it first"
        )


def _unknown(name: str, module: nn.Module, option: str) -> NotFoldable:
    return NotFoldable(f"{name} has {option}={getattr(module, option)!r}, which a folded network does not have")


def _side(name: str, module: nn.Module, option: str) -> int:
    """An option that is a number, or a pair of equal ones."""
    value = getattr(module, option)
    sides = {value} if isinstance(value, int) else set(value)
    if len(sides) != 1 or not isinstance(value, int | tuple):
        raise _unknown(name, module, option)
    return sides.pop()


@torch.no_grad()
def fold(model: SpikingResNet, dtype: torch.dtype = torch.float64) -> FoldedNetwork:
    """Fold amplitudes and batch norm into convolutions and classifier (Eqs. 15-17).

    Args:
        model: a trained spiking ResNet; its running statistics are used, its mode does not matter.
        dtype: of the folded weights. In float64 the fold is exact up to rounding in the sixteenth digit.

    Returns:
        The folded network, on the CPU. Its neuron layers have no amplitude.

    Raises:
        NotFoldable: if a neuron layer does not say what it is once folded, or a layer has an option, a method or a hook
            of its own that the folded network would not have; the message names the layer.
    """
    f = _Folder(dtype)
    value = IMAGE
    _require("the network", model, SpikingResNet)
    for i, unit in enumerate(model.stem):
        _require(f"stem{i + 1}", unit, ConvUnit)
        value = f.conv(f"stem{i + 1}.conv", unit.conv, unit.bn, value)
        value = f.spikes(f"stem{i + 1}", unit.neuron, value)
    if model.stem_pool is not None:
        value = f.pool("stem.pool", model.stem_pool, value)
    for s, stage in enumerate(model.stages):
        for b, block in enumerate(stage):
            name = f"stage{s + 1}.block{b + 1}"
            _require(name, block, BasicBlock)
            current = f.conv(f"{name}.conv1", block.conv1, block.bn1, value)
            spikes = f.spikes(f"{name}.1", block.neuron1, current)
            current = f.conv(f"{name}.conv2", block.conv2, block.bn2, spikes)
            shortcut = value
            if block.shortcut is not None:
                _require(f"{name}.shortcut", block.shortcut, Shortcut)
                if block.shortcut.pool is not None:
                    shortcut = f.pool(f"{name}.shortcut.pool", block.shortcut.pool, shortcut)
                shortcut = f.conv(f"{name}.shortcut.conv", block.shortcut.conv, block.shortcut.bn, shortcut)
            current = f.add(f"{name}.add", current, shortcut)
            value = f.spikes(f"{name}.2", block.neuron2, current)
    f.classifier("classifier", model.classifier, value)
    weights = {name: weight.cpu() for name, weight in f.weights.items()}
    network = FoldedNetwork(
        f.operations, weights, model.timesteps, model.in_channels, model.image_size, model.classifier.out_features
    )
    network.shapes()  # layers that do not fit each other are named here
    return network
