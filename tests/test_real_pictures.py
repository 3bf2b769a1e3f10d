"""Real pictures: the CIFAR recipe on the JPEG copy of CIFAR-10 through the workflow, and folds of what it trained."""

import csv
import fcntl
import os
from pathlib import Path

import pytest
import torch

from ternary_spike.configuration.recipe import Recipe
from ternary_spike.data.loading import EvaluationBatches
from ternary_spike.reparam.equivalence import verify
from ternary_spike.reparam.folding import fold
from ternary_spike.training.record import load_model
from tests.helpers.networks import draw_amplitudes, recalibrate
from tests.workflow.running import HEAD, copied, snakemake

REAL = Path(os.environ.get("TERNARY_SPIKE_DATA", "")) / "cifar10-jpeg"
RUN = "cifar10.jpeg-npz-resnet20w8-T2-trainable-e3-train_samples_12800"

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not (REAL / "train.npz").exists(), reason="TERNARY_SPIKE_DATA names no folder of real data"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, worker_id):
    """Three hundred steps of the CIFAR recipe, evaluated, folded, verified, counted and reported by the workflow.

    Made once for all of pytest's processes: two that train at a time, each with every core, take several times as long.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "real"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "results/real/report/index.html").exists():
            train(folder)
    return folder / "results/real"


def train(folder: Path) -> None:
    copied(folder)
    (folder / "table.csv").write_text(HEAD + "cifar10,resnet20w8,2,trainable,,,cifar10,0,2,false\n")
    (folder / "real.yaml").write_text(
        f"preset: real\nexperiments: table.csv\ndata:\n  cifar10: {{source: jpeg-npz, root: {REAL}}}\n"
        "epochs: 3\nrecipe_changes: {train_samples: 12800}\nverify_samples: 64\nmeasure_costs: false\nthreads: 2\n"
    )
    outcome = snakemake(folder, "--cores", "2", "--configfile", "real.yaml", timeout=2400)
    assert outcome.status == 0, outcome.text[-3000:]


def test_the_loss_falls_and_the_report_carries_the_label(trained):
    with (trained / "runs" / RUN / "seed0" / "history.csv").open() as file:
        losses = [float(row["train_loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 3 and losses[0] > losses[1] > losses[2]
    text = (trained / "report/index.html").read_text()
    assert "CIFAR-10 (JPEG copy)" in text
    assert "agrees with the paper" not in text
    with (trained / "tables/runs.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["data_label"] == "CIFAR-10 (JPEG copy)" and "JPEG copy" in row["reduced"] + row["data_label"]


@pytest.mark.parametrize("seed", [0, 1])
def test_trained_resnet20_folds_exactly_with_amplitudes_drawn_anew(trained, seed):
    """On real pictures, with every amplitude from ±[0.5, 2] and batch norm settled anew."""
    record, model = load_model(trained / "runs" / RUN / "seed0")
    batches = EvaluationBatches(
        trained / "data/cifar10.jpeg-npz", "test", Recipe(**record["recipe"]), batch_size=64, device="cpu", limit=192
    )
    pictures = [x for x, _ in batches]
    assert verify(model, fold(model), pictures[:1])["passed"]
    generator = torch.Generator().manual_seed(seed)
    draw_amplitudes(model, generator)
    recalibrate(model, torch.cat(pictures[:2]), generator, rounds=6)
    folded = fold(model)
    rates = {}
    folded.compute(pictures[2].double(), lambda name, _, b: rates.__setitem__(name, b.abs().mean().item()))
    assert min(rates.values()) > 0.05 and max(rates.values()) < 0.9
    result = verify(model, folded, [pictures[2]])
    assert result["passed"] and result["float64"]["differing_spikes"] == 0
    wrong = fold(model)
    name = next(name for name in wrong.weights if name.endswith(".constant"))
    wrong.weights[name] = torch.ones_like(wrong.weights[name])
    assert not verify(model, wrong, [pictures[2]])["passed"]
