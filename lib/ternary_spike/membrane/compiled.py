"""Kernels compiled by the compiler that comes with torch."""

import contextlib
import functools
import math
import types
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.dlpack import to_dlpack

from ternary_spike.membrane.kernel import Kernel, Named, Results, compute_at_once, leading, timesteps_of

# Elements of a timestep in a row of the compiled kernel. The compiler knows this number: it writes half as much code,
# and its GPU kernels load several elements at once and add up a row's terms in the pass that computes them. For rows of
# unknown length they would need a second pass, and the first call's size would decide how much of the device takes
# part. So on a GPU what does not divide into such rows is computed eagerly.
LANES = 1024


def compute_compiled(kernel: Kernel, sequences: Named, shared: Named, lanes: tuple[dict, dict] | None) -> Results:
    """Compute a kernel by its compiled version, which is made if it is not there yet.

    Args:
        kernel: what to compute.
        sequences: by name tensors [S, n, ...], or None; the first must be a tensor.
        shared: tensors that are the same for all rows, or None, by name.
        lanes: what :func:`in_lanes` makes of both, or None.

    Raises:
        Exception: whatever the compiler raises.
    """
    lead = leading(sequences)
    sequences, shared = lanes or (sequences, shared)
    if kernel.optional:
        given = sequences[kernel.optional]
        stand_in = leading(sequences)  # of the right shape, and at hand
        sequences = sequences | {kernel.optional: stand_in if given is None else given}
        shared = shared | {f"has_{kernel.optional}": torch.full((1,), given is not None, device=lead.device)}
    steps = {
        name: None if s is None else [on_its_own(step) for step in s] for name, s in timesteps_of(sequences).items()
    }
    fixed = {name: None if x is None else on_its_own(x) for name, x in shared.items()}
    dtypes = tuple((name, None if x is None else x.dtype) for name, x in (sequences | shared).items())
    function = compiled_function(kernel, len(lead), dtypes, lead.device.type, lanes is not None)
    outputs, sums = function(steps, fixed)
    return Results(
        {name: x.view(len(x), *lead.shape[1:]) for name, x in outputs.items()},
        {name: x.sum() if x.dim() else x for name, x in sums.items()},
    )


def in_lanes(sequences: Named, shared: Named) -> tuple[dict, dict] | None:
    """The same with rows of :data:`LANES` elements, which needs no copies of sequences without gaps in memory.

    Args:
        sequences: tensors [S, n, ...] or None, the first not None.
        shared: tensors [S, ...] with a value for each element of a row, tensors with a single value, or None.

    Returns:
        Sequences [S, n', LANES] and shared tensors [S, LANES]; None if a timestep does not divide into such rows, or
        they not into the old ones, or a shared tensor is of another shape.
    """
    lead = leading(sequences)
    row = math.prod(lead.shape[2:])
    if lead[0].numel() % LANES or LANES % row:
        return None
    repeated = {}
    for name, x in shared.items():
        if x is not None and x.numel() != 1:
            if x.shape[1:] != lead.shape[2:]:
                return None
            x = x.reshape(len(x), row).repeat(1, LANES // row)
        repeated[name] = x
    return {name: None if s is None else s.reshape(len(s), -1, LANES) for name, s in sequences.items()}, repeated


def on_its_own(x: Tensor) -> Tensor:
    """The same memory as a tensor that is no view: of a view the compiler looks at the base's shape and its place."""
    return torch.from_dlpack(to_dlpack(x.detach()))


@functools.cache
def compiled_function(
    kernel: Kernel, timesteps: int, dtypes: tuple[tuple[str, torch.dtype | None], ...], device: str, lanes: bool
) -> Callable:
    """The kernel compiled for any number of rows; it takes timesteps and shared tensors and gives the results.

    Args:
        kernel: what to compile.
        timesteps: length of the leading sequence.
        dtypes: name and dtype of each tensor; None for one that is not there, which makes another version.
        device: type of the device.
        lanes: whether rows have :data:`LANES` elements.
    """

    def whole(steps, shared):
        return compute_at_once(kernel, steps, shared, sum_rows=lanes and device != "cpu")

    # code of its own: the compiler keeps a limited number of versions of one code
    name = f"{kernel.function.__name__}_T{timesteps}_{str(dtypes[0][1]).removeprefix('torch.')}"
    own = types.FunctionType(whole.__code__.replace(co_name=name), whole.__globals__, name, None, whole.__closure__)
    compiled = torch.compile(own, fullgraph=True, options=compiler_options(device))
    begun = False

    def call(steps, shared):
        nonlocal begun
        if begun:
            return compiled(steps, shared)
        begun = True
        # every size may vary. torch.compile(dynamic=True) says so too, but would also turn the neuron's constants into
        # inputs of the kernel
        for x in (step for s in steps.values() if s is not None for step in s):
            torch._dynamo.maybe_mark_dynamic(x, [0] if lanes else list(range(x.dim())))
        for x in (x for x in shared.values() if x is not None and not lanes):
            torch._dynamo.maybe_mark_dynamic(x, list(range(x.dim())))
        with without_trial_compilations(), warnings.catch_warnings():
            # torch warns that CUDA's library of powers and roots is missing; our kernels need neither
            warnings.filterwarnings("ignore", "CUDA.* libdevice")
            return compiled(steps, shared)

    return call


def compiler_options(device: str) -> dict:
    """Options of torch's compiler for our kernels on a type of device; those that this version of torch knows."""
    from torch._inductor import list_options  # slow to import, and only needed here

    # kernels are few, small and compiled one by one: no pool of processes, and no searches that find nothing in them
    options = {"compile_threads": 1, "cpp.vec_isa_ok": True, "pattern_matcher": False, "use_joint_graph_passes": False}
    if device != "cpu":
        options |= {
            # such a reduction keeps a whole row in registers, and they would not hold more than a few timesteps of it
            "triton.persistent_reductions": False,
            # rounds each multiplication and each addition, as eager does: one rounding for both would move spikes
            "emulate_precision_casts": True,
            # writes each timestep's result where it belongs; else every thread would compute all timesteps for each one
            "max_pointwise_cat_inputs": 0,
            "max_complex_pointwise_cat_inputs": 0,
        }
    known = list_options()
    return {name: value for name, value in options.items() if name in known}


@contextlib.contextmanager
def without_trial_compilations() -> Iterator[None]:
    """Spare the trials of which vector instructions the C++ compiler knows, which take as long as our kernels.

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
