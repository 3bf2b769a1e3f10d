"""The folded network: a plain list of operations whose neurons emit {-1, 0, 1} (or {0, 1}) and have no amplitude.

It is a safetensors file of weights beside a small JSON file of operations, thresholds and shapes; reading and running
it needs neither the training code's classes nor its batch norm. Operations, each with the names of its inputs:

    conv         W * x + b, where W holds amplitude and batch norm (Eq. 17); input: the image, spikes, or pooled spikes
    pool         average pooling of spikes: linear, not ternary
    max_pool     max pooling of spikes: spikes again
    add          current + constant * spikes: an identity shortcut, where the amplitude is left as an added constant
                 (+constant on +1, -constant on -1); without a constant the sum of two currents
    spikes       charge, fire, reset (Eqs. 4-5, 7-8) at the given threshold and decay; with the threshold null at those
                 of each channel, see :mod:`ternary_spike.membrane.channel_thresholds`
    classifier   class scores of the spikes' mean over time and space, or over time alone where it has weights for each
                 place of the picture
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ternary_spike.membrane.arguments import whole
from ternary_spike.membrane.channel_thresholds import ChannelThresholds
from ternary_spike.membrane.dynamics import Dynamics
from ternary_spike.membrane.spelling import equations
from ternary_spike.models.convolution import conv2d
from ternary_spike.models.network_input import check_input
from ternary_spike.reparam.folded_structure import IMAGE, check_structure
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import read_json, read_tensors, replaced_together, sha256_of, write_json, write_tensors

FORMAT = "ternary-spike folded network"
WEIGHTS_FILE = "folded.safetensors"
STRUCTURE_FILE = "folded.json"
NOT_FOLDABLE = "not_foldable"  # in the place of all else in the structure's file: why there is no folded network

Observer = Callable[[str, Tensor, Tensor], None]


@dataclass(frozen=True)
class Operation:
    """One operation: a name, its kind, the names of its inputs, and the settings that its kind has."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    settings: dict = field(default_factory=dict)


