"""Damaged files: 2,000 and more mutations over everything that is read.

What the project wrote, or whose checksum it knows, is refused by its name whatever was changed. Of other files nothing
more can be asked than one line: never a traceback, a hang, or memory without end.
"""

import dataclasses
import io
import json
import os
import resource
import shutil
import signal
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from snakemake.common.configfile import load_configfile
from snakemake_interface_common.exceptions import WorkflowError

from ternary_spike import UserError
from ternary_spike.cli import main
from ternary_spike.configuration import recipe, run_table
from ternary_spike.configuration.schema import checked, load_schema
from ternary_spike.data import cifar, pictures, registry
from ternary_spike.data.prepared import read_picture_list, read_split
from ternary_spike.planning import plan_file
from ternary_spike.reparam.network import FoldedNetwork
from ternary_spike.report.results import Results
from ternary_spike.system.files import read_json, sha256_of
from ternary_spike.tables import collect
from ternary_spike.training import checkpoints
from ternary_spike.training.record import load_model
from tests.helpers.damage import damaged
from tests.helpers.datasets import write_cifar, write_dvs, write_imagefolder
from tests.helpers.tiny import prepare_tiny

ROOT = Path(__file__).parents[1]
SECONDS = 20  # for one file; none takes one
MEMORY = 4 << 30  # beyond what the tests themselves hold
RECIPE = """name: tiny
epochs: 1
batch_size: 32
learning_rate: 0.1
momentum: 0.9
weight_decay: 1.0e-4
flip: true
mean: [0.3]
std: [0.25]
sources:
  epochs: "our choice: short"
"""
RUN = "tiny-resnet6w4-T2-trainable"
PLAN = {
    "id": RUN,
    "seed": 0,
    "dataset": "tiny",
    "architecture": "resnet6w4",
    "timesteps": 2,
    "neuron": "trainable",
    "control": "false",
    "status": "runnable",
}


@dataclass(frozen=True)
class Reader:
    """A file, who reads it, and whether every change of it must be refused by its name."""

    path: Path
    read: Callable[[], object]
    known: bool = True
    slow: bool = False  # a reader that takes a tenth of a second is tried a quarter as often


@contextmanager
def limits():
    """Little time and memory: whatever asks for more fails the test instead of stopping the machine."""

    def late(*_):
        raise TimeoutError(f"no answer in {SECONDS} s")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """A preset's folder as the stages write it: one tiny run, its tables and its plan."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "tiny.yaml").write_text(RECIPE)
    data, run = prepare_tiny(folder / "data"), folder / "runs" / RUN / "seed0"
    words = ["--data", str(data), "--threads", "1"]
    network = ["--architecture", "resnet6w4", "--neuron", "trainable", "--timesteps", "2", "--seed", "0"]
    places = ["--recipe", str(folder / "tiny.yaml"), "--checkpoints", str(folder / "checkpoints"), "--out", str(run)]
    main(["train", *words, *network, *places, "--device", "cpu"])
    main(["evaluate", "--run", str(run), *words, "--out", str(run / "evaluation.json")])
    main(["fold", "--run", str(run), "--out", str(run)])
    for verb, out in (("verify", "equivalence.json"), ("energy", ""), ("execute", "execution.json"), ("export", "")):
        main([verb, "--run", str(run), "--folded", str(run), *words, "--out", str(run / out), "--samples", "4"])
    main(["trace", "--out", str(folder / "trace.csv"), "--timesteps", "6"])
    plan_file.write_rows(folder / "plan.csv", [dict.fromkeys(plan_file.PLAN_COLUMNS, "") | PLAN])
    collect.write_tables(collect.tables(collect.read_plan(folder / "plan.csv"), folder), folder / "tables")
    return folder


def refused_in_tables(folder: Path) -> None:
    """Collect the run: a damaged file must not keep the tables from being made, but be named in its run's row."""
    state = collect.tables(collect.read_plan(folder / "plan.csv"), folder)["runs"]["state"].iloc[0]
    if state != "done":
        raise UserError(state)


