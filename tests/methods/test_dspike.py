"""Dspike: the temperature step on figures worked out by hand, by a plain loop, and what it leaves as it was."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ternary_spike import BinaryLIF, UserError
from ternary_spike.configuration.recipe import Recipe
from ternary_spike.data.loading import TrainingBatches
from ternary_spike.membrane.dynamics import Dynamics
from ternary_spike.membrane.spike import spike
from ternary_spike.methods.dspike import best_temperature, cosine, difference_quotients
from ternary_spike.methods.registry import PAPERS_WAY, make_method
from ternary_spike.models.base import named_neurons
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.training.step import TrainingStep
from tests.helpers.tiny import prepare_tiny, tiny_plan
from tests.methods.test_membrane_losses import Alone

DSPIKE = Dynamics(False, 0.5, 0.25, "tanh", 0.5)


def spikes(u: Tensor, b: float) -> Tensor:
    return spike(u, DSPIKE, torch.tensor(b, dtype=u.dtype))


def two_neurons(w: Tensor, b: float) -> Tensor:
    """L = (b1 + 2 b2 - 1)^2 of two neurons whose potentials are the weights."""
    b1, b2 = spikes(w, b)
    return (b1 + 2 * b2 - 1) ** 2


def test_the_step_of_the_temperature_on_a_worked_example():
    """FDG is (10, 0): moving w1 by 0.15 takes L from 4 to 1, moving w2 leaves it at 1."""
    w = torch.tensor([0.45, 0.62], dtype=torch.float64, requires_grad=True)
    quotients = difference_quotients(lambda: two_neurons(w, 1.0), w, torch.arange(2), 0.15)
    torch.testing.assert_close(quotients, torch.tensor([10.0, 0.0], dtype=torch.float64))
    assert two_neurons(w, 1.0).item() == 1

    def agreement(b: float) -> float:
        return cosine(torch.autograd.grad(two_neurons(w, b), w)[0], quotients)

    expected = {0.8: 0.449938, 1.0: 0.451469, 1.2: 0.453340, 3.0: 0.485315, 5.0: 0.551141}
    assert {b: agreement(b) for b in expected} == pytest.approx(expected, abs=5e-7)
    assert best_temperature(1.0, 0.2, agreement) == 1.2


def test_equal_cosines_keep_the_temperature():
    """One neuron: every component of its gradient has the same g(u), so that b changes nothing but rounding."""
    w, x = torch.tensor([0.1, 0.2, 0.3], requires_grad=True), torch.tensor([0.7, 1.1, 0.9])
    wanted = torch.tensor([1.0, 0.3, -0.2])

    def agreement(b: float) -> float:
        return cosine(torch.autograd.grad(spikes(w @ x, b), w)[0], wanted)

    assert len({agreement(b) for b in (0.7, 1.0, 1.3, 1.7, 2.0, 2.3)}) > 1  # rounding
    assert all(best_temperature(b, 0.3, agreement) == b for b in (1.0, 2.0))
    assert cosine(torch.zeros(3), wanted) == 0  # no weight's step made a neuron fire or stop


def test_the_temperature_stays_above_0():
    found = [0.6]
    for _ in range(3):
        found.append(best_temperature(found[-1], 0.2, lambda b: -b))
    assert found == pytest.approx([0.6, 0.4, 0.2, 0.2]) and best_temperature(0.2, 0.3, lambda b: -b) == 0.2


def test_of_a_smooth_function_the_difference_quotients_are_its_gradient():
    """Dspike itself in the place of the step; weights lie in another order in memory, and are what they were."""
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(4, 3, 2, 2, dtype=torch.float64, generator=generator).to(memory_format=torch.channels_last)
    w.requires_grad_()
    before, x = w.detach().clone(), torch.randn(4, 3, 2, 2, dtype=torch.float64, generator=generator)

    def loss() -> Tensor:
        return ((3 * (0.1 * w * x)).tanh().sum() - 1) ** 2

    places = torch.tensor([0, 7, 19, 47])
    found = difference_quotients(loss, w, places, 1e-5)
    torch.testing.assert_close(found, torch.autograd.grad(loss(), w)[0].flatten()[places], rtol=1e-7, atol=1e-9)
    assert torch.equal(w, before)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepare_tiny(tmp_path_factory.mktemp("data"))


RECIPE = Recipe("x", 4, 32, 0.1, 0.9, 0.0, mean=(0.3,), std=(0.25,))


def step_of(data, name: str = "dspike", seed: int = 0, **options) -> TrainingStep:
    torch.manual_seed(seed)
    model = tiny_plan(data, "binary").model | {
        "neuron_options": {"surrogate": "tanh", "window": 0.5, "temperature": 2.0}
    }
    batches = TrainingBatches(data, RECIPE, seed)
    return TrainingStep(SpikingResNet(**model), make_method(name, **options), RECIPE, batches=batches)


def temperatures(model) -> set[float]:
    return {layer.temperature.item() for layer in named_neurons(model).values()}


def test_an_epoch_s_temperature_is_that_of_a_plain_loop_and_nothing_else_moves(data):
    step = step_of(data, weights=0, temperature_step=0.75, weight_step=0.1)
    before = {name: tensor.clone() for name, tensor in step.model.state_dict().items()}
    x, labels = next(iter(step.batches.epoch(1)))

    def loss(b: float = 2.0, place: int = 0, change: float = 0.0) -> tuple[Tensor, Tensor]:
        twin = copy.deepcopy(step.model)
        for layer in named_neurons(twin).values():
            layer.set_temperature(b)
        weight = twin.stem[0].conv.weight
        weight.data.view(-1)[place] += change
        return F.cross_entropy(twin(x), labels), weight

    places = range(step.model.stem[0].conv.weight.numel())
    wanted = torch.stack([(loss(2.0, i, 0.1)[0] - loss(2.0, i, -0.1)[0]).detach() / 0.2 for i in places])
    cosines = {
        b: F.cosine_similarity(torch.autograd.grad(*loss(b))[0].flatten(), wanted, dim=0).item()
        for b in (1.25, 2.0, 2.75)
    }
    assert len({round(c, 4) for c in cosines.values()}) == 3
    step.method.epoch(0.25)
    assert temperatures(step.model) == {max(cosines, key=cosines.get)}
    after = step.model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(p.grad is None for p in step.model.parameters())


def test_some_of_the_weights_are_drawn_anew_for_each_seed_and_epoch(data):
    method = step_of(data, weights=7).method
    drawn = [method.compared_places(epoch).tolist() for epoch in (0, 1, 0)]
    assert drawn[0] == drawn[2] != drawn[1] and len(set(drawn[0])) == 7
    assert step_of(data, seed=1, weights=7).method.compared_places(0).tolist() != drawn[0]
    again = step_of(data, weights=7)
    with torch.no_grad():
        again.method.first_weight.zero_()  # a checkpoint's weights are others by then
    assert again.method.compared_places(0).tolist() == drawn[0]
    assert step_of(data, weights=10_000).method.compared_places(0).tolist() == list(range(method.first_weight.numel()))


def test_a_checkpoint_keeps_the_temperature_and_for_which_epoch_it_was_chosen(data):
    method = step_of(data).method
    method.epoch(0.0)
    assert method.tensors()["chosen"] == 0
    method.load({"temperature": torch.tensor(7.0, dtype=torch.float64), "chosen": torch.tensor(1)})
    method.epoch(0.25)  # goes on within the second epoch
    assert temperatures(method.run.model) == {7.0}
    method.epoch(0.5)
    found = method.tensors()
    assert found["chosen"] == 2 and found["temperature"].item() in (6.8, 7.0, 7.2)
    assert temperatures(method.run.model) == {torch.tensor(found["temperature"].item()).item()}


def test_where_a_step_is_only_timed_nothing_is_chosen(data):
    step = step_of(data)
    step.batches = None
    step.method.epoch(0.0)
    assert temperatures(step.model) == {2.0}


def test_at_a_temperature_that_stays_it_is_plain_training_to_the_bit(data):
    """A step of the temperature so small that no cosine can tell."""
    found = []
    for name, options in ((PAPERS_WAY, {}), ("dspike", {"temperature_step": 1e-8})):
        step = step_of(data, name, **options)
        step.method.epoch(0.0)
        for x, labels in step.batches.epoch(0):
            step(x, labels, 0.1)
        found.append(step.model.state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_what_has_no_temperature_or_no_convolution_or_several_processes_is_refused(data):
    for neuron in ("ternary", "glif", "relu"):
        model = SpikingResNet(**tiny_plan(data, neuron).model)
        with pytest.raises(
            UserError, match=r"Dspike moves the temperature of the surrogate gradient, and layer stem\S* "
        ):
            TrainingStep(model, make_method("dspike"), RECIPE)
    for model, words in (
        (SimpleNamespace(units=list), "this network has no neurons"),
        (Alone(BinaryLIF(surrogate="tanh")), "gradients of the first convolution, and this network has none"),
    ):
        with pytest.raises(UserError, match=words):
            make_method("dspike").begin(SimpleNamespace(model=model))
    assert make_method("dspike").one_process
