"""The results that are kept with the repository: shown from their files, made by the rules, and whole."""

import csv
import functools
import io
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pandas as pd
import pytest

from ternary_spike import claims
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.planning.run_files import expected_files, run_folder
from ternary_spike.reparam import energy
from ternary_spike.reparam.folding import fold
from ternary_spike.report.notebooks import execute
from ternary_spike.report.reference import kept, pairs
from ternary_spike.report.show import decimal
from ternary_spike.system.files import read_json, sha256_of
from ternary_spike.tables import collect
from tests.helpers.notebook import written

from . import fixture

REPOSITORY = Path(__file__).parents[2]
NOTEBOOK = REPOSITORY / "notebooks/reference.py"
SETS = sorted(path.parent for path in (REPOSITORY / "results/reference").glob("*/plan.csv"))


def made_up(folder: Path, ternary: float = 55.0, networks: tuple[str, ...] = ("resnet20w16",)) -> Path:
    """A kept set of three neurons and two T, three seeds each."""
    rows = []
    for network, timesteps in itertools.product(networks, (1, 2)):
        for neuron, accuracy in (("binary", 50.0), ("ternary", ternary), ("trainable", 55.5)):
            for seed in range(3):
                rows.append(fixture.plan_row("cifar10", network, timesteps, neuron, seed, tables="reference"))
                last = accuracy + timesteps + seed / 10
                fixture.write_run(folder, rows[-1], label="CIFAR-10 (JPEG copy)", last=last)
    tables = collect.tables(collect.read_plan(fixture.write_plan(folder, rows)), folder)
    collect.write_tables(tables | {"claims": claims.judge(tables)}, folder / "tables")
    amplitudes = [("resnet20", i + 1, layer, i > 1, 0.1) for i, layer in enumerate(fixture.LAYERS)]
    columns = ["architecture", "position", "layer", "live", "gradient_share"]
    pd.DataFrame(amplitudes, columns=columns).to_csv(folder / "amplitudes.csv", index=False)
    return folder


def test_pairs_are_differences_of_what_is_equal_but_for_one_thing(tmp_path):
    (found,) = kept(made_up(tmp_path / "a").parent)
    shown = pairs(found, [("ternary", "binary", 0), ("ternary", "binary", 1)]).set_index("pair")
    assert list(shown.index) == [
        "ternary less binary, T = 1",
        "ternary less binary, T = 2",
        "ternary, T = 1 less binary, T = 2",
    ]
    assert shown["difference_points"].round(6).tolist() == [5.0, 5.0, 4.0]
    # the standard error of three seeds 0.1 apart on either side, times Student's t with 4 degrees of freedom
    assert shown["interval_points"].tolist() == pytest.approx([2.776445 * (2 * 0.01 / 3) ** 0.5] * 3)
    assert set(shown["verdict"]) == {"holds at this scale"}


@pytest.mark.full
def test_a_set_of_two_networks_has_each_of_them_in_figures_of_its_own(tmp_path):
    folder = made_up(tmp_path / "kept/set", networks=("resnet20w8", "resnet20w16"))
    pair = pairs(kept(folder.parent)[0], [("ternary", "binary", 1)]).set_index("pair")["difference_points"]
    assert list(pair.index) == [f"ternary, T = 1 less binary, T = 2, resnet20w{width}" for width in (8, 16)]
    written(NOTEBOOK, tmp_path / "preset", tmp_path / "out", folder.parent)
    drawn = {path.stem for path in (tmp_path / "preset/figures").glob("reference-*.svg")}
    for quantity in ("operations", "amplitudes", "training", "membrane"):
        for network in ("resnet20w8", "resnet20w16"):
            assert any(name.startswith(f"reference-{quantity}-set-{network}") for name in drawn), (quantity, network)


@pytest.mark.full
def test_prior_methods_are_in_no_picture_of_plain_neurons(tmp_path):
    """A picture tells runs by their neuron: a method on binary spikes would count as binary spikes."""
    (tmp_path / "kept").mkdir()
    for name in ("cifar10-jpeg-w16", "rivals-w16"):
        (tmp_path / "kept" / name).symlink_to(REPOSITORY / "results/reference" / name)
    page = written(NOTEBOOK, tmp_path / "preset", tmp_path / "out", tmp_path / "kept").read_text()
    assert "cifar10-jpeg-w16" in page and "rivals-w16" not in page


@pytest.mark.full
def test_the_page_follows_the_files(tmp_path):
    body = {}
    for accuracy, made in ((55.0, execute), (40.0, written)):
        folder = made_up(tmp_path / str(accuracy) / "set", accuracy).parent
        body[accuracy] = made(NOTEBOOK, tmp_path / "preset", tmp_path / "out", folder).read_text()
        assert "CIFAR-10 (JPEG copy)" in body[accuracy] and "agrees with the paper" not in body[accuracy]
    # at about equal operations: T = 1 against T = 2
    assert "+4.00 points, <strong>holds at this scale" in body[55.0]
    assert "−11.00 points, <strong>does not hold at this scale" in body[40.0]
    nothing = written(NOTEBOOK, tmp_path / "preset", tmp_path / "out", tmp_path / "empty").read_text()
    assert "No results are kept" in nothing and "<table" not in nothing


