"""The command line: the chain of verbs on tiny data, and one clear line for every mistake."""

import csv
import re
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import yaml

from ternary_spike.cli import main, verbs
from ternary_spike.cli._stages import open_run
from ternary_spike.data import loading, registry
from ternary_spike.planning.run_code import run_code_hash
from ternary_spike.planning.run_files import STAGES
from ternary_spike.reparam.network import FoldedNetwork
from ternary_spike.system.files import read_json
from ternary_spike.system.provenance import commit, now
from tests.helpers.network import untouched
from tests.helpers.tiny import prepare_tiny

ROOT = Path(__file__).parents[2]
RECIPE = {
    "name": "tiny",
    "epochs": 2,
    "batch_size": 32,
    "learning_rate": 0.1,
    "momentum": 0.9,
    "weight_decay": 0.0001,
    "mean": [0.3],
    "std": [0.25],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepare_tiny(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return path


def train_words(data, recipe, out, /, **changes) -> list[str]:
    options = {
        "data": data,
        "architecture": "resnet6w4",
        "neuron": "trainable",
        "timesteps": 2,
        "recipe": recipe,
        "seed": 0,
        "checkpoints": out / "checkpoints",
        "out": out / "run",
        "threads": 1,
        "device": "cpu",
    } | changes
    return ["train", *(str(w) for key, value in options.items() for w in (f"--{key.replace('_', '-')}", value))]


@pytest.fixture(scope="module")
def trained(data, recipe, tmp_path_factory):
    """A run with everything that follows from it, made without the network."""
    out = tmp_path_factory.mktemp("trained")
    run, words = out / "run", ["--data", str(data), "--threads", "1"]
    with untouched():
        main(train_words(data, recipe, out))
        main(["evaluate", "--run", str(run), *words, "--out", str(run / "evaluation.json")])
        main(["fold", "--run", str(run), "--out", str(run)])
        for verb, target in (
            ("verify", run / "equivalence.json"),
            ("energy", run),
            ("execute", run / "execution.json"),
            ("export", run),
        ):
            main([verb, "--run", str(run), "--folded", str(run), *words, "--out", str(target), "--samples", "10"])
    return run


def mistake(capsys, words: list[str]) -> str:
    """The one line that a mistake ends in."""
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    output = capsys.readouterr()
    assert "Traceback" not in output.err
    lines = output.err.strip().splitlines()
    assert len(lines) == 1, output.err
    assert lines[0].startswith("error: ")
    return lines[0]


def test_the_chain_leaves_every_file(trained):
    found = {path.name for path in trained.iterdir()}
    assert found == {
        "weights.safetensors", "history.csv", "run.json", "evaluation.json", "folded.safetensors", "folded.json",
        "equivalence.json", "energy.csv", "energy.json", "execution.json", "folded.onnx", "onnx.json",
    }  # fmt: skip
    record, evaluation = read_json(trained / "run.json"), read_json(trained / "evaluation.json")
    assert evaluation["accuracy_percent"] == record["accuracy"]["last_epoch_percent"]
    equivalence = read_json(trained / "equivalence.json")
    assert equivalence["passed"] and equivalence["samples"] == 10 and equivalence["float64"]["differing_spikes"] == 0
    execution = read_json(trained / "execution.json")
    assert execution["differing_spikes"] == 0 and execution["operations"]["multiplications"]["decay"] == 0
    energy = read_json(trained / "energy.json")
    exact = next(m for m in energy["methods"] if m["method"] == "exact count")
    per_image = sum(execution["operations"]["additions"].values()) / execution["samples"]
    assert exact["synops"] == pytest.approx(per_image)  # two independent ways to count, on the same ten pictures
    for name in ("run", "evaluation", "folded", "equivalence", "energy", "execution", "onnx"):
        origin = read_json(trained / f"{name}.json")["provenance"]
        assert origin.items() >= commit().items(), name
        assert origin["command"][2:3] == ["ternary_spike"] and origin["threads"] >= 1, name
        assert origin["versions"]["torch"] and origin["hardware"]["cpu"] and origin["hardware"]["device"] == "cpu", name
        assert origin["started"] <= origin["finished"] <= now(), name
        stage = next(stage for stage, files in STAGES.items() if files[0] == f"{name}.json")
        assert origin["code_hash"] == run_code_hash(stage, record), name


def test_what_was_trained_in_bfloat16_is_scored_in_float32_in_both_places(data, tmp_path):
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE | {"precision": "bfloat16", "learning_rate": 0.01}))
    run = tmp_path / "run"
    main(train_words(data, recipe, tmp_path))
    main(["evaluate", "--run", str(run), "--data", str(data), "--out", str(run / "evaluation.json"), "--threads", "1"])
    record, evaluation = read_json(run / "run.json"), read_json(run / "evaluation.json")
    assert record["recipe"]["precision"] == "bfloat16"
    assert evaluation["accuracy_percent"] == record["accuracy"]["last_epoch_percent"]
    with (run / "history.csv").open() as file:  # the accuracy may be the same by luck, the loss is not
        last = list(csv.DictReader(file))[-1]
    assert float(last["test_loss"]) == pytest.approx(evaluation["loss"], rel=1e-6)


