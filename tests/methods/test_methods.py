"""Ways to train plug in: toys of each kind go through training, kill and resume, and what cannot be is refused."""

import csv
import functools
import inspect
import signal
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from ternary_spike import UserError
from ternary_spike.cli import main
from ternary_spike.configuration.recipe import Recipe
from ternary_spike.methods.base import Source, frozen
from ternary_spike.methods.registry import METHODS, PAPERS_WAY, make_method
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.system.files import read_json, read_tensors
from ternary_spike.training import checkpoints
from ternary_spike.training.distributed import Processes
from ternary_spike.training.loop import Interrupted, train
from ternary_spike.training.record import HISTORY, RECORD, WEIGHTS, load_model
from ternary_spike.training.state import TrainingState
from ternary_spike.training.step import TrainingStep
from tests.helpers.tiny import NEURON_OF, NEURON_OPTIONS_OF, prepare_tiny, tiny_plan

CPU = torch.device("cpu")
TOYS = "tests.helpers.methods"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepare_tiny(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def teacher(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("teacher")
    train(tiny_plan(data, "relu", epochs=4), out / "checkpoints", out, CPU, lambda _: None)
    return out


def toy(name: str, source: Path | None = None, **options) -> dict:
    return {"method": f"{TOYS}:{name}", "method_options": options, "source": source}


def trained(plan, folder: Path, report=lambda _: None) -> dict:
    return train(plan, folder / "checkpoints", folder / "out", CPU, report)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_tensors(folder / "out" / WEIGHTS)[0]


def differing(one: Path, other: Path) -> set[str]:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    return {name for name in first if not torch.equal(first[name], second[name])}


def plan_of(name: str, data: Path, teacher: Path, **recipe):
    """By a registered method with its defaults, or by a toy."""
    method = {"method": name if name in METHODS else f"{TOYS}:{name}"}
    method["method_options"] = {"AtEachTimestep": {"margin": 2.0}, "Teacher": {"temperature": 2.0}}.get(name, {})
    method["source"] = teacher if METHODS[method["method"]].from_run else None
    plan = tiny_plan(data, NEURON_OF.get(name, "ternary"), method=method, **recipe)
    plan.model["neuron_options"].update(NEURON_OPTIONS_OF.get(name, {}))
    return plan


TOYS_THAT_TRAIN = ("AtEachTimestep", "QuietMembranes", "Teacher", "ClassifierAlone", "Noisy", "Projected")
# another optimiser than the paper's
ADAMW = {"epochs": 2, "optimiser": "adamw", "learning_rate": 0.01, "warmup_epochs": 1, "gradient_clipping": 1.0}


@pytest.fixture(scope="module")
def papers(data, tmp_path_factory):
    """By neuron and its options, the folder of a training in the paper's way."""

    @functools.cache
    def of(neuron: str, *options: tuple[str, str | float]) -> Path:
        out = tmp_path_factory.mktemp("papers")
        plan = tiny_plan(data, neuron, **ADAMW)
        plan.model["neuron_options"].update(options)
        trained(plan, out)
        return out

    return of


@pytest.mark.parametrize(
    "name", [*METHODS, "AtEachTimestep", "QuietMembranes", "Teacher", "ClassifierAlone", "Noisy", "Projected"]
)
def test_a_method_changes_the_training_and_resumes_to_the_bit(data, teacher, papers, tmp_path, name):
    """Each that is registered, and toys; cut off within the second epoch and taken up again."""
    plan = plan_of(name, data, teacher, **ADAMW)
    record = trained(plan, tmp_path / "whole")
    assert record["method"] == plan.method

    def stop(line):
        if "epoch 1/" in line:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted, match="at epoch 2, step 1"):
        trained(plan, tmp_path / "cut", stop)
    lines = []
    record = trained(plan, tmp_path / "cut", lines.append)
    assert "resuming at epoch 2, step 2" in lines[0] and record["cost"]["resumed"] == 1
    assert differing(tmp_path / "whole", tmp_path / "cut") == set()
    papers_way = papers(plan.model["neuron"], *plan.model["neuron_options"].items())
    assert bool(differing(tmp_path / "whole", papers_way)) == (name != PAPERS_WAY)


@pytest.mark.parametrize("name", [name for name, part in METHODS.items() if not part.from_run])
def test_the_paper_s_network_can_be_trained_by_it(name):
    """ResNet20, narrow, with its batch norm: the weights of every layer move."""
    torch.manual_seed(0)
    options = NEURON_OPTIONS_OF.get(name, {})
    model = SpikingResNet("resnet20w4", NEURON_OF.get(name, "ternary"), 2, neuron_options=options)
    method = make_method(name)
    step = TrainingStep(model, method, Recipe("x", 1, 4, 0.1, 0.9, 0.0))
    method.epoch(0.5)
    layers = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)}
    before = {name: layer.weight.detach().clone() for name, layer in layers.items()}
    loss, _ = step(torch.randn(4, 3, 32, 32), torch.arange(4), 0.1)
    assert loss.isfinite()
    for where, layer in layers.items():
        assert layer.weight.isfinite().all() and not torch.equal(layer.weight, before[where]), where


