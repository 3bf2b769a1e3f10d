"""Memory and processor time of every stage: ``python benchmarks/resources.py --out workflow/resources.csv``.

Each stage runs as the workflow runs it, in a process of its own with one thread on the processor, on random pictures of
the dataset's size, once with few pictures at a time and once with more. A straight line through the two peaks of
resident memory and the two processor times gives what a stage needs without pictures and what each picture adds:
some batches of the paper's networks would not fit into the memory of a small machine. Networks, timesteps and stages
are the largest that the run tables ask for; the neuron is the ternary one, since the kinds differ by a few per cent at
most.

Only a long training decides for the compiler, so one is told to be long and stopped after its first epoch; its peak
includes that of the compiler. A short one is measured beside it, and the larger peak of the two is taken. Memory of a
GPU is not measured here.
"""

import argparse
import csv
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "lib")]

import torch  # noqa: E402
import yaml  # noqa: E402
from PIL import Image  # noqa: E402

from ternary_spike.cli._stages import COMPARED  # noqa: E402
from ternary_spike.data import registry  # noqa: E402
from ternary_spike.data.loading import evaluation_batch_size  # noqa: E402
from ternary_spike.data.prepared import Split, write_prepared  # noqa: E402
from ternary_spike.system.files import write_csv  # noqa: E402

# dataset, architecture, timesteps, pictures at a time in the two measurements: as many as a stage takes at once, or as
# fit into 16 GB and minutes, since memory grows a little faster than the number of pictures
CASES = [
    ("digits", "resnet6w8", 2, (64, 256)),
    ("cifar10", "resnet20", 4, (64, 128)),
    ("cifar10", "resnet19", 2, (32, 96)),
    ("cifar10dvs", "resnet20", 10, (16, 48)),
    ("cifar10dvs", "resnet19", 10, (4, 12)),
    ("imagenet", "resnet18", 4, (8, 24)),
    ("imagenet", "resnet34", 4, (8, 24)),
]
# stages whose pictures at a time, or time for a picture, ask for other numbers
STAGE_NUMBERS = {"verify": (4, 12), "export": (4, 12), "execute": (1, 3)}
STAGES = ("train", "evaluate", "fold", "verify", "energy", "execute", "export")
LONG = 1_000_000  # epochs


def prepare(folder: Path, dataset: str, timesteps: int, pictures: int) -> Path:
    """Prepared data of a dataset's size, but for the test set, which has as many pictures as are wanted at a time.

    Pictures and frames lie in memory as bytes; ImageNet's stay files.
    """
    known = registry.describe(dataset)
    if dataset == "imagenet":
        return _prepare_pictures(folder, pictures)
    frames = (timesteps,) if dataset == "cifar10dvs" else ()
    shape = (*frames, known.channels, known.image_size, known.image_size)

    def split(samples: int) -> Split:
        images = torch.randint(0, 256, (samples, *shape), dtype=torch.uint8)
        return Split(images, torch.arange(samples) % known.num_classes)

    splits = {"train": split(known.train_samples), "test": split(pictures)}
    write_prepared(folder / "data", dataset, f"random {dataset}", {"kind": "random"}, known.num_classes, splits)
    return folder / "data"


