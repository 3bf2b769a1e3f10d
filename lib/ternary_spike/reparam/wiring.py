"""Which operations a network is made of: found by walking over its units, whatever its neurons are.

A unit says it by its ``fold(folder, name, source)`` (see :mod:`ternary_spike.models.blocks`). :class:`Wiring` is a
folder that collects the operations and the shapes of their weights: enough to count operations, not to run them.
:class:`ternary_spike.reparam.folding.Folder` computes the folded weights as well, and asks more of the layers.
"""

import torch
from torch import Tensor, nn

from ternary_spike.models.chain_units import FullyConnected, MaxPool2d, Votes
from ternary_spike.models.known_modules import NotFoldable, require_known
from ternary_spike.models.layers import AvgPool2d, Conv2d
from ternary_spike.models.residual_variants import NormalisedShortcut
from ternary_spike.reparam.network import IMAGE, FoldedNetwork, Operation


class Wiring:
    """Collects operations, and weights without values.

    Its methods are what a unit's ``fold`` can say. Each takes the operation's name in result files, the module, and the
    names of the values that it reads; each returns the name of the value that it makes, and raises NotFoldable, with
    that name, where a module is or has what a folded network does not have.

    Attributes:
        operations: in the order of computation.
        weights: tensors by ``<operation>.weight``, ``.bias`` or ``.constant``.
    """

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.weights: dict[str, Tensor] = {}
        self._spikes = {IMAGE}  # values that are spikes, or averages of spikes, rather than currents

    def _append(self, name: str, kind: str, inputs: tuple[str, ...], **settings) -> str:
        self.operations.append(Operation(name, kind, inputs, settings))
        return name

    def unit(self, name: str, unit: nn.Module, source: str) -> str:
        """A part of the network that has a ``fold`` of its own, beside the ``forward`` that it describes."""
        kinds = (kind for kind in type(unit).__mro__ if issubclass(kind, nn.Module) and "fold" in vars(kind))
        described = next(kinds, None)
        if described is None:
            raise NotFoldable(f"{name} is {type(unit).__name__}, which has no fold method to say how it is folded")
        require_as_it_is(name, unit, described)
        return unit.fold(self, name, source)

    def conv(self, name: str, conv: nn.Conv2d, bn: nn.Module, source: str) -> str:
        """A convolution of spikes or the image, and the batch norm behind it: a current."""
        require_as_it_is(name, conv, Conv2d if isinstance(conv, Conv2d) else nn.Conv2d)
        for option, known in {"groups": 1, "dilation": (1, 1), "padding_mode": "zeros"}.items():
            if getattr(conv, option) != known:
                raise unknown(name, conv, option)
        _side(name, conv, "kernel_size")
        stride, padding = (_side(name, conv, option) for option in ("stride", "padding"))
        self.weights[f"{name}.weight"] = _without_values(*conv.weight.shape)
        self.weights[f"{name}.bias"] = _without_values(conv.out_channels)
        return self._append(name, "conv", (source,), stride=stride, padding=padding)

    def fully_connected(self, name: str, linear: nn.Linear, bn: nn.Module, source: str) -> str:
        """A linear layer of every place, and the batch norm behind it: a convolution with a kernel as large as that."""
        require_as_it_is(name, linear, FullyConnected)
        self.weights[f"{name}.weight"] = _without_values(*as_kernel(linear).shape)
        self.weights[f"{name}.bias"] = _without_values(linear.out_features)
        return self._append(name, "conv", (source,), stride=1, padding=0)

    def pool(self, name: str, pool: nn.Module, source: str) -> str:
        """Average pooling of spikes."""
        require_as_it_is(name, pool, AvgPool2d)
        if pool.divisor_override is not None:
            raise unknown(name, pool, "divisor_override")
        self._spikes.add(name)
        sides = {option: _side(name, pool, option) for option in ("kernel_size", "stride", "padding")}
        edges = {"ceil_mode": pool.ceil_mode, "count_include_pad": pool.count_include_pad}
        return self._append(name, "pool", (source,), **sides, **edges)

    def max_pool(self, name: str, pool: nn.Module, source: str) -> str:
        """Max pooling of spikes, which gives spikes."""
        require_as_it_is(name, pool, MaxPool2d)
        for option, known in {"dilation": 1, "ceil_mode": False, "return_indices": False}.items():
            if getattr(pool, option) != known:
                raise unknown(name, pool, option)
        if not any(op.name == source and op.kind in ("spikes", "max_pool") for op in self.operations):
            raise NotFoldable(f"{name} is max pooling of {source}, which are not spikes")
        self._spikes.add(name)
        sides = {option: _side(name, pool, option) for option in ("kernel_size", "stride", "padding")}
        return self._append(name, "max_pool", (source,), **sides)

    def add(self, name: str, current: str, other: str) -> str:
        """A current and a shortcut, which is another current, or spikes where the shortcut is the identity."""
        if other in self._spikes:
            self.weights[f"{name}.constant"] = _without_values()
        return self._append(name, "add", (current, other))

    def add_normalised(self, name: str, current: str, spikes: str, shortcut: nn.Module, shortcut_name: str) -> str:
        """A current and spikes behind a batch norm of their own, the shortcut."""
        require_as_it_is(shortcut_name, shortcut, NormalisedShortcut)
        return Wiring.add(self, name, current, spikes)

    def spikes(self, name: str, neuron: nn.Module, source: str) -> str:
        """A neuron layer on a current."""
        self._spikes.add(name)
        return self._append(name, "spikes", (source,), signed=bool(getattr(neuron, "signed", False)))

    def classifier(self, name: str, linear: nn.Module, source: str) -> str:
        """The classifier of the spikes' mean over time and, unless it has weights for each place, over space."""
        require_as_it_is(name, linear, Votes if isinstance(linear, Votes) else nn.Linear)
        self.weights[f"{name}.weight"] = _without_values(*linear.weight.shape)
        self.weights[f"{name}.bias"] = _without_values(linear.out_features)
        return self._append(name, "classifier", (source,))

    def network(self, model: nn.Module) -> FoldedNetwork:
        """Walk over a network and put together what was found.

        Raises:
            NotFoldable: as the methods do.
            ValueError: if layers do not fit each other; the message names one.
        """
        self.unit("the network", model, IMAGE)
        classes = self.weights[f"{self.operations[-1].name}.weight"].shape[0]
        sizes = (model.timesteps, model.in_channels, model.image_size, classes)
        network = FoldedNetwork(self.operations, self.weights, *sizes)
        network.shapes()
        return network


