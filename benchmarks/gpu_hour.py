"""What a GPU's half hour can tell, in the order of what it decides, on a machine with a GPU and without the workflow.

``python benchmarks/gpu_hour.py --out OUT --minutes 25 --data cifar10=jpeg-npz:FOLDER`` does, one after another and as
far as the minutes go: the tests for a GPU; ceilings, whole steps, their share of the roofline and the cost of
``deterministic``; neurons, steps and start-up; then the paper's own trainings of ResNet20 with T = 2, at full width and
schedule. A training that the minutes cut off keeps its state under ``--checkpoints``, and the same command goes on with
it. OUT holds small files alone: gpu_hour.json says what was done, how it ended and how long it took.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "lib")]

from benchmarks.records import origin  # noqa: E402

from ternary_spike.system import provenance  # noqa: E402
from ternary_spike.system.files import write_json  # noqa: E402

#: seconds that a part which is told to stop has for writing down its state, before it is killed
GRACE = 60
#: what is left at least when a part is begun: less would go into starting it
LEAST_SECONDS = 5
#: trainings in the order of what they decide: are ternary spikes more accurate, and does the amplitude add to it
NEURONS = ("ternary", "binary", "trainable")
SEEDS = (0, 1, 2)
#: where a run keeps what must not come back from the machine: it is large
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Part:
    """Something to do.

    Attributes:
        name: of its log in OUT and in gpu_hour.json.
        command: what is called.
        share: of all the minutes, the most that it may take; later parts have the rest.
        needs: a file without which it cannot be begun.
        done: a file that says that it was done by an earlier call.
    """

    name: str
    command: list[str]
    share: float = 1.0
    needs: Path | None = None
    done: Path | None = None


def measurements(arguments: argparse.Namespace) -> Iterator[Part]:
    """Tests and benchmarks."""
    out, python = arguments.out, sys.executable
    device = ["--device", arguments.device]
    yield Part("tests", [python, "-m", "unittest", "-v", "tests.test_gpu"], share=0.15)
    small = ["--architecture", arguments.architecture, "--timesteps", "2"]
    if arguments.tiny:
        small += ["--batch", "4", "--steps", "1", "--rounds", "1", "--precision", "float32"]
    yield Part("roofline", [python, "benchmarks/roofline.py", "--out", str(out / "bench"), *device, *small], share=0.25)
    few = ["--neuron-rounds", "1", "--rounds", "1", "--batch", "2", "--only", "start-up"] if arguments.tiny else []
    words = ["--only", "neuron", "training", "start-up", "--timesteps", "2", *few]
    yield Part("neurons", [python, "benchmarks/run.py", "--out", str(out / "bench"), *device, *words], share=0.25)


def trainings(arguments: argparse.Namespace) -> Iterator[Part]:
    """Preparation of the data, and the trainings."""
    name, _, where = arguments.data.partition("=")
    kind, _, root = where.partition(":")
    data, verb = arguments.checkpoints / "data", [sys.executable, "-m", "ternary_spike"]
    source = [*(["--source", kind] if kind else []), *(["--root", root] if root else [])]
    manifest = data / "manifest.json"
    yield Part("prepare", [*verb, "prepare", "--dataset", name, *source, "--out", str(data)], done=manifest)
    for seed in arguments.seeds:
        for neuron in arguments.neurons:
            run = f"{name}-{arguments.architecture}-T2-{neuron}"
            place = Path("runs") / run / f"seed{seed}"
            words = ["train", "--id", run, "--seed", str(seed), "--data", str(data), "--neuron", neuron]
            words += ["--architecture", arguments.architecture, "--timesteps", "2"]
            words += ["--recipe", str(ROOT / f"config/recipes/{name}.yaml")]
            words += [word for change in arguments.set for word in ("--set", change)]
            words += ["--device", arguments.device, "--checkpoints", str(arguments.checkpoints / place)]
            words += ["--out", str(arguments.out / place)]
            record = arguments.out / place / "run.json"
            yield Part(f"train-{neuron}-seed{seed}", [*verb, *words], needs=manifest, done=record)


def carry_out(part: Part, out: Path, seconds: float) -> dict:
    """Call a part for so many seconds at most, its words in OUT/logs, and say how it ended."""
    log = out / "logs" / f"{part.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "lib"), str(ROOT)])}
    begun = time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(part.command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT)
        try:
            status = process.wait(seconds)
            outcome = "done" if status == 0 else f"failed: exit status {status}, see logs/{log.name}"
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            outcome = "stopped when its time was over"
    return {"part": part.name, "outcome": outcome, "seconds": round(time.monotonic() - begun, 1)}


def outcome_without_a_call(part: Part, left: float) -> str:
    """Why a part is not called: it was done before, what it needs is missing, or no time is left; empty if it is."""
    if part.done is not None and part.done.exists():
        return "done before"
    if part.needs is not None and not part.needs.exists():
        return f"not begun: {part.needs.name} is missing"
    return "not begun: no time left" if left < LEAST_SECONDS else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the small files")
    parser.add_argument("--minutes", type=float, default=25, help="for all of it (default 25)")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="default cuda")
    parser.add_argument(
        "--data",
        default="cifar10",
        help="DATASET, DATASET=SOURCE or DATASET=SOURCE:ROOT of `prepare` (default cifar10)",
    )
    parser.add_argument("--architecture", default="resnet20", help="of steps and trainings (default resnet20)")
    parser.add_argument("--set", action="append", default=[], help="a change of the recipe: epochs=3; may be repeated")
    parser.add_argument(
        "--checkpoints", type=Path, help="folder of states and data (default: OUT-checkpoints beside OUT)"
    )
    parser.add_argument("--neurons", nargs="+", default=NEURONS, help=f"default {' '.join(NEURONS)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="default 0 1 2")
    parser.add_argument("--tiny", action="store_true", help="measure as little as there is, to see that it works")
    arguments = parser.parse_args()
    arguments.out = arguments.out.absolute()
    kept = arguments.checkpoints or arguments.out.with_name(f"{arguments.out.name}-checkpoints")
    arguments.checkpoints = kept.absolute()
    started, end = provenance.now(), time.monotonic() + 60 * arguments.minutes
    arguments.out.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for part in (*measurements(arguments), *trainings(arguments)):
        left = end - time.monotonic() - GRACE
        if outcome := outcome_without_a_call(part, left):
            outcomes.append({"part": part.name, "outcome": outcome, "seconds": 0.0})
        else:
            outcomes.append(carry_out(part, arguments.out, min(left, 60 * arguments.minutes * part.share)))
        print("{part}: {outcome}, {seconds} s".format(**outcomes[-1]), flush=True)
        write_json(arguments.out / "gpu_hour.json", {"parts": outcomes} | origin(arguments.device, started))
    for weights in arguments.out.rglob(WEIGHTS):
        target = arguments.checkpoints / weights.relative_to(arguments.out)
        target.parent.mkdir(parents=True, exist_ok=True)
        weights.replace(target)
    if any(row["outcome"].startswith("failed") for row in outcomes):
        sys.exit(1)


if __name__ == "__main__":
    main()
