"""What holds for every registered neuron, normalisation, method and surrogate gradient, tested on the day it is added.

Each is trained on pictures that can be learnt, learns them, goes on to the bit where it was cut off, is folded and
exported or says why not, is listed, and has a colour and a marker. Architectures have their own such test,
tests/models/test_every_architecture.py; that parts of all kinds learn handwritten digits is tested by
tests/test_every_part_learns_digits.py.
"""

import shutil
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from ternary_spike.cli import main
from ternary_spike.cli._parts import kinds, lines
from ternary_spike.configuration.register import Part
from ternary_spike.methods.registry import METHODS
from ternary_spike.models.normalisations import NORMALISATIONS
from ternary_spike.neurons.registry import NEURONS, SURROGATES
from ternary_spike.reparam.folding import fold
from ternary_spike.report.palette import COLOURS, DARK, MARKERS
from ternary_spike.system.files import read_json, read_tensors
from ternary_spike.tables.rivals import name_of
from ternary_spike.training.loop import train
from ternary_spike.training.record import load_model
from tests.helpers.tiny import NEURON_OF, NEURON_OPTIONS_OF, prepare_patterns, tiny_plan

CPU = torch.device("cpu")
#: test accuracy in percent that a tiny network of any part reaches on four kinds of pictures; guessing has 25
BAR = 50.0
RECIPE = {"epochs": 4, "batch_size": 16, "crop_padding": 0}
#: what a part needs to learn anything: something of its authors' recipe, more time
RECIPE_OF = {
    "tssl_bp": {"optimiser": "adamw", "learning_rate": 0.01, "epochs": 6},
    "tssl": {"epochs": 6},
    "plif": {"epochs": 6},
}
#: surrogate gradients with a value that a schedule may move
WITH_TEMPERATURE = ("tanh", "tanh_unclipped")
PARTS = [
    *(("neuron", name) for name in NEURONS),
    *(("normalisation", name) for name in NORMALISATIONS),
    *(("method", name) for name in METHODS),
    *(("surrogate", name) for name in SURROGATES),
]
REGISTRIES = {"neuron": NEURONS, "normalisation": NORMALISATIONS, "method": METHODS, "surrogate": SURROGATES}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return prepare_patterns(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def source(data, tmp_path_factory) -> Path:
    """The network without spikes that some methods start from."""
    out = tmp_path_factory.mktemp("source")
    train(tiny_plan(data, "relu", **RECIPE), out / "checkpoints", out, CPU, lambda _: None)
    return out


def plan_of(kind: str, name: str, data: Path, source: Path):
    """A training of a network with one part, and else what the paper has."""
    method, neuron, options = None, "ternary", {}
    if kind == "method":
        neuron, options = NEURON_OF.get(name, "ternary"), NEURON_OPTIONS_OF.get(name, {})
        method = {"method": name, "method_options": {}, "source": source if METHODS[name].from_run else None}
    elif kind == "neuron":
        neuron = name
    elif kind == "surrogate":
        options = {"surrogate": name}
    plan = tiny_plan(data, neuron, method=method, **RECIPE | RECIPE_OF.get(name, {}))
    plan.model["neuron_options"].update(options)
    if kind == "normalisation":
        plan.model["normalisation"] = name
    return plan


@pytest.fixture(scope="module", params=PARTS, ids="-".join)
def trained(request, data, source, tmp_path_factory):
    """A part, the folder of its training, and beside it in ``cut`` what was on the disk after the second epoch."""
    folder = tmp_path_factory.mktemp("part")

    def keep(line: str) -> None:
        if "epoch 2/" in line:
            shutil.copytree(folder / "checkpoints", folder / "cut")

    train(plan_of(*request.param, data, source), folder / "checkpoints", folder / "run", CPU, keep)
    return *request.param, folder / "run"


def test_it_learns(trained):
    *_, run = trained
    assert read_json(run / "run.json")["accuracy"]["best_epoch_percent"] >= BAR


def test_it_goes_on_to_the_bit_where_it_was_cut_off(trained, data, source, tmp_path):
    kind, name, run = trained
    if kind == "method":
        pytest.skip("tests/methods/test_methods.py does that")
    if kind == "surrogate" and name not in WITH_TEMPERATURE:
        pytest.skip("nothing of it is in a checkpoint but its name")
    plan = plan_of(kind, name, data, source)
    assert train(plan, run.parent / "cut", tmp_path, CPU, lambda _: None)["cost"]["resumed"] == 1
    whole, cut = (read_tensors(folder / "weights.safetensors")[0] for folder in (run, tmp_path))
    assert whole.keys() == cut.keys() and all(torch.equal(tensor, cut[key]) for key, tensor in whole.items())


def test_it_is_folded_and_exported_or_says_why_not(trained, data, tmp_path):
    kind, _, run = trained
    record = read_json(run / "run.json")["model"]
    if not NEURONS[record["neuron"]].spikes:
        pytest.skip("without spikes there is nothing to fold")
    if kind == "surrogate":
        pytest.skip("the network is that of the neuron, whose backward pass alone is another")
    main(["fold", "--run", str(run), "--out", str(tmp_path)])
    words = ["--run", str(run), "--data", str(data), "--folded", str(tmp_path), "--threads", "1", "--samples", "8"]
    main(["verify", *words, "--out", str(tmp_path / "equivalence.json")])
    main(["export", *words, "--out", str(tmp_path)])
    foldable = NEURONS[record["neuron"]].folds and NORMALISATIONS[record.get("normalisation", "batch_norm")].folds
    for file in ("folded", "equivalence", "onnx"):
        reason = read_json(tmp_path / f"{file}.json").get("not_foldable", "")
        assert (reason == "") == foldable, (file, reason)
    if foldable:
        assert read_json(tmp_path / "equivalence.json")["passed"]
        # few pictures show nothing of what is rounded to float32 on its way into a folded weight
        _, model = load_model(run)
        of_float32, of_float64 = (fold(network).weights for network in (model, deepcopy(model).double()))
        assert of_float32.keys() == of_float64.keys()
        for weight, same in of_float64.items():
            assert torch.equal(of_float32[weight], same), weight


@pytest.mark.parametrize("which", PARTS, ids="-".join)
def test_it_is_listed_and_drawn(which):
    kind, name = which
    part: Part = REGISTRIES[kind][name]
    listed = "\n".join(lines(f"{kind}s", kinds()[f"{kind}s"]))
    assert f"  {name} " in listed and part.meaning and name.endswith("_candidate") == (part.level == "candidate")
    if kind == "neuron":
        assert COLOURS[name].startswith("#") and DARK[name].startswith("#") and MARKERS[name]
    if kind == "method" and part.level:  # a run of it goes by its name and level
        row = {
            "architecture": "resnet6",
            "neuron": "binary",
            "method": f"{name} ({part.level})",
            "variant": f"{name} ({part.level})",
        }
        assert name_of(row) == f"{name} on binary ({part.level})"
