"""A pure function over timesteps as something that any backend can run, and how eager runs it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Elements a timestep and thread that eager works on at a time: what is alive at once fills a 2 MiB cache, in float32.
# Less of it spends its time in calls, and torch gives no thread less than 32,768.
PIECE = 57_344


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


def _whole(kernel: Kernel, steps: list, shared: Sequence, by_row: bool = False) -> tuple[list[Tensor], list[Tensor]]:
    outputs, terms = kernel.function(*kernel.constants, steps, shared)
    return [torch.stack(o) for o in outputs], [t.sum(-1) if by_row else t.sum() for t in terms]


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
