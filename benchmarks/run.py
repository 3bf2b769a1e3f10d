"""Time and memory of the neuron and of a training step: ``python benchmarks/run.py --out results/bench``.

Every variant runs once in each round, in random order, so that a busy machine is busy for all of them alike; what is
reported is the median over rounds of the ratio within a round. On a processor time is the CPU time of one thread.
Writes neuron.csv, training_step.csv, epoch.csv, start_up.csv, benchmark.json (hardware, versions, settings) and
benchmark.png.
"""

import argparse
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "lib")]

import torch  # noqa: E402
from benchmarks import rivals  # noqa: E402
from benchmarks.plain import plain_loop  # noqa: E402
from benchmarks.random_training import random_training  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from ternary_spike import (  # noqa: E402
    BinaryLIF,
    SpikingResNet,
    TernaryLIF,
    TrainableTernaryLIF,
    allocator,
    backends,
    provenance,
)
from ternary_spike.files import csv_text, write_json, write_listed  # noqa: E402
from ternary_spike.models import named_neurons  # noqa: E402


class Bench:
    """Times variants on one device, in interleaved rounds.

    With ``settle`` each is called before it is timed as well, for calls so short that what their predecessor left in
    the caches would count.
    """

    def __init__(self, device: str, rounds: int, settle: bool = False) -> None:
        self.device, self.rounds, self.settle, self.random = device, rounds, settle, random.Random(0)

    def seconds(self, call: Callable[[], None]) -> float:
        if self.device == "cuda":
            torch.cuda.synchronize()
            start = time.perf_counter()
            call()
            torch.cuda.synchronize()
            return time.perf_counter() - start
        start = time.process_time()
        call()
        return time.process_time() - start

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
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = forward()
    del y
    return sum(kept.values())


def with_backend(name: str, call: Callable) -> Callable:
    def run(*arguments):
        backends.use(name)
        return call(*arguments)

    return run


def bench_neuron(bench: Bench, timesteps: int, dtype: torch.dtype) -> list[dict]:
    """Forward and backward pass of one layer, input [T, 32, 64, 32, 32]."""
    shape = (timesteps, 32, 64, 32, 32)
    x = torch.randn(shape, device=bench.device, dtype=dtype, requires_grad=True)
    grad, target = torch.randn_like(x), torch.empty_like(x)
    layers = (
        dict(rivals.neurons(bench.device)) if dtype == torch.float32 else {"plain loop": lambda x: plain_loop(x)[0]}
    )
    layers["torch.compile of the plain loop"] = torch.compile(lambda x: plain_loop(x)[0])
    for backend in backends.BACKENDS:
        for name, neuron in (("binary", BinaryLIF()), ("ternary", TernaryLIF()), ("trainable", TrainableTernaryLIF())):
            layers[f"{name}, {backend}"] = with_backend(backend, neuron.to(bench.device))

    def step(layer):
        def call():
            x.grad = None
            layer(x).backward(grad)

        return call

    variants = {name: step(layer) for name, layer in layers.items()}
    variants["copy"] = lambda: target.copy_(grad)
    times = bench.compare(variants)
    rows = []
    for name, seconds in times.items():
        row = {
            "device": bench.device,
            "dtype": str(dtype).removeprefix("torch."),
            "timesteps": timesteps,
            "variant": name,
            "milliseconds": 1e3 * statistics.median(seconds),
            "times_five_memory_passes": ratio(seconds, times["copy"]) / 2.5,  # a copy reads once and writes once
        }
        for rival in ("plain loop", "SpikingJelly TernaryLIFNode"):
            row[f"speed_over_{rival.split()[0].lower()}"] = ratio(times[rival], seconds) if rival in times else ""
        if name in layers:
            x.grad = None
            row["saved_bytes_per_element"] = saved_bytes(lambda name=name: layers[name](x)) / x.numel()
            row["peak_bytes_per_element"] = bench.peak_bytes(variants[name]) / x.numel()
        rows.append(row)
    return rows


class PlainNeuron(nn.Module):
    """A ternary layer by the plain loop."""

    def forward(self, x: Tensor) -> Tensor:
        return plain_loop(x)[0]


