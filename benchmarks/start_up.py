"""Seconds until the first training step is done, imports and compilation included."""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

START_UP = """
import os, time; start = time.perf_counter()
import torch; torch.set_num_threads(1)
from ternary_spike import SpikingResNet
from ternary_spike.membrane import backends
from ternary_spike.system import allocator
allocator.keep_freed_memory()
model = SpikingResNet("resnet20w16", "trainable", {timesteps}).to("{device}", memory_format=torch.channels_last)
images = torch.randn(16, 3, 32, 32, device="{device}")
backends.use("{backend}")
model(images).sum().backward()
if images.is_cuda:
    torch.cuda.synchronize()
assert backends.current() == "{backend}"
print(time.perf_counter() - start, sum(os.times()[:4]))
"""


START_UP_CASES = (
    ("eager", 2, "no compilation"),
    ("compiled", 2, "first compilation on this machine"),
    ("compiled", 4, "further timesteps"),
    ("compiled", 10, "further timesteps"),
    ("compiled", 2, "compiled before"),
)


def bench_start_up(device: str, repeats: int = 3) -> list[dict]:
    """Seconds from the first import to the end of the first training step, in a new process each; medians.

    Wall time, and CPU time of the process and the compilers it called: the one that a busy machine stretches less.
    """
    seconds: dict[tuple, list] = {case: [] for case in START_UP_CASES}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as empty:  # the compiler keeps what it made below TMPDIR
            environment = {k: v for k, v in os.environ.items() if k != "TORCHINDUCTOR_CACHE_DIR"}
            environment |= {"PYTHONPATH": str(ROOT / "lib"), "TMPDIR": empty}
            for case in START_UP_CASES:
                code = START_UP.format(backend=case[0], timesteps=case[1], device=device)
                done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
                if done.returncode:
                    print(f"start-up, {case}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
                    continue
                seconds[case].append([float(v) for v in done.stdout.split()])
    rows = []
    for (backend, timesteps, what), values in seconds.items():
        wall, cpu = (statistics.median(v) for v in zip(*values, strict=True)) if values else ("", "")
        row = {"device": device, "backend": backend, "timesteps": timesteps, "case": what}
        rows.append({**row, "wall_seconds": wall, "cpu_seconds": cpu})
    return rows
