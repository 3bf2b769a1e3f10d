"""How the neurons' arithmetic is run: ``eager``, or ``compiled`` by the compiler that comes with torch.

Both run the same pure functions of :mod:`ternary_spike.dynamics` on tensors [S, n, ...], S timesteps of n rows, and
give the same spikes to the bit. Eager goes through the rows in pieces that fit the processor's cache, so that its many
small operations touch main memory as rarely as a fused kernel. Compiled fuses them into one; that takes seconds at
first, once for each number of timesteps and dtype, never for each layer's shape.

The backend is set for the process (:func:`use`), eager until then. A training run asks :func:`choose` once, from its
whole plan, and stores the answer, so that a resumed run goes on with the same.
"""

import contextlib
import functools
import logging
import math
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.dlpack import to_dlpack

BACKENDS = ("eager", "compiled")
# Elements a timestep and thread that eager works on at a time: what is alive at once fills a 2 MiB cache, in float32.
# Less of it spends its time in calls, and torch gives no thread less than 32,768.
PIECE = 57_344
# Elements of a timestep that one row of the compiled kernel holds. The compiler is told: it has half as much to write,
# and a GPU loads several at once and adds up a row's terms in the pass that computes them. For rows of unknown length
# it would take a second pass over everything, and how much of the device takes part would hang on the first call's
# size; so what does not divide into such rows runs eagerly there.
LANES = 1024
# Elements a timestep up to which compiled hands over to eager. On a processor torch compiles sums of up to 4,096 terms
# anew, without its more exact summation, and so small a call is all overhead either way; elsewhere one row is special.
SMALL = {"cpu": 4096}
# What compiling saves, in seconds for each update of a neuron in training, and what it costs at the start of a run. On
# a processor measured (one thread, `make bench`: eager minus compiled); on a GPU estimated, from some 115 bytes of
# memory traffic less at 3 TB/s. Nothing is known of other devices.
SAVED_SECONDS = {"cpu": 3e-9, "cuda": 4e-11}
COMPILE_SECONDS = 15.0

logger = logging.getLogger("ternary_spike")
notices: list[str] = []  # what was said about a backend that could not be had, for the run's record
_backend = "eager"


@dataclass(frozen=True)
class Kernel:
    """A pure function over timesteps, and the constants that are part of its code.

    ``function(*constants, sequences, shared)`` takes sequences as lists of timesteps [n, ...] (or None) and shared
    tensors that have no rows (or None); it returns a list of sequences and a list of tensors [n, ...] that are to be
    summed over everything.

    With ``optional_last`` one compiled kernel serves calls with and without the last sequence: another one would take
    as long to compile as the first, and save less than training ever gets back. The function is given one shared tensor
    more, a boolean that says whether the sequence is there; where it is not, the first one stands in for it, which is
    at hand. In eager that tensor is None, and so is a sequence that is not there.
    """

    function: Callable
    constants: tuple
    optional_last: bool = False


def use(name: str) -> None:
    """Set the backend of this process.

    Raises:
        ValueError: if the name is unknown.
    """
    global _backend
    if name not in BACKENDS:
        raise ValueError(f"unknown backend {name!r}: choose one of {', '.join(BACKENDS)}")
    _backend = name


def current() -> str:
    """The backend of this process; ``eager`` also where compilation was asked for and failed."""
    return _backend


def choose(total_steps: int, updates_per_step: int, device: str | torch.device = "cpu") -> str:
    """The backend for a training run, from its whole plan.

    Args:
        total_steps: optimiser steps of the whole run, those before an interruption included.
        updates_per_step: neuron updates in a step: neurons x timesteps x batch size.
        device: where the run takes place.

    Returns:
        "compiled" if compilation is paid back in the course of the run and a compiler works here, else "eager". The
        answer depends on the plan and the machine's compiler only, not on a timing; store it with the run.
    """
    kind = torch.device(device).type
    saved = SAVED_SECONDS.get(kind, 0.0)
    if total_steps * updates_per_step * saved < 2 * COMPILE_SECONDS:
        return "eager"
    return "compiled" if not notices and _compiler_works(kind) else "eager"


