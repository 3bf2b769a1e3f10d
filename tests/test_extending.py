"""docs/extending.md, executed as written: parts of a user's own go through every stage, the tables and the report."""

import inspect
import re
import shutil
import sys
from html import unescape

import pandas as pd
import pytest
import yaml

from ternary_spike import claims
from ternary_spike.cli import main
from ternary_spike.configuration.schema import checked, load_schema
from ternary_spike.configuration.words import typed
from ternary_spike.planning import plan_file, settings
from ternary_spike.report import COLOURS, palette
from ternary_spike.report.site import build
from ternary_spike.system.files import read_json
from ternary_spike.tables import collect
from tests.helpers.extending import ROOT, blocks, commands, write_files
from tests.helpers.methods import Teacher
from tests.helpers.notebook import shown
from tests.workflow.running import copied, snakemake

OWN = "digits-resnet6w8-T2-mypackage.neurons_SoftReset-e1-train_samples_200"
NETWORK = "digits-mypackage.networks_Small-T2-ternary-tdbn-e1-train_samples_200"
KNOWN = "digits-resnet6w8-T2-binary-e1-train_samples_200"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the page's files, from which its commands can be run; its package is on Python's path."""
    folder = tmp_path_factory.mktemp("own")
    write_files(folder)
    shutil.copytree(ROOT / "config", folder / "config")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder / "plugins")
        yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "mypackage"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def by_hand(place):
    """What the page's commands leave."""
    for words in commands():
        main([*words, *(["--threads", "1"] if words[0] != "prepare" else [])])
    return place / "work" / "run"


@pytest.fixture(scope="module")
def planned(place):
    """The plan of the page's configuration and table."""
    schema = {name: load_schema(ROOT / f"workflow/schemas/{name}.schema.yaml") for name in ("config", "experiments")}
    text = (place / "plugins/own.yaml").read_text()
    config = checked(typed(yaml.safe_load(text)), schema["config"], "own.yaml")
    assert settings.plugin_folders(config["plugins"], place) == [str(place / "plugins")]
    table, *folders = (place / config[key] for key in ("experiments", "recipes", "method_sheets"))
    return settings.configured_plan(config, table, *folders, schema["experiments"])


@pytest.fixture(scope="module")
def preset(by_hand, planned, place):
    """Every planned run through every stage, the tables, and the pages."""
    folder = place / "results" / "own"
    data = ["--data", "work/digits", "--threads", "1"]
    for run in planned:
        out = folder / "runs" / run.folder
        words = ["--architecture", run.architecture, "--neuron", run.neuron, "--timesteps", str(run.timesteps)]
        words += [word for key, text in run.given_options.items() for word in ("--neuron-option", f"{key}={text}")]
        words += [word for key, value in run.changes.items() for word in ("--set", f"{key}={value}")]
        if "normalisation" in run.network_options:
            words += ["--normalisation", run.network_options["normalisation"]]
            words += ["--normalisation-option", f"threshold={run.network_options['normalisation.threshold']}"]
        words += ["--recipe", f"config/recipes/{run.recipe}.yaml", "--seed", str(run.seed), "--id", run.id]
        main(["train", *data, *words, "--checkpoints", str(folder / "checkpoints" / run.id), "--out", str(out)])
        main(["evaluate", "--run", str(out), *data, "--out", str(out / "evaluation.json")])
        main(["fold", "--run", str(out), "--out", str(out)])
        stages = {"verify": "equivalence.json", "energy": ""} if run.id != KNOWN else {"energy": ""}
        for verb, file in stages.items():
            target = ["--folded", str(out), "--out", str(out / file), "--samples", "4"]
            main([verb, "--run", str(out), *data, *target])
    plan_file.write_rows(folder / "plan.csv", [run.row() for run in planned])
    tables = collect.tables(collect.read_plan(folder / "plan.csv"), folder)
    collect.write_tables(tables | {"claims": claims.judge(tables)}, folder / "tables")
    return folder


#: lines that a part may take, imports and docstring included, blank lines not
LINES = {"neurons": 20, "normalisations": 15, "networks": 20, "methods": 15}


