"""Normalisations of prior methods, by their sheets, through every verb: what they are folded to computes the same."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from ternary_spike.cli import main
from ternary_spike.reparam.network import FoldedNetwork
from ternary_spike.system.files import read_json, read_tensors
from tests.cli.test_verbs import RECIPE, train_words
from tests.helpers.tiny import prepare_tiny

SHEETS = Path(__file__).parents[2] / "config" / "methods"
#: sheet, and the options that its neurons are given besides
RUNS = {
    "tdbn": ("tdbn", {}),
    "mpbn": ("mpbn", {}),
    "mpbn-ternary": ("mpbn", {"spikes": "ternary"}),
    "mpbn-trainable": ("mpbn", {"spikes": "trainable", "amplitude_per": "channel"}),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of each run, with what every verb left in it."""
    folder = tmp_path_factory.mktemp("runs")
    data, recipe = prepare_tiny(folder / "data"), folder / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    for name, (sheet, options) in RUNS.items():
        path = SHEETS / f"{sheet}.yaml"
        chosen = {"method_sheet": path, "neuron": yaml.safe_load(path.read_text())["neuron"]}
        # small pictures of one channel, and little time
        shortened = {"epochs": 2, "batch_size": 32, "crop_padding": 1, "autoaugment": "none", "cutout": 0}
        words = train_words(data, recipe, folder / name, **chosen)
        for option, values in (("--neuron-option", options), ("--set", shortened)):
            words += [word for key, value in values.items() for word in (option, f"{key}={value}")]
        main(words)
        run = folder / name / "run"
        words = ["--run", str(run), "--data", str(data), "--threads", "1"]
        main(["evaluate", *words, "--out", str(run / "evaluation.json")])
        main(["fold", "--run", str(run), "--out", str(run)])
        words += ["--folded", str(run), "--samples", "10", "--out"]
        for verb, target in (("verify", "equivalence.json"), ("energy", ""), ("execute", "execution.json")):
            main([verb, *words, str(run / target)])
        main(["export", *words, str(run)])
    return {name: folder / name / "run" for name in RUNS}


@pytest.mark.parametrize("name", RUNS)
def test_the_run_is_what_the_sheet_says(runs, name):
    record, sheet = read_json(runs[name] / "run.json"), yaml.safe_load((SHEETS / f"{RUNS[name][0]}.yaml").read_text())
    model = record["model"]
    assert record["sheet"]["citation"] == sheet["citation"] and model["neuron"] == sheet["neuron"]
    assert model["neuron_options"] == sheet["neuron_options"] | RUNS[name][1]
    assert model["stem_batch_norm"] == "over_time"
    assert model.get("normalisation", "batch_norm") == sheet["network_options"].get("normalisation", "batch_norm")


@pytest.mark.parametrize("name", RUNS)
def test_it_trains_fires_and_folds_exactly(runs, name):
    weights, _ = read_tensors(runs[name] / "weights.safetensors")
    norm = "stem.0.bn" if name == "tdbn" else "stem.0.neuron.bn"
    assert (weights[f"{norm}.weight"] != 1).any() and (weights[f"{norm}.bias"] != 0).all()
    verified = read_json(runs[name] / "equivalence.json")
    assert verified["passed"] and verified["float64"]["differing_spikes"] == 0
    rates = pd.read_csv(runs[name] / "energy.csv").query("kind == 'neurons'")["input_rate"]
    assert (rates > 0).all() and (rates < 0.9).all()
    folded = FoldedNetwork.load(runs[name])
    by_channel = [op for op in folded.operations if op.kind == "spikes" and op.settings["threshold"] is None]
    assert len(by_channel) == (0 if name == "tdbn" else 5)


@pytest.mark.parametrize("name", RUNS)
def test_it_is_counted_executed_and_exported(runs, name):
    found = read_json(runs[name] / "energy.json")
    assert len(found["methods"]) == 8 and not {"counted_on", "not_counted"} & found.keys()
    execution, onnx = (read_json(runs[name] / f"{file}.json") for file in ("execution", "onnx"))
    assert execution["differing_spikes"] == 0 and execution["class_agreement_percent"] == 100
    assert onnx["differing_spikes"] <= 1e-3 * onnx["spikes"] and onnx["spikes"] > 1000
