"""How much a backward pass keeps of the forward pass, counted in the tensors that autograd saves."""

import weakref
from collections.abc import Callable

import torch
from torch import Tensor


class _Kept:
    """A saved tensor, which autograd drops when it is not needed any more."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def peak_saved_bytes(compute: Callable[[], None]) -> int:
    """The most bytes that autograd held at a time for backward passes; a memory that is saved twice counts once."""
    held: dict[int, list[int]] = {}  # by address: how often it is saved, and its size
    peak = 0

    def drop(address: int) -> None:
        held[address][0] -= 1
        if held[address][0] == 0:
            del held[address]

    def pack(tensor: Tensor) -> _Kept:
        nonlocal peak
        storage, kept = tensor.untyped_storage(), _Kept(tensor)
        held.setdefault(storage.data_ptr(), [0, storage.nbytes()])[0] += 1
        weakref.finalize(kept, drop, storage.data_ptr())
        peak = max(peak, sum(size for _, size in held.values()))
        return kept

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        compute()
    return peak
