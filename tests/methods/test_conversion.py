"""Conversion: thresholds worked out by hand, units, order, what a converted network computes, and what is refused."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ternary_spike import UserError
from ternary_spike.cli import main
from ternary_spike.cli._streamed import how_it_runs
from ternary_spike.configuration.recipe import Recipe
from ternary_spike.methods.base import frozen
from ternary_spike.methods.registry import make_method
from ternary_spike.models.base import SpikingNetwork, named_neurons
from ternary_spike.models.blocks import ConvUnit
from ternary_spike.models.poisson_input import PoissonInput
from ternary_spike.models.recording import recording
from ternary_spike.models.streaming import scores_by_timestep
from ternary_spike.neurons.registry import make_neuron
from ternary_spike.reparam import fold
from ternary_spike.reparam.energy import measure_itself
from ternary_spike.system.files import read_json, read_tensors
from ternary_spike.training.loop import train
from ternary_spike.training.record import WEIGHTS, load_model, read_record
from tests.helpers.networks import random_network, recalibrate
from tests.helpers.rivals import spikingjelly
from tests.helpers.tiny import prepare_tiny, tiny_plan

CPU = torch.device("cpu")
REPOSITORY = Path(__file__).parents[2]
RECIPE = Recipe("x", 1, 4, 0.1, 0.9, 0.0, mean=[0.5], std=[0.5])


class Chain(SpikingNetwork):
    """1x1 convolutions without bias or batch norm, a neuron layer behind each."""

    def __init__(self, weights: list[list[list[float]]], neuron: str, timesteps: int = 4, **options) -> None:
        super().__init__(timesteps, len(weights[0][0]), 1)
        self.chain = nn.ModuleList()
        for weight in weights:
            out, into = len(weight), len(weight[0])
            unit = ConvUnit(into, out, 1, 1, lambda _: make_neuron(neuron, **options), lambda _: nn.Identity())
            unit.conv.weight.data = torch.tensor(weight, dtype=torch.float64).view(out, into, 1, 1)
            self.chain.append(unit)
        self.classifier = nn.Linear(out, 2, bias=False)
        self.double()

    def units(self):
        return [(f"layer{i + 1}", unit) for i, unit in enumerate(self.chain)]


def run_of(model: SpikingNetwork, source: SpikingNetwork, x: torch.Tensor) -> SimpleNamespace:
    batches = SimpleNamespace(
        epoch=lambda _: iter([(x, torch.zeros(len(x), dtype=torch.int64))]),
        manifest=SimpleNamespace(frames=x.shape[1] if x.dim() == 5 else None),
    )
    origin = SimpleNamespace(record={"id": "relu", "recipe": RECIPE.as_dict()}, network=frozen(source))
    return SimpleNamespace(model=model, source=origin, recipe=RECIPE, batches=batches)


def converted(model: SpikingNetwork, source: SpikingNetwork, x: torch.Tensor, **options) -> list[float]:
    """The thresholds of the model, which is converted."""
    make_method("conversion", **options).begin(run_of(model, source, x))
    return [layer.threshold.item() for layer in named_neurons(model.eval()).values()]


def chain(weights, frames: torch.Tensor, **neuron):
    """A chain that is converted on the frames that it is shown, its thresholds, and the un-scaled spikes [T, ...]."""
    factor = neuron.pop("factor", 1.0)
    timesteps = frames.shape[1]
    model, source = Chain(weights, "if", timesteps, **neuron), Chain(weights, "relu", timesteps)
    thresholds, spikes, currents = converted(model, source, frames, factor=factor), {}, {}
    handles = [
        layer.register_forward_pre_hook(lambda _m, inputs, name=name: currents.setdefault(name, []).append(inputs[0]))
        for name, layer in named_neurons(model).items()
    ]
    del model.forward  # at once
    with torch.no_grad(), recording(model, lambda name, u, b: spikes.update({name: b})):
        model(frames)
    for handle in handles:
        handle.remove()
    return thresholds, spikes, {name: torch.cat(found) for name, found in currents.items()}


FRAMES = torch.tensor([[1, 0], [1, 1], [0, 1], [1, 1]], dtype=torch.float64).view(1, 4, 2, 1, 1)
# wide enough that a second and a third layer receive something else at each timestep
GENERATOR = torch.Generator().manual_seed(0)
DYADIC = [(torch.randint(-6, 9, shape, generator=GENERATOR) / 8).tolist() for shape in ((6, 3), (5, 6), (4, 5))]
SHOWN = (torch.rand(7, 40, 3, 1, 1, generator=GENERATOR) < 0.5).double()


@pytest.mark.parametrize(("reset", "b"), [("hard", [0, 1, 0, 1]), ("soft", [0, 1, 1, 1])])
def test_a_worked_example(reset, b):
    """x = .5, 1.25, .75, 1.25: the largest is the threshold, not their sum 3.75; the second layer sees its spikes."""
    thresholds, spikes, _ = chain([[[0.5, 0.75]], [[2.0]]], FRAMES, reset=reset, spike_value="one")
    assert thresholds == [1.25, 2.0]
    assert spikes["layer1"].flatten().tolist() == b
    assert chain([[[0.5, 0.75]], [[2.0]]], FRAMES, reset=reset)[0] == [1.25, 2.5]  # spikes of 1.25


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_spikes_of_one_and_of_the_threshold_are_the_same_network_in_other_units(reset):
    ones, spikes, _ = chain(DYADIC, SHOWN, reset=reset, spike_value="one")
    units, same, _ = chain(DYADIC, SHOWN, reset=reset)
    assert all(torch.equal(spikes[name], same[name]) for name in spikes)
    assert units == [ones[0], ones[0] * ones[1], ones[0] * ones[1] * ones[2]]
    assert 0 < spikes["layer3"].mean() < 1


def test_the_scale_of_weights_goes_into_the_threshold_and_nowhere_else():
    larger = [(4 * torch.tensor(DYADIC[0])).tolist(), *DYADIC[1:]]
    before, spikes, _ = chain(DYADIC, SHOWN, spike_value="one")
    after, same, _ = chain(larger, SHOWN, spike_value="one")
    assert after == [4 * before[0], *before[1:]]
    assert all(torch.equal(spikes[name], same[name]) for name in spikes)
    assert chain(larger, SHOWN)[0] == [4 * threshold for threshold in chain(DYADIC, SHOWN)[0]]


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_on_what_it_was_calibrated_no_current_exceeds_its_threshold_and_one_reaches_it(reset):
    """Only where the layers before have the thresholds, and fire by the reset, that they have in the end."""
    thresholds, _, currents = chain(DYADIC, SHOWN, reset=reset)
    assert [current.max().item() for current in currents.values()] == thresholds


def test_thresholds_depend_on_the_reset_of_earlier_layers_and_the_factor_comes_last():
    soft, hard = (chain(DYADIC, SHOWN, reset=reset, spike_value="one")[0] for reset in ("soft", "hard"))
    assert soft[0] == hard[0] and soft[1:] != hard[1:]
    assert chain(DYADIC, SHOWN, reset="soft", spike_value="one", factor=0.75)[0] == [0.75 * value for value in soft]


def test_a_network_whose_currents_are_0_or_the_threshold_is_the_same_under_both_resets():
    hard, soft = (chain([[[1.0]], [[0.5]]], SHOWN[:, :, :1], reset=reset)[1] for reset in ("hard", "soft"))
    assert all(torch.equal(hard[name], soft[name]) for name in hard)


def relu_network(seed: int = 0, architecture: str = "resnet8w4"):
    """A network without spikes, of batch norm with biases and of identity shortcuts, and pictures."""
    source, x = random_network(seed, architecture, "relu", 8, channels=1, timesteps=1)
    with torch.no_grad():
        source.classifier.bias.copy_(torch.linspace(-1, 1, 10))
    return source.double(), x.double()


def spiking_network(timesteps: int, architecture: str = "resnet8w4", **options):
    return random_network(9, architecture, "if", 8, 1, timesteps=timesteps, neuron_options=options)[0].double()


def test_scores_come_close_to_the_source_s_as_time_goes_on():
    """Batch norm, shortcuts and pooling stay what they are: spikes have the size of what they stand for."""
    source, x = relu_network(architecture="resnet20w2")
    timesteps = 512
    model = spiking_network(timesteps, "resnet20w2", reset="soft", initial_potential=0.5)
    converted(model, source, x, balance="source")
    errors, summed = {}, 0
    with torch.no_grad():
        wanted = source(x)
        for t, scores in enumerate(scores_by_timestep(model, x), 1):
            summed = summed + scores
            errors[t] = (summed / t - wanted).abs().mean().item()
        assert torch.equal(model(x), summed / timesteps)
    spread = wanted.std().item()
    assert errors[512] < 0.04 * spread and errors[512] < errors[32] / 4
    assert errors[1] > 0.1 * spread


def test_data_based_thresholds_are_the_source_s_largest_activations():
    source, x = relu_network()
    received = {}
    for name, layer in named_neurons(source).items():
        layer.register_forward_hook(lambda _m, _i, out, name=name: received.update({name: out.max().item()}))
    with torch.no_grad():
        source(x)
    assert converted(spiking_network(4), source, x, balance="source") == list(received.values())
    lower = converted(spiking_network(4), source, x, balance="source", percentile=90.0)
    assert all(one < other for one, other in zip(lower, received.values(), strict=True))


def test_random_input_calibrates_and_evaluates_alike_each_time():
    source, x = relu_network()
    found, scores = [], []
    for _ in range(2):
        torch.rand(1)  # the global generator does not count
        model = spiking_network(3)
        found.append(converted(model, source, x, input="poisson", calibration_timesteps=20))
        with torch.no_grad():
            scores.append(model(x))
    assert found[0] == found[1] and torch.equal(*scores)
    assert found[0] != converted(spiking_network(3), source, x, calibration_timesteps=20)
    assert make_method("conversion", input="poisson").encoder(RECIPE).peak == 1
    assert make_method("conversion").encoder(RECIPE) is None
    assert isinstance(make_method("conversion", input="poisson").encoder(RECIPE), PoissonInput)


def test_a_source_that_was_converted_keeps_its_thresholds():
    source, x = relu_network()
    first, second = spiking_network(4, reset="soft"), spiking_network(8, reset="hard")
    thresholds = converted(first, source, x)
    del first.forward
    assert converted(second, first, 2 * x, factor=0.5) == thresholds


def test_what_cannot_be_converted_is_one_line():
    source, x = relu_network()
    spiking = random_network(0, "resnet8w4", "ternary", 8, channels=1)[0].double()
    raw = Recipe("raw", 1, 4, 0.1, 0.9, 0.0)
    with pytest.raises(
        UserError, match="takes integrate-and-fire neurons, whose thresholds it calibrates; set neuron to if"
    ):
        converted(spiking, source, x)
    with pytest.raises(UserError, match="source relu has spiking neurons, which are not converted"):
        converted(spiking_network(2), spiking, x)
    with pytest.raises(UserError, match=r"spike_value is one, but stem\.0\.bn\.bias adds a constant"):
        converted(spiking_network(2, spike_value="one"), source, x)
    with pytest.raises(UserError, match="recipe raw: input is poisson, for which pixels must be normalised"):
        make_method("conversion", input="poisson").encoder(raw)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A ReLU run on tiny pictures, its conversion, and the fine-tuning of that; the data."""
    folder = tmp_path_factory.mktemp("runs")
    data = prepare_tiny(folder / "data")

    def trained(name, neuron, source=None, timesteps=2, options=None, method=None, **recipe):
        how = {"method": "conversion", "method_options": method or {}, "source": source} if source else None
        plan = tiny_plan(data, neuron, method=how, **recipe)
        plan.model.update(timesteps=timesteps, neuron_options=options or {})
        train(plan, folder / "checkpoints", folder / name, CPU, lambda _: None)
        return folder / name

    relu = trained("relu", "relu", timesteps=1, epochs=12)
    soft, data_based = {"reset": "soft", "surrogate": "stdb"}, {"balance": "source", "percentile": 99.0}
    converted = trained("converted", "if", relu, 64, soft, data_based, epochs=0)
    tuned = trained("tuned", "if", converted, 8, soft, epochs=1, optimiser="adam", learning_rate=1e-3)
    hard = trained("hard", "if", relu, 3, method={"calibration_timesteps": 5}, epochs=0)
    return {"relu": relu, "converted": converted, "tuned": tuned, "hard": hard}, data