@pytest.mark.parametrize("name", METHODS)
def test_a_registered_method_says_its_source_its_level_and_its_defaults(name):
    """A candidate bears that word in its name, so that no run, table or figure can lack it."""
    part = METHODS[name]
    assert part.source and part.meaning
    assert part.level in ("", "faithful", "partly", "candidate") and bool(part.level) == (name != PAPERS_WAY)
    assert name.endswith("_candidate") == (part.level == "candidate")
    arguments = inspect.signature(part.load()).parameters
    assert {key: argument.default for key, argument in arguments.items()} == {
        key: option.default for key, option in part.options.items()
    }


def test_what_a_method_does_not_train_stays(data, teacher, tmp_path):
    """Own gradients: only the classifier's parameters move."""
    torch.manual_seed(0)
    untrained = SpikingResNet(**tiny_plan(data, "ternary").model).state_dict()
    trained(plan_of("ClassifierAlone", data, teacher), tmp_path)
    moved = {n for n, t in weights(tmp_path).items() if not torch.equal(t, untrained[n]) and "running" not in n}
    assert {n for n in moved if "num_batches" not in n} == {"classifier.weight", "classifier.bias"}


def test_a_teacher_without_a_share_leaves_a_training_as_it_is(data, teacher, papers, tmp_path):
    """To the bit, in all that is drawn at random: order, augmentation, steps."""
    method = {"method": "kdsnn", "method_options": {"share": 0.0}, "source": teacher}
    trained(tiny_plan(data, "ternary", method=method, **ADAMW), tmp_path)
    assert differing(tmp_path, papers("ternary")) == set()


@pytest.mark.parametrize("name", ["kdsnn", "kdsnn_feature_candidate", "ltl"])
def test_a_teacher_sees_the_pictures_of_the_student_which_are_those_of_plain_training(data, teacher, name):
    """In their order, and as augmented for the student."""
    state = TrainingState(plan_of(name, data, teacher), CPU, Processes(CPU))
    seen = {"student": [], "teacher": []}
    for who, network in (("student", state.model), ("teacher", state.update.source.network)):
        network.register_forward_pre_hook(lambda _m, inputs, who=who: seen[who].append(inputs[0].clone()))
    state.begin_epoch()
    for x, labels in state.train.epoch(0):
        state.train_step(x, labels)
    plain = [x for x, _ in TrainingState(tiny_plan(data, "ternary"), CPU, Processes(CPU)).train.epoch(0)]
    assert len(plain) == 3
    for pictures in seen.values():
        assert len(pictures) == 3 and all(torch.equal(a, b) for a, b in zip(pictures, plain, strict=True))


def test_the_source_is_named_in_the_record_and_part_of_the_key(data, teacher, tmp_path):
    plan = plan_of("Teacher", data, teacher)
    record = trained(plan, tmp_path)
    of_teacher = read_json(teacher / RECORD)
    assert record["source"] == {"id": of_teacher["id"], "seed": 0, "weights": of_teacher["files"][WEIGHTS]}
    assert record["method_options"] == {"temperature": 2.0}
    assert load_model(tmp_path / "out")[0] == record
    train(tiny_plan(data, "relu", seed=1), tmp_path / "c", tmp_path / "other", CPU, lambda _: None)
    other = plan_of("Teacher", data, tmp_path / "other")
    assert checkpoints.key_of(other.decisive()) != checkpoints.key_of(plan.decisive())
    paper = trained(tiny_plan(data), tmp_path / "papers")
    assert (paper["method"], paper["method_options"], paper["source"]) == (PAPERS_WAY, {}, None)


