"""Runs whose threshold is found for another run's firing rate, through snakemake."""

import json
import os
import random
import shutil

import pytest

from tests.workflow.running import HEAD, copied, smoke

TARGET = "digits,resnet6w4,1,binary,,,digits,0;1,demo,false\n"
MATCHED = "digits,resnet6w4,1,ternary,rate_of_binary,threshold=rate_of_binary;decay=0.5,digits,0;1,demo,false\n"
CHANGED = "-e1-train_samples_200"
BINARY, TERNARY = f"digits-resnet6w4-T1-binary{CHANGED}", f"digits-resnet6w4-T1-ternary-rate_of_binary{CHANGED}"


def prepared(folder, rows=TARGET + MATCHED):
    copied(folder, notebooks=("controls",))
    (folder / "table.csv").write_text(HEAD + rows)
    return folder


def test_the_search_stands_between_both_trainings(tmp_path):
    folder = prepared(tmp_path)
    planned = smoke(folder, "--dry-run", "--printshellcmds")
    assert planned.status == 0, planned.text
    assert planned.jobs("match") == {TERNARY} and planned.jobs("train") == {BINARY, TERNARY}
    commands = [line.strip() for line in planned.text.splitlines() if "-m ternary_spike" in line]
    search, *others = [command for command in commands if " match " in command]
    runs = "results/smoke/runs"
    evaluations = [f"{runs}/{BINARY}/seed{seed}/evaluation.json" for seed in (0, 1)]
    assert not others and f"--target {' '.join(evaluations)} " in search
    assert "--neuron-option decay=0.5" in search and "threshold=" not in search
    trainings = [command for command in commands if " train " in command and TERNARY in command]
    assert len(trainings) == 2
    for command in trainings:
        assert f"--matched {runs}/{TERNARY}/match.json" in command and "threshold=" not in command


def test_without_the_other_run_it_is_not_run_and_says_why(tmp_path):
    folder = prepared(tmp_path)
    planned = smoke(folder, "--dry-run", "--config", "neurons=ternary")
    assert planned.status == 0, planned.text
    assert not planned.jobs("match") and not planned.jobs("train")
    reason = f"its threshold is found for the firing rate of {BINARY.removesuffix(CHANGED)}, which is not planned"
    assert f"0 of 2 trainings can run here; not run: {reason}" in planned.text


@pytest.mark.full
def test_from_search_to_training_and_what_makes_it_run_again(tmp_path):
    folder = prepared(tmp_path)
    wanted = ["--", *(f"results/smoke/runs/{TERNARY}/seed{seed}/run.json" for seed in (0, 1))]
    done = smoke(folder, *wanted)
    assert done.status == 0, done.text
    runs = folder / "results/smoke/runs"
    search = json.loads((runs / TERNARY / "match.json").read_text())
    found = {key: search["found"][key] for key in ("threshold", "window")}
    rates = []
    for seed in (0, 1):
        record = json.loads((runs / TERNARY / f"seed{seed}/run.json").read_text())
        assert record["model"]["neuron_options"] == {"decay": 0.5} | found
        evaluation = json.loads((runs / BINARY / f"seed{seed}/evaluation.json").read_text())
        layers = evaluation["layers"]
        rates.append(sum(e["rate"] * e["neurons"] for e in layers) / sum(e["neurons"] for e in layers))
    assert search["target"]["rates"] == pytest.approx(rates)
    assert "Nothing to be done" in smoke(folder, "--dry-run", *wanted).text

    path = runs / TERNARY / "match.json"
    kept = path.read_text()
    path.write_text(json.dumps(search | {"found": search["found"] | {"threshold": 3.5}}))
    other = smoke(folder, "--dry-run", *wanted)
    assert other.jobs("train") == {TERNARY} and not other.jobs("match"), other.text
    path.write_text(kept)

    whole = smoke(folder)
    assert whole.status == 0 and not whole.jobs("train"), whole.text
    page = (folder / "results/smoke/report/index.html").read_text()
    assert "dashed arrow leads back up" in page and ">match<" in page

    shutil.rmtree(folder / ".snakemake")
    times = random.Random(0)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        os.utime(path, (1.7e9 + times.random() * 1e6,) * 2)
    clone = smoke(folder, "--dry-run", *wanted)
    assert clone.status == 0 and not clone.jobs("match") and not clone.jobs("train"), clone.text
