"""A run that starts from another one, through snakemake: what makes which of the two train again."""

import json
import os
import random
import shutil

import pytest
import yaml

from tests.helpers.sheets import training_alone, write_sheet
from tests.workflow.running import HEAD, REPOSITORY, copied, smoke

ROWS = """digits,resnet6w4,1,relu,,,digits,0,demo,false,,
digits,resnet6w4,1,ternary,,,short,0,demo,false,taught,digits-resnet6w4-T1-relu
"""
TEACHER = "digits-resnet6w4-T1-relu-e1-train_samples_200"
PUPIL = "digits-resnet6w4-T1-ternary-taught-e1-train_samples_200"
WANTED = ["--", f"results/smoke/runs/{PUPIL}/seed0/run.json"]


@pytest.mark.full
def test_a_run_trains_again_for_its_sheet_s_values_and_other_weights_of_its_source(tmp_path):
    folder = copied(tmp_path, notebooks=())
    (folder / "table.csv").write_text(HEAD.replace("\n", ",method,source\n") + ROWS)
    shutil.copy(folder / "config/recipes/digits.yaml", folder / "config/recipes/short.yaml")
    shutil.copy(REPOSITORY / "tests/helpers/methods.py", folder / "toys.py")
    content = training_alone("Taught", "Teacher") | {"training": "toys:Teacher"}
    sheet = write_sheet(folder / "config/methods", "taught", content)

    def call(*arguments):
        done = smoke(folder, *arguments, *WANTED, PYTHONPATH=str(folder))
        assert done.status == 0, done.text
        return done

    def again():
        return call("--dry-run").jobs("train")

    call()
    runs = folder / "results/smoke/runs"
    teacher, pupil = (json.loads((runs / name / "seed0/run.json").read_text()) for name in (TEACHER, PUPIL))
    assert pupil["source"]["weights"] == teacher["files"]["weights.safetensors"]

    sheet.write_text("# a comment\n" + yaml.safe_dump(content | {"citation": "Somebody, somewhere"}))
    os.utime(runs / TEACHER / "seed0/run.json")
    os.utime(runs / TEACHER / "seed0/weights.safetensors")
    assert again() == set()

    sources = content["sources"] | {"training_options.temperature": "our choice: a try"}
    changed = content | {"training_options": {"temperature": 2}, "sources": sources}
    write_sheet(sheet.parent, "taught", changed | {"level": "partly", "filled_in": ["temperature"]})
    assert again() == {PUPIL}
    write_sheet(sheet.parent, "taught", content)

    record = runs / TEACHER / "seed0/run.json"
    kept = record.read_text()
    record.write_text(kept.replace(teacher["files"]["weights.safetensors"], "0" * 64))
    assert again() == {PUPIL}
    record.write_text(kept)

    shutil.rmtree(folder / ".snakemake")
    times = random.Random(0)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        os.utime(path, (1.7e9 + times.random() * 1e6,) * 2)
    assert again() == set()
