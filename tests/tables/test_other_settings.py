"""Plan and records are compared in full; what differs is said, not averaged and not shown as done."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from ternary_spike.configuration.recipe import FIELDS
from ternary_spike.configuration.schema import checked, load_schema
from ternary_spike.planning import settings, wanted
from ternary_spike.tables import collect
from ternary_spike.tables.run_rows import read_run
from tests.report import fixture

REPOSITORY = Path(__file__).parents[2]
RECIPE = {"name": "digits", "epochs": 4, "batch_size": 64, "learning_rate": 0.1}
TRAINING = {
    "recipe": RECIPE,
    "neuron_options": {},
    "normalisation": "batch_norm",
    "normalisation_options": {},
    "stem_batch_norm": "per_step",
    "method": "cross_entropy",
    "method_options": {},
    "source": "",
    "target": "",
    "deterministic": "false",
}
CODE = "f" * 64  # of the fixture's records


def planned(seed: int = 0, code: dict | None = None, stages: dict | None = None, **training) -> dict:
    """A row of the plan that wants a training like this, and stages like these."""
    asked = {"train": TRAINING | training, **(stages or {})}
    cells = {"settings": json.dumps(asked), "code": json.dumps(code or {})}
    return fixture.plan_row("digits", "resnet8", 2, "ternary", seed, data="digits", **cells)


def change(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def tables(folder: Path, rows: list[dict]) -> dict[str, pd.DataFrame]:
    return collect.tables(collect.read_plan(fixture.write_plan(folder, rows)), folder)


def state(folder: Path, row: dict) -> str:
    return tables(folder, [row])["summary"].iloc[0]["state"]


@pytest.mark.parametrize(
    "training, said",
    [
        ({}, ""),
        ({"recipe": RECIPE | {"learning_rate": 0.2}}, "recipe.learning_rate is 0.1, wanted 0.2"),
        ({"recipe": RECIPE | {"mean": [0.5]}}, "recipe.mean is not set, wanted [0.5]"),
        ({"neuron_options": {"decay": "0.25"}}, ""),  # its default
        ({"neuron_options": {"decay": "0.5"}}, "neuron_options.decay is 0.25, wanted 0.5"),
        ({"neuron_options": {"detach_reset": "true"}}, "neuron_options.detach_reset is False, wanted true"),
        ({"normalisation": "tdbn"}, "normalisation is batch_norm, wanted tdbn"),
        ({"stem_batch_norm": "over_time"}, "stem_batch_norm is per_step, wanted over_time"),
        ({"method": "tet"}, "method is cross_entropy, wanted tet"),
        ({"method_options": {"x": "1"}}, "method_options.x is not set, wanted 1"),
        ({"source": "other/seed0"}, "source is not set, wanted other/seed0"),
        ({"deterministic": "true"}, "deterministic is False, wanted true"),
    ],
)
def test_a_training_with_other_settings_says_which_and_gives_no_number(tmp_path, training, said):
    row = planned(**training)
    fixture.write_run(tmp_path, row)
    found = tables(tmp_path, [row])
    summary = found["summary"].iloc[0]
    if not said:
        assert summary["state"] == "done" and summary["n"] == 1
        return
    assert summary["state"].startswith("other settings: ") and said in summary["state"]
    assert summary["n"] == 0 and pd.isna(summary["last_epoch_mean_percent"])
    assert all(found[name].empty for name in ("layers", "equivalence", "energy", "history"))


@pytest.mark.parametrize("key", FIELDS)
def test_every_field_of_a_recipe_is_compared(tmp_path, key):
    row = planned(recipe=RECIPE | {key: "another"})
    fixture.write_run(tmp_path, row)
    assert f"recipe.{key} is " in state(tmp_path, row)


def test_seeds_with_other_settings_are_not_averaged_with_the_others(tmp_path):
    rows = [planned(seed) for seed in range(3)]
    folders = [fixture.write_run(tmp_path, row, last=last) for row, last in zip(rows, (90.0, 92.0, 50.0), strict=True)]
    change(folders[2] / "run.json", recipe=RECIPE | {"learning_rate": 0.3})
    summary = tables(tmp_path, rows)["summary"].iloc[0]
    assert summary["n"] == 2 and summary["last_epoch_mean_percent"] == 91.0
    assert summary["state"] == "2 of 3 seeds; other settings: recipe.learning_rate is 0.3, wanted 0.1"


STAGES = {"energy": {"samples": "450", "synop_picojoule": "0.077"}, "verify": {"samples": "200"}}


@pytest.mark.parametrize(
    "stage, key, value, said, empty",
    [
        ("energy", "synop_picojoule", "9.0", "energy: other settings: synop_picojoule is 0.077, wanted 9.0", "energy"),
        ("energy", "samples", "100", "energy: other settings: samples is 450, wanted 100", "energy"),
        ("energy", "samples", "1000", "", "energy"),  # the data has no more than 450
        ("verify", "samples", "300", "verify: other settings: samples is 200, wanted 300", "equivalence"),
        ("execute", "samples", "20", "execute: other settings: samples is 10, wanted 20", "execution"),
        ("export", "samples", "300", "export: other settings: samples is 200, wanted 300", "onnx"),
    ],
)
def test_a_stage_with_other_settings_is_left_out(tmp_path, stage, key, value, said, empty):
    row = planned(stages=STAGES | {stage: STAGES.get(stage, {}) | {key: value}})
    fixture.write_run(tmp_path, row)
    found = tables(tmp_path, [row])
    summary = found["summary"].iloc[0]
    assert summary["n"] == 1 and summary["last_epoch_mean_percent"] > 0
    assert summary["state"] == (f"1 of 1 seeds; {said}; call with --forcerun {stage}" if said else "done")
    assert found[empty].empty == bool(said)
    if stage == "energy":
        assert pd.isna(summary["energy_mean_microjoule"]) == bool(said)


def test_what_other_code_made_is_shown_and_says_so(tmp_path):
    row = planned(code={"train": "0" * 16, "evaluate": CODE, "fold": CODE, "verify": "0" * 16, "energy": CODE})
    fixture.write_run(tmp_path, row)
    summary = tables(tmp_path, [row])["summary"].iloc[0]
    assert summary["state"] == "done; other code: train, fold, verify" and summary["n"] == 1


def test_other_data_other_weights_of_the_source_and_another_threshold_are_other_settings(tmp_path):
    row = planned(source="origin/seed0")
    folder = fixture.write_run(tmp_path, row)
    origin = fixture.write_run(tmp_path, fixture.plan_row("digits", "resnet8", 1, "relu", 0, id="origin"))
    change(folder / "run.json", source={"id": "origin", "seed": 0, "weights": "a" * 64})
    manifest = tmp_path / "data/digits/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"checksum": "d" * 64}))
    assert state(tmp_path, row) == "done"
    manifest.write_text(json.dumps({"checksum": "e" * 64}))
    assert state(tmp_path, row).startswith("other settings: data.checksum is dddd")
    manifest.unlink()
    change(origin / "run.json", files={"weights.safetensors": "b" * 64})
    assert state(tmp_path, row).startswith("other settings: source.weights is aaaa")
    (tmp_path / "second").mkdir()
    searched = planned(target="origin")
    model = {"architecture": "resnet8", "neuron": "ternary", "timesteps": 2}
    for threshold, said in ((0.5, "done"), (0.25, "other settings: neuron_options.threshold is 0.25, wanted 0.5")):
        folder = fixture.write_run(tmp_path / "second", searched)
        change(folder / "run.json", model=model | {"neuron_options": {"threshold": threshold, "window": 1.0}})
        fixture.write_match(folder.parent, searched["id"], "binary", 0.3, 0.31)
        assert state(tmp_path / "second", searched) == said


def test_seeds_on_different_data_have_no_mean(tmp_path):
    rows = [fixture.plan_row("digits", "resnet8", 2, "ternary", seed) for seed in (0, 1)]
    folders = [fixture.write_run(tmp_path, row) for row in rows]
    data = json.loads((folders[1] / "run.json").read_text())["data"]
    change(folders[1] / "run.json", data=data | {"checksum": "e" * 64})
    found = tables(tmp_path, rows)
    summary = found["summary"].iloc[0]
    assert summary["n"] == 0 and "seed 0 on dddddddd, seed 1 on eeeeeeee" in summary["state"]
    assert found["layers"].empty and found["energy"].empty


def test_a_plan_of_an_earlier_version_asks_for_nothing_more(tmp_path):
    row = fixture.plan_row("digits", "resnet8", 2, "ternary", 0)
    fixture.write_run(tmp_path, row)
    assert state(tmp_path, row) == "done"


@pytest.mark.parametrize("cell", ["[]", "{", '{"train": 1}', "[" * 5000])
def test_a_cell_that_no_plan_has_is_refused(cell):
    with pytest.raises(ValueError, match=r"settings is .*, not as the plan writes it"):
        wanted.read(cell, "settings")


def test_results_that_earlier_versions_made_are_what_their_configuration_wants():
    """They lack fields that came later: optimiser, method and its options, source, deterministic, hashes of stages."""
    config = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
    config |= yaml.safe_load((REPOSITORY / "config/reference.yaml").read_text()) | {"results": "results"}
    schemas = REPOSITORY / "workflow/schemas"
    config = checked(config, load_schema(schemas / "config.schema.yaml"), "configuration")
    folders = [REPOSITORY / config[key] for key in ("experiments", "recipes", "method_sheets")]
    plan = settings.configured_plan(config, *folders, load_schema(schemas / "experiments.schema.yaml"), look=False)
    stages = {"energy": {"samples": "1000"}, "verify": {"samples": config["verify_samples"]}}
    results = REPOSITORY / "results/reference/cifar10-jpeg-w16"
    found = [read_run(pd.Series(run.row() | wanted.columns(run, stages)), results) for run in plan]
    assert found and all(rows.run["state"].startswith("done") and not rows.other for rows in found)