def require_as_it_is(name: str, module: nn.Module, base: type[nn.Module]) -> None:
    """Raise NotFoldable unless a module computes what a class does, and nothing is hooked to it."""
    require_known(name, module, base)
    require_no_hooks(name, module)


def require_no_hooks(name: str, module: nn.Module) -> None:
    """Raise NotFoldable if something is hooked to a module's forward pass."""
    if module._forward_hooks or module._forward_pre_hooks:
        raise NotFoldable(
            f"{name} has a forward hook, which may change what it computes and cannot be folded; remove it first"
        )


def unknown(name: str, module: nn.Module, option: str) -> NotFoldable:
    """What to raise for an option of a module's that a folded network does not have."""
    return NotFoldable(f"{name} has {option}={getattr(module, option)!r}, which a folded network does not have")


def as_kernel(linear: FullyConnected) -> Tensor:
    """A fully connected layer's weight as a convolution's, [features, channels, side, side]."""
    return linear.weight.unflatten(1, (linear.channels, linear.side, linear.side))


def _without_values(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


def _side(name: str, module: nn.Module, option: str) -> int:
    """An option that is a number, or a pair of equal ones."""
    value = getattr(module, option)
    sides = {value} if isinstance(value, int) else set(value)
    if len(sides) != 1 or not isinstance(value, int | tuple):
        raise unknown(name, module, option)
    return sides.pop()
