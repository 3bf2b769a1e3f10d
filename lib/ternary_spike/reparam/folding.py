"""Folding: re-parameterisation of a trained network into one that emits normalised spikes (Eqs. 15-17).

A trained layer emits a b. What follows is linear up to the next membrane, so a moves into it, as into the kernel K of a
convolution:

    K * (a b) = (a K) * b   (Eq. 17)

What becomes of each operation:

    convolution      Eq. 17
    batch norm       gamma (x - mean) / sigma + beta, a factor and a bias for each output channel of the same K
    fully connected  a convolution whose kernel is as large as the picture
    average pooling  pool(a b) = a pool(b), so a passes through into the convolution behind it
    max pooling      the same for a >= 0
    classifier       linear too; global pooling passes a through
    identity shortcut   no weights to fold into: a stays as the constant that a spike adds to the membrane
    batch norm in front of a neuron's comparison (MPBN)   thresholds of each channel

An amplitude a channel is folded the same way, along the input channels.
"""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ternary_spike.membrane.dynamics import Dynamics
from ternary_spike.models.batch_norm import BatchNorm2d
from ternary_spike.models.known_modules import NotFoldable
from ternary_spike.neurons.base import SpikingNeuron
from ternary_spike.neurons.channel_thresholds import FoldedByChannel
from ternary_spike.reparam.network import IMAGE, FoldedNetwork
from ternary_spike.reparam.wiring import Wiring, as_kernel, require_as_it_is, require_no_hooks