def test_a_part_of_ones_own_takes_few_lines():
    examples = {re.search(r"(\w+)\.py\n", block)[1]: block.partition("\n")[2] for block in blocks("python")}
    taken = {name: sum(map(bool, text.splitlines())) for name, text in examples.items()}
    assert taken.keys() == LINES.keys() and [name for name in taken if taken[name] > LINES[name]] == []
    assert sum(map(bool, inspect.getsource(Teacher).splitlines())) <= 20


def test_the_commands_train_and_evaluate_all_four_parts_together(by_hand):
    record = read_json(by_hand / "run.json")
    assert record["id"] == "digits-mypackage.networks_Small-T2-mypackage.neurons_SoftReset-EachTimestep"
    model = record["model"]
    assert model["neuron_options"] == {"threshold": 0.8}
    assert model["normalisation_options"] == {"threshold": 0.8}
    assert record["method"] == "mypackage.methods:EachTimestep"
    layers = read_json(by_hand / "evaluation.json")["layers"]
    assert [layer["layer"] for layer in layers] == ["first", "second.1", "second.2"]
    assert all(0 < layer["rate_positive"] < 1 and layer["rate_negative"] == 0 for layer in layers)


def test_the_plan_takes_the_rows_and_names_files_by_them(planned):
    assert [run.id for run in planned] == [KNOWN, OWN, NETWORK]
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", run.id) and run.status == "runnable" for run in planned)


def test_what_folds_folds_exactly_and_what_does_not_says_so(preset):
    found = {run: preset / "runs" / run / "seed0" for run in (OWN, NETWORK)}
    equivalence = read_json(found[NETWORK] / "equivalence.json")
    assert equivalence["passed"] and equivalence["float64"]["differing_spikes"] == 0
    reason = "layer stem1, SoftReset, does not say what it is once folded"
    assert read_json(found[OWN] / "equivalence.json")["not_foldable"] == reason
    assert read_json(found[OWN] / "energy.json")["counted_on"] == "the network itself"


def test_every_run_stands_in_the_tables_with_its_numbers(preset):
    summary = pd.read_csv(preset / "tables" / "summary.csv").set_index("id")
    assert set(summary.index) == {KNOWN, OWN, NETWORK}
    for column in ("last_epoch_mean_percent", "rate_mean_percent", "synops_mean_per_image", "energy_mean_microjoule"):
        assert (summary[column] > 0).all(), column
    runs = pd.read_csv(preset / "tables" / "runs.csv", keep_default_na=False).set_index("id")
    assert list(runs.loc[[OWN, NETWORK], "missing"]) == ["", ""]


def test_figures_and_pages_show_it_in_a_colour_of_its_own(preset, place):
    notebook = ROOT / "notebooks" / "comparison.py"
    html = " ".join(getattr(thing, "html", "") for thing in shown(notebook, preset))
    neuron = "mypackage.neurons:SoftReset"
    colour = COLOURS[neuron]
    assert f"var(--{palette.variable(neuron)}, {colour})" in html and neuron in unescape(html)
    drawn = (preset / "figures" / "accuracy-and-rate.svg").read_text()
    assert colour in drawn and neuron in drawn
    main(["trace", "--out", str(preset / "trace.csv")])
    (preset / "amplitudes.csv").write_text("architecture,position,layer,live,gradient_share\n")
    (preset / "notebooks").mkdir()
    build(preset, place / "report")
    page = (place / "report" / "runs" / f"{OWN}.html").read_text()
    assert f'<span class="neuron {palette.variable(neuron)}">{neuron}</span>' in page
    assert OWN in (place / "report" / "index.html").read_text()


@pytest.mark.full
def test_the_workflow_takes_it_from_the_table_to_the_report(tmp_path):
    folder = copied(tmp_path / "copy")
    write_files(folder)
    done = snakemake(folder, "--cores", "2", "--configfile", "plugins/own.yaml")
    assert done.status == 0, done.text
    runs = pd.read_csv(folder / "results/own/tables/runs.csv", keep_default_na=False)
    assert set(runs["id"]) == {KNOWN, OWN, NETWORK} and not runs["state"].str.startswith("failed").any()
    assert (folder / "results/own/report/runs" / f"{OWN}.html").exists()
    equation = folder / "plugins/mypackage/neurons.py"
    equation.write_text(equation.read_text().replace("0.25 * v", "0.5 * v"))
    again = snakemake(folder, "--cores", "2", "--configfile", "plugins/own.yaml", "--dry-run")
    assert again.jobs("train") == {OWN}