def test_a_chain_of_conversion_and_training_names_the_weights_of_each(runs):
    folders, _ = runs
    records = {name: read_json(folder / "run.json") for name, folder in folders.items()}
    for name, source in (("converted", "relu"), ("tuned", "converted"), ("hard", "relu")):
        assert records[name]["source"]["weights"] == records[source]["files"][WEIGHTS]
    assert not any("no spikes" in warning for warning in records["converted"]["warnings"])
    relu, converted = (records[name]["accuracy"]["last_epoch_percent"] for name in ("relu", "converted"))
    assert converted == pytest.approx(relu, abs=5) and relu > 50  # of four classes, 40 pictures


def test_thresholds_are_stored_and_training_leaves_them_and_running_statistics_alone(runs):
    folders, _ = runs
    weights = {name: read_tensors(folder / WEIGHTS)[0] for name, folder in folders.items()}
    thresholds = {name for name in weights["converted"] if name.endswith("threshold")}
    assert len(thresholds) == 5 and all(weights["converted"][name] != 1 for name in thresholds)
    kept = thresholds | {name for name in weights["relu"] if "running" in name or "num_batches" in name}
    for name, tensor in weights["tuned"].items():
        assert torch.equal(tensor, weights["converted"][name]) == (name in kept), name
    assert weights["relu"].keys() == weights["converted"].keys() - thresholds
    assert all(torch.equal(tensor, weights["converted"][name]) for name, tensor in weights["relu"].items())


