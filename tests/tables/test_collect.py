"""Run files to tables: means over seeds, what did not run, and how runs are reduced."""

import json

import pandas as pd
import pytest

from ternary_spike import claims, paper
from ternary_spike.planning.plan_file import PLAN_COLUMNS
from ternary_spike.system.errors import UserError
from ternary_spike.tables import collect
from ternary_spike.tables.columns import COLUMNS, TEXT
from ternary_spike.tables.membrane_distances import distribution_distance, membrane_distances
from ternary_spike.tables.reductions import reductions
from tests.report import fixture

FULL = {"label": "CIFAR-10", "train_samples": 50_000, "test_samples": 10_000, "epochs": 400}


def tables_of(folder, rows):
    return collect.tables(collect.read_plan(fixture.write_plan(folder, rows)), folder)


def cifar(seed=0, neuron="ternary", **more):
    return fixture.plan_row("cifar10", "resnet20", 2, neuron, seed, **{"tables": "2;5"} | more)


def only(frame):
    assert len(frame) == 1
    return frame.iloc[0]


def test_means_and_sample_deviations_over_seeds(tmp_path):
    rows = [cifar(seed) for seed in range(3)]
    for row, last, best in zip(rows, (90.0, 91.0, 95.0), (93.0, 93.5, 95.5), strict=True):
        fixture.write_run(tmp_path, row, last=last, best=best, **FULL)
    summary = only(tables_of(tmp_path, rows)["summary"])
    assert summary["n"] == 3
    assert summary["last_epoch_mean_percent"] == pytest.approx(92.0)
    assert summary["last_epoch_std_percent"] == pytest.approx(7**0.5)  # (4 + 1 + 9) / (3 - 1)
    assert summary["best_epoch_mean_percent"] == pytest.approx(94.0)
    assert summary["best_epoch_std_percent"] == pytest.approx(1.75**0.5)
    assert summary["state"] == "done"


def test_one_seed_has_no_deviation(tmp_path):
    row = cifar()
    fixture.write_run(tmp_path, row, **FULL)
    assert pd.isna(only(tables_of(tmp_path, [row])["summary"])["last_epoch_std_percent"])


def test_table_compares_best_epoch_with_the_paper(tmp_path):
    rows = [cifar(seed) for seed in range(3)]
    for row in rows:
        fixture.write_run(tmp_path, row, last=50.0, best=94.3 + row["seed"] * 0.01, **FULL)
    table = tables_of(tmp_path, rows)["table2"]
    mine = only(table[table["id"] == "cifar10-resnet20-T2-ternary"])
    assert mine["paper_percent"] == 94.29
    assert mine["difference_points"] == pytest.approx(94.31 - 94.29)
    assert mine["verdict"] == "agrees with the paper"
    assert mine["last_epoch_mean_percent"] == 50.0


@pytest.mark.parametrize(
    ("row", "run", "said"),
    [
        ({}, {}, ""),
        ({"reduced": "3 of 400 epochs"}, {"changed": {"epochs": 3}, "epochs": 3}, "3 of 400 epochs"),
        ({}, {"changed": {"learning_rate": 0.2}}, "recipe changed: learning_rate = 0.2"),
        ({}, {"label": "CIFAR-10 (JPEG copy)"}, "data: CIFAR-10 (JPEG copy)"),
        ({}, {"train_samples": 5000}, "5,000 of 50,000 train samples"),
        ({}, {"test_samples": 500}, "500 of 10,000 test samples"),
        ({}, {"epochs": 399}, "399 of 400 epochs"),
    ],
)
def test_reductions_are_named_and_leave_no_verdict(tmp_path, row, run, said):
    planned = cifar(**row)
    fixture.write_run(tmp_path, planned, **FULL | {"best": 94.29} | run)
    tables = tables_of(tmp_path, [planned])
    assert only(tables["summary"])["reduced"] == said
    mine = only(tables["table2"][tables["table2"]["id"] == planned["id"]])
    assert mine["verdict"] == ("" if said else "agrees with the paper")