def of_a_run(folder: Path) -> dict[str, Reader]:
    run = folder / "runs" / RUN / "seed0"
    names = ("run", "evaluation", "folded", "equivalence", "energy", "execution", "onnx")
    files = [*(f"{name}.json" for name in names), "history.csv", "energy.csv"]
    read = {f"{file}, collected": Reader(run / file, lambda: refused_in_tables(folder), slow=True) for file in files}
    return read | {
        "run.json": Reader(run / "run.json", lambda: load_model(run)),
        "evaluation.json": Reader(run / "evaluation.json", lambda: Results(folder).evaluation(RUN, 0)),
        "weights.safetensors": Reader(run / "weights.safetensors", lambda: load_model(run)),
        "folded.json": Reader(run / "folded.json", lambda: FoldedNetwork.load(run)),
        "folded.safetensors": Reader(run / "folded.safetensors", lambda: FoldedNetwork.load(run)),
        "plan.csv": Reader(folder / "plan.csv", lambda: collect.read_plan(folder / "plan.csv")),
        "plan.csv, shown": Reader(
            folder / "plan.csv", lambda: plan_file.described(plan_file.read_rows(folder / "plan.csv"))
        ),
        "summary.csv": Reader(folder / "tables/summary.csv", lambda: Results(folder).done),
        "history table": Reader(folder / "tables/history.csv", lambda: Results(folder).table("history")),
        "trace.csv": Reader(folder / "trace.csv", lambda: Results(folder).trace()),
    }


def of_prepared_data(folder: Path) -> dict[str, Reader]:
    arrays = prepare_tiny(folder / "arrays")
    write_dvs(folder / "dvs", recordings=2)
    options = {"frames": 2, "size": 8}
    registry.prepare("cifar10dvs", "subset", folder / "dvs", options, folder / "frames")
    write_imagefolder(folder / "imagenet", ["n01440764", "n15075141"], train=2, val=1)
    registry.prepare("imagenet", "subset", folder / "imagenet", {}, folder / "list")
    return {
        "manifest.json": Reader(arrays / "manifest.json", lambda: read_split(arrays, "test")),
        "images": Reader(arrays / "train.safetensors", lambda: read_split(arrays, "train")),
        "event frames": Reader(folder / "frames/test.safetensors", lambda: read_split(folder / "frames", "test")),
        "list of pictures": Reader(
            folder / "list/train.safetensors", lambda: read_picture_list(folder / "list", "train")
        ),
    }


def of_checkpoints(folder: Path) -> dict[str, Reader]:
    checkpoints.save(folder, {"model.weight": torch.arange(64.0)}, {"epoch": 1, "history": [{"loss": 0.5}]})
    return {"checkpoint": Reader(folder / checkpoints.FILE, lambda: checkpoints.load(folder))}


def of_sources_with_checksums(folder: Path) -> dict[str, Reader]:
    write_cifar(folder, "cifar10", train=20, test=10)
    batches = folder / "cifar-10-batches-py"
    copy = folder / "copy"
    copy.mkdir()
    for split in ("train", "test"):
        np.savez(copy / f"{split}.npz", **jpeg_copy(6))
    known = {split: sha256_of(copy / f"{split}.npz") for split in ("train", "test")}

    def read_copy():
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(cifar, "JPEG_COPY_SHA256", known)
            registry.prepare("cifar10", "jpeg-npz", copy, {}, folder / "out")

    def read_batches():
        registry.prepare("cifar10", "subset", folder, {}, folder / "out")

    return {
        "CIFAR batch": Reader(batches / "data_batch_2", read_batches),
        "CIFAR meta": Reader(batches / "batches.meta", read_batches),
        "JPEG copy": Reader(copy / "train.npz", read_copy),
    }


def jpeg_copy(count: int) -> dict[str, np.ndarray]:
    """The arrays of a JPEG copy: what all of its pictures begin with, and what follows."""
    pictures = []
    for number in range(count):
        stream = io.BytesIO()
        Image.fromarray(np.full((32, 32, 3), 20 * number, np.uint8)).save(stream, "JPEG", quality=50)
        pictures.append(stream.getvalue())
    header = os.path.commonprefix(pictures)  # noqa: RUF071
    scans = [picture.removeprefix(header) for picture in pictures]
    return {
        "header": np.frombuffer(header, np.uint8),
        "scans": np.frombuffer(b"".join(scans), np.uint8),
        "lengths": np.array([len(scan) for scan in scans], np.int32),
        "labels": np.arange(count, dtype=np.uint8),
    }


