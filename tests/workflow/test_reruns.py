"""What makes a finished training run again, and what must not."""

import json
import os
import random
import re
import shutil
import time
from pathlib import Path

import pytest

from ternary_spike.system.files import read_json, write_json
from tests.workflow.running import HEAD, SMOKE_ROWS, SMOKE_RUNS, smoke

NEW_ROW = "digits,resnet6w4,1,trainable,,,digits,0,demo,false\n"
NEW_RUN = "digits-resnet6w4-T1-trainable-e1-train_samples_200"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path} has no {old!r}"
    path.write_text(text.replace(old, new, 1))


def comment(folder):
    with (folder / "lib/ternary_spike/membrane/dynamics.py").open("a") as file:
        file.write("\n# a comment\n")
    with (folder / "workflow/rules/training.smk").open("a") as file:
        file.write("\n# a comment\n")


def docstring(folder):
    edit(folder / "lib/ternary_spike/neurons/lif.py", '"""', '"""Said differently: ')


def plotting(folder):
    with (folder / "notebooks/comparison.py").open("a") as file:
        file.write("\n# %%\n1 + 1\n")
    with (folder / "lib/ternary_spike/report/site.py").open("a") as file:
        file.write("\nADDED = 1\n")


def energy(folder):
    edit(folder / "lib/ternary_spike/reparam/energy.py", "1e-6", "1e-5")


def new_neuron(folder):
    edit(
        folder / "lib/ternary_spike/neurons/registry.py",
        '"binary": Part(',
        '"added": Part("ternary_spike.neurons.added:Added", "new"),\n        "binary": Part(',
    )
    (folder / "lib/ternary_spike/neurons/added.py").write_text("class Added:\n    pass\n")


def recipe_comment(folder):
    edit(folder / "config/recipes/digits.yaml", "", "# a comment\n")


def touch(folder):
    """As a checkout of another branch and back would."""
    for path in [*folder.glob("lib/**/*.py"), *folder.glob("config/**/*"), *folder.glob("results/smoke/data/**/*")]:
        os.utime(path)


def fresh_clone(folder):
    """Results without snakemake's own records, and with file times as they happened to be copied."""
    shutil.rmtree(folder / ".snakemake")
    times = random.Random(0)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        moment = 1.7e9 + times.random() * 1e6
        os.utime(path, (moment, moment))


def new_row(folder):
    (folder / "table.csv").write_text(HEAD + NEW_ROW + SMOKE_ROWS)


def other_resources(folder):
    edit(folder / "workflow/rules/resources.smk", "MEMORY_HEADROOM = 1.5", "MEMORY_HEADROOM = 2")
    edit(folder / "workflow/rules/resources.smk", "return 1 if planned", "return 2 if planned")
    with (folder / "smoke.yaml").open("a") as file:
        file.write("device: cpu\noffline: true\n")


def new_column(folder):
    """As a later version of the run table might have it."""
    plan = folder / "lib/ternary_spike/planning/plan.py"
    edit(
        folder / "lib/ternary_spike/configuration/run_table.py",
        '"control": (_flag',
        '"remark": (str, "text"),\n    "control": (_flag',
    )
    edit(plan, "OF_OTHERS = (", 'OF_OTHERS = ("remark", ')
    schema = folder / "workflow/schemas/experiments.schema.yaml"
    edit(schema, "properties:\n", "properties:\n  remark: {type: string}\n")
    head, *rows = (folder / "table.csv").read_text().splitlines()
    lines = [f"{head},remark", *(f"{row},looked at again" for row in rows)]
    (folder / "table.csv").write_text("\n".join(lines) + "\n")


HARMLESS = (comment, docstring, plotting, energy, new_neuron, recipe_comment, touch, other_resources, new_column)


def test_harmless_changes_train_nothing_and_a_new_row_its_own_run_only(finished):
    for change in (new_row, *HARMLESS):
        change(finished)
    planned = smoke(finished, "--dry-run")
    assert planned.status == 0, planned.text
    assert planned.jobs("train") == {NEW_RUN}
    assert "rule notebook" in planned.text
    assert planned.jobs("energy") == SMOKE_RUNS | {NEW_RUN} and planned.jobs("evaluate") == {NEW_RUN}


def test_a_fresh_clone_with_results_trains_nothing(finished):
    fresh_clone(finished)
    planned = smoke(finished, "--dry-run")
    assert planned.status == 0, planned.text
    assert planned.jobs("train") == set()