def test_the_verb_evaluate_gives_the_accuracy_at_every_t(runs, tmp_path):
    folders, data = runs
    run = folders["converted"]
    words = ["--run", str(run), "--data", str(data), "--threads", "1", "--device", "cpu"]
    main(["evaluate", *words, "--out", str(tmp_path / "evaluation.json")])
    found, record = read_json(tmp_path / "evaluation.json"), read_json(run / "run.json")
    curve = found["accuracy_percent_by_timestep"]
    assert len(curve) == 64 and curve[-1] == found["accuracy_percent"] == record["accuracy"]["last_epoch_percent"]
    assert max(curve) > curve[0]
    layers = named_neurons(load_model(run)[1]).values()
    assert [layer["amplitude"] for layer in found["layers"]] == [layer.threshold.item() for layer in layers]
    main(["evaluate", "--run", str(folders["relu"]), *words[2:], "--out", str(tmp_path / "relu.json")])
    assert "accuracy_percent_by_timestep" not in read_json(tmp_path / "relu.json")


def test_a_converted_network_with_a_hard_reset_folds_to_spikes_of_one(runs, tmp_path):
    """The same spikes in float64, and thresholds that are constants."""
    folders, _ = runs
    model = load_model(folders["hard"])[1].double()
    folded, seen, same = fold(model), {}, {}
    x = torch.rand(5, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), recording(model, lambda name, u, b: seen.update({name: b})):
        scores = model(x)
    torch.testing.assert_close(folded.compute(x, lambda name, u, b: same.update({name: b})), scores)
    assert seen.keys() == same.keys() and all(torch.equal(seen[name], same[name]) for name in seen)
    assert {*torch.cat([b.flatten() for b in same.values()]).tolist()} == {0, 1}
    thresholds = [op.settings["threshold"] for op in folded.operations if op.kind == "spikes"]
    assert thresholds == [layer.threshold.item() for layer in named_neurons(model).values()]
    assert how_it_runs(read_record(folders["hard"]), folders["hard"]) == {"by_timestep": True, "encode": None}
    main(["fold", "--run", str(folders["converted"]), "--out", str(tmp_path)])
    reason = "layer stem1, IntegrateAndFire, has a soft reset, which a folded network does not"
    assert read_json(tmp_path / "folded.json")["not_foldable"] == reason


