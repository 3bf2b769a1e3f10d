"""A pure function over timesteps as something that any backend can compute, and how it is computed without a compiler.

Its arguments and results have names. A *sequence* is a tensor [S, n, ...], S timesteps of n rows; a *shared* tensor is
the same for all rows. Either may be None where the function allows it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

# Elements of a timestep that eager computes at a time, for each thread: a tensor has half a MiB then, in float32, and
# the next operation finds it in the cache. Measured with 1 MiB of cache a core: with half of that or less the calls
# themselves cost a tenth of the time, and without pieces a large layer takes a tenth longer.
PIECE = 131_072

Named = dict[str, Tensor | None]
Steps = dict[str, list[Tensor] | None]  # by a sequence's name its timesteps [n, ...]


class Results(NamedTuple):
    """What a kernel computes.

    Attributes:
        outputs: sequences [S', n, ...] by name.
        sums: scalars by name, each added up over everything; [n] where each row's share is wanted.
    """

    outputs: dict[str, Tensor]
    sums: dict[str, Tensor]


@dataclass(frozen=True)
class Kernel:
    """A pure function over timesteps, and the constants that are part of its code.

    Attributes:
        function: ``function(*constants, **sequences, **shared)`` takes each sequence as a list of timesteps [n, ...].
            It returns two dictionaries: the output sequences, as such lists, and tensors [n, ...] that are to be summed
            over everything.
        constants: hashable; a kernel is compiled for each choice of them.
        optional: the name of a sequence for which one compiled kernel serves calls with and without it: another
            kernel would take as long to compile as the first, and save less than training ever gets back. The function
            also takes ``has_<optional>``, None by default, which a compiled kernel is given as a tensor [1] of
            booleans: where it says False, the sequence is a stand-in that must not count.
    """

    function: Callable
    constants: tuple
    optional: str | None = None


def leading(sequences: Named) -> Tensor:
    """The first of the sequences, which is never None: it says the shape, the dtype and the device of the others."""
    return next(iter(sequences.values()))


def timesteps_of(sequences: Named) -> Steps:
    """Each sequence as the list of its timesteps."""
    return {name: None if x is None else list(x.unbind(0)) for name, x in sequences.items()}


def compute_at_once(kernel: Kernel, steps: Steps, shared: Named, sum_rows: bool = False) -> Results:
    """All rows in one call.

    Args:
        kernel: what to compute.
        steps: the sequences as timesteps [n, ...].
        shared: tensors for all rows.
        sum_rows: whether each sum is wanted as the rows' shares [n].
    """
    outputs, terms = kernel.function(*kernel.constants, **steps, **shared)
    return Results(
        {name: torch.stack(output) for name, output in outputs.items()},
        {name: term.sum(-1) if sum_rows else term.sum() for name, term in terms.items()},
    )


def compute_in_pieces(kernel: Kernel, sequences: Named, shared: Named) -> Results:
    """On a processor so many rows at a time as fit its cache, elsewhere all of them; bit for bit the same outputs."""
    lead, steps = leading(sequences), timesteps_of(sequences)
    rows = lead.shape[1]
    piece = max(1, PIECE * torch.get_num_threads() * rows // max(1, lead[0].numel()))
    if rows <= piece or lead.device.type != "cpu":
        return compute_at_once(kernel, steps, shared)
    results: dict[str, Tensor] = {}
    sums: dict[str, list[Tensor]] = {}
    for start in range(0, rows, piece):
        size = min(piece, rows - start)
        here = {name: None if s is None else [step.narrow(0, start, size) for step in s] for name, s in steps.items()}
        outputs, terms = kernel.function(*kernel.constants, **here, **shared)
        for name, output in outputs.items():
            if name not in results:
                results[name] = output[0].new_empty((len(output), *lead.shape[1:]))
            for t, step in enumerate(output):
                results[name][t].narrow(0, start, size).copy_(step)
        for name, term in terms.items():
            sums.setdefault(name, []).append(term.sum())
        # or they would lie beside the next piece's in memory
        outputs = output = step = terms = term = None
    return Results(results, {name: torch.stack(parts).sum() for name, parts in sums.items()})
