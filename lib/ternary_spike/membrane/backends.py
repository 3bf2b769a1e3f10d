"""How the neurons' arithmetic is computed: ``eager``, or ``compiled`` by the compiler that comes with torch.

Both compute the membrane's equations on tensors [S, n, ...], S timesteps of n rows, and give the same spikes to the
bit. Eager goes through the rows in pieces that fit the processor's cache, so that its many small operations touch main
memory as rarely as a fused kernel. Compiled fuses them into one; that takes seconds at first, once for each number of
timesteps and dtype, never for each layer's shape.

The backend is set for the process (:func:`use`), eager until then. A training run asks :func:`choose` once, from its
whole plan, and stores the answer, so that a resumed run goes on with the same.
"""

import contextlib
import functools
import logging

import torch

from ternary_spike.membrane.compiled import (
    LANES,
    compiler_options,
    compute_compiled,
    in_lanes,
    without_trial_compilations,
)
from ternary_spike.membrane.kernel import (
    Kernel,
    Named,
    Results,
    compute_at_once,
    compute_in_pieces,
    leading,
    timesteps_of,
)

BACKENDS = ("eager", "compiled")
# Elements a timestep up to which the compiled backend leaves a call to the eager one. On a processor torch would
# compile another kernel for sums of up to 4,096 terms, without its more exact summation; and so small a call takes no
# longer than its overhead, compiled or not. Elsewhere torch would compile another kernel for a single row.
SMALL = {"cpu": 4096}
# Seconds that compiling saves in training for each update of a neuron, and seconds that it takes at the start of a run.
# On a processor the saving was measured (one thread, `make bench`: eager minus compiled). On a GPU it is estimated
# from 115 bytes of memory traffic less for each update, at 3 TB/s. Other devices count as saving nothing, so that
# `choose` takes eager there.
SAVED_SECONDS = {"cpu": 3e-9, "cuda": 4e-11}
COMPILE_SECONDS = 15.0

logger = logging.getLogger("ternary_spike")
notices: list[str] = []  # what was logged when the compiler failed, for the run's record
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
    return "compiled" if not notices and compiler_works(kind) else "eager"


def compute(kernel: Kernel, sequences: Named, shared: Named) -> Results:
    """Compute a kernel on whole tensors with the backend of this process.

    Args:
        kernel: what to compute.
        sequences: by name tensors [S, n, ...] of equal n, ..., or None; the first must be a tensor.
        shared: by name tensors that are the same for all rows, or None.

    Returns:
        The kernel's output sequences, each [S', n, ...], and its sums.
    """
    if torch.compiler.is_compiling():  # under a user's torch.compile the compiler does the fusing
        return compute_at_once(kernel, timesteps_of(sequences), shared)
    lead = leading(sequences)
    with _without_autocast(lead.device.type):
        if _backend == "compiled" and lead[0].numel() > SMALL.get(lead.device.type, LANES):
            lanes = in_lanes(sequences, shared)
            if lanes or lead.device.type == "cpu":
                try:
                    return compute_compiled(kernel, sequences, shared, lanes)
                except torch.OutOfMemoryError:
                    raise
                except Exception as error:  # whatever a compiler can raise: no compiler, no disk, an unknown processor
                    found = compute_in_pieces(kernel, sequences, shared)  # raises what is not the compiler's fault
                    _fall_back(error)
                    return found
        return compute_in_pieces(kernel, sequences, shared)


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
def compiler_works(device: str) -> bool:
    """Whether a compiler works on this type of device: it is tried once. Where it fails, one line says why."""
    try:
        with without_trial_compilations():
            doubled = torch.compile(lambda x: x * 2 + 1, fullgraph=True, options=compiler_options(device))
            doubled(torch.ones(64, device=device))
    except Exception as error:
        _fall_back(error)
        return False
    return True