def test_random_input_is_not_folded_and_counted_timestep_by_timestep(runs, tmp_path):
    """By the verbs, as at once in all that does not depend on what is drawn."""
    folders, data = runs
    plan = tiny_plan(data, "if", method={"method": "conversion", "method_options": {"input": "poisson"}}, epochs=0)
    plan.model.update(timesteps=6)
    run = tmp_path / "run"
    train(replace(plan, source=folders["relu"]), tmp_path / "checkpoints", run, CPU, lambda _: None)
    words = ["--run", str(run), "--data", str(data), "--threads", "1", "--device", "cpu", "--folded", str(run)]
    main(["fold", "--run", str(run), "--out", str(run)])
    reason = "its input is drawn at random at each timestep, which a folded network does not do"
    assert read_json(run / "folded.json")["not_foldable"] == reason
    main(["energy", *words, "--out", str(run), "--samples", "20"])
    counted = read_json(run / "energy.json")
    assert counted["counted_on"] == "the network itself" and "not_counted" not in counted
    model = load_model(run)[1]
    x = [torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(2))]
    at_once, streamed = (measure_itself(model, x, by_timestep=by_timestep) for by_timestep in (False, True))
    assert streamed == at_once
    rows, _ = measure_itself(model, x, by_timestep=True, encode=PoissonInput(1.0))
    assert rows[0]["flops"] == 6 * at_once[0][0]["flops"]  # the encoder, anew at each timestep