@pytest.mark.parametrize("folder", SETS, ids=lambda path: path.name)
def test_tables_come_from_the_runs_files(folder, tmp_path):
    tables = collect.tables(collect.read_plan(folder / "plan.csv"), folder)
    tables |= {"claims": claims.judge(tables)}
    for path in collect.write_tables(tables, tmp_path):
        assert path.read_text() == (folder / "tables" / path.name).read_text(), path.name


@functools.cache
def clean_code() -> set[str]:
    """The hashes of training code that kept runs of a checkout without uncommitted changes had."""
    runs = [pd.read_csv(folder / "tables/runs.csv", dtype=str, keep_default_na=False) for folder in SETS]
    return {code for each in runs for code in each[each["dirty"] == "False"]["code_hash"]}


HASH = """
import json, sys
from ternary_spike.planning.run_code import run_code_hash
run = json.load(open(sys.argv[1]))
print(run_code_hash("train", {key: run[key] for key in ("model", "recipe", "method", "method_options")}))
"""


@pytest.fixture(scope="module")
def code_of_commit(tmp_path_factory):
    """The hash of a training's code as the commit that its record names has it, by that commit's own code."""

    @functools.cache
    def library(commit: str) -> Path:
        packed = subprocess.run(["git", "-C", REPOSITORY, "archive", commit, "lib"], capture_output=True)
        if packed.returncode:
            pytest.skip(f"this clone has no commit {commit}: get the whole history, git fetch --unshallow")
        folder = tmp_path_factory.mktemp("commit")
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(folder, filter="data")
        return folder / "lib"

    def found(record: Path) -> str:
        place = str(library(read_json(record)["provenance"]["commit"]))
        call = [sys.executable, "-c", HASH, record]
        return subprocess.run(
            call, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": place}
        ).stdout.strip()

    return found


@pytest.mark.parametrize("folder", SETS, ids=lambda path: path.name)
def test_every_finished_run_has_its_small_files_and_nothing_large(folder):
    runs = pd.read_csv(folder / "tables/runs.csv", dtype=str, keep_default_na=False)
    # what has not been trained says so, and nothing is half there or from code that no commit has
    # rows that came later were trained and measured by later code, and no mean of a stage is of both: that too is said
    different = r"[\w, ]+: made by different code \([^)]*\), so [\w ]+; call with --forcerun [\w ]+(; )?"
    runs["state"] = [re.sub(rf"{different}|(done; )?other code: [\w, ]+", "", s) or "done" for s in runs["state"]]
    finished = runs[runs["last_epoch_percent"] != ""]
    states = {state.partition("; not foldable: ")[0] for state in runs["state"]}
    assert states <= {"done", "not run: its training has not finished"}
    assert len(finished) and finished["state"].str.startswith("done").all()
    for run, seed, neuron in zip(finished["id"], finished["seed"], finished["neuron"], strict=True):
        here = run_folder(folder, run, seed)
        for name in expected_files(neuron, first_seed=False):
            assert 0 < (here / name).stat().st_size < 1_000_000, here / name
        assert sha256_of(here / "history.csv") == read_json(here / "run.json")["files"]["history.csv"]


@pytest.mark.parametrize("folder", SETS, ids=lambda path: path.name)
def test_the_code_of_a_training_is_that_of_a_commit(folder, code_of_commit):
    """A change that was not committed was none of the code that training reaches.

    A clean run was of the same code, or else the commit that the record names has it.
    """
    runs = pd.read_csv(folder / "tables/runs.csv", dtype=str, keep_default_na=False)
    for run, seed, code in runs.loc[runs["code_hash"] != "", ["id", "seed", "code_hash"]].itertuples(index=False):
        assert code in clean_code() or code == code_of_commit(run_folder(folder, run, seed) / "run.json"), (run, seed)


@pytest.mark.parametrize("folder", SETS, ids=lambda path: path.name)
def test_energies_are_what_the_library_makes_of_the_layers_counts(folder):
    networks = {}
    records = sorted(folder.glob("runs/*/*/energy.json"))
    assert records
    for path in records:
        record, model = read_json(path), read_json(path.with_name("run.json"))["model"]
        with path.with_name("energy.csv").open() as file:
            rows = [{name: number(cell) for name, cell in row.items()} for row in csv.DictReader(file)]
        if record.get("not_foldable"):
            continue  # it was counted on the network itself
        shape = json.dumps(model, sort_keys=True)
        if shape not in networks:
            networks[shape] = fold(SpikingResNet(**model))
        made = energy.totals(networks[shape], rows, record["samples"], static=True)
        assert {key: record[key] for key in made} == made, path
        rates = [row["input_rate"] for row in rows if row["kind"] == "neurons"]
        assert all(min(rates) < mean < max(rates) for mean in record["rates"].values()), path