def test_a_training_is_not_taken_up_with_another_source(data, teacher, tmp_path):
    with pytest.raises(Interrupted):
        trained(plan_of("Teacher", data, teacher), tmp_path, lambda _: signal.raise_signal(signal.SIGTERM))
    train(tiny_plan(data, "relu", seed=1), tmp_path / "c", tmp_path / "other", CPU, lambda _: None)
    lines = []
    trained(plan_of("Teacher", data, tmp_path / "other"), tmp_path, lines.append)
    assert not any("resuming" in line for line in lines)


def test_a_source_for_other_classes_is_refused(data, teacher, tmp_path):
    plan = plan_of("Teacher", data, teacher)
    plan.model["num_classes"] = 5
    with pytest.raises(UserError, match=r"run\.json is of a network for 4 classes; the data has 5"):
        trained(plan, tmp_path)


def test_a_damaged_source_is_refused(data, teacher, tmp_path):
    for name in (RECORD, WEIGHTS):
        (tmp_path / name).write_bytes((teacher / name).read_bytes())
    content = bytearray((tmp_path / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (tmp_path / WEIGHTS).write_bytes(content)
    with pytest.raises(UserError, match=WEIGHTS):
        trained(plan_of("Teacher", data, tmp_path), tmp_path / "run")
    assert not (tmp_path / "run" / "out" / RECORD).exists()


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ({"method": "no"}, f"unknown method 'no': choose one of {', '.join(METHODS)}, or module:Name of your own"),
        ({"method": PAPERS_WAY, "method_options": {"margin": 1}}, "unknown option margin=1 for method 'cross_entropy'"),
        (toy("AtEachTimestep", margin=11), "margin is 11, but must be a number from 0 to 10"),
        (toy("Teacher"), "starts from another run; name its folder with --source"),
        (toy("AtEachTimestep", Path("elsewhere")), "starts from no other run; leave --source elsewhere out"),
        (toy("Teacher", Path("elsewhere")), "elsewhere/run.json is missing"),
        (toy("NoMethod"), "is no subclass of ternary_spike.methods.base:Method"),
        (toy("Nothing"), "tests.helpers.methods has no Nothing"),
        ({"method": "nowhere:X"}, "there is no module 'nowhere'"),
    ],
)
def test_what_cannot_be_is_one_line(data, tmp_path, method, words):
    with pytest.raises((UserError, ValueError)) as error:
        trained(tiny_plan(data, method=method), tmp_path)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_loss_that_a_method_spoils_is_found(data, tmp_path):
    with pytest.raises(UserError, match=r"the loss is nan at step 1 of epoch 2; the checkpoint of epoch 2"):
        trained(tiny_plan(data, method=toy("Exploding")), tmp_path)


def test_no_epoch_leaves_a_converted_network_as_it_is(data, teacher, tmp_path):
    """Pure conversion: no step, an empty history, the accuracy of the network that the method made."""
    record = trained(plan_of("Converted", data, teacher, epochs=0), tmp_path)
    _, source = load_model(teacher)
    made = weights(tmp_path)
    assert all(torch.equal(made[name], tensor) for name, tensor in source.state_dict().items())
    assert list(csv.DictReader((tmp_path / "out" / HISTORY).open())) == []
    accuracy = record["accuracy"]
    assert accuracy["best_epoch"] == 0 and accuracy["last_epoch_percent"] == accuracy["best_epoch_percent"]
    record, _ = load_model(tmp_path / "out")
    assert record["cost"]["images_per_second"] == 0


def test_label_smoothing_is_torchs_and_scores_at_each_timestep_average_to_the_scores(data):
    """And neither moves a bit of what the paper's way computes."""
    torch.manual_seed(0)
    model = SpikingResNet(**tiny_plan(data, "ternary").model)
    x, labels = torch.randn(6, 1, 8, 8), torch.arange(6) % 4
    recipe = Recipe("x", 1, 4, 0.1, 0.9, 0.0, label_smoothing=0.1)
    step = TrainingStep(model, make_method(PAPERS_WAY), recipe)
    loss, scores = step.method.gradients(step, x, labels)
    torch.testing.assert_close(loss, F.cross_entropy(scores, labels, label_smoothing=0.1), rtol=0, atol=0)
    model.eval()
    each = model(x, each_timestep=True)
    assert each.shape == (2, 6, 4)
    torch.testing.assert_close(each.mean(0), model(x))