def test_evaluation_describes_every_layer(trained):
    layers = read_json(trained / "evaluation.json")["layers"]
    assert [layer["layer"] for layer in layers][:2] == ["stem1", "stage1.block1.1"] and len(layers) == 5
    for layer in layers:
        assert layer["rate"] == pytest.approx(layer["rate_positive"] + layer["rate_negative"])
        assert 0 < layer["rate"] < 1 and len(layer["rate_by_timestep"]) == 2
        assert layer["rate"] == pytest.approx(sum(layer["rate_by_timestep"]) / 2)
        assert 0 <= layer["entropy_per_neuron_bits"] <= layer["entropy_bits"] <= 1.585  # entropy is concave
        membrane = layer["membrane"]
        events = sum(membrane["counts"]) + membrane["below"] + membrane["above"]
        assert events == layer["neurons"] * 2 * 40
        assert isinstance(layer["amplitude"], float)


def test_stages_take_as_many_pictures_at_a_time_as_memory_is_meant_for(trained, data, monkeypatch):
    monkeypatch.setattr(loading, "EVALUATED_POSITIONS", 18 * 2 * 8**2)
    args = Namespace(run=trained, data=data, threads=1, device="cpu")
    assert [len(labels) for _, labels in open_run(args)[2]] == [18, 18, 4]
    assert [len(labels) for _, labels in open_run(args, samples=30, batch_size=16)[2]] == [16, 14]


def test_a_run_can_be_repeated_from_its_record_alone(data, recipe, tmp_path):
    """The recorded command, run again elsewhere with a fresh output folder, gives the same weights."""
    environment = {"PYTHONPATH": str(ROOT / "lib"), "PATH": "/usr/bin:/bin"}

    def run(words: list[str]) -> dict:
        subprocess.run([sys.executable, *words[1:]], env=environment, check=True, cwd=tmp_path, capture_output=True)
        return read_json(tmp_path / "run" / "run.json")

    first = run(["python", "-m", "ternary_spike", *train_words(data, recipe, tmp_path)])
    weights = (tmp_path / "run" / "weights.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "run")
    second = run(first["provenance"]["command"])
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == weights
    assert second["files"]["weights.safetensors"] == first["files"]["weights.safetensors"]
    assert second["accuracy"] == first["accuracy"]
    assert second["provenance"]["command"] == first["provenance"]["command"]


def test_verify_fails_on_a_wrong_fold(trained, data, recipe, tmp_path, capsys):
    folded = FoldedNetwork.load(trained)
    name = next(name for name in folded.weights if name.endswith(".weight"))
    folded.weights[name] = folded.weights[name] * 1.01
    folded.save(tmp_path)
    words = ["--run", str(trained), "--folded", str(tmp_path), "--data", str(data)]
    with pytest.raises(SystemExit) as stopped:
        main(["verify", *words, "--out", str(tmp_path / "equivalence.json"), "--samples", "10"])
    assert stopped.value.code == 1
    assert "not equivalent" in capsys.readouterr().err
    assert not read_json(tmp_path / "equivalence.json")["passed"]


@pytest.mark.parametrize("verb", ["verify", "energy", "execute", "export"])
@pytest.mark.parametrize("other", [{"seed": 1}, {"timesteps": 1}])
def test_a_network_folded_from_another_training_is_refused(trained, data, recipe, tmp_path, capsys, verb, other):
    main(train_words(data, recipe, tmp_path, set="epochs=1", **other))
    main(["fold", "--run", str(tmp_path / "run"), "--out", str(tmp_path / "run")])
    words = [
        "--run",
        str(trained),
        "--folded",
        str(tmp_path / "run"),
        "--data",
        str(data),
        "--out",
        str(tmp_path / "o"),
    ]
    line = mistake(capsys, [verb, *words, "--samples", "10"])
    assert "folded.json" in line and "another training" in line and not (tmp_path / "o").exists()


def test_results_name_the_weights_they_were_made_from(trained):
    weights = read_json(trained / "run.json")["files"]["weights.safetensors"]
    for name in ("evaluation", "folded", "equivalence", "energy", "execution", "onnx"):
        assert read_json(trained / f"{name}.json")["trained_weights"] == weights, name


@pytest.mark.parametrize(
    "option, value", [("--flop-picojoule", "nan"), ("--flop-picojoule", "-1"), ("--samples", "0"), ("--threads", "-1")]
)
def test_a_number_out_of_range_is_one_line_before_any_work(trained, data, tmp_path, capsys, option, value):
    words = ["--run", str(trained), "--folded", str(trained), "--data", str(data), "--out", str(tmp_path / "o")]
    line = mistake(capsys, ["energy", *words, f"{option}={value}"])
    assert option in line and "must be" in line and not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"neuron": "quaternary"}, ["quaternary", "binary, ternary, trainable"]),
        ({"architecture": "resnet21"}, ["resnet21", "resnet20"]),
        ({"architecture": "resnet20w0"}, ["resnet20w0"]),
        ({"timesteps": 0}, ["--timesteps: '0'", "from 1 to 4,096"]),
        ({"timesteps": 100_000_000}, ["--timesteps", "from 1 to 4,096"]),
        ({"threads": 0}, ["--threads: '0'", "from 1 to"]),
        ({"seed": -1}, ["--seed: '-1'", "from 0 to"]),
        ({"seed": 10**23}, ["--seed", "from 0 to"]),
        ({"id": ""}, ["--id: ''", "letters"]),
        ({"id": "a\nb"}, ["--id", "letters"]),
        ({"architecture": "resnet6w00"}, ["resnet6w00"]),
        ({"architecture": "resnet6w100000000"}, ["resnet6w100000000", "up to 9999"]),
        ({"architecture": "resnet6w\u0664"}, ["architecture"]),
        ({"neuron": "trainable", "neuron_option": "initial_amplitude=1e39"}, ["initial_amplitude", "1,000,000"]),
        ({"neuron_option": "channels=3"}, ["channels", "amplitude_per"]),
        ({"set": "cutout=99999999999999999999"}, ["cutout", "from 0 to 4,096"]),
        ({"neuron_option": "treshold=1"}, ["treshold", "threshold"]),
        ({"neuron_option": "threshold=-1"}, ["threshold", "from 1e-30"]),
        ({"neuron_option": "surrogate=step"}, ["surrogate", "step", "clamp"]),
        ({"neuron_option": "threshold"}, ["KEY=VALUE"]),
        ({"set": "epoch=3"}, ["epoch", "epochs"]),
        ({"set": "epochs=-1"}, ["epochs", "from 0 to"]),
        ({"recipe": "nowhere.yaml"}, ["nowhere.yaml"]),
        ({"data": "nowhere"}, ["nowhere"]),
    ],
)
def test_a_mistake_in_a_training_is_one_line(data, recipe, tmp_path, capsys, changes, expected):
    line = mistake(capsys, train_words(data, recipe, tmp_path, **changes))
    for word in expected:
        assert word in line
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize("option", ["seeds", "timesteps"])
@pytest.mark.parametrize("value", ["1,1_0", "\u0663", "+", "1;2"])
def test_a_list_of_numbers_is_of_plain_ones(capsys, option, value):
    words = ["--experiments", "config/experiments.csv", "--recipes", "config/recipes"]
    assert f"--{option}" in mistake(capsys, ["plan", *words, f"--{option}", value])