class Stem(SpikingNetwork):
    """Two convolutions with batch norm."""

    def __init__(self, neuron: str, timesteps: int, **options) -> None:
        super().__init__(timesteps, 1, 8)
        self.stem = nn.ModuleList(
            ConvUnit(into, out, 3, 1, lambda _: make_neuron(neuron, **options)) for into, out in ((1, 6), (6, 5))
        )
        self.classifier = nn.Linear(5, 4)
        self.initialise()

    def units(self):
        return [(f"stem{i + 1}", unit) for i, unit in enumerate(self.stem)]


@pytest.mark.full
@pytest.mark.parametrize(
    ("mode", "factor", "node", "neuron"),
    [
        ("max", 1.0, lambda node: node.IFNode(v_reset=None), {"reset": "soft"}),
        (0.75, 0.75, lambda node: node.IFNode(v_reset=None), {"reset": "soft"}),
        ("max", 1.0, lambda node: node.IFNode(v_reset=0.0), {"reset": "hard"}),
        ("max", 1.0, lambda node: node.HalfThresholdIFNode(), {"reset": "soft", "initial_potential": 0.5}),
    ],
)
def test_spikingjelly_converts_to_the_same_network(mode, factor, node, neuron):
    """Its rate coding, data-based, spikes scaled by the threshold; the soft reset is its default.

    Calibrated on one batch: it averages the maxima of batches, and ours are of all pictures. A percentile of its lies
    between two currents, and of ours on one of them.
    """
    ann2snn, functional = spikingjelly("ann2snn"), spikingjelly("functional")
    torch.manual_seed(0)
    timesteps, source = 60, Stem("relu", 1)
    calibration, shown = torch.randn(2, 16, 1, 8, 8)
    recalibrate(source, calibration, torch.Generator().manual_seed(1))
    source.double()
    layers = [module for unit in source.stem for module in (unit.conv, unit.bn, nn.ReLU())]
    plain = nn.Sequential(
        *(_plain(module) for module in layers), nn.AvgPool2d(8), nn.Flatten(), _plain(source.classifier)
    )
    loader = [(calibration.double(), torch.zeros(16, dtype=torch.int64))]
    recipe = ann2snn.RateCodingRecipe(loader, mode, neuron_factory=lambda _: node(spikingjelly("neuron")))
    theirs = ann2snn.FXConverter(recipe, device="cpu").convert(plain.double().eval())
    ours = Stem("if", timesteps, **neuron).double()
    thresholds = converted(ours, source, calibration.double(), balance="source", factor=factor)
    found = [module.scale.item() for module in theirs.modules() if type(module).__name__ == "VoltageScaler"]
    assert found == pytest.approx([1 / thresholds[0], thresholds[0], 1 / thresholds[1], thresholds[1]])
    with torch.no_grad():
        functional.reset_net(theirs.eval())
        summed = sum(theirs(shown.double()) for _ in range(timesteps))
        torch.testing.assert_close(ours(shown.double()), summed / timesteps, rtol=0, atol=1e-6)  # float32 scales
    assert (summed / timesteps - source(shown.double())).abs().max() > 1e-3  # it is no trivial agreement


