"""The folded network as ONNX, in float32: time is unrolled, every operation is a standard one.

ONNX and its runtimes compute convolutions in float32 on the CPU, so spikes near the threshold may differ from the exact
ones; :func:`compare` counts how many, instead of hiding it.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

import ternary_spike
from ternary_spike.models.network_input import require_finite
from ternary_spike.reparam.comparison import Comparison
from ternary_spike.reparam.network import IMAGE, FoldedNetwork, Operation, dynamics_of, pool_settings
from ternary_spike.system.files import replaced

OPSET = 17
IR_VERSION = 8  # of ONNX 1.12: what runtimes of the last years read
SCORES = "scores"


class _Graph:
    """Collects nodes and constants; a value of the folded network becomes one ONNX value for each timestep."""

    def __init__(self, network: FoldedNetwork) -> None:
        self.network = network
        self.shapes = network.shapes()
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.values: dict[str, list[str]] = {}

    def node(self, kind: str, inputs: list[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.setdefault(name, numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def scalar(self, value: float) -> str:
        return self.constant(f"constant_{value!r}", np.array(value, np.float32))

    def weight(self, name: str) -> str:
        return self.constant(name, self.network.weights[name].float().cpu().numpy())

    def add(self, op: Operation) -> None:
        steps = [self.values[name] for name in op.inputs]
        length = self.network.timesteps if op.kind == "spikes" else max(len(s) for s in steps)
        # a static image's value is the same at each timestep: it stands once, and is used again
        inputs = [[s[min(t, len(s) - 1)] for s in steps] for t in range(length)]
        make = getattr(self, f"_{op.kind}")
        self.values[op.name] = make(op, inputs)

    def _conv(self, op: Operation, inputs: list[list[str]]) -> list[str]:
        weights = [self.weight(f"{op.name}.weight"), self.weight(f"{op.name}.bias")]
        stride, padding = op.settings["stride"], op.settings["padding"]
        return [
            self.node("Conv", [x, *weights], f"{op.name}.t{t}", strides=[stride] * 2, pads=[padding] * 4)
            for t, (x,) in enumerate(inputs)
        ]

    def _pool(self, op: Operation, inputs: list[list[str]]) -> list[str]:
        settings = pool_settings(op)
        overlap = settings["kernel_size"] - 2 * settings["padding"]
        sides = [-((overlap - side) // settings["stride"]) + 1 for side in self.shapes[op.inputs[0]][-2:]]
        if settings["ceil_mode"] and sides != list(self.shapes[op.name][-2:]):
            raise ValueError(
                f"{op.name} rounds its size up (ceil_mode) and leaves out a window that would hold padding alone, "
                "which ONNX does not; use less padding"
            )
        attributes = {
            "kernel_shape": [settings["kernel_size"]] * 2,
            "strides": [settings["stride"]] * 2,
            "pads": [settings["padding"]] * 4,
            "ceil_mode": int(settings["ceil_mode"]),
            "count_include_pad": int(settings["count_include_pad"]),
        }
        return [self.node("AveragePool", [x], f"{op.name}.t{t}", **attributes) for t, (x,) in enumerate(inputs)]

    def _max_pool(self, op: Operation, inputs: list[list[str]]) -> list[str]:
        kernel, stride, padding = (op.settings[key] for key in ("kernel_size", "stride", "padding"))
        attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [padding] * 4}
        return [self.node("MaxPool", [x], f"{op.name}.t{t}", **attributes) for t, (x,) in enumerate(inputs)]

    def _add(self, op: Operation, inputs: list[list[str]]) -> list[str]:
        outputs = []
        for t, (current, other) in enumerate(inputs):
            if f"{op.name}.constant" in self.network.weights:
                other = self.node("Mul", [other, self.weight(f"{op.name}.constant")], f"{op.name}.shortcut.t{t}")
            outputs.append(self.node("Add", [current, other], f"{op.name}.t{t}"))
        return outputs

    def _spikes(self, op: Operation, inputs: list[list[str]]) -> list[str]:
        """Charge, fire, reset (Eqs. 4-5, 7-8) at each timestep."""
        dynamics = dynamics_of(op)
        by_channel = op.settings["threshold"] is None
        outputs, kept = [], None
        for t, (current,) in enumerate(inputs):
            name = f"{op.name}.t{t}"
            u = current
            if kept is not None:
                decayed = self.node("Mul", [kept, self.scalar(dynamics.decay)], f"{name}.decayed")
                u = self.node("Add", [current, decayed], f"{name}.membrane")
            turned = self.node("Mul", [u, self.weight(f"{op.name}.direction")], f"{name}.turned") if by_channel else u
            bound = self.weight(f"{op.name}.positive") if by_channel else self.scalar(dynamics.threshold)
            fired = self.node("GreaterOrEqual", [turned, bound], f"{name}.positive")
            spikes = self.node("Cast", [fired], f"{name}.plus", to=TensorProto.FLOAT)
            if dynamics.signed:
                bound = self.weight(f"{op.name}.negative") if by_channel else self.scalar(-dynamics.threshold)
                negative = self.node("LessOrEqual", [turned, bound], f"{name}.negative")
                minus = self.node("Cast", [negative], f"{name}.minus", to=TensorProto.FLOAT)
                spikes = self.node("Sub", [spikes, minus], f"{name}.spikes")
                fired = self.node("Or", [fired, negative], f"{name}.fired")
            kept = self.node("Where", [fired, self.scalar(0.0), u], f"{name}.kept")
            outputs.append(spikes)
        return outputs

    def _classifier(self, op: Operation, inputs: list[list[str]]) -> list[str]:
        steps = [x for (x,) in inputs]
        total = steps[0] if len(steps) == 1 else self.node("Mean", steps, f"{op.name}.over_time")
        if self.network.weights[f"{op.name}.weight"].shape[1] == self.shapes[op.inputs[0]][0]:
            pooled = self.node("ReduceMean", [total], f"{op.name}.pooled", axes=[2, 3], keepdims=0)
        else:  # weights for each place
            pooled = self.node("Flatten", [total], f"{op.name}.places", axis=1)
        weights = [self.weight(f"{op.name}.weight"), self.weight(f"{op.name}.bias")]
        return [self.node("Gemm", [pooled, *weights], SCORES, transB=1)]


def to_onnx(network: FoldedNetwork, events: bool = False, spikes: bool = False) -> onnx.ModelProto:
    """A folded network as an ONNX model.

    Args:
        network: the folded network.
        events: whether the input is event frames [B, T, C, H, W]; else static images [B, C, H, W].
        spikes: whether every neuron layer's spikes are outputs too, by layer and timestep.

    Returns:
        The model, checked; its input is "image", its first output "scores" [B, num_classes].

    Raises:
        ValueError: if a pooling layer leaves out windows that ONNX would not; the message names it.
    """
    graph = _Graph(network)
    side, channels = network.image_size, network.in_channels
    shape = ["batch", channels, side, side]
    if events:
        shape.insert(1, network.timesteps)
        frames = [f"frame.t{t}" for t in range(network.timesteps)]
        graph.nodes.append(helper.make_node("Split", [IMAGE], [f"{f}.kept" for f in frames], axis=1))
        axis = graph.constant("axis_1", np.array([1], np.int64))
        graph.values[IMAGE] = [graph.node("Squeeze", [f"{f}.kept", axis], f) for f in frames]
    else:
        graph.values[IMAGE] = [IMAGE]
    for op in network.operations:
        graph.add(op)
    outputs = [helper.make_tensor_value_info(SCORES, TensorProto.FLOAT, ["batch", network.num_classes])]
    if spikes:
        for layer in network.spike_layers():
            outputs += [
                helper.make_tensor_value_info(value, TensorProto.FLOAT, ["batch", *graph.shapes[layer]])
                for value in graph.values[layer]
            ]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "folded ternary-spike network",
            [helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, shape)],
            outputs,
            list(graph.constants.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="ternary_spike",
        producer_version=ternary_spike.__version__,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a model atomically. Raises UserError if it cannot be written."""
    with replaced(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def compare(network: FoldedNetwork, batches: Iterable[Tensor]) -> dict:
    """Run the ONNX model in onnxruntime beside the folded network in float64.

    Args:
        network: the folded network, in float64.
        batches: inputs [B, C, H, W] or [B, T, C, H, W].

    Returns:
        The comparison of float32 with float64 (:meth:`ternary_spike.reparam.comparison.Comparison.result`).

    Raises:
        ValueError: if an input is not the network's, or an input or a class score is not finite.
    """
    session = None
    comparison = Comparison(network.spike_layers())
    for x in batches:
        require_finite(x)
        if session is None:
            model = to_onnx(network, events=x.dim() == 5, spikes=True)
            session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        exact: dict[str, Tensor] = {}
        scores = network.compute(x.double(), lambda layer, _, b: exact.__setitem__(layer, b))  # noqa: B023
        outputs = session.run(None, {IMAGE: x.float().numpy()})
        values = iter(outputs[1:])
        for layer in network.spike_layers():
            found = torch.stack([torch.from_numpy(next(values)) for _ in range(network.timesteps)])
            comparison.add_spikes(layer, exact[layer], found)
        comparison.add_scores(scores, torch.from_numpy(outputs[0]))
    return comparison.result()