def test_what_did_not_run_says_why(tmp_path):
    rows = [
        cifar(0, neuron="binary", status="not run", reason="no CIFAR-10 here"),
        cifar(0, neuron="ternary"),
        cifar(0, neuron="trainable"),
    ]
    status = tmp_path / "status" / rows[2]["id"] / "seed0"
    status.mkdir(parents=True)
    failed = {"state": "failed", "stage": "train", "reason": "out of memory", "log": "logs/train/x.log"}
    (status / "train.json").write_text(json.dumps(failed))
    states = list(tables_of(tmp_path, rows)["summary"]["state"])
    assert states == [
        "not run: no CIFAR-10 here",
        "not run: its training has not finished",
        "failed: train: out of memory, see logs/train/x.log",
    ]


def test_a_damaged_file_spoils_its_own_run_only(tmp_path):
    rows = [cifar(seed) for seed in range(3)]
    folders = [fixture.write_run(tmp_path, row, **FULL) for row in rows]
    (folders[1] / "run.json").write_text("{")
    (folders[2] / "evaluation.json").write_text("[]")
    tables = tables_of(tmp_path, rows)
    states = list(tables["runs"]["state"])
    assert states[0] == "done"
    assert states[1].startswith("failed: run.json cannot be read")
    assert states[2].startswith("incomplete, failed:")
    summary = only(tables["summary"])
    assert summary["n"] == 2
    assert summary["state"].startswith("2 of 3 seeds; failed: run.json")


def test_a_run_of_another_row_is_refused(tmp_path):
    row = cifar()
    folder = fixture.write_run(tmp_path, row, **FULL)
    content = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(content | {"neuron": "binary"}))
    assert "is another run's" in only(tables_of(tmp_path, [row])["summary"])["state"]


@pytest.mark.parametrize("name", ["evaluation", "folded", "equivalence", "execution", "onnx", "energy"])
@pytest.mark.parametrize("key", ["id", "trained_weights"])
def test_a_result_of_another_training_is_refused(tmp_path, name, key):
    row = cifar()
    folder = fixture.write_run(tmp_path, row, **FULL)
    content = json.loads((folder / f"{name}.json").read_text())
    (folder / f"{name}.json").write_text(json.dumps(content | {"trained_weights": "a" * 64}))
    assert only(tables_of(tmp_path, [row])["runs"])["state"] == "done"
    (folder / f"{name}.json").write_text(json.dumps(content | {key: "b" * 64}))
    state = only(tables_of(tmp_path, [row])["runs"])["state"]
    assert state.startswith(f"incomplete, failed: {name}.json was made from another training"), state


def test_missing_later_stages_are_named(tmp_path):
    row = cifar()
    folder = fixture.write_run(tmp_path, row, **FULL)
    (folder / "energy.json").unlink()
    (folder / "evaluation.json").unlink()
    tables = tables_of(tmp_path, [row])
    assert only(tables["runs"])["missing"] == "evaluation.json energy.json"
    assert only(tables["summary"])["n"] == 1


def test_network_without_spikes(tmp_path):
    row = fixture.plan_row("cifar10", "resnet20", 1, "ternary", 0)
    row |= {"id": "cifar10-resnet20-T1-relu", "neuron": "ternary"}
    folder = fixture.write_run(tmp_path, row, **FULL)
    row["neuron"] = "relu"
    for name in ("run.json", "evaluation.json"):
        content = json.loads((folder / name).read_text()) | (
            {"neuron": "relu"} if name == "run.json" else {"layers": []}
        )
        (folder / name).write_text(json.dumps(content))
    for name in ("folded.json", "equivalence.json", "energy.csv", "energy.json"):
        (folder / name).unlink()
    tables = tables_of(tmp_path, [row])
    assert only(tables["runs"])["state"] == "done"
    assert only(tables["runs"])["missing"] == ""


REASON = "layer stem1, Soft, does not say what it is once folded"


