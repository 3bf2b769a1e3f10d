"""What more threads bring to a training step on a processor: ``python benchmarks/threads.py --out results/bench``.

Steps with one thread and with all alternate, and the fastest of each counts: what slows the others is what else the
machine does. Where n threads are less than n times as fast, n trainings side by side with a thread each do more in the
same time; where they are slower, even a training of its own is better off with one. Writes threads.csv.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

import torch

from ternary_spike.configuration.recipe import Recipe
from ternary_spike.methods.registry import PAPERS_WAY, make_method
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.system import allocator, cores, provenance
from ternary_spike.system.files import csv_text, write_listed
from ternary_spike.training.step import TrainingStep

# architecture, timesteps, channels, size, pictures a step; the demo's batch, and as many of CIFAR's as take a second
CASES = [
    ("resnet6w8", 2, 1, 16, 64),
    ("resnet20w16", 2, 3, 32, 32),
    ("resnet20", 2, 3, 32, 16),
    ("resnet19", 2, 3, 32, 8),
]


def fastest(case: tuple, threads: tuple[int, int], rounds: int) -> list[float]:
    """Seconds of the fastest step with each number of threads."""
    architecture, timesteps, channels, size, batch = case
    torch.manual_seed(0)
    model = SpikingResNet(architecture, "ternary", timesteps, 10, channels, size).to(memory_format=torch.channels_last)
    update = TrainingStep(model, make_method(PAPERS_WAY), Recipe("threads", 1, batch, 0.01, 0.9, 1e-4))
    images = torch.randn(batch, channels, size, size).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch) % 10
    times = [[], []]
    for turn in range(2 * (rounds + 1)):
        torch.set_num_threads(threads[turn % 2])
        begun = time.perf_counter()
        update(images, labels, 0.01)
        times[turn % 2].append(time.perf_counter() - begun)
    return [min(each[1:]) for each in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the table")
    parser.add_argument("--threads", type=int, default=cores.available(), help="default: one a core")
    parser.add_argument("--seconds", type=float, default=60, help="for each network")
    args = parser.parse_args()
    allocator.keep_freed_memory()  # as training does
    code = provenance.commit()
    rows = []
    for case in CASES:
        rounds = max(3, int(args.seconds / 2 / fastest(case, (1, args.threads), 1)[0]))
        one, many = fastest(case, (1, args.threads), rounds)
        rows.append(
            {
                "architecture": case[0],
                "timesteps": case[1],
                "batch": case[4],
                "one_thread_milliseconds": round(1000 * one, 2),
                "threads": args.threads,
                "milliseconds": round(1000 * many, 2),
                "times_as_fast": round(one / many, 3),
                "cpu": provenance.hardware(torch.device("cpu"))["cpu"],
                "torch": torch.__version__,
                "commit": code["commit"],
                "dirty": code["dirty"],
            }
        )
        print(rows[-1], flush=True)
        write_listed(args.out / "threads.csv", csv_text(rows))


if __name__ == "__main__":
    main()