def _prepare_pictures(folder: Path, pictures: int) -> Path:
    noise = torch.randint(0, 256, (375, 500, 3), dtype=torch.uint8).numpy()
    for split, many in (("train", 2 * pictures), ("val", pictures)):
        for name in ("n01440764", "n01443537"):
            (folder / "files" / split / name).mkdir(parents=True)
            for i in range(many // 2):
                Image.fromarray(noise).save(folder / "files" / split / name / f"{name}_{i:05}.JPEG")
    words = [
        "--dataset",
        "imagenet",
        "--source",
        "subset",
        "--root",
        str(folder / "files"),
        "--out",
        str(folder / "data"),
    ]
    run(["prepare", *words])
    return folder / "data"


def run(words: list[str], stop_at: str | None = None) -> tuple[float, float]:
    """Run a verb, until it prints ``stop_at`` if that is given: peak memory in MB and processor seconds."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "lib"), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "ternary_spike", *words]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as job:
        output = []
        for line in job.stdout:
            output.append(line)
            if stop_at is not None and stop_at in line:
                job.send_signal(signal.SIGTERM)
        _, status, used = os.wait4(job.pid, 0)
        job.returncode = os.waitstatus_to_exitcode(status)
    if job.returncode not in ((0,) if stop_at is None else (0, 130)):
        sys.exit(f"{' '.join(command)} ended with {job.returncode}:\n{''.join(output[-20:])}")
    if used.ru_maxrss <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
        sys.exit(f"{' '.join(command)} took less memory than this process: its own peak cannot be told")
    return used.ru_maxrss * 1024 / 1e6, used.ru_utime + used.ru_stime


def measure(dataset: str, architecture: str, timesteps: int, numbers: tuple[int, int], turn: int) -> dict:
    """Peak memory in MB and processor seconds of every stage, in the first or the second of its numbers of pictures."""
    pictures = numbers[turn]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # in another process: a child's peak memory begins with what its parent has, so this one must stay small
        with multiprocessing.get_context("spawn").Pool(1) as other:
            data = other.apply(prepare, (folder, dataset, timesteps, pictures))
        base = ["train", "--data", str(data), "--architecture", architecture, "--neuron", "ternary", "--seed", "0"]
        base += ["--timesteps", str(timesteps), "--recipe", str(ROOT / f"config/recipes/{dataset}.yaml")]
        base += ["--set", f"batch_size={pictures}", "--set", f"train_samples={2 * pictures}", "--threads", "1"]
        trained, same = str(folder / "run"), ["--run", str(folder / "run"), "--data", str(data)]
        found = {}
        long = ["--set", f"epochs={LONG}", "--checkpoints", str(folder / "long"), "--out", str(folder / "unfinished")]
        found["train"] = run([*base, *long], stop_at="epoch 1/")
        short = run([*base, "--set", "epochs=1", "--checkpoints", str(folder / "short"), "--out", trained])
        # a short training, and one where there is no compiler, is eager and may take more
        found["train"] = (max(found["train"][0], short[0]), found["train"][1])
        folded = ["--folded", trained]
        found["evaluate"] = run(["evaluate", *same, "--out", str(folder / "evaluation.json"), "--threads", "1"])
        found["fold"] = run(["fold", "--run", trained, "--out", trained])
        for stage in ("verify", "energy", "execute", "export"):
            out = trained if stage in ("energy", "export") else str(folder / f"{stage}.json")
            samples = ["--samples", str(STAGE_NUMBERS.get(stage, numbers)[turn])]
            found[stage] = run([stage, *same, *folded, "--out", out, *samples, "--threads", "1"])
        return found


def rows_of(dataset: str, architecture: str, timesteps: int, numbers: tuple[int, int]) -> list[dict]:
    """What each stage needs without pictures, what a picture adds, and the peak with as many as it takes at once."""
    few, many = (measure(dataset, architecture, timesteps, numbers, turn) for turn in (0, 1))
    recipe = yaml.safe_load((ROOT / f"config/recipes/{dataset}.yaml").read_text())
    evaluated = evaluation_batch_size(registry.describe(dataset).image_size, timesteps)
    at_once = dict.fromkeys(STAGES, evaluated)
    at_once |= {"train": recipe["batch_size"], "fold": 0, "verify": COMPARED, "export": COMPARED}
    at_once["execute"] = min(evaluated, 20)
    rows = []
    for stage in STAGES:
        (memory, seconds), (more_memory, more_seconds) = few[stage], many[stage]
        first, second = STAGE_NUMBERS.get(stage, numbers)
        slower = max(0.0, (more_seconds - seconds) / (second - first))
        together = second if stage in ("train", "fold") else min(second, at_once[stage])
        slope = max(0.0, (more_memory - memory) / (together - first))
        fixed = memory - slope * first
        rows.append(
            {
                "dataset": dataset,
                "architecture": architecture,
                "timesteps": timesteps,
                "stage": stage,
                "fixed_mb": round(fixed),
                "picture_mb": round(slope, 2),
                "at_once": at_once[stage],
                "peak_mb": round(fixed + slope * at_once[stage]),
                "fixed_seconds": round(max(0.0, seconds - slower * first), 1),
                # an upper bound for training: two steps, and one more at most before it is stopped
                "picture_seconds": round(slower / (2 if stage == "train" else 1), 4),
                "measured_with": f"{first} and {second} pictures",
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--out", type=Path, required=True, help="CSV file; rows of datasets not measured stay")
    parser.add_argument("--dataset", action="append", help="only this one (may be repeated)")
    args = parser.parse_args()
    for dataset, *case in CASES:
        if args.dataset is None or dataset in args.dataset:
            rows = rows_of(dataset, *case)
            print(yaml.safe_dump(rows, default_flow_style=None, width=200), flush=True)
            replace_rows(args.out, rows)


def replace_rows(path: Path, rows: list[dict]) -> None:
    """Write the rows of one case among those of the others."""
    kept = []
    if path.exists():
        with path.open() as file:
            kept = list(csv.DictReader(file))

    def case(row: dict) -> tuple[str, str]:
        return row["dataset"], row["architecture"]

    order = [(dataset, architecture) for dataset, architecture, *_ in CASES]
    others = [row for row in kept if case(row) in order and case(row) != case(rows[0])]
    write_csv(path, sorted(others + rows, key=lambda row: order.index(case(row))))


if __name__ == "__main__":
    main()