class PassOn(nn.Module):
    """In place of batch norm or neuron where only the convolutions are wanted."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    def repeated(self, x: Tensor, timesteps: int) -> Tensor:
        return x


def networks(timesteps: int, batch: int, device: str) -> dict[str, tuple[nn.Module, str, Tensor]]:
    """ResNet20 by variant: (network, backend, input batch)."""
    image = torch.randn(batch, 3, 32, 32, device=device)
    frames = image.unsqueeze(1).repeat(1, timesteps, 1, 1, 1)

    def make() -> SpikingResNet:
        torch.manual_seed(0)
        return SpikingResNet("resnet20", "ternary", timesteps).to(device, memory_format=torch.channels_last).train()

    plain = with_plain_neurons(make()).to(memory_format=torch.contiguous_format)
    convolutions = convolutions_alone(make())
    return {
        "plain loop, image repeated": (plain, "eager", frames),
        "ternary, eager": (make(), "eager", image),
        "ternary, compiled": (make(), "compiled", image),
        "convolutions alone": (convolutions, "eager", image),
    }


def with_plain_neurons(model: SpikingResNet, neuron: type[nn.Module] = PlainNeuron) -> SpikingResNet:
    """The network with its neurons exchanged for the plain loop."""
    for module in named_neurons(model).values():
        replace(model, module, neuron())
    return model


def convolutions_alone(model: SpikingResNet) -> SpikingResNet:
    """The network without batch norm and neurons."""
    for module in list(model.modules()):
        if isinstance(module, nn.BatchNorm2d) or module in named_neurons(model).values():
            replace(model, module, PassOn())
    return model


def replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for parent in model.modules():
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)


def bench_training_step(bench: Bench, timesteps: int, batch: int, autocast: torch.dtype | None) -> list[dict]:
    """Forward and backward pass of ResNet20 on 3x32x32, cross-entropy included, optimiser left out."""
    labels = torch.randint(10, (batch,), device=bench.device)
    nets = networks(timesteps, batch, bench.device)

    def forward(name):
        model, backend, inputs = nets[name]
        backends.use(backend)
        with torch.autocast(bench.device, dtype=autocast or torch.bfloat16, enabled=autocast is not None):
            return nn.functional.cross_entropy(model(inputs).float(), labels)

    def step(name):
        def call():
            nets[name][0].zero_grad(set_to_none=True)
            forward(name).backward()

        return call

    times = bench.compare({name: step(name) for name in nets})
    rows = []
    for name, seconds in times.items():
        parameters = {p.untyped_storage().data_ptr() for p in nets[name][0].parameters()}
        rows.append(
            {
                "device": bench.device,
                "dtype": "float32" if autocast is None else str(autocast).removeprefix("torch.") + " autocast",
                "timesteps": timesteps,
                "batch": batch,
                "variant": name,
                "milliseconds": 1e3 * statistics.median(seconds),
                "images_per_second": batch / statistics.median(seconds),
                "times_convolutions_alone": ratio(seconds, times["convolutions alone"]),
                "speed_over_plain": ratio(times["plain loop, image repeated"], seconds),
                "saved_mib_per_image": saved_bytes(lambda name=name: forward(name), parameters) / batch / 2**20,
                "peak_mib_per_image": bench.peak_bytes(step(name)) / batch / 2**20,
            }
        )
    return rows


def bench_epoch(bench: Bench, timesteps: int) -> list[dict]:
    """An epoch of the CIFAR recipe, augmentation and checks included, beside its steps on batches that are there.

    With a narrow ResNet20, whose steps are short: the share of everything else is the larger.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = random_training(Path(folder), "resnet20w16", timesteps, 10, bench.device)
        backends.use("compiled")
        batches = list(run.train.epoch(0))

        def steps_alone():
            run.step = 0
            for x, labels in batches:
                run.train_step(x, labels)

        def epoch():
            run.step = 0
            for x, labels in run.train.epoch(0):
                run.train_step(x, labels)
            run.check_losses()

        times = bench.compare({"steps alone": steps_alone, "epoch": epoch})
    return [
        {
            "device": bench.device,
            "timesteps": timesteps,
            "batch": run.plan.recipe.batch_size,
            "variant": name,
            "images_per_second": run.train.samples / statistics.median(seconds),
            "times_steps_alone": ratio(seconds, times["steps alone"]),
        }
        for name, seconds in times.items()
    ]


