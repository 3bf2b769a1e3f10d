"""Kernels compiled by the compiler that comes with torch."""

import contextlib
import functools
import math
import types
import warnings
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.dlpack import to_dlpack

from ternary_spike.membrane.kernel import Kernel, _whole

# Elements of a timestep that one row of the compiled kernel holds. The compiler is told: it has half as much to write,
# and a GPU loads several at once and adds up a row's terms in the pass that computes them. For rows of unknown length
# it would take a second pass over everything, and how much of the device takes part would hang on the first call's
# size; so what does not divide into such rows runs eagerly there.
LANES = 1024


def _run_compiled(
    kernel: Kernel, sequences: Sequence, shared: Sequence, lanes: tuple[list, list] | None
) -> tuple[list[Tensor], list[Tensor]]:
    first = sequences[0]
    sequences, shared = lanes or (sequences, shared)
    if kernel.optional_last:
        there = torch.full((1,), sequences[-1] is not None, device=first.device)
        sequences = [*sequences[:-1], sequences[0] if sequences[-1] is None else sequences[-1]]
        shared = [*shared, there]
    steps = [None if s is None else [_alone(step) for step in s.unbind(0)] for s in sequences]
    fixed = [None if s is None else _alone(s) for s in shared]
    dtypes = tuple(None if s is None else s.dtype for s in (*sequences, *shared))
    call = _compiled(kernel, len(first), dtypes, first.device.type, lanes is not None)
    outputs, sums = call(steps, fixed)
    return [o.view(len(o), *first.shape[1:]) for o in outputs], [s.sum() if s.dim() else s for s in sums]


def in_lanes(sequences: Sequence, shared: Sequence) -> tuple[list, list] | None:
    """The same with rows of :data:`LANES` elements, which needs no copies of sequences without gaps in memory.

    Args:
        sequences: tensors [S, n, ...] or None, the first not None.
        shared: tensors [S, ...] with a value for each element of a row, tensors with a single value, or None.

    Returns:
        Sequences [S, n', LANES] and shared tensors [S, LANES]; None if a timestep does not divide into such rows, or
        they not into the old ones, or a shared tensor is of another shape.
    """
    first = sequences[0]
    row = math.prod(first.shape[2:])
    if first[0].numel() % LANES or LANES % row:
        return None
    repeated = []
    for s in shared:
        if s is not None and s.numel() != 1:
            if s.shape[1:] != first.shape[2:]:
                return None
            s = s.reshape(len(s), row).repeat(1, LANES // row)
        repeated.append(s)
    return [None if s is None else s.reshape(len(s), -1, LANES) for s in sequences], repeated


def _alone(x: Tensor) -> Tensor:
    """The same memory as a tensor by itself: of a view the compiler looks at the base's shape and the place within."""
    return torch.from_dlpack(to_dlpack(x.detach()))


@functools.cache
def _compiled(
    kernel: Kernel, timesteps: int, dtypes: tuple[torch.dtype | None, ...], device: str, lanes: bool
) -> Callable:
    """The kernel compiled for any number of rows; under code of its own, by which the compiler limits versions.

    Which of the optional tensors there are, and their ``dtypes``, make another version.
    """

    def whole(steps, shared):
        return _whole(kernel, steps, shared, by_row=lanes and device != "cpu")

    name = f"{kernel.function.__name__}_T{timesteps}_{str(dtypes[0]).removeprefix('torch.')}"
    own = types.FunctionType(whole.__code__.replace(co_name=name), whole.__globals__, name, None, whole.__closure__)
    compiled = torch.compile(own, fullgraph=True, options=_options(device))
    begun = False

    def call(steps, shared):
        nonlocal begun
        if begun:
            return compiled(steps, shared)
        begun = True
        # sizes may vary; the option of that name would make the neuron's constants inputs of the kernel as well
        for x in (step for s in steps if s is not None for step in s):
            torch._dynamo.maybe_mark_dynamic(x, [0] if lanes else list(range(x.dim())))
        for x in (s for s in shared if s is not None and not lanes):
            torch._dynamo.maybe_mark_dynamic(x, list(range(x.dim())))
        with _no_trial_compilations(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "CUDA.* libdevice")  # powers and roots, of which there are none here
            return compiled(steps, shared)

    return call


def _options(device: str) -> dict:
    from torch._inductor import list_options  # slow to import, and only needed here

    # one small kernel at a time needs no pool of compiler processes
    options = {"compile_threads": 1, "cpp.vec_isa_ok": True, "pattern_matcher": False, "use_joint_graph_passes": False}
    if device != "cpu":
        options |= {
            # registers for a row are shared out among many threads: they would not hold more than a few timesteps
            "triton.persistent_reductions": False,
            # every multiplication and addition rounded by itself, as eager does: a contracted one would move spikes
            "emulate_precision_casts": True,
            # each timestep's result written where it belongs, rather than all of them computed for each timestep
            "max_pointwise_cat_inputs": 0,
            "max_complex_pointwise_cat_inputs": 0,
        }
    known = list_options()  # not every version of torch has them all
    return {name: value for name, value in options.items() if name in known}


@contextlib.contextmanager
def _no_trial_compilations() -> Iterator[None]:
    """Without trials of which vector instructions the C++ compiler knows, which take as long as our kernels.

    The processor is asked in any case. "cpp.vec_isa_ok" is the setting for it, but it leaves some of the trials in.
    """
    from torch._inductor import cpu_vec_isa  # slow to import, and only needed here

    trial = getattr(cpu_vec_isa.VecISA, "check_build", None)
    if trial is None:  # another version of torch
        yield
        return
    cpu_vec_isa.VecISA.check_build = lambda isa, code: True
    try:
        yield
    finally:
        cpu_vec_isa.VecISA.check_build = trial
