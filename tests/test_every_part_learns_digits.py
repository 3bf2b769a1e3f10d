"""Every registered neuron, normalisation, surrogate gradient, method and network learns handwritten digits.

What is registered tomorrow is trained as all others are and must reach the same accuracy. What cannot stands in
``NEEDS``, with what else it is given and why; none has a lower bar.
"""

import functools
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch

from ternary_spike.methods.registry import METHODS
from ternary_spike.models.normalisations import NORMALISATIONS
from ternary_spike.models.registry import ARCHITECTURES, require_image_size
from ternary_spike.neurons.registry import NEURONS, SURROGATES
from ternary_spike.training.loop import train
from ternary_spike.training.state import TrainingPlan
from tests.helpers.digits import DIGITS, accuracies, prepare_digits
from tests.helpers.networks import any_neuron
from tests.helpers.tiny import NEURON_OF, NEURON_OPTIONS_OF, tiny_plan

pytestmark = pytest.mark.full

#: test accuracy in percent, of ten digits: guessing has 10, a trained classifier behind random layers 36
BAR = 50.0
RECIPE = {"epochs": 6, "batch_size": 32, "optimiser": "adamw", "learning_rate": 0.01, "crop_padding": 0}
PIXELS = {"mean": [0.3052], "std": [0.3185]}
#: of the picture, where a network takes it
SIDE = 8
REGISTRIES = {
    "neuron": NEURONS,
    "normalisation": NORMALISATIONS,
    "surrogate": SURROGATES,
    "method": METHODS,
    "architecture": ARCHITECTURES,
}
PARTS = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry]


@dataclass(frozen=True)
class Need:
    """What a part is given that others are not, and why.

    Attributes:
        why: for whoever reads this.
        model: fields of the plan's network; neuron options are added to those that are there.
        method_options: options of the method.
        network: of an architecture, its width and the pictures' side.
        recipe: values of the recipe.
    """

    why: str
    model: dict = field(default_factory=dict)
    method_options: dict = field(default_factory=dict)
    network: dict = field(default_factory=dict)
    recipe: dict = field(default_factory=dict)


RATES = "its layers learn firing rates, of which there are too few with two timesteps"
DEEP = "34 layers behind a stem for large pictures learn slowly where hardly more than one place is left of these"
FEWER = "spikes joined by logic become fewer from block to block"
LONG = {"neuron_options": {"decay": 0.9}}
MANY_STEPS = {"train_samples": 700, "batch_size": 8}
NEEDS = {
    ("method", "ltl"): Need(f"{RATES}, and none that is negative", {"timesteps": 4, "neuron": "soft_reset"}),
    ("method", "ptl"): Need(RATES, {"timesteps": 8}),
    ("method", "tssl_bp"): Need("its gradient is that of the times of spikes", {"timesteps": 5}),
    ("method", "diet"): Need("calibration is quicker with fewer pictures than 512", method_options={"pictures": 64}),
    ("architecture", "resnet34"): Need(DEEP, LONG, network={"width": 16, "side": 16}),
    ("architecture", "resnet34_glif"): Need(DEEP, LONG, network={"width": 16, "side": 16}),
    ("architecture", "widenet7b"): Need(
        "it takes pictures from 128x128 on, which need much time", {"timesteps": 1}, recipe=MANY_STEPS
    ),
    ("architecture", "sew_resnet18_iand"): Need(FEWER, network={"width": 8, "side": 16}),
    ("architecture", "sew_resnet18_and"): Need(
        f"{FEWER}, so that they must be many at first",
        {"neuron_options": {"threshold": 0.01, "decay": 0.9}},
        network={"width": 16, "side": 16},
    ),
    ("architecture", "sew_resnet18_cifar_and"): Need(
        f"{FEWER}, so that they must be many at first", {"neuron_options": {"threshold": 0.01, "decay": 0.9}}
    ),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The folder of the digits, by the pictures' side; made once."""
    return functools.cache(functools.partial(prepare_digits, tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def source(data, tmp_path_factory) -> Path:
    """The network without spikes that some methods start from."""
    out = tmp_path_factory.mktemp("source")
    train(plan_on(data, "relu"), out / "checkpoints", out, torch.device("cpu"), lambda _: None)
    return out


def plan_on(data, neuron: str, architecture: str = "resnet6w8", side: int = SIDE, **fields) -> TrainingPlan:
    """A training of a network with two timesteps on digits of a size."""
    plan = tiny_plan(data(side), neuron, method=fields, **RECIPE, **PIXELS)
    plan.model.update(architecture=architecture, num_classes=DIGITS.num_classes, image_size=side)
    return plan


def plan_of(kind: str, name: str, data, source: Path) -> TrainingPlan:
    """A training of a network that has one part, and else what the paper has."""
    need = NEEDS.get((kind, name), Need(""))
    if kind == "method":
        origin = source if METHODS[name].from_run else None
        plan = plan_on(data, NEURON_OF.get(name, "ternary"), method=name, source=origin)
        plan.model["neuron_options"].update(NEURON_OPTIONS_OF.get(name, {}))
    elif kind == "architecture":
        plan = plan_on(data, **network_of(name, **need.network))
        plan.model["neuron_options"].update(surrogate="atan")  # reaches every potential, in a narrow network too
    else:
        plan = plan_on(data, name if kind == "neuron" else "ternary")
        plan.model.update({"normalisation": name} if kind == "normalisation" else {})
        plan.model["neuron_options"].update({"surrogate": name} if kind == "surrogate" else {})
    options = plan.model["neuron_options"] | need.model.get("neuron_options", {})
    plan.model.update(need.model | {"neuron_options": options})
    return replace(plan, method_options=need.method_options, recipe=replace(plan.recipe, **need.recipe))


def network_of(name: str, width: int = 4, side: int = SIDE) -> dict:
    """A network's small stand-in: narrow, and with the smallest pictures that it takes from a side on."""
    while True:
        try:
            require_image_size(f"{name}w{width}", side)
            break
        except ValueError:
            side += 1
    return {"architecture": f"{name}w{width}", "side": side, "neuron": any_neuron(name)}


@pytest.mark.parametrize("part", PARTS, ids="-".join)
def test_it_learns_digits(part, data, source):
    found = accuracies(plan_of(*part, data, source), BAR)
    assert max(found) >= BAR, found


def test_what_is_given_to_a_part_is_given_to_one_that_is_registered():
    assert set(NEEDS) <= set(PARTS) and all(need.why for need in NEEDS.values())


def test_a_part_without_a_gradient_is_seen(data):
    """The bar is above what the classifier learns of layers that learn nothing."""
    plan = plan_on(data, "tests.helpers.neurons:WithoutSurrogate")
    assert 20 < max(accuracies(plan, BAR)) < BAR - 5