START_UP = """
import os, time; start = time.perf_counter()
import torch; torch.set_num_threads(1)
from ternary_spike import SpikingResNet, allocator, backends
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


def write(path: Path, rows: list[dict]) -> None:
    """A table to four digits, and its checksum beside it."""
    fields = list(dict.fromkeys(key for row in rows for key in row))
    shown = [{k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    write_listed(path, csv_text(shown, fields))


def origin(device: str, started: str) -> dict:
    """Where a measurement comes from, for its record."""
    revision, dirty = provenance.commit()
    return {
        "commit": revision,
        "dirty": dirty,
        "hardware": provenance.hardware(torch.device(device)),
        "command": ["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]],
        "started": started,
        "finished": provenance.now(),
    }


def draw(path: Path, neuron: list[dict], training: list[dict], setting: dict) -> None:
    """Milliseconds of each variant, longest at the top, on one axis a panel."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    panels = []
    for what, rows in (("neuron", neuron), ("ResNet20 step", training)):
        cases = [(r["device"], r["timesteps"], r["dtype"]) for r in rows]
        for device, timesteps, dtype in sorted(set(cases)):
            chosen = [r for r, case in zip(rows, cases, strict=True) if case == (device, timesteps, dtype)]
            panels.append((f"{what}, T = {timesteps}, {dtype}, {device}", chosen))
    heights = [len(rows) for _, rows in panels]
    figure, axes = plt.subplots(
        len(panels),
        1,
        figsize=(8, 0.32 * sum(heights) + 0.9 * len(panels)),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for axis, (title, rows) in zip(axes.flat, panels, strict=True):
        rows = sorted(rows, key=lambda row: row["milliseconds"])
        ours = [row["variant"].startswith(("binary,", "ternary,", "trainable,")) for row in rows]
        bars = axis.barh(
            [row["variant"] for row in rows],
            [row["milliseconds"] for row in rows],
            color=["tab:blue" if mine else "tab:gray" for mine in ours],
        )
        axis.bar_label(bars, fmt=lambda v: f"{v:.1f}" if v < 100 else f"{v:,.0f}", padding=3)
        axis.margins(x=0.12)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_title(title, loc="left")
        axis.set_xlabel("milliseconds, forward and backward")
    figure.suptitle(f"{setting['processor']}, torch {setting['torch']}, {setting['time']}", fontsize="small")
    figure.savefig(path, dpi=150)


def processor(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if (info.exists())
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()


PARTS = ["neuron", "training", "epoch", "start-up"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables and the figure")
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds of training steps (default 7)")
    parser.add_argument(
        "--neuron-rounds", type=int, default=31, help="those of the neuron, whose calls take milliseconds (default 31)"
    )
    parser.add_argument("--timesteps", type=int, nargs="+", default=[2, 4], help="timesteps to measure (default 2 4)")
    parser.add_argument("--batch", type=int, default=32, help="images in a training step (default 32)")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], nargs="+", help="default: cpu, and cuda where there is one"
    )
    parser.add_argument("--only", choices=PARTS, nargs="+", help="a part of it")
    arguments = parser.parse_args()
    started = provenance.now()
    parts = arguments.only or PARTS
    devices = arguments.device or ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    torch.set_num_threads(1)
    allocator.keep_freed_memory()  # for all variants, as training does
    arguments.out.mkdir(parents=True, exist_ok=True)
    neuron, steps, epoch, start_up = [], [], [], []
    for device in devices:
        bench, neuron_bench = Bench(device, arguments.rounds), Bench(device, arguments.neuron_rounds, settle=True)
        for timesteps in arguments.timesteps:
            if "neuron" in parts:
                print(f"{device}: neuron, T = {timesteps}", file=sys.stderr)
                neuron += bench_neuron(neuron_bench, timesteps, torch.float32)
            if "training" in parts:
                for autocast in [None, torch.bfloat16]:
                    if autocast and device == "cpu" and not has_bfloat16():
                        print("cpu: no bfloat16 instructions here, that part is left out", file=sys.stderr)
                        continue
                    print(f"{device}: training step, T = {timesteps}, {autocast or 'float32'}", file=sys.stderr)
                    steps += bench_training_step(bench, timesteps, arguments.batch, autocast)
            if "epoch" in parts:
                print(f"{device}: epoch, T = {timesteps}", file=sys.stderr)
                epoch += bench_epoch(bench, timesteps)
        if "start-up" in parts:
            print(f"{device}: start-up", file=sys.stderr)
            start_up += bench_start_up(device)
    setting = {
        "processor": processor(devices[-1]),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "time": "CPU time of one thread" if devices == ["cpu"] else "time of the device",
        "rounds": arguments.rounds,
        "neuron_rounds": arguments.neuron_rounds,
        "bfloat16_instructions": has_bfloat16(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: version(name) for name in ("spikingjelly", "snntorch")},
        "notices": backends.notices,
    }
    for name, rows in (("neuron", neuron), ("training_step", steps), ("epoch", epoch), ("start_up", start_up)):
        if rows:
            write(arguments.out / f"{name}.csv", rows)
    write_json(arguments.out / "benchmark.json", setting | origin(devices[-1], started))
    if neuron or steps:
        draw(arguments.out / "benchmark.png", neuron, steps, setting)


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 numbers itself (otherwise they are converted, and slower)."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def version(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
