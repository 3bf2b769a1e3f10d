"""How variants are timed against each other, and what memory they hold."""

import random
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor


class Bench:
    """Times variants on one device, in interleaved rounds.

    On a processor time is the process's CPU time, or with ``elapsed`` that of the clock. With ``settle`` each is called
    before it is timed as well, for calls so short that what their predecessor left in the caches would count.
    """

    def __init__(self, device: str, rounds: int, settle: bool = False, elapsed: bool = False) -> None:
        self.device, self.rounds, self.settle, self.random = device, rounds, settle, random.Random(0)
        self.clock = time.perf_counter if elapsed else time.process_time

    def seconds(self, call: Callable[[], None]) -> float:
        if self.device == "cuda":
            torch.cuda.synchronize()
            start = time.perf_counter()
            call()
            torch.cuda.synchronize()
            return time.perf_counter() - start
        start = self.clock()
        call()
        return self.clock() - start

    def compare(self, variants: dict[str, Callable[[], None]]) -> dict[str, list[float]]:
        """Seconds of each variant in each round, after one call to warm up."""
        for call in variants.values():
            call()
        times: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(self.rounds):
            for name in self.random.sample(list(variants), len(variants)):
                if self.settle:
                    variants[name]()
                times[name].append(self.seconds(variants[name]))
        return times

    def peak_bytes(self, call: Callable[[], None]) -> int:
        """Most memory held at a time beyond what was held before the call."""
        if self.device == "cuda":
            torch.cuda.synchronize()
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            call()
            return torch.cuda.max_memory_allocated() - before
        with torch.profiler.profile(profile_memory=True) as profile:
            call()
        held = peak = 0
        for event in profile.profiler.kineto_results.events():
            if event.name() == "[memory]":
                held += event.nbytes()
                peak = max(peak, held)
        return peak


def ratio(numerator: list[float], denominator: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def saved_bytes(forward: Callable[[], Tensor], parameters: set[int] = frozenset()) -> int:
    """Memory kept for the backward pass, each piece of it once, parameters left out."""
    kept = {}

    def pack(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return t.detach()  # an output itself would hold its own graph, for ever

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = forward()
    del y
    return sum(kept.values())
