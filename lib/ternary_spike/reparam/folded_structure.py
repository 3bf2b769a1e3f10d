"""Whether operations and weights, which may have been read from anybody's files, make up a folded network.

Whoever runs, counts or exports one relies on what is checked here: each kind of operation has the settings and inputs
that its kind takes and no others, and each weight belongs to one of them.
"""

from collections import Counter

from torch import Tensor

IMAGE = "image"
_SPIKES = ("spikes", "max_pool", "pool")  # what carries spikes: a neuron layer, or pooling behind one
_WHOLE = ("spikes", "max_pool")  # and no averages of them
_CURRENT = ("conv", "add")
# by kind: its settings with the smallest number that each may be (bool for a flag), and what each input may be
_POOL = {"kernel_size": 1, "stride": 1, "padding": 0, "ceil_mode": bool, "count_include_pad": bool}
_KINDS = {
    "conv": ({"stride": 1, "padding": 0}, [(IMAGE, *_SPIKES)]),
    "pool": (_POOL, [_SPIKES]),
    "max_pool": ({"kernel_size": 1, "stride": 1, "padding": 0}, [_WHOLE]),
    "add": ({}, [_CURRENT, (*_CURRENT, *_SPIKES)]),
    "spikes": ({"signed": None, "threshold": None, "decay": None}, [_CURRENT]),  # their values: see dynamics.py
    "classifier": ({}, [_SPIKES]),
}
_IN_WORDS = {_SPIKES: "spikes", _WHOLE: "spikes", _CURRENT: "a current"}


def check_structure(operations: list, weights: dict[str, Tensor]) -> None:
    """Raise ValueError, naming the operation or the weight, unless they make up a folded network.

    Args:
        operations: :class:`ternary_spike.reparam.network.Operation`, in the order of computation.
        weights: tensors by ``<operation>.weight``, ``.bias`` or ``.constant``.
    """
    kinds = {IMAGE: IMAGE}
    for op in operations:
        if op.kind not in _KINDS:
            raise ValueError(f"{op.name} is of unknown kind {op.kind!r}")
        if op.name in kinds:
            raise ValueError(f"{op.name} stands twice")
        _check_settings(op, _KINDS[op.kind][0])
        _check_inputs(op, _KINDS[op.kind][1], kinds)
        kinds[op.name] = op.kind
    if [op.kind for op in operations if op.kind == "classifier"] != ["classifier"] or kinds[op.name] != "classifier":
        raise ValueError("its last operation, and no other, must be the classifier")
    uses = Counter(name for op in operations for name in op.inputs)
    if operations[0].inputs != (IMAGE,) or uses[IMAGE] != 1:
        raise ValueError("its first operation, and no other, must take the image")
    for name, kind in kinds.items():
        if kind in _CURRENT and uses[name] != 1:
            raise ValueError(f"{name} is a current, which one operation takes, not {uses[name]}")
    _check_weights(operations, kinds, weights)


def _check_settings(op, known: dict) -> None:
    if different := op.settings.keys() ^ known.keys():
        raise ValueError(
            f"{op.name} must have the settings {', '.join(known) or 'none'}: {', '.join(different)} differs"
        )
    for name, smallest in known.items():
        value = op.settings[name]
        if smallest is bool:
            right = isinstance(value, bool)
        else:
            right = smallest is None or (type(value) is int and value >= smallest)
        if not right:
            raise ValueError(f"{op.name} cannot be computed: {name} is {value!r}")


def _check_inputs(op, allowed: list[tuple[str, ...]], kinds: dict[str, str]) -> None:
    if len(op.inputs) != len(allowed):
        count = len(allowed)
        raise ValueError(f"{op.name} takes {count} input{'s' if count > 1 else ''}, not {len(op.inputs)}")
    for name, carried in zip(op.inputs, allowed, strict=True):
        if name not in kinds:
            raise ValueError(f"{op.name} takes {name}, which no operation before it gives")
        if kinds[name] not in carried:
            raise ValueError(f"{op.name} takes {name}, which is not {_IN_WORDS.get(carried, 'the image or spikes')}")


def _check_weights(operations: list, kinds: dict[str, str], weights: dict[str, Tensor]) -> None:
    needed = {}  # by name: number of axes, or None where that varies
    for op in operations:
        if op.kind in ("conv", "classifier"):
            needed |= {f"{op.name}.weight": 4 if op.kind == "conv" else 2, f"{op.name}.bias": 1}
        elif op.kind == "add" and kinds[op.inputs[1]] in _SPIKES:
            needed[f"{op.name}.constant"] = None
        elif op.kind == "spikes" and op.settings["threshold"] is None:
            names = ("direction", "positive", *(("negative",) if op.settings["signed"] else ()))
            needed |= {f"{op.name}.{name}": 3 for name in names}
    if different := sorted(needed.keys() ^ weights.keys()):
        raise ValueError(f"the weights and operations do not fit each other: {', '.join(different[:3])}")
    for name, axes in needed.items():
        shape = tuple(weights[name].shape)
        if axes is not None and (len(shape) != axes or (axes == 4 and shape[2] != shape[3])):
            raise ValueError(f"{name} has the shape {shape}")
    dtypes = {str(weight.dtype).removeprefix("torch.") for weight in weights.values()}
    if len(dtypes) > 1 or not all(weight.is_floating_point() for weight in weights.values()):
        raise ValueError(f"the weights must be of one floating-point dtype, not {', '.join(sorted(dtypes))}")