def verb(data: Path, folder: Path, **options) -> list[str]:
    """The words of the verb train, for the tiny data."""
    (folder / "tiny.yaml").write_text(
        "name: tiny\nepochs: 1\nbatch_size: 32\nlearning_rate: 0.1\nmomentum: 0.9\nweight_decay: 0.0\n"
    )
    given = {"data": data, "architecture": "resnet6w4", "neuron": "ternary", "timesteps": 2, "seed": 0}
    given |= {"recipe": folder / "tiny.yaml", "checkpoints": folder / "c", "out": folder / "out"}
    given |= {"device": "cpu", "threads": 1} | options
    return ["train", *(str(w) for key, value in given.items() for w in (f"--{key.replace('_', '-')}", value))]


@pytest.mark.parametrize(
    ("name", "change", "options"),
    [("Teacher", {"method_option": "temperature=3"}, {"temperature": 3.0}), ("Converted", {"set": "epochs=0"}, {})],
)
def test_the_verbs_chain_goes_on_behind_a_method(data, teacher, tmp_path, name, change, options):
    """From a source run to weights, and to everything that is made of them."""
    main(verb(data, tmp_path, source=teacher, method=f"{TOYS}:{name}", **change))
    run = tmp_path / "out"
    record = read_json(run / RECORD)
    assert record["id"] == f"tiny-resnet6w4-T2-ternary-{name}"
    assert record["method_options"] == options and record["source"]["id"] == "tiny-resnet6w4-T2-relu"
    words = ["--run", str(run), "--data", str(data), "--threads", "1"]
    main(["evaluate", *words, "--out", str(run / "evaluation.json")])
    main(["fold", "--run", str(run), "--out", str(run)])
    main(["verify", *words, "--folded", str(run), "--out", str(run / "equivalence.json"), "--samples", "10"])
    assert read_json(run / "evaluation.json")["accuracy_percent"] == record["accuracy"]["last_epoch_percent"]
    assert read_json(run / "equivalence.json")["passed"]


@pytest.mark.parametrize("name", ["tandem", "ptl", "ltl", "joint_a_snn", "kdsnn", "kdsnn_feature_candidate"])
def test_networks_in_tandem_are_the_papers_resnet20_too(name):
    """A step on its stem, stages and projections, only narrower."""
    sizes = {"num_classes": 4, "in_channels": 1, "image_size": 16}
    recipe = Recipe("x", 1, 6, 0.1, 0.9, 0.0)
    source = Source({"id": "t", "recipe": recipe.as_dict()}, frozen(SpikingResNet("resnet20w4", "relu", 1, **sizes)))
    # of ptl, so that no layer is silent
    neuron, options = ("if", {"reset": "soft"}) if name == "ptl" else ("binary", {})
    model = SpikingResNet("resnet20w4", neuron, 4, neuron_options=options, **sizes).train()
    method = make_method(name, **({"percent": 80.0} if name == "ptl" else {}))
    step = TrainingStep(model, method, recipe, source if METHODS[name].from_run else None)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    step.method.epoch(0.0)
    loss, _ = step(torch.randn(6, 1, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 4, 0.1)
    moved = {key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])}
    assert loss.isfinite() and "classifier.weight" in moved
    assert ("stem.0.conv.weight" in moved) == (name != "ptl")  # whose only epoch makes all layers spike at once


@pytest.mark.parametrize("name", ["joint_a_snn", "tandem"])
def test_a_network_trained_with_another_is_left_by_itself(data, tmp_path, name):
    """Weights that were published, evaluated and folded are of one network, whatever was trained with it."""
    main(verb(data, tmp_path, neuron="binary", method=name))
    run = tmp_path / "out"
    untrained = SpikingResNet(**read_json(run / RECORD)["model"])
    assert weights(tmp_path).keys() == untrained.state_dict().keys()
    words = ["--run", str(run), "--data", str(data), "--threads", "1"]
    main(["evaluate", *words, "--out", str(run / "evaluation.json")])
    main(["fold", "--run", str(run), "--out", str(run)])
    main(["verify", *words, "--folded", str(run), "--out", str(run / "equivalence.json"), "--samples", "10"])
    percent = read_json(run / RECORD)["accuracy"]["last_epoch_percent"]
    assert read_json(run / "evaluation.json")["accuracy_percent"] == percent
    assert read_json(run / "equivalence.json")["passed"]


def test_a_wrong_option_of_a_method_is_one_line(data, teacher, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(verb(data, tmp_path, source=teacher, method=f"{TOYS}:Teacher", method_option="temperature=0"))
    assert "temperature is '0', but must be a number above 0 and up to 100" in capsys.readouterr().err