def run(kernel: Kernel, sequences: Sequence[Tensor | None], shared: Sequence) -> tuple[list[Tensor], list[Tensor]]:
    """Run a kernel on whole tensors with the backend of this process.

    Args:
        kernel: what to compute.
        sequences: tensors [S, n, ...] of equal n, ...; the first must not be None.
        shared: tensors that are the same for all rows, or None.

    Returns:
        The kernel's sequences, each [S', n, ...], and its sums.
    """
    plain = [*shared, None] if kernel.optional_last else shared
    if torch.compiler.is_compiling():  # the surrounding model is being compiled: let it see the plain operations
        return _whole(kernel, _steps(sequences), plain)
    first = sequences[0]
    with _without_autocast(first.device.type):
        if _backend == "compiled" and first[0].numel() > SMALL.get(first.device.type, LANES):
            lanes = in_lanes(sequences, shared)
            if lanes or first.device.type == "cpu":
                try:
                    return _run_compiled(kernel, sequences, shared, lanes)
                except torch.OutOfMemoryError:
                    raise
                except Exception as error:  # whatever a compiler can raise: no compiler, no disk, an unknown processor
                    found = _in_pieces(kernel, sequences, plain)  # raises what is not the compiler's fault
                    _fall_back(error)
                    return found
        return _in_pieces(kernel, sequences, plain)


def _without_autocast(device: str) -> contextlib.AbstractContextManager:
    known = torch.amp.is_autocast_available(device)  # not for tensors without data, of the device "meta"
    return torch.autocast(device, enabled=False) if known else contextlib.nullcontext()


def _whole(kernel: Kernel, steps: list, shared: Sequence, by_row: bool = False) -> tuple[list[Tensor], list[Tensor]]:
    outputs, terms = kernel.function(*kernel.constants, steps, shared)
    return [torch.stack(o) for o in outputs], [t.sum(-1) if by_row else t.sum() for t in terms]


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


def _steps(sequences: Sequence) -> list:
    return [None if s is None else s.unbind(0) for s in sequences]


def _in_pieces(kernel: Kernel, sequences: Sequence, shared: Sequence) -> tuple[list[Tensor], list[Tensor]]:
    first, steps = sequences[0], _steps(sequences)
    rows = first.shape[1]
    piece = max(1, PIECE * torch.get_num_threads() * rows // max(1, first[0].numel()))
    if rows <= piece or first.device.type != "cpu":
        return _whole(kernel, steps, shared)
    results: list[Tensor] = []
    sums = []
    for start in range(0, rows, piece):
        here = [None if s is None else [step.narrow(0, start, min(piece, rows - start)) for step in s] for s in steps]
        outputs, terms = kernel.function(*kernel.constants, here, shared)
        if not results:
            results = [torch.empty((len(o), *first.shape[1:]), dtype=o[0].dtype, device=first.device) for o in outputs]
        for result, output in zip(results, outputs, strict=True):
            for t, step in enumerate(output):
                result[t].narrow(0, start, step.shape[0]).copy_(step)
        sums.append([t.sum() for t in terms])
        del outputs, output, step, terms  # or they would lie beside the next piece's
    return results, [torch.stack(parts).sum() for parts in zip(*sums, strict=True)]


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


def _fall_back(error: Exception) -> None:
    global _backend
    _backend = "eager"
    cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    notices.append(f"no compiled neurons ({cause[:120]}): going on with the slower eager ones, same results")
    logger.warning(notices[-1])


@functools.cache
def _compiler_works(device: str) -> bool:
    try:
        with _no_trial_compilations():
            torch.compile(lambda x: x * 2 + 1, fullgraph=True, options=_options(device))(torch.ones(64, device=device))
    except Exception as error:
        _fall_back(error)
        return False
    return True