def test_a_changed_equation_trains_every_run(finished):
    edit(finished / "lib/ternary_spike/membrane/surrogate.py", "\ndef ", "\nADDED = 1\n\n\ndef ")
    assert smoke(finished, "--dry-run").jobs("train") == SMOKE_RUNS


def test_a_changed_recipe_trains_its_runs_only(finished):
    shutil.copy(finished / "config/recipes/digits.yaml", finished / "config/recipes/other.yaml")
    (finished / "table.csv").write_text(HEAD + SMOKE_ROWS + NEW_ROW.replace(",digits,0,", ",other,0,"))
    edit(finished / "config/recipes/digits.yaml", "momentum: 0.9", "momentum: 0.8")
    assert smoke(finished, "--dry-run").jobs("train") == SMOKE_RUNS | {NEW_RUN}
    edit(finished / "config/recipes/digits.yaml", "momentum: 0.8", "momentum: 0.9")
    assert smoke(finished, "--dry-run").jobs("train") == {NEW_RUN}


def test_other_data_trains_its_runs(finished):
    """The manifest is newer than the runs and names another checksum, as after `prepare` on other files."""
    path = finished / "results/smoke/data/digits/manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"checksum": "0" * 64}))
    planned = smoke(finished, "--dry-run", "--rerun-triggers", "mtime", "params", "input", "code")
    assert planned.jobs("train") == SMOKE_RUNS


@pytest.mark.parametrize("name", ["run.json", "evaluation.json"])
def test_a_pipe_in_a_record_s_place_keeps_no_call_waiting(finished, name):
    (record,) = finished.glob(f"results/smoke/runs/*binary*/seed0/{name}")
    record.unlink()
    os.mkfifo(record)
    planned = smoke(finished, "--dry-run", timeout=120)
    assert planned.status == 0 and "rule collect" in planned.text, planned.text


def more_seeds(folder):
    """The first row with three seeds in place of one."""
    table = folder / "table.csv"
    table.write_text(table.read_text().replace(",digits,0,demo", ",digits,0;1;2,demo", 1))


def test_new_seeds_are_planned_in_a_clone_whose_results_came_without_snakemake_s_records(finished):
    fresh_clone(finished)
    later = time.time()
    for path in (finished / "results").rglob("*"):
        os.utime(path, (later, later))
    untouched = smoke(finished, "--dry-run")
    assert "Nothing to be done" in untouched.text, untouched.text
    more_seeds(finished)
    planned = smoke(finished, "--dry-run")
    assert planned.text.count("rule train:") == 2 and re.search(r"^make_plan +1$", planned.text, re.M), planned.text
    # and without any training: the plan and the tables are those of three seeds; what is of code alone is of this one's
    edit(finished / "lib/ternary_spike/neurons/lif.py", "\nclass ", "\nADDED = 1\n\n\nclass ")
    asked = smoke(finished, "--dry-run", "--", "report")
    assert re.search(r"^make_plan +1$", asked.text, re.M) and "rule collect:" in asked.text, asked.text
    assert "rule trace:" in asked.text and "rule train:" not in asked.text


def test_tables_that_are_not_of_the_files_beside_them_are_made_again(finished):
    """As after a call that was killed before them, whose results were then copied or touched."""
    record = next((finished / "results/smoke/runs").glob("*/seed0/energy.json"))
    write_json(record, read_json(record) | {"samples": 1})
    for path in (finished / "results").rglob("*"):
        os.utime(path)
    planned = smoke(finished, "--dry-run")
    assert "rule collect:" in planned.text and "rule notebook:" in planned.text, planned.text
    assert not planned.jobs("train")


def test_a_report_makes_nothing_of_a_run_again_whatever_has_changed(finished):
    surrogate = finished / "lib/ternary_spike/membrane/surrogate.py"
    edit(surrogate, "\ndef ", "\nADDED = 1\n\n\ndef ")
    energy(finished)
    edit(finished / "config/recipes/digits.yaml", "momentum: 0.9", "momentum: 0.8")
    touch(finished)
    planned = smoke(finished, "--dry-run", "--", "report")
    assert planned.status == 0 and "rule collect:" in planned.text, planned.text
    made = set(re.findall(r"rule (\w+):", planned.text))
    assert made <= {"collect", "settings", "rule_graph", "trace", "amplitudes", "notebook", "report"}
