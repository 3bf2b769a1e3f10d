"""Time and memory of the neuron and of a training step: ``python benchmarks/run.py --out results/bench``.

Every variant runs once in each round, in random order, so that a busy machine is busy for all of them alike; what is
reported is the median over rounds of the ratio within a round. On a processor time is the CPU time of one thread.
Writes neuron.csv, training_step.csv, epoch.csv, start_up.csv and benchmark.json (hardware, versions, settings), each as
soon as a part of it is measured; the report's page on speed draws them.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "lib")]

import torch  # noqa: E402
from benchmarks import networks, rivals  # noqa: E402
from benchmarks.measuring import Bench, ratio, saved_bytes  # noqa: E402
from benchmarks.plain import plain_loop  # noqa: E402
from benchmarks.random_training import random_training  # noqa: E402
from benchmarks.records import Measurement, has_bfloat16, origin, processor, version  # noqa: E402
from benchmarks.start_up import bench_start_up  # noqa: E402
from torch import nn  # noqa: E402

from ternary_spike import BinaryLIF, TernaryLIF, TrainableTernaryLIF  # noqa: E402
from ternary_spike.membrane import backends  # noqa: E402
from ternary_spike.system import allocator, cores, provenance  # noqa: E402


def with_backend(name: str, call: Callable) -> Callable:
    def run(*arguments):
        backends.use(name)
        return call(*arguments)

    return run


def bench_neuron(bench: Bench, timesteps: int) -> list[dict]:
    """Forward and backward pass of one layer, input [T, 32, 64, 32, 32] in float32."""
    x = torch.randn(timesteps, 32, 64, 32, 32, device=bench.device, requires_grad=True)
    grad, target = torch.randn_like(x), torch.empty_like(x)
    layers = rivals.neurons(bench.device)
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
            "dtype": "float32",
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


def bench_training_step(bench: Bench, timesteps: int, batch: int, autocast: torch.dtype | None) -> list[dict]:
    """Forward and backward pass of ResNet20 on 3x32x32, cross-entropy included, optimiser left out."""
    labels = torch.randint(10, (batch,), device=bench.device)
    nets = networks.variants(timesteps, batch, bench.device)

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
                "speed_over_plain": ratio(times["plain loop"], seconds),
                "saved_mib_per_image": saved_bytes(lambda name=name: forward(name), parameters) / batch / 2**20,
                "peak_mib_per_image": bench.peak_bytes(step(name)) / batch / 2**20,
            }
        )
    return rows


def bench_epoch(bench: Bench, timesteps: int) -> list[dict]:
    """An epoch of the CIFAR recipe, augmentation and checks included, beside its steps on batches that are there.

    With a narrow ResNet20, whose steps are short: the share of everything else is the larger. In elapsed time, which
    counts what waits and what other threads do.
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


PARTS = ["neuron", "training", "epoch", "start-up"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds of training steps (default 7)")
    parser.add_argument(
        "--neuron-rounds", type=int, default=31, help="those of the neuron, whose calls take milliseconds (default 31)"
    )
    parser.add_argument(
        "--epoch-rounds", type=int, default=25, help="those of epochs, in elapsed time, which scatters (default 25)"
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
    measured = Measurement(arguments.out, "benchmark.json", lambda: setting_of(arguments, devices, started))
    for device in devices:
        bench, neuron_bench = Bench(device, arguments.rounds), Bench(device, arguments.neuron_rounds, settle=True)
        epoch_bench = Bench(device, arguments.epoch_rounds, elapsed=True)
        for timesteps in arguments.timesteps:
            if "neuron" in parts:
                print(f"{device}: neuron, T = {timesteps}", file=sys.stderr)
                measured.add(neuron=bench_neuron(neuron_bench, timesteps))
            if "training" in parts:
                for autocast in [None, torch.bfloat16]:
                    if autocast and device == "cpu" and not has_bfloat16():
                        print("cpu: no bfloat16 instructions here, that part is left out", file=sys.stderr)
                        continue
                    print(f"{device}: training step, T = {timesteps}, {autocast or 'float32'}", file=sys.stderr)
                    measured.add(training_step=bench_training_step(bench, timesteps, arguments.batch, autocast))
            if "epoch" in parts:
                print(f"{device}: epoch, T = {timesteps}", file=sys.stderr)
                measured.add(epoch=bench_epoch(epoch_bench, timesteps))
        if "start-up" in parts:
            print(f"{device}: start-up", file=sys.stderr)
            measured.add(start_up=bench_start_up(device))


def setting_of(arguments: argparse.Namespace, devices: list[str], started: str) -> dict:
    """What benchmark.json says."""
    return {
        "processor": processor(devices[-1]),
        "cores": cores.available(),
        "load_average": os.getloadavg()[0],
        "time": "CPU time of one thread" if devices == ["cpu"] else "time of the device",
        "rounds": arguments.rounds,
        "neuron_rounds": arguments.neuron_rounds,
        "epoch_rounds": arguments.epoch_rounds,
        "bfloat16_instructions": has_bfloat16(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: version(name) for name in ("spikingjelly", "snntorch")},
        "notices": backends.notices,
    } | origin(devices[-1], started)


if __name__ == "__main__":
    main()
