"""A whole training step beside what the device could do: ``python benchmarks/roofline.py --out results/bench``.

First the device's ceilings are measured, a large copy and a large matrix product. The roofline of a network is the
least time that its convolutions and its memory traffic can take at those ceilings (:func:`least_seconds`). Then whole
epochs of CIFAR-10's recipe, augmentation and optimiser included, run on random pictures: in each round every variant
once, in random order. Reported are pictures a second, medians of the ratios within rounds, and the share of the
roofline; on a GPU also what ``deterministic`` costs and a CUDA graph saves. Last, a profile says where the time of the
fastest backend goes.

On a processor time is the CPU time of one thread. Writes roofline.csv, roofline_profile.csv and roofline.json
(ceilings, hardware, versions).
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
from benchmarks.measuring import Bench, ratio  # noqa: E402
from benchmarks.networks import convolutions_alone, with_neurons  # noqa: E402
from benchmarks.plain import plain_loop  # noqa: E402
from benchmarks.random_training import random_training  # noqa: E402
from benchmarks.records import Measurement, has_bfloat16, origin, processor  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from ternary_spike import SpikingResNet  # noqa: E402
from ternary_spike.membrane import backends  # noqa: E402
from ternary_spike.models.blocks import BasicBlock  # noqa: E402
from ternary_spike.system import allocator, devices  # noqa: E402
from ternary_spike.system.provenance import now  # noqa: E402
from ternary_spike.training.step import TrainingStep  # noqa: E402

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Passes over a normalised layer's activations that no fusion saves. Forward: read for the statistics; read, write
# spikes. Backward: read with the incoming gradient for the sums; read both, write the gradient.
LAYER_PASSES = 8
# More where a shortcut is added: read in each of three passes, and its gradient written.
SHORTCUT_PASSES = 4


def ceilings(bench: Bench, dtype: torch.dtype) -> dict[str, float]:
    """Bytes a second of a copy (read and write both count) and floating-point operations a second of a product."""
    on_gpu = bench.device == "cuda"
    torch.backends.cuda.matmul.allow_tf32 = True  # as convolutions may by default
    source = torch.randn((2**30 if on_gpu else 2**26) // 4, device=bench.device)
    target = torch.empty_like(source)
    side = 8192 if on_gpu else 2048
    a, b = (torch.randn(side, side, device=bench.device, dtype=dtype) for _ in range(2))
    times = bench.compare({"copy": lambda: target.copy_(source), "product": lambda: a @ b})
    return {
        "copy_bytes_per_second": 2 * source.nbytes / min(times["copy"]),
        "product_flops_per_second": 2 * side**3 / min(times["product"]),
    }


def least_seconds(architecture: str, timesteps: int, dtype: torch.dtype, bytes_rate: float, flops_rate: float) -> dict:
    """What an image of 3 x 32 x 32 takes at the least in a training step, at ceilings in bytes and operations a second.

    Each convolution runs forward, for its input's gradient (but the first) and for its weight's, and takes in each the
    longer of its arithmetic and its input and output through memory. Batch norm, shortcut and neuron take the passes
    that no fusion saves; pooling, classifier, optimiser and augmentation are left out as small.

    Returns:
        ``flops``, ``convolution_seconds``, ``elementwise_bytes``, ``elementwise_seconds``, ``seconds``, each an image.
    """
    convolutions: list[tuple[int, int, int]] = []
    elements = shortcuts = 0

    def convolution(module: nn.Conv2d, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal elements
        flops = 2 * output.numel() * module.weight[0].numel()
        convolutions.append((flops, inputs[0].numel() + output.numel(), 3 if convolutions else 2))
        elements += output.numel()

    def block(module: BasicBlock, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal shortcuts
        shortcuts += output.numel()

    model = SpikingResNet(architecture, "ternary", timesteps).train()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(convolution)
        elif isinstance(module, BasicBlock):
            module.register_forward_hook(block)
    backends.use("eager")
    with torch.no_grad():
        model(torch.zeros(1, 3, 32, 32))
    size = dtype.itemsize
    traffic = size * (LAYER_PASSES * elements + SHORTCUT_PASSES * shortcuts)
    arithmetic = sum(
        passes * max(flops / flops_rate, size * moved / bytes_rate) for flops, moved, passes in convolutions
    )
    return {
        "flops": sum(passes * flops for flops, _, passes in convolutions),
        "convolution_seconds": arithmetic,
        "elementwise_bytes": traffic,
        "elementwise_seconds": traffic / bytes_rate,
        "seconds": arithmetic + traffic / bytes_rate,
    }


def variants(architecture: str, timesteps: int, batch: int, steps: int, precision: str, device: str) -> dict:
    """An epoch of training by variant, each with a network of its own."""

    def epoch_of(
        backend: str, change: Callable | None = None, repeat: bool = False, graph: bool = False
    ) -> Callable[[], None]:
        with tempfile.TemporaryDirectory() as folder:  # the pictures are in memory from then on
            run = random_training(
                Path(folder), architecture, timesteps, steps, device, batch_size=batch, precision=precision
            )
        if change is not None:
            run.model = change(run.model).to(device)
            run.update = TrainingStep(run.model, run.method, run.plan.recipe)
        if repeat:
            model = run.model
            run.update.parallel_model = lambda x: model(x.unsqueeze(1).repeat(1, timesteps, 1, 1, 1))
        if graph:
            backends.use(backend)
            sample, _ = next(iter(run.train.epoch(0)))
            with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False):
                run.update.parallel_model = torch.cuda.make_graphed_callables(run.model.train(), (sample,))

        def epoch() -> None:
            backends.use(backend)
            run.model.train()
            run.step = 0
            for x, labels in run.train.epoch(0):
                run.train_step(x, labels)

        return epoch

    def plain(x: Tensor) -> Tensor:
        return plain_loop(x)[0]

    found = {
        "plain loop": epoch_of("eager", lambda model: with_neurons(model, plain), repeat=True),
        "torch.compile of the plain loop": epoch_of(
            "eager", lambda model: with_neurons(model, torch.compile(plain)), repeat=True
        ),
        "ternary, eager": epoch_of("eager"),
        "ternary, compiled": epoch_of("compiled"),
        "convolutions alone": epoch_of("eager", convolutions_alone),
    }
    if device == "cuda":
        usual = epoch_of("compiled")

        def deterministic() -> None:
            searched = torch.backends.cudnn.benchmark
            devices.make_deterministic()
            try:
                usual()
            finally:
                torch.use_deterministic_algorithms(False)
                torch.backends.cudnn.benchmark = searched

        for name, make in (
            ("deterministic", lambda: deterministic),
            ("in a CUDA graph", lambda: epoch_of("compiled", graph=True)),
        ):
            try:
                epoch = make()
                epoch()
                found[f"ternary, compiled, {name}"] = epoch
            except RuntimeError as error:  # torch names the operation that cannot
                backends.notices.append(f"not measured {name}: {error}")
    return found


def bench_epochs(bench: Bench, architecture: str, timesteps: int, batch: int, steps: int, precision: str, ceiling):
    """Rows of roofline.csv, and the epoch with the compiled backend, for the profile."""
    least = least_seconds(
        architecture,
        timesteps,
        DTYPES[precision],
        ceiling["copy_bytes_per_second"],
        ceiling["product_flops_per_second"],
    )
    epochs = variants(architecture, timesteps, batch, steps, precision, bench.device)
    times = bench.compare(epochs)
    rows = []
    for name, seconds in times.items():
        image = statistics.median(seconds) / (steps * batch)
        rows.append(
            {
                "device": bench.device,
                "dtype": precision,
                "architecture": architecture,
                "timesteps": timesteps,
                "batch": batch,
                "variant": name,
                "images_per_second": 1 / image,
                "percent_of_roofline": 100 * least["seconds"] / image,
                "times_convolutions_alone": ratio(seconds, times["convolutions alone"]),
                "speed_over_plain": ratio(times["plain loop"], seconds),
                "roofline_images_per_second": 1 / least["seconds"],
            }
        )
    return rows, epochs["ternary, compiled"]


def profile(call: Callable[[], None], device: str, most: int = 25) -> list[dict]:
    """Where the time goes: the operations or kernels that take the most of it themselves."""
    with torch.profiler.profile() as found:
        call()
        if device == "cuda":
            torch.cuda.synchronize()

    kind = torch.autograd.DeviceType.CUDA if device == "cuda" else torch.autograd.DeviceType.CPU

    def microseconds(event) -> float:
        return event.self_device_time_total if device == "cuda" else event.self_cpu_time_total

    # on a GPU its kernels alone: operations that launch them, and spans around several, are listed with the same time
    events = [
        event
        for event in found.key_averages()
        if event.device_type == kind and not (device == "cuda" and event.is_user_annotation) and microseconds(event) > 0
    ]
    total = sum(map(microseconds, events))
    return [
        {
            "operation": event.key,
            "calls": event.count,
            "milliseconds": microseconds(event) / 1e3,
            "percent": 100 * microseconds(event) / total,
        }
        for event in sorted(events, key=microseconds, reverse=True)[:most]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is one")
    parser.add_argument("--architecture", nargs="+", default=["resnet20"], help="networks (default resnet20)")
    parser.add_argument("--timesteps", type=int, default=2, help="default 2")
    parser.add_argument("--batch", type=int, nargs="+", help="default: 128 and 1024 on a GPU, 32 on a processor")
    parser.add_argument("--steps", type=int, help="training steps an epoch (default: 20 on a GPU, 1 on a processor)")
    parser.add_argument(
        "--precision", choices=DTYPES, nargs="+", help="default: float32, and bfloat16 where it is fast"
    )
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (default 7)")
    arguments = parser.parse_args()
    started = now()
    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    batches = arguments.batch or ([128, 1024] if device == "cuda" else [32])
    steps = arguments.steps or (20 if device == "cuda" else 1)
    fast = ["float32", "bfloat16"] if device == "cuda" or has_bfloat16() else ["float32"]
    if device == "cpu":
        torch.set_num_threads(1)
    else:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for the deterministic variant, before any work
    allocator.keep_freed_memory()  # as training does
    bench = Bench(device, arguments.rounds)
    measured = {}

    def setting() -> dict:
        return {
            "processor": processor(device),
            "time": "CPU time of one thread" if device == "cpu" else "time of the device",
            "ceilings": measured,
            "rounds": arguments.rounds,
            "steps": steps,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda if device == "cuda" else None,
            "notices": backends.notices,
        } | origin(device, started)

    tables = Measurement(arguments.out, "roofline.json", setting)
    for precision in arguments.precision or fast:
        measured[precision] = ceilings(bench, DTYPES[precision])
        for architecture in arguments.architecture:
            for batch in batches:
                print(f"{device}: {architecture}, batch {batch}, {precision}", file=sys.stderr)
                found, compiled = bench_epochs(
                    bench, architecture, arguments.timesteps, batch, steps, precision, measured[precision]
                )
                case = {
                    "device": device,
                    "dtype": precision,
                    "architecture": architecture,
                    "timesteps": arguments.timesteps,
                    "batch": batch,
                }
                tables.add(roofline=found, roofline_profile=[case | row for row in profile(compiled, device)])


if __name__ == "__main__":
    main()