class FoldedNetwork:
    """A folded network, ready to run on tensors of any floating-point dtype.

    Args:
        operations: in the order of computation; the last one is the classifier.
        weights: tensors by ``<operation>.weight``, ``.bias``, ``.constant``, or the name of a channel's threshold.
        timesteps: T.
        in_channels, image_size, num_classes: the network's input and output sizes.
        trained_weights: SHA-256 of the weights file that it was folded from, where that is known.
    """

    def __init__(
        self,
        operations: list[Operation],
        weights: dict[str, Tensor],
        timesteps: int,
        in_channels: int,
        image_size: int,
        num_classes: int,
        trained_weights: str | None = None,
    ) -> None:
        self.operations = operations
        self.weights = weights
        self.timesteps = timesteps
        self.in_channels = in_channels
        self.image_size = image_size
        self.num_classes = num_classes
        self.trained_weights = trained_weights

    @property
    def dtype(self) -> torch.dtype:
        """Of the folded weights."""
        return self.weights[f"{self.operations[-1].name}.weight"].dtype

    def to(self, target: torch.dtype | torch.device) -> "FoldedNetwork":
        """The same network in another dtype or on another device."""
        weights = {name: weight.to(target) for name, weight in self.weights.items()}
        sizes = (self.timesteps, self.in_channels, self.image_size, self.num_classes)
        return FoldedNetwork(self.operations, weights, *sizes, self.trained_weights)

    def spike_layers(self) -> list[str]:
        """Names of the neuron layers, in the order of computation."""
        return [op.name for op in self.operations if op.kind == "spikes"]

    @torch.no_grad()
    def compute(self, x: Tensor, observe: Observer | None = None) -> Tensor:
        """Class scores of a batch.

        Args:
            x: static images [B, C, H, W] or event frames [B, T, C, H, W].
            observe: called for each neuron layer with its name, membrane potential before the reset and spikes, both
                [T, B, C, H, W].

        Returns:
            Class scores [B, num_classes].

        Raises:
            ValueError: if the input's shape or dtype is not the network's.
        """
        values: dict[str, Tensor] = {}
        for op, inputs in self.walk(x, values):
            if op.kind == "spikes":
                u, values[op.name] = self.fire(op, inputs[0])
                if observe is not None:
                    observe(op.name, u, values[op.name])
            else:
                values[op.name] = self.apply(op, inputs)
        return values[self.operations[-1].name]

    def walk(self, x: Tensor, values: dict[str, Tensor]):
        """Each operation with its inputs, in order; a value is dropped once nothing needs it any more."""
        self.check_input(x)
        values[IMAGE] = x if x.dim() == 4 else x.transpose(0, 1)
        last_use = {name: i for i, op in enumerate(self.operations) for name in op.inputs}
        for i, op in enumerate(self.operations):
            yield op, [values[name] for name in op.inputs]
            for name in op.inputs:
                if last_use[name] == i:
                    values.pop(name, None)

    def check_input(self, x: Tensor) -> None:
        """Raise ValueError unless x is [B, C, H, W] or [B, T, C, H, W] of the network's sizes and dtype."""
        check_input(x, self.in_channels, self.timesteps)
        side, (height, width) = self.image_size, x.shape[-2:]
        if (height, width) != (side, side):
            raise ValueError(f"the network takes images of {side}x{side} pixels, but the input has {height}x{width}")
        if x.dtype != self.dtype:
            ours, theirs = (str(dtype).removeprefix("torch.") for dtype in (self.dtype, x.dtype))
            raise ValueError(f"the network computes in {ours}, but the input is {theirs}: give x.to(network.dtype)")

    def fire(self, op: Operation, current: Tensor) -> tuple[Tensor, Tensor]:
        """Membrane potential before the reset and spikes, both [T, B, C, H, W], of a neuron layer.

        Args:
            op: the layer.
            current: [T, B, C, H, W]; a static one, [B, C, H, W], flows at each timestep.
        """
        if current.dim() == 4:
            current = current.expand(self.timesteps, *current.shape)
        thresholds, dynamics = self.channel_thresholds(op), dynamics_of(op)
        if thresholds is not None:
            return thresholds.run(current, dynamics)
        u = equations().integrate(current, None, dynamics)
        return u, equations().fire(u, dynamics)

    def channel_thresholds(self, op: Operation) -> ChannelThresholds | None:
        """The thresholds of a neuron layer's channels; None where all have one."""
        if op.settings["threshold"] is not None:
            return None
        names = (f"{op.name}.{key}" for key in ("direction", "positive", "negative"))
        return ChannelThresholds(*(self.weights.get(name) for name in names))

    def apply(self, op: Operation, inputs: list[Tensor]) -> Tensor:
        """The output of an operation that is no neuron layer; static tensors are [B, ...], others [T, B, ...]."""
        x = inputs[0]
        if op.kind == "classifier":
            weight, bias = self.weights[f"{op.name}.weight"], self.weights[f"{op.name}.bias"]
            pooled = weight.shape[1] == x.shape[2]
            return F.linear(x.mean(dim=(0, 3, 4)) if pooled else x.mean(0).flatten(1), weight, bias)
        if op.kind == "add":
            constant = self.weights.get(f"{op.name}.constant")
            return x + (inputs[1] if constant is None else inputs[1] * constant)
        frames = x if x.dim() == 4 else x.flatten(0, 1)
        if op.kind == "conv":
            y = conv2d(frames, self.weights[f"{op.name}.weight"], self.weights[f"{op.name}.bias"], **_conv_settings(op))
        elif op.kind == "max_pool":
            y = F.max_pool2d(frames, **op.settings)
        else:
            y = F.avg_pool2d(frames, **pool_settings(op))
        return y if x.dim() == 4 else y.unflatten(0, x.shape[:2])

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each operation's output for one image and one timestep: (C, H, W), the classifier's (classes,).

        Raises:
            ValueError: if the operations and weights do not fit each other.
        """
        found: dict[str, tuple[int, ...]] = {IMAGE: (self.in_channels, self.image_size, self.image_size)}
        for op in self.operations:
            channels, height, width = found[op.inputs[0]]
            if op.kind in ("conv", "classifier"):
                weight = self.weights[f"{op.name}.weight"]
                taken = (channels, channels * height * width) if op.kind == "classifier" else (channels,)
                if weight.shape[1] not in taken or self.weights[f"{op.name}.bias"].shape != weight.shape[:1]:
                    raise ValueError(f"{op.name} takes {weight.shape[1]} channels, but is given {channels}")
                channels = weight.shape[0]
            if op.kind == "conv":
                height, width = (_sites(side, weight.shape[-1], op.settings) for side in (height, width))
            elif op.kind == "pool":
                height, width = F.avg_pool2d(torch.empty(1, 1, height, width), **pool_settings(op)).shape[2:]
            elif op.kind == "max_pool":
                height, width = (_sites(side, op.settings["kernel_size"], op.settings) for side in (height, width))
            elif op.kind == "add" and found[op.inputs[1]] != (channels, height, width):
                raise ValueError(f"{op.name} adds {found[op.inputs[1]]} to {(channels, height, width)}")
            constant = self.weights.get(f"{op.name}.constant")
            if constant is not None and constant.numel() != 1 and constant.shape != (channels, 1, 1):
                raise ValueError(f"{op.name} has a constant of shape {tuple(constant.shape)} for {channels} channels")
            if height < 1 or width < 1:
                raise ValueError(f"{op.name} leaves nothing of its input")
            found[op.name] = (channels,) if op.kind == "classifier" else (channels, height, width)
        del found[IMAGE]
        return found

    def check(self) -> None:
        """Raise an error, a ValueError or what torch raises, if it could not be run."""
        for name in ("timesteps", "in_channels", "image_size", "num_classes"):
            whole(name, getattr(self, name))
        check_structure(self.operations, self.weights)
        if not all(bool(weight.isfinite().all()) for weight in self.weights.values()):
            raise ValueError("a weight is not finite")
        shapes = self.shapes()
        for op in self.operations:
            if op.kind == "spikes":
                dynamics_of(op)
                if (thresholds := self.channel_thresholds(op)) is not None:
                    _check_thresholds(op, thresholds, shapes[op.name][0])
        if shapes[self.operations[-1].name] != (self.num_classes,):
            raise ValueError(f"num_classes is {self.num_classes}, which the classifier does not have")

    def save(self, folder: Path, provenance: dict | None = None) -> None:
        """Write ``folded.safetensors`` and, last, ``folded.json`` into a folder. Raises UserError if it cannot.

        Args:
            folder: where to.
            provenance: what made it, for ``folded.json``.
        """
        with replaced_together(folder, STRUCTURE_FILE) as temporary:
            write_tensors(temporary / WEIGHTS_FILE, self.weights)
            structure = {
                "format": FORMAT,
                "trained_weights": self.trained_weights,
                "timesteps": self.timesteps,
                "in_channels": self.in_channels,
                "image_size": self.image_size,
                "num_classes": self.num_classes,
                "weights": {"file": WEIGHTS_FILE, "sha256": sha256_of(temporary / WEIGHTS_FILE)},
                "operations": [asdict(op) for op in self.operations],
                "provenance": provenance or {},
            }
            write_json(temporary / STRUCTURE_FILE, structure)

    @classmethod
    def load(cls, folder: Path) -> "FoldedNetwork":
        """Read a folded network.

        Raises:
            UserError: if a file is missing or corrupt, the structure does not fit its weights, or the files say that
                the network could not be folded.
        """
        folder = Path(folder)
        path = folder / STRUCTURE_FILE
        structure = read_json(path)
        if isinstance(structure, dict) and NOT_FOLDABLE in structure:
            raise UserError(f"{path} holds no folded network, which is not foldable: {structure[NOT_FOLDABLE]}")
        try:
            if structure["format"] != FORMAT:
                raise ValueError(f"its format is {structure['format']!r}")
            file, sha256 = structure["weights"]["file"], structure["weights"]["sha256"]
            if file != WEIGHTS_FILE or not isinstance(sha256, str):
                raise ValueError(f"its weights have the file {file!r} and the sha256 {sha256!r}")
            weights, _ = read_tensors(folder / file, sha256)
            operations = [
                Operation(op["name"], op["kind"], tuple(op["inputs"]), dict(op["settings"]))
                for op in structure["operations"]
            ]
            sizes = {k: structure[k] for k in ("timesteps", "in_channels", "image_size", "num_classes")}
            network = cls(operations, weights, **sizes, trained_weights=structure.get("trained_weights"))
            network.check()
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            IndexError,
            RuntimeError,
            ArithmeticError,
            MemoryError,
        ) as error:
            raise UserError(f"{path} is not a folded network ({error}); run `fold` again") from None
        return network


def dynamics_of(op: Operation) -> Dynamics:
    """The constants of a neuron layer of a folded network; those with thresholds of each channel use no other."""
    signed, threshold, decay = (op.settings[key] for key in ("signed", "threshold", "decay"))
    return Dynamics(signed, decay=decay) if threshold is None else Dynamics(signed, threshold, decay)


def _check_thresholds(op: Operation, thresholds: ChannelThresholds, channels: int) -> None:
    """Raise ValueError unless a layer's thresholds are those of so many channels, and no neuron fires both ways."""
    for name, values in thresholds.tensors().items():
        if values.shape != (channels, 1, 1):
            raise ValueError(f"{op.name}.{name} has the shape {tuple(values.shape)} for {channels} channels")
    if not torch.equal(thresholds.direction, thresholds.direction.sign()):
        raise ValueError(f"{op.name}.direction must be -1, 0 or 1 in each channel")
    if thresholds.negative is not None and not (thresholds.negative < thresholds.positive).all():
        raise ValueError(f"{op.name}.negative must be below {op.name}.positive in each channel")


def pool_settings(op: Operation) -> dict:
    """Keyword arguments of torch's average pooling."""
    return {k: op.settings[k] for k in ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")}


def _sites(side: int, kernel: int, settings: dict) -> int:
    """Sites along one axis behind a convolution or max pooling."""
    return (side + 2 * settings["padding"] - kernel) // settings["stride"] + 1


def _conv_settings(op: Operation) -> dict:
    return {"stride": op.settings["stride"], "padding": op.settings["padding"]}