class Folder(Wiring):
    """Collects operations and folded weights; remembers the amplitude that each value still carries."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.carried: dict[str, Tensor] = {IMAGE: torch.ones((), dtype=torch.float64)}

    def conv(self, name: str, conv: nn.Conv2d, bn: BatchNorm2d, source: str) -> str:
        super().conv(name, conv, bn, source)
        return self._weights(name, _in_double(conv).weight, conv.bias, bn, source)

    def fully_connected(self, name: str, linear: nn.Linear, bn: BatchNorm2d, source: str) -> str:
        super().fully_connected(name, linear, bn, source)
        return self._weights(name, as_kernel(_in_double(linear)), linear.bias, bn, source)

    def _weights(self, name: str, weight: Tensor, bias: Tensor | None, bn: nn.Module, source: str) -> str:
        """Keep a layer's weight [C', C, k, k] and bias with the source's amplitude and the batch norm behind it."""
        unit, _, layer = name.rpartition(".")
        name_of_bn = f"{unit}.{layer.replace('conv', 'bn').replace('linear', 'bn')}"
        gain, mean, shift = _gain_mean_and_shift(name_of_bn, bn, weight)
        kernel = weight.double() * _along_inputs(self.carried[source], 3) * gain.view(-1, 1, 1, 1)
        self.weights[f"{name}.weight"] = kernel.to(self.dtype)
        self.weights[f"{name}.bias"] = ((_or_zero(bias) - mean) * gain + shift).to(self.dtype)
        return name

    def max_pool(self, name: str, pool: nn.Module, source: str) -> str:
        super().max_pool(name, pool, source)
        if (self.carried[source] < 0).any():
            raise NotFoldable(f"{name} is max pooling of spikes of {source}, whose amplitude is negative")
        self.carried[name] = self.carried[source]
        return name

    def pool(self, name: str, pool: nn.Module, source: str) -> str:
        self.carried[name] = self.carried[source]
        return super().pool(name, pool, source)

    def add(self, name: str, current: str, other: str) -> str:
        super().add(name, current, other)
        if f"{name}.constant" in self.weights:  # spikes, on an identity shortcut
            self.weights[f"{name}.constant"] = self.carried[other].to(self.dtype)
        return name

    def add_normalised(self, name: str, current: str, spikes: str, shortcut: nn.Module, shortcut_name: str) -> str:
        super().add_normalised(name, current, spikes, shortcut, shortcut_name)
        bias = self.weights[f"{current}.bias"]
        gain, mean, shift = _gain_mean_and_shift(f"{shortcut_name}.bn", shortcut.bn, bias)
        self.weights[f"{name}.constant"] = (self.carried[spikes] * gain.view(-1, 1, 1)).to(self.dtype)
        self.weights[f"{current}.bias"] = (bias.double() + shift - mean * gain).to(self.dtype)
        return name

    def spikes(self, name: str, neuron: nn.Module, source: str) -> str:
        folded = neuron.folds() if isinstance(neuron, SpikingNeuron) and "forward" not in vars(neuron) else None
        if folded is None or type(folded.dynamics) is not Dynamics:
            reason = getattr(neuron, "not_folded", "") or "does not say what it is once folded"
            raise NotFoldable(f"layer {name}, {type(neuron).__name__}, {reason}")
        for module in neuron.modules():
            require_no_hooks(name, module)
        d = folded.dynamics
        amplitude = torch.ones(()) if folded.amplitude is None else folded.amplitude
        if amplitude.numel() != 1 and (amplitude.dim() != 3 or amplitude[0].numel() != 1):
            raise NotFoldable(
                f"{name} has an amplitude of shape {tuple(amplitude.shape)}, which cannot be folded: it must be one "
                "number, or one for each channel ([C, 1, 1])"
            )
        self.carried[name] = amplitude.double().cpu()
        self._spikes.add(name)
        threshold = d.threshold
        if isinstance(folded, FoldedByChannel):
            threshold = None
            for key, values in folded.thresholds.tensors().items():
                self.weights[f"{name}.{key}"] = values.to(self.dtype)
        return self._append(name, "spikes", (source,), signed=d.signed, threshold=threshold, decay=d.decay)

    def classifier(self, name: str, linear: nn.Linear, source: str) -> str:
        super().classifier(name, linear, source)
        carried = self.carried[source].flatten()
        if len(carried) > 1:  # one a channel, for weights of each place of it
            carried = carried.repeat_interleave(linear.in_features // len(carried))
        weight = _in_double(linear).weight.double() * carried
        self.weights[f"{name}.weight"] = weight.to(self.dtype)
        self.weights[f"{name}.bias"] = (torch.zeros_like(weight[:, 0]) + _or_zero(linear.bias)).to(self.dtype)
        return name


def _in_double(layer: nn.Module) -> nn.Module:
    """A layer as it is; where its weights are computed from others, a copy that computes them in float64."""
    return deepcopy(layer).double() if parametrize.is_parametrized(layer) else layer


def _gain_mean_and_shift(name: str, bn: nn.Module, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What a normalisation behind a weight [C, ...] is in evaluation, (x - mean) gain + shift: each [C], in float64."""
    if isinstance(bn, nn.Identity):  # no normalisation
        require_as_it_is(name, bn, nn.Identity)
        nothing = weight.new_zeros(len(weight), dtype=torch.float64)
        return nothing + 1, nothing, nothing
    require_as_it_is(name, bn, BatchNorm2d)
    if bn.running_var is None:
        raise NotFoldable(f"{name} has no running statistics, so it cannot be folded")
    inverse, gain = torch.rsqrt(bn.running_var.double() + bn.eps), bn.gain_in_float64()
    gain = inverse if gain is None else gain * inverse
    return gain, bn.running_mean.double(), torch.zeros_like(gain) + _or_zero(bn.bias)


def _along_inputs(amplitude: Tensor, dims: int) -> Tensor:
    """An amplitude, a scalar or [C, 1, 1], so that it multiplies a weight's input channels (its axis 1)."""
    return amplitude.view(1, -1, *(1,) * (dims - 1)) if amplitude.dim() else amplitude


def _or_zero(bias: Tensor | None) -> Tensor | float:
    return 0.0 if bias is None else bias.double()


@torch.no_grad()
def fold(model: nn.Module, dtype: torch.dtype = torch.float64) -> FoldedNetwork:
    """Fold amplitudes and batch norm into convolutions and classifier (Eqs. 15-17).

    Args:
        model: a trained network whose units have a ``fold``, as :class:`ternary_spike.models.resnet.SpikingResNet`'s;
            its running statistics are used, its mode does not matter.
        dtype: of the folded weights. In float64 the fold is exact up to rounding in the sixteenth digit.

    Returns:
        The folded network, on the CPU. Its neuron layers have no amplitude.

    Raises:
        NotFoldable: if the network or one of its units does not say how it folds, a neuron layer does not say what it
            is once folded, or a layer has an option, a method or a hook of its own that the folded network would not
            have; the message names the layer.
        ValueError: if layers do not fit each other; the message names one.
    """
    return Folder(dtype).network(model).to(torch.device("cpu"))