def test_what_is_not_foldable_says_so_beside_what_is(tmp_path):
    rows = [cifar(seed, neuron=neuron) for neuron in ("binary", "ternary") for seed in (0, 1)]
    folders = [fixture.write_run(tmp_path, row, **FULL) for row in rows]
    for folder in folders[2:]:
        fixture.refuse(folder, REASON)
    tables = tables_of(tmp_path, rows)
    assert list(tables["runs"]["state"]) == ["done"] * 2 + [f"done; not foldable: {REASON}"] * 2
    assert list(tables["summary"]["state"]) == ["done", f"done; not foldable: {REASON}"]
    found = tables["equivalence"]
    assert list(found["not_foldable"]) == ["", "", REASON, REASON]
    assert list(found["float64_spikes"].notna()) == [True, True, False, False]
    assert list(tables["execution"]["not_foldable"]) == list(tables["onnx"]["not_foldable"]) == ["", REASON]
    # its operations are counted on itself
    assert list(tables["table5"].query("neuron == 'ternary' and kind == 'ours'")["n"]) == [2] * 8
    judged = claims.judge(tables).set_index("id")
    exact = judged.loc["folding-output-invariant"]
    assert exact["verdict"] == "holds" and f"2 not foldable: {REASON}" in exact["result"]
    assert exact["result"].startswith("2 networks") and exact["runs"] == rows[0]["id"]
    assert f"{REASON}" in judged.loc["additions-only", "result"]


def test_what_is_not_counted_keeps_its_rows(tmp_path):
    rows = [cifar(0, neuron=neuron) for neuron in ("binary", "ternary")]
    folders = [fixture.write_run(tmp_path, row, **FULL) for row in rows]
    content = json.loads((folders[1] / "energy.json").read_text())
    (folders[1] / "energy.json").write_text(json.dumps(content | {"methods": [], "not_counted": "stem1 is none"}))
    tables = tables_of(tmp_path, rows)
    assert list(tables["runs"]["state"]) == ["done", "done; not counted: stem1 is none"]
    energy = tables["energy"].groupby("id", sort=False)["not_counted"].agg(["first", "size"])
    assert list(energy["first"]) == ["", "stem1 is none"] and list(energy["size"]) == [8, 1]
    mine = only(tables["table5"].query("neuron == 'ternary' and kind == 'ours'"))
    assert mine["state"] == "done; not counted: stem1 is none" and pd.isna(mine["synops"])
    assert pd.isna(only(tables["summary"].query("neuron == 'ternary'"))["energy_mean_microjoule"])


def test_a_state_says_once_what_many_layers_do(tmp_path):
    rows = [cifar(0)]
    (folder,) = [fixture.write_run(tmp_path, row, **FULL) for row in rows]
    content = json.loads((folder / "energy.json").read_text())
    three = "; ".join(f"{layer}, X, emits 1, 2 and 3" for layer in "abc")
    layers = f"{three}; d, X, emits 4; e, X, emits 4; none; nothing"
    (folder / "energy.json").write_text(json.dumps(content | {"methods": [], "not_counted": layers}))
    said = "a and 2 more layers, X, emits 1, 2 and 3; d and 1 more layer, X, emits 4; none; nothing"
    assert list(tables_of(tmp_path, rows)["runs"]["state"]) == [f"done; not counted: {said}"]


def test_a_network_that_was_converted_and_not_trained_has_every_row(tmp_path):
    """Its history is empty: no epoch was trained."""
    row = cifar()
    fixture.write_run(tmp_path, row, **FULL | {"epochs": 0})
    found = tables_of(tmp_path, [row])
    assert only(found["runs"])["state"] == "done" and only(found["runs"])["epochs"] == 0
    assert list(found["history"].columns) == list(COLUMNS["history"]) and found["history"].empty
    assert only(found["summary"])["n"] == 1 and not found["layers"].empty


def test_every_own_row_stands_in_its_table_whatever_ran(tmp_path):
    tables = collect.tables(collect.read_plan(fixture.nothing_run(tmp_path)), tmp_path)
    for number in (1, 2, 3, 4):
        own = tables[f"table{number}"].query("kind == 'paper'")
        assert len(own) == sum(row.table == number and row.own for row in paper.accuracies())
        assert own["state"].str.startswith("not run: no data at").all()
        assert tables[f"table{number}"].query("kind == 'literature'")["id"].isna().all()
    assert list(tables["table5"].query("kind == 'ours'")["state"]) == ["not run: not in this preset's plan"] * 2