def test_pictures_too_small_for_the_network(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tests.helpers.tiny.SIZE", 1)
    small = prepare_tiny(tmp_path / "small")
    line = mistake(capsys, train_words(small, recipe, tmp_path, architecture="resnet20w4"))
    assert "resnet20w4 cannot take images of 1x1 pixels" in line


@pytest.mark.parametrize("file", ["manifest.json", "train.safetensors"])
def test_corrupt_data_is_named(recipe, tmp_path, capsys, file):
    folder = prepare_tiny(tmp_path / "data")
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (folder / file).write_bytes(content)
    assert file in mistake(capsys, train_words(folder, recipe, tmp_path))


def test_corrupt_weights_are_named(trained, data, tmp_path, capsys):
    for name in ("run.json", "weights.safetensors"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    content = bytearray((trained / "weights.safetensors").read_bytes())
    content[-3] ^= 1
    (tmp_path / "weights.safetensors").write_bytes(content)
    assert "weights.safetensors" in mistake(capsys, ["fold", "--run", str(tmp_path), "--out", str(tmp_path)])


def test_an_output_folder_that_cannot_be_written_is_named(data, recipe, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    line = mistake(capsys, train_words(data, recipe, tmp_path, out=tmp_path / "file" / "run"))
    assert str(tmp_path / "file") in line
    line = mistake(capsys, train_words(data, recipe, tmp_path, checkpoints=tmp_path / "file" / "c"))
    assert str(tmp_path / "file") in line


def test_other_data_than_the_runs_is_refused(trained, tmp_path, capsys):
    other = prepare_tiny(tmp_path / "other", train=64)
    words = ["evaluate", "--run", str(trained), "--data", str(other), "--out", str(tmp_path / "e.json")]
    assert "holds other data than run" in mistake(capsys, words)


def test_every_verb_has_help_that_says_what_it_does():
    environment = {"PYTHONPATH": str(ROOT / "lib"), "PATH": "/usr/bin:/bin"}
    text = subprocess.run(
        [sys.executable, "-m", "ternary_spike", "--help"], capture_output=True, text=True, env=environment, check=True
    ).stdout
    for verb in verbs():
        assert re.search(rf"^    {verb}\s+\S", text, flags=re.M), verb
    assert {"prepare", "train", "evaluate", "fold", "verify", "energy", "collect", "report"} <= set(verbs())


def test_the_help_of_prepare_lists_every_kind_of_source_and_option(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["prepare", "--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    for name in registry.names():
        known = registry.describe(name)
        assert f"  {name}: {', '.join(known.sources)}\n" in text
        for option, setting in known.options.items():
            assert f"{option}={setting.default}: {setting.meaning}" in text


def test_an_unknown_verb_is_named(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["trian"])
    assert stopped.value.code == 2 and "trian" in capsys.readouterr().err