def of_settings(folder: Path) -> dict[str, Reader]:
    for name in ("config/recipes/cifar10.yaml", "config/config.yaml", "config/experiments.csv"):
        shutil.copy(ROOT / name, folder)

    def settings():
        schema = load_schema(ROOT / "workflow/schemas/config.schema.yaml")
        try:
            content = load_configfile(folder / "config.yaml")
        except (WorkflowError, ValueError) as error:  # of snakemake's command line, which reads the file before us
            raise UserError(str(error)) from None
        checked(content, schema, "configuration")

    def table():
        schema = load_schema(ROOT / "workflow/schemas/experiments.schema.yaml")
        for row in run_table.read_experiments(folder / "experiments.csv"):
            checked(run_table.plain(row), schema, "experiments.csv")

    return {
        "recipe": Reader(folder / "cifar10.yaml", lambda: recipe.load(folder / "cifar10.yaml"), known=False),
        "configuration": Reader(folder / "config.yaml", settings, known=False),
        "run table": Reader(folder / "experiments.csv", table, known=False),
    }


def of_foreign_data(folder: Path) -> dict[str, Reader]:
    write_dvs(folder, recordings=2)
    recording = folder / "CIFAR10DVS/frog/cifar10_frog_0.aedat4"
    options = {"frames": 2, "size": 8}
    write_imagefolder(folder / "pictures", ["n01440764"], train=1, val=1)
    (picture,) = (folder / "pictures/train").rglob("*.JPEG")
    write_cifar(folder, "cifar10", train=20, test=10)
    sums = folder / "cifar-10-batches-py/md5sums.txt"
    return {
        "recording": Reader(
            recording,
            lambda: registry.prepare("cifar10dvs", "subset", folder, options, folder / "out"),
            known=False,
            slow=True,
        ),
        "picture": Reader(picture, lambda: pictures.opened(picture), known=False),
        "md5 sums": Reader(
            sums, lambda: registry.prepare("cifar10", "subset", folder, {}, folder / "cifar"), known=False
        ),
    }


def of_earlier_versions(folder: Path) -> dict[str, Reader]:
    """Records without a seal and tables without a list of checksums are read; damage then shows only where it can."""
    for path in [*folder.rglob("*.json"), *(folder / "data").glob("manifest.json")]:
        path.write_text(json.dumps(read_json(path), indent=1) + "\n")
    for path in [*folder.rglob("*.sha256"), *folder.rglob("SHA256SUMS")]:
        path.unlink()
    arrays = folder / "data"
    read = of_a_run(folder) | {"manifest.json": Reader(arrays / "manifest.json", lambda: read_split(arrays, "test"))}
    with_checksum = ("history.csv, collected", "energy.csv, collected", "weights.safetensors", "folded.safetensors")
    return {
        f"earlier {name}": dataclasses.replace(reader, known=False)
        for name, reader in read.items()
        if name not in with_checksum
    }


GROUPS = {
    "run": lambda folder, results: of_a_run(shutil.copytree(results, folder / "results")),
    "prepared data": lambda folder, results: of_prepared_data(folder),
    "checkpoint": lambda folder, results: of_checkpoints(folder),
    "checksums": lambda folder, results: of_sources_with_checksums(folder),
    "settings": lambda folder, results: of_settings(folder),
    "foreign data": lambda folder, results: of_foreign_data(folder),
    "earlier versions": lambda folder, results: of_earlier_versions(shutil.copytree(results, folder / "results")),
}


def attack(readers: dict[str, Reader], count: int) -> int:
    """Damage each file so many times and read it; returns how often that was."""
    done = 0
    for name, reader in readers.items():
        good = reader.path.read_bytes()
        reader.read()
        times = count // 4 if reader.slow else count
        for number, (kind, content) in enumerate(damaged(good, times, seed=name)):
            reader.path.write_bytes(content)
            try:
                with limits():
                    reader.read()
            except UserError as error:
                assert "\n" not in str(error), (name, number, kind)
                assert not reader.known or reader.path.name in str(error), (name, number, kind, str(error))
            except Exception as error:
                raise AssertionError(f"{name}, damage {number} ({kind}): {type(error).__name__}: {error}") from error
            else:
                assert not reader.known, f"{name}, damage {number} ({kind}) was not noticed"
            done += 1
        reader.path.write_bytes(good)
    return done


@pytest.mark.parametrize("group", GROUPS)
def test_damage_is_one_line_and_of_known_files_always_noticed(results, tmp_path, group):
    assert attack(GROUPS[group](tmp_path, results), count=12)


@pytest.mark.full
def test_two_thousand_mutations(results, tmp_path):
    done = 0
    for group, make in GROUPS.items():
        (tmp_path / group).mkdir()
        readers = make(tmp_path / group, results)
        done += attack(readers, count=100)
    assert done >= 2000