def test_a_run_of_a_quoted_row_stands_beside_it(tmp_path):
    row = fixture.plan_row("cifar10", "resnet19_tet", 2, "stbp", 0, tables="2;rivals", method="tet", own_recipe="true")
    row |= {"method_label": "TET (partly)", "id": "cifar10-resnet19_tet-T2-stbp-tet"}
    fixture.write_run(tmp_path, row, **FULL | {"last": 93.0, "best": 93.5})
    table = tables_of(tmp_path, [row])["table2"]
    place = "dataset == 'CIFAR-10' and architecture == 'ResNet19' and timesteps == 2"
    mine = only(table.query(f"method == 'TET' and {place}"))
    assert (mine["kind"], mine["paper_percent"], mine["best_epoch_mean_percent"]) == ("literature", 94.16, 93.5)
    assert mine["verdict"] == "below the paper"
    assert table.query("kind == 'control'").empty and table["id"].notna().sum() == 1
    # with the row's own recipe it would be another run, which stands for no quoted row
    other = row | {"own_recipe": "false", "id": "cifar10-resnet19_tet-T2-stbp-tet-row_recipe"}
    fixture.write_run(tmp_path, other, **FULL)
    assert only(tables_of(tmp_path, [other])["table2"].query("kind == 'control'"))["id"] == other["id"]


def test_a_run_that_differs_from_the_quoted_one_has_no_verdict(tmp_path):
    row = fixture.plan_row("cifar10", "resnet20_diet", 5, "diet", 0, tables="2;rivals", method="diet_snn")
    row |= {"method_label": "Diet-SNN (partly)", "own_recipe": "true", "id": "cifar10-resnet20_diet-T5-diet-diet_snn"}
    fixture.write_run(tmp_path, row, **FULL | {"last": 93.0, "best": 93.5})
    mine = only(tables_of(tmp_path, [row])["table2"].query("method == 'Diet-SNN' and best_epoch_mean_percent == 93.5"))
    assert mine["verdict"] == ""
    assert mine["basis"] == "not compared: the sheet's settings are those of other networks of the source"


def test_a_control_stands_behind_the_papers_rows(tmp_path):
    rows = [cifar(0), cifar(0, variant="window0.5")]
    tables = tables_of(tmp_path, rows)
    control = only(tables["table2"].query("kind == 'control'"))
    assert control["id"].endswith("window0.5")
    assert control["method"] == "ternary window0.5"


def test_a_finished_reduced_run_is_shown_before_one_that_did_not_run(tmp_path):
    rows = [cifar(0, status="not run", reason="no data"), cifar(0, variant="", reduced="3 of 400 epochs")]
    rows[1]["id"] += "-epochs_3"
    fixture.write_run(tmp_path, rows[1], **FULL | {"epochs": 3, "changed": {"epochs": 3}})
    table = tables_of(tmp_path, rows)["table2"]
    place = "kind == 'paper' and neuron == 'ternary' and timesteps == 2 and architecture == 'ResNet20'"
    assert only(table.query(f"{place} and dataset == 'CIFAR-10'"))["id"].endswith("-epochs_3")


def test_tables_have_the_described_columns(tmp_path):
    for folder, make in ((tmp_path / "demo", fixture.demo), (tmp_path / "paper", fixture.nothing_run)):
        tables = collect.tables(collect.read_plan(make(folder)), folder)
        assert {name: list(frame.columns) for name, frame in tables.items()} == {
            name: list(columns) for name, columns in COLUMNS.items() if name != "claims"
        }
    assert set().union(*COLUMNS.values()) >= TEXT


HEAD = ",".join(PLAN_COLUMNS) + "\n"
ROW = ",".join({"id": "a", "seed": "0", "timesteps": "2"}.get(column, "") for column in PLAN_COLUMNS) + "\n"


