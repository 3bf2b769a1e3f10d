"""A network that cannot be folded, from its training to the report: it says so everywhere and stands in every table."""

import re
from html import unescape
from pathlib import Path

import pandas as pd
import pytest
import yaml

from ternary_spike import claims
from ternary_spike.cli import main
from ternary_spike.reparam.network import FoldedNetwork
from ternary_spike.report.site import build
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import read_json, read_tensors
from ternary_spike.tables import collect
from tests.helpers.neurons import SoftReset
from tests.helpers.notebook import shown
from tests.helpers.tiny import prepare_tiny
from tests.report import fixture

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
#: those that show what each trained network gave
OF_RUNS = ("amplitude", "comparison", "controls", "cost", "folding", "information", "membrane", "rates", "table5")
REASON = "layer stem1, {}, does not say what it is once folded"
NEURONS = {"soft": "SoftReset", "graded": "Graded"}
RECIPE = {"epochs": 2, "batch_size": 32, "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 1e-4}


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """Two runs that cannot be folded, of which one can be counted on itself; what each stage printed, by verb."""
    folder = tmp_path_factory.mktemp("results") / "own"
    data = prepare_tiny(folder / "data")
    recipe = folder / "tiny.yaml"
    recipe.write_text(yaml.safe_dump({"name": "tiny", "mean": [0.3], "std": [0.25]} | RECIPE))
    rows = []
    for name, neuron in NEURONS.items():
        of_plan = {"variant": name, "tables": "5"}
        row = fixture.plan_row("tiny", "resnet6w4", 2, f"tests.helpers.neurons:{neuron}", 0, **of_plan)
        row["id"] = f"tiny-resnet6w4-T2-{name}"
        rows.append(row)
        run = folder / "runs" / row["id"] / "seed0"
        words = ["--data", str(data), "--threads", "1"]
        train = {
            "architecture": row["architecture"],
            "neuron": row["neuron"],
            "timesteps": 2,
            "recipe": recipe,
            "seed": 0,
            "id": row["id"],
            "checkpoints": folder / "checkpoints" / name,
            "out": run,
            "device": "cpu",
        }
        main(["train", *words, *(str(word) for key, value in train.items() for word in (f"--{key}", value))])
        main(["evaluate", "--run", str(run), *words, "--out", str(run / "evaluation.json")])
        main(["fold", "--run", str(run), "--out", str(run)])
        words += ["--run", str(run), "--folded", str(run), "--samples", "10", "--out"]
        for verb, target in (("verify", "equivalence.json"), ("energy", ""), ("execute", "execution.json")):
            main([verb, *words, str(run / target)])
        main(["export", *words, str(run)])
    fixture.write_plan(folder, rows)
    tables = collect.tables(collect.read_plan(folder / "plan.csv"), folder)
    collect.write_tables(tables | {"claims": claims.judge(tables)}, folder / "tables")
    main(["trace", "--out", str(folder / "trace.csv")])
    (folder / "amplitudes.csv").write_text(
        "architecture,position,layer,live,gradient_share\nresnet6,1,stem1,True,0.1\n"
    )
    return folder


def run_of(preset: Path, name: str) -> Path:
    return preset / "runs" / f"tiny-resnet6w4-T2-{name}" / "seed0"


@pytest.mark.parametrize("name", NEURONS)
def test_each_stage_passes_the_reason_on_and_holds_no_number(preset, name):
    run, reason = run_of(preset, name), REASON.format(NEURONS[name])
    record = read_json(run / "run.json")
    for file in ("folded", "equivalence", "execution", "onnx"):
        found = read_json(run / f"{file}.json")
        assert found["not_foldable"] == reason, file
        assert found["trained_weights"] == record["files"]["weights.safetensors"]
        assert set(found) <= {"format", "trained_weights", "not_foldable", "id", "provenance"}, file
    assert read_tensors(run / "folded.safetensors")[0] == {} and (run / "folded.onnx").read_bytes() == b""
    with pytest.raises(UserError, match=rf"folded.json holds no folded network, which is not foldable: {reason}"):
        FoldedNetwork.load(run)


def test_each_stage_says_so_in_one_line(preset, capsys, tmp_path):
    run, reason = run_of(preset, "soft"), REASON.format("SoftReset")
    main(["fold", "--run", str(run), "--out", str(tmp_path)])
    words = ["--run", str(run), "--folded", str(tmp_path), "--data", str(preset / "data"), "--samples", "4"]
    for verb, target in (("verify", "equivalence.json"), ("execute", "execution.json"), ("export", "")):
        main([verb, *words, "--out", str(tmp_path / target)])
    line = f"tiny-resnet6w4-T2-soft: not foldable: {reason}"
    assert capsys.readouterr().out.splitlines() == [line] * 4


def test_a_reason_of_another_training_is_refused(preset, capsys):
    here, other = run_of(preset, "soft"), run_of(preset, "graded")
    words = ["--run", str(here), "--folded", str(other), "--data", str(preset / "data")]
    with pytest.raises(SystemExit):
        main(["execute", *words, "--out", str(preset / "never.json")])
    assert "folded.json speaks of another training; fold this one again" in capsys.readouterr().err
    assert not (preset / "never.json").exists()


def test_operations_are_counted_on_the_network_itself_where_spikes_allow_it(preset):
    soft, graded = (read_json(run_of(preset, name) / "energy.json") for name in NEURONS)
    assert soft["counted_on"] == "the network itself" and soft["not_foldable"] == REASON.format("SoftReset")
    exact = next(m for m in soft["methods"] if m["method"] == "exact count")
    layers = pd.read_csv(run_of(preset, "soft") / "energy.csv")
    assert exact["synops"] == pytest.approx(layers["synops"].sum()) and exact["synops"] > 100
    evaluated = {
        layer["layer"]: layer["rate"] for layer in read_json(run_of(preset, "soft") / "evaluation.json")["layers"]
    }
    assert set(layers.loc[layers["kind"] == "neurons", "layer"]) == set(evaluated)
    assert graded["methods"] == [] and graded["not_counted"].startswith(
        "stem1, Graded, emits spikes that are not worth"
    )


def test_tables_show_the_reason_and_drop_no_row(preset):
    tables = {path.stem: pd.read_csv(path, keep_default_na=False) for path in (preset / "tables").glob("*.csv")}
    states = dict(zip(tables["summary"]["id"], tables["summary"]["state"], strict=True))
    assert states["tiny-resnet6w4-T2-soft"] == f"done; not foldable: {REASON.format('SoftReset')}"
    assert states["tiny-resnet6w4-T2-graded"].startswith(
        f"done; not foldable: {REASON.format('Graded')}; not counted: stem1 and 4 more layers, Graded, emits"
    )
    assert set(tables["runs"]["missing"]) == {""}
    for name in ("equivalence", "execution", "onnx"):
        assert list(tables[name]["not_foldable"]) == [REASON.format(kind) for kind in NEURONS.values()], name
        numbers = tables[name].drop(columns=["id", "seed", "not_foldable"])
        assert (numbers == "").all().all(), name
    counted = tables["energy"].groupby("id", sort=False)["not_counted"].agg(["first", "size"])
    assert list(counted["size"]) == [8, 1] and list(counted["first"] != "") == [False, True]
    assert set(tables["table5"].query("kind == 'ours' and id != ''")["id"]) == set(states)
    found = tables["claims"].set_index("id")
    # of neurons that the paper does not have it claims nothing
    for claim in ("folding-output-invariant", "folding-normalises", "additions-only"):
        assert found.loc[claim, ["verdict", "runs"]].tolist() == ["not tested", ""]


def text_of(shown_things: list) -> str:
    html = " ".join(getattr(thing, "html", None) or repr(thing) for thing in shown_things)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


@pytest.mark.parametrize("notebook", OF_RUNS)
def test_the_notebooks_show_such_a_preset(preset, notebook):
    text = text_of(shown(NOTEBOOKS / f"{notebook}.py", preset))
    assert "nan" not in text.split()
    if notebook == "folding":
        assert text.count(REASON.format("SoftReset")) >= 3 and text.count(REASON.format("Graded")) >= 3
    if notebook in ("table5", "cost"):
        assert "not foldable: layer stem1, SoftReset" in text and "stem1 and 4 more layers, Graded, emits" in text


def test_the_reports_pages_show_the_reason(preset, tmp_path):
    (preset / "notebooks").mkdir(exist_ok=True)
    build(preset, tmp_path)
    front = (tmp_path / "index.html").read_text()
    assert "2 trained networks, not foldable: layer stem1, SoftReset" in front and "The fold is exact" not in front
    page = (tmp_path / "runs" / "tiny-resnet6w4-T2-soft.html").read_text()
    assert "done; not foldable: layer stem1, SoftReset" in page
    assert SoftReset().folds() is None