def number(cell: str):
    """A cell of a table as the number that was written, anything else as it is."""
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell


def rule_commands(preset: str, tmp_path: Path) -> dict[tuple[str, str], list[str]]:
    """The training commands of a preset, as the workflow would call them, by run id and seed."""
    for name in ("train.npz", "test.npz"):  # that they are there is all that planning asks
        (tmp_path / "cifar10-jpeg").mkdir(exist_ok=True)
        (tmp_path / "cifar10-jpeg" / name).touch()
    command = [sys.executable, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile", "-n", "-p", "--cores", "8"]
    command += ["--configfile", REPOSITORY / "config" / f"{preset}.yaml", "--directory", tmp_path / "work"]
    environment = os.environ | {"TERNARY_SPIKE_DATA": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment, check=True)
    found = {}
    for line in done.stdout.splitlines():
        if match := re.search(r"\bpython -m (ternary_spike train .*) > \S+ 2>&1", line):
            words = ["python", "-m", *shlex.split(match[1])]
            found[words[words.index("--id") + 1], words[words.index("--seed") + 1]] = words
    return found


def test_the_runs_were_called_as_the_rule_calls_them(tmp_path):
    """Of the preset that is in the repository; where a path begins is the checkout's affair."""
    folder = REPOSITORY / "results/reference/cifar10-jpeg-w16"
    wanted = rule_commands("reference", tmp_path)
    runs = pd.read_csv(folder / "tables/runs.csv")
    assert {(run, str(seed)) for run, seed in zip(runs["id"], runs["seed"], strict=True)} == set(wanted)
    records = sorted(folder.glob("runs/*/*/run.json"))
    assert records
    for record in map(read_json, records):
        words = wanted[record["id"], str(record["seed"])]
        assert [word.replace(f"{REPOSITORY}/", "") for word in words] == record["provenance"]["command"]


def test_the_readme_says_what_the_files_say():
    folder = REPOSITORY / "results/reference/cifar10-jpeg-w16"
    (found,) = (results for results in kept(folder.parent) if results.preset == folder.name)
    said = " ".join((REPOSITORY / "README.md").read_text().split())
    wanted = [("ternary", "binary", 0), ("trainable", "ternary", 0), ("ternary", "binary", 1)]
    shown = pairs(found, wanted).set_index("pair")
    apart = {
        name: f"{decimal(row['difference_points'], 2, sign=True)} ± {decimal(row['interval_points'], 2)}"
        for name, row in shown.iterrows()
    }
    ledger = found.table("claims").set_index("id")
    verdict = ledger["verdict"].str.removesuffix(" at this scale")
    for first, claim in (
        ("ternary less binary", "ternary-above-binary"),
        ("trainable less ternary", "trainable-above-ternary"),
    ):
        both = f"{apart[f'{first}, T = 2']} points at T = 2, {apart[f'{first}, T = 1']} at T = 1"
        assert f"| {both} | {verdict[claim]} |" in said
    for neuron in ("binary", "ternary"):
        claim = f"energy-rate-{neuron}"
        rate, interval = re.search(r"T = 2: (\S+ %) \(95 % interval (± \S+)\)", ledger.loc[claim, "result"]).groups()
        assert f"{neuron} neurons fire at T = 2 | {rate} ({interval}) | {verdict[claim]} |" in said
    claim = "energy-extra-measured"
    extra, interval = re.search(r"T = 2: (\S+ %) \(95 % interval (.+?)\)", ledger.loc[claim, "result"]).groups()
    assert f"| {extra} ({interval}) by the paper's formula | {verdict[claim]} |" in said
    claim = "folding-output-invariant"
    networks, trained, spikes = re.search(
        r"(\d+) networks, (\d+) of .*: (\d+ of [\d,]+ spikes differ in float64)", ledger.loc[claim, "result"]
    ).groups()
    assert f"| {spikes}; {trained} of {networks} networks had amplitudes | {verdict[claim]} |" in said

    (tested,), (counted,) = (
        set(found.table(name)[column]) for name, column in (("runs", "test_samples"), ("energy", "samples"))
    )
    assert f"over all {tested:,.0f} test pictures, energies and additions over {counted:,.0f} of them" in said

    equal = "ternary, T = 1 less binary, T = 2"
    row = shown.loc[equal]
    additions, every, once = (decimal(row[name], 2) for name in ("synops_ratio", "energy_ratio", "energy_ratio_once"))
    assert f"({apart[equal]} points) at {additions} times the additions" in said
    assert f"energy is {every} times as much if" in said and f"and {once} times if it counts once" in said
    assert row["verdict"] == "holds at this scale"
    live = found.amplitudes().query("architecture == 'resnet20'")["live"]
    assert f"{live.sum()} of {len(live)} layers" in said