CELLS = {"id": "a", "seed": "0", "timesteps": "2", "neuron_options": "threshold"}
NAMED_OPTIONS = HEAD + ",".join(CELLS.get(column, "") for column in PLAN_COLUMNS) + "\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is missing; run the `plan` stage first"),
        ("x" * 200_000, "cannot be read as CSV"),
        ("", "has no column id, seed"),
        ("id,seed\n", "has no column dataset"),
        (HEAD + ROW.replace("0", "x"), "seed is 'x', no whole number"),
        (HEAD + ROW.replace("2", "1.5"), "timesteps is '1.5', no whole number"),
        (HEAD + ROW.replace("\n", ",\n"), "another number of cells than columns"),
        (HEAD + ROW.replace("0", "9" * 19), "seed is '9999999999999999999', no whole number"),
        (HEAD + ROW.replace("a", "a" * 300), "not the name of a folder"),
        (HEAD + ROW.replace("a", ""), "not the name of a folder"),
        (HEAD + ROW.replace("a", "../a"), "not the name of a folder"),
        (HEAD + ROW.replace("a", "a\x1b[2J"), "not the name of a folder"),
        (NAMED_OPTIONS, "neuron_options is 'threshold', not KEY=VALUE"),
        (HEAD + ROW * 2, "has the run a with seed 0 twice"),
    ],
)
def test_bad_plans_get_one_line(tmp_path, text, message):
    if text is not None:
        (tmp_path / "plan.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        collect.read_plan(tmp_path / "plan.csv")


def histogram(counts, below=0, above=0):
    return {"edges": [-1.0, 0.0, 1.0], "counts": counts, "below": below, "above": above}


def test_distance_of_distributions():
    assert distribution_distance(histogram([5, 5]), histogram([50, 50])) == 0
    assert distribution_distance(histogram([10, 0]), histogram([0, 10])) == 1
    # cumulative shares at -1, 0, 1: 0.2, 0.6, 1 against 0, 0.5, 0.9
    assert distribution_distance(histogram([4, 4], below=2), histogram([5, 4], above=1)) == pytest.approx(0.2)
    # 0, 0.4, 0.8 against 0, 0.5, 1
    assert distribution_distance(histogram([4, 4], above=2), histogram([5, 5])) == pytest.approx(0.2)


def test_membrane_distances_tell_layers_from_seeds():
    def evaluation(first, second):
        return {"layers": [{"layer": "a", "membrane": histogram(first)}, {"layer": "b", "membrane": histogram(second)}]}

    found = membrane_distances({("x", 0): evaluation([10, 0], [5, 5]), ("x", 1): evaluation([9, 1], [5, 5])})
    assert found == [
        {
            "id": "x",
            "between_layers": pytest.approx((0.5 + 0.4) / 2),
            "between_seeds": pytest.approx(0.05),
            "between_seeds_largest": pytest.approx(0.1),
            "layers": 2,
            "n": 2,
        }
    ]


def test_a_run_whose_source_failed_says_so(tmp_path):
    """Nothing of its own failed: it was never begun."""
    source = cifar(neuron="relu")
    path = tmp_path / "status" / source["id"] / "seed1" / "train.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"state": "failed", "stage": "train", "reason": "the loss is nan"}')
    row = cifar(neuron="ternary", source_run=source["id"], variant="pupil")
    states = tables_of(tmp_path, [row, cifar(neuron="binary")])["runs"]["state"]
    assert list(states) == [
        f"not run: it builds on {source['id']}, which failed: train: the loss is nan",
        "not run: its training has not finished",
    ]


@pytest.mark.parametrize(
    ("epochs", "sheet", "reduced"),
    [
        (100, None, "100 of 400 epochs"),
        (100, {"recipe": {"momentum": 0.5}}, "100 of 400 epochs"),
        (100, {"recipe": {"epochs": 100}}, ""),
        (90, {"recipe": {"epochs": 100}}, "90 of 100 epochs"),
        (0, {"recipe": {"epochs": 0}}, ""),
    ],
)
def test_the_epochs_of_a_method_s_sheet_are_no_reduction(epochs, sheet, reduced):
    """The paper's 400 epochs of CIFAR-10 are not what another method promises."""
    data = {"label": "CIFAR-10", "train_samples": 50_000, "test_samples": 10_000}
    run = {"changed": {}, "architecture": "resnet20", "dataset": "cifar10", "data": data}
    run |= {"recipe": {"epochs": epochs}, "sheet": sheet}
    assert "; ".join(reductions(pd.Series({"reduced": ""}), run)) == reduced


def test_a_run_of_which_seeds_are_missing_is_not_called_done(tmp_path):
    runs = collect.tables(collect.read_plan(fixture.demo(tmp_path)), tmp_path)["runs"].query("neuron == 'ternary'")
    states = ["done; other code: train", "done; other code: train, fold", "not run: no data"]
    runs = runs.assign(state=states, last_epoch_percent=[95.0, 96.0, None])
    (state,) = collect.summarise(runs)["state"]
    assert state == "2 of 3 seeds; not run: no data; other code: train; other code: train, fold"
    (whole,) = collect.summarise(runs.head(2))["state"]
    assert whole == "done; other code: train; other code: train, fold"