def _plain(module: nn.Module) -> nn.Module:
    """torch's own layer of a picture [B, C, H, W], as the converter traces it, for one of ours with a time axis."""
    if isinstance(module, nn.Conv2d):
        made = nn.Conv2d(module.in_channels, module.out_channels, 3, padding=1, bias=False)
    elif isinstance(module, nn.BatchNorm2d):
        made = nn.BatchNorm2d(module.num_features)
    elif isinstance(module, nn.Linear):
        made = nn.Linear(module.in_features, module.out_features)
    else:
        return module
    made.double().load_state_dict(module.state_dict())
    return made


@pytest.mark.full
def test_on_digits_a_converted_network_is_as_accurate_as_its_source(tmp_path):
    """What docs/workflow.md says of the three ways to take thresholds."""
    main(["prepare", "--dataset", "digits", "--out", str(tmp_path / "data")])
    words = ["--data", tmp_path / "data", "--recipe", REPOSITORY / "config/recipes/digits.yaml", "--seed", 0]
    words += ["--architecture", "resnet6w8", "--checkpoints", tmp_path / "c", "--threads", 1, "--device", "cpu"]
    relu = tmp_path / "relu"

    def trained(*more) -> None:
        main(["train", *(str(word) for word in [*words, *more])])

    def curve(timesteps: int, *options: str) -> list[float]:
        """Accuracy at 1, 2, ... timesteps."""
        run = tmp_path / "-".join(options)
        how = ["--neuron", "if", "--neuron-option", "reset=soft", "--method", "conversion", "--set", "epochs=0"]
        chosen = [word for option in options for word in ("--method-option", option)]
        trained(*how, *chosen, "--source", relu, "--timesteps", timesteps, "--out", run)
        out = run / "evaluation.json"
        main(["evaluate", "--run", str(run), "--data", str(tmp_path / "data"), "--device", "cpu", "--out", str(out)])
        return read_json(out)["accuracy_percent_by_timestep"]

    trained("--neuron", "relu", "--timesteps", 1, "--out", relu)
    source = read_json(relu / "run.json")["accuracy"]["last_epoch_percent"]
    largest = curve(128, "balance=source")
    assert source > 97 and largest[127] == pytest.approx(source, abs=1) and largest[7] < 50
    without_outliers = curve(64, "balance=source", "percentile=99.9")
    assert without_outliers[31] > largest[31] + 5 and without_outliers[63] == pytest.approx(source, abs=1)
    currents = curve(256, "balance=spiking")
    # how far below depends on what was trained, and that on the processor: half a point on one, a few on another
    assert currents[31] < largest[31] - 20 and source - 5 < currents[255] < source + 1
