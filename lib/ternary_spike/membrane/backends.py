"""How the neurons' arithmetic is run: ``eager``, or ``compiled`` by the compiler that comes with torch.

Both run the same pure functions of :mod:`ternary_spike.membrane.dynamics` on tensors [S, n, ...], S timesteps of n
rows, and give the same spikes to the bit. Eager goes through the rows in pieces that fit the processor's cache, so that
its many small operations touch main memory as rarely as a fused kernel. Compiled fuses them into one; that takes
seconds at first, once for each number of timesteps and dtype, never for each layer's shape.

The backend is set for the process (:func:`use`), eager until then. A training run asks :func:`choose` once, from its
whole plan, and stores the answer, so that a resumed run goes on with the same.
"""

import contextlib
import functools
import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from ternary_spike.membrane.compiled import LANES, _no_trial_compilations, _options, _run_compiled, in_lanes
from ternary_spike.membrane.kernel import Kernel, _in_pieces, _steps, _whole

BACKENDS = ("eager", "compiled")
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
