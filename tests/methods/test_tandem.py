"""Tandem learning and its progressive kind: examples worked out by hand, a plain loop over counts, stages, freezing."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ternary_spike import UserError
from ternary_spike.configuration.recipe import Recipe
from ternary_spike.methods.base import Source, frozen
from ternary_spike.methods.calibration import percentile_of
from ternary_spike.methods.registry import make_method
from ternary_spike.methods.tandem import MOMENTUM, Pair, Walk
from ternary_spike.models.base import SpikingNetwork, named_neurons
from ternary_spike.models.batch_norm import BatchNorm2d
from ternary_spike.models.blocks import BasicBlock, ConvUnit
from ternary_spike.models.chain_units import Dropout
from ternary_spike.models.registry import make_network
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.neurons.registry import make_neuron
from ternary_spike.training.step import TrainingStep
from tests.helpers.tiny import tiny_plan

COUNTING = {"reset": "soft", "spike_value": "one"}
LABELS = torch.arange(6) % 4


def counting(channels: int | None = None):
    return make_neuron("if", channels, **COUNTING)


class Single(SpikingNetwork):
    """A single neuron behind a single weight w and a bias, without batch norm, for currents of counts.

    A neuron of rates that spikes alike has T w for w and T for its threshold of 1.
    """

    def __init__(self, w: float, bias: float, timesteps: int) -> None:
        super().__init__(timesteps, in_channels=1, image_size=1)
        self.unit = ConvUnit(1, 1, 1, 1, counting, lambda channels: nn.Identity())
        self.unit.conv.weight = nn.Parameter(torch.full((1, 1, 1, 1), w * timesteps))
        self.unit.conv.bias = nn.Parameter(torch.tensor([bias]))
        self.unit.neuron.threshold.fill_(timesteps)
        self.classifier = nn.Linear(1, 1)

    def units(self):
        return [("unit", self.unit)]


def tandem_of(network: SpikingNetwork, spikes: list[int]) -> tuple[list[float], list[float], Tensor]:
    """u and b of a single neuron at each timestep, in units of counts, and its count, which gradients flow through."""
    told = []
    network.unit.neuron.observer = lambda u, b: told.append((u.flatten(), b.flatten()))
    x = torch.tensor(spikes, dtype=torch.float32).view(1, -1, 1, 1, 1)
    walk = Walk(network, x, make_method("tandem").fire)
    walk.scores()
    (u, b), timesteps = told[0], network.timesteps
    return (u / timesteps).tolist(), b.tolist(), timesteps * walk.values["unit"].rate.squeeze()


@pytest.mark.parametrize(
    ("w", "bias", "spikes", "u", "b", "a"),
    [
        (
            *(0.75, 0.5, [1, 0, 1, 1, 0, 1, 1, 0]),
            [0.8125, 0.875, 1.6875, 1.5, 0.5625, 1.375, 1.1875, 0.25],
            *([0, 0, 1, 1, 0, 1, 1, 0], 4.25),
        ),
        (
            *(1.5, 0.0, [0, 0, 0, 1, 1, 1, 1, 1]),
            [0, 0, 0, 1.5, 2, 2.5, 3, 3.5],
            *([0, 0, 0, 1, 1, 1, 1, 1], 7.5),  # it can fire no more often than that: 2.5 is left
        ),
        (2.0, -1.0, [1, 0, 0, 0], [1.75, 0.5, 0.25, 0], [1, 0, 0, 0], 1.0),
        (1.0, -2.0, [1, 1, 0, 0], [0.5, 1, -0.5, -1], [0, 1, 0, 0], 0.0),  # what fired cannot be taken back
    ],
)
def test_worked_examples_of_a_neuron_and_its_partner(w, bias, spikes, u, b, a):
    """L = 3 c: the gradient of a is 3 whatever the timesteps, that of w 3 times the count below, or 0 where a is."""
    network = Single(w, bias, len(spikes))
    potentials, fired, count = tandem_of(network, spikes)
    assert (potentials, fired) == (u, b) and count == sum(b)
    assert max(0.0, w * sum(spikes) + bias) == a
    (3 * count).backward()
    of_w = len(spikes) * network.unit.conv.weight.grad.item()
    assert of_w == (3 * sum(spikes) if a > 0 else 0)
    assert network.unit.conv.bias.grad.item() == (3 if a > 0 else 0)


@pytest.mark.parametrize("w", [0.75, 1.0, 1.25])
def test_one_timestep_is_a_step_with_the_gradient_of_a_rectifier(w):
    network = Single(w, 0.0, 1)
    count = tandem_of(network, [1])[2]
    assert count == (w >= 1)
    count.backward()
    assert network.unit.conv.weight.grad == 1


class Blocks(SpikingNetwork):
    """A convolution, a block with a projection, and one without."""

    def __init__(self, neuron=counting, timesteps: int = 4) -> None:
        super().__init__(timesteps, in_channels=2, image_size=6)
        self.first = ConvUnit(2, 3, 3, 1, neuron)
        self.second = BasicBlock(3, 5, 2, True, neuron)
        self.third = BasicBlock(5, 5, 1, True, neuron)
        self.classifier = nn.Linear(5, 4)

    def units(self):
        return [("first", self.first), ("second", self.second), ("third", self.third)]


class Counts:
    """The authors' equations as a plain loop: counts c, thresholds of 1, biases divided by T, two separate passes."""

    def __init__(self, model: Blocks, x: Tensor) -> None:
        self.model, self.timesteps = model, model.timesteps
        self.x = x

    def layer(self, count, train, parts):
        """One neuron layer: pairs of convolution and batch norm, each of (count, train), and what is just added."""
        a, current = 0.0, [0.0] * self.timesteps
        for conv, bn, (c, spikes) in parts:
            y = F.conv2d(c, conv.weight, None, conv.stride, conv.padding)
            mean, var = y.mean((0, 2, 3)), y.var((0, 2, 3), correction=0)
            n = y.numel() // y.shape[1]
            running_mean = (1 - MOMENTUM) * 0 * self.timesteps + MOMENTUM * mean
            running_var = (1 - MOMENTUM) * 1 * self.timesteps**2 + MOMENTUM * var * n / (n - 1)
            eps = bn.eps * self.timesteps**2  # of counts
            shape = (1, -1, 1, 1)
            a = a + ((y - mean.view(shape)) / (var + eps).sqrt().view(shape)) * bn.weight.view(shape)
            a = a + bn.bias.view(shape)
            r = bn.weight / (running_var + eps).sqrt()
            w, bias = (r.view(-1, 1, 1, 1) * conv.weight).detach(), (bn.bias - r * running_mean).detach()
            for t in range(self.timesteps):
                folded = F.conv2d(spikes[t], w, None, conv.stride, conv.padding)
                current[t] = current[t] + folded + bias.view(shape) / self.timesteps
        # an identity shortcut carries rates, as batch norm's currents are those of rates
        a = a + count / self.timesteps
        v, fired = 0.0, []
        for t in range(self.timesteps):
            u = v + current[t] + train[t] / self.timesteps
            b = (u >= 1).to(u.dtype)
            v = u - b
            fired.append(b.detach())
        c, a = sum(fired), a.relu()
        return a + (c - a).detach(), fired

    def scores(self) -> Tensor:
        model, nothing = self.model, (0.0, [0.0] * self.timesteps)
        image = (self.x * self.timesteps, [self.x] * self.timesteps)
        here = self.layer(*nothing, [(model.first.conv, model.first.bn, image)])
        for block in (model.second, model.third):
            inside = self.layer(*nothing, [(block.conv1, block.bn1, here)])
            parts, added = [(block.conv2, block.bn2, inside)], here
            if block.shortcut is not None:
                pooled = tuple(F.avg_pool2d(part, 2) for part in (here[0], *here[1]))
                parts.append((block.shortcut.conv, block.shortcut.bn, (pooled[0], pooled[1:])))
                added = nothing
            here = self.layer(*added, parts)
        return model.classifier(here[0].mean((2, 3)) / self.timesteps)


def pictures(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(6, 2, 6, 6, generator=torch.Generator().manual_seed(3)).to(dtype)


def recipe(**changes) -> Recipe:
    return Recipe(**{"name": "x", "epochs": 10, "batch_size": 6, "learning_rate": 0.1, "momentum": 0.9,
                     "weight_decay": 0.01} | changes)  # fmt: skip


def stepping(model: SpikingNetwork, name: str = "tandem", source=None, changes=None, **options) -> TrainingStep:
    return TrainingStep(model.train(), make_method(name, **options), recipe(**(changes or {})), source)


def test_rates_have_the_spikes_and_gradients_of_the_published_counts():
    torch.manual_seed(1)
    model = Blocks().double()
    step = stepping(model)
    for bn in model.modules():
        if isinstance(bn, BatchNorm2d):
            bn.bias.data.uniform_(-0.5, 1.0)
    expected = Counts(model, pictures()).scores()
    F.cross_entropy(expected.float(), LABELS).backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    step.optimiser.zero_gradients()
    _, scores = step.method.gradients(step, pictures(), LABELS)
    torch.testing.assert_close(scores, expected.float())
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, gradients[name], rtol=1e-9, atol=1e-10, msg=name)
    assert gradients["first.conv.weight"].abs().max() > 1e-3


def test_what_went_forward_is_what_evaluation_computes():
    """Spikes, not their partner's activations; with running statistics that this very batch has moved."""
    torch.manual_seed(2)
    for neuron in ("if", "ternary", "trainable"):
        model = Blocks(lambda channels, name=neuron: make_neuron(name, **(COUNTING if name == "if" else {})))
        step = stepping(model.double())
        _, scores = step.method.gradients(step, pictures(), LABELS)
        with torch.no_grad():
            torch.testing.assert_close(model.eval()(pictures()).float(), scores)
        assert all(p.grad is not None for name, p in model.named_parameters()) and scores.std() > 1e-3


DROPOUTS = {
    "cifarnet_tlw4": 1,
    "vgg11_ptlw4": 0,
    "plifnetw4": 1,
    "vgg11_dsrw4": 8,
    "resnet20_dietw4": 10,
    "resnet34_glifw4": 0,
}


@pytest.mark.parametrize(("name", "dropouts"), DROPOUTS.items())
def test_chains_are_followed_through_pooling_dropout_and_fully_connected_neurons(name, dropouts):
    """But for what is dropped, in pairs of the same neurons, evaluation computes what went forward."""
    torch.manual_seed(6)
    model = make_network(name, "if", 4, in_channels=2, image_size=32, neuron_options=COUNTING)
    step = stepping(model, gain_std=0.0)
    x = torch.randn(6, 2, 32, 32)
    for neuron in named_neurons(model).values():
        neuron.threshold.fill_(0.2)  # so that none is silent
    for unit in model.modules():
        unit.train(not isinstance(unit, Dropout))
    _, scores = step.method.gradients(step, x, LABELS)
    assert all(p.grad is not None for p in model.parameters()) and scores.std() > 1e-3
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), scores)
    torch.manual_seed(0)
    walk = Walk(model.train(), x, step.method.fire)
    walk.scores()
    within = {f"{name}.1": unit.dropout for name, unit in model.units() if hasattr(unit, "dropout")}
    places = [*within, *(name for name, unit in model.units() if isinstance(unit, Dropout))]
    assert len(places) == dropouts
    for place in places:
        rate, train = walk.values[place]
        assert ((rate == 0) == (train == 0).all(0)).all()
        torch.testing.assert_close(rate.detach(), train.mean(0))


def test_frames_are_their_own_trains():
    torch.manual_seed(2)
    model = Blocks().double()
    step = stepping(model)
    frames = torch.randn(6, 4, 2, 6, 6, dtype=torch.float64)
    _, scores = step.method.gradients(step, frames, LABELS)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(frames).float(), scores)


def test_batch_norms_weights_are_drawn_anew_and_thresholds_are_those_of_counts():
    torch.manual_seed(4)
    model = SpikingResNet("resnet6w64", "if", 4, in_channels=1, image_size=8, neuron_options=COUNTING)
    step = stepping(model)
    drawn = torch.cat([bn.weight.detach() for bn in model.modules() if isinstance(bn, BatchNorm2d)])
    assert drawn.std().item() == pytest.approx(2, rel=0.2) and abs(drawn.mean().item()) < 0.3
    assert {neuron.threshold.item() for neuron in named_neurons(model).values()} == {4.0}
    assert {bn.momentum for bn in model.modules() if isinstance(bn, BatchNorm2d)} == {MOMENTUM}
    assert step.method.gain_std == 2.0
    kept = Blocks()
    stepping(kept, gain_std=0.0)
    assert kept.first.bn.weight.eq(1).all()


@pytest.mark.parametrize("neuron", ["relu", "plif"])
def test_neurons_without_a_threshold_are_refused(neuron):
    model = SpikingResNet(**tiny_plan(None, neuron).model)
    kind = type(model.stem[0].neuron).__name__
    with pytest.raises(UserError, match=f"and {kind} of layer stem1 has none; choose neuron if"):
        stepping(model)


def test_units_that_do_not_say_what_they_compute_are_refused():
    model = make_network("sew_resnet18w4", "if", 2, neuron_options=COUNTING)
    step = stepping(model)
    with pytest.raises(UserError, match=r"and stage1\.block1, \w+, says nothing that it knows; choose another"):
        step(torch.randn(2, 3, 32, 32), LABELS[:2], 0.1)


# progressive tandem learning


@pytest.mark.parametrize(("total", "count"), [(0.25, 0), (0.75, 1), (3, 6), (8, 16), (10, 16)])
def test_counts_of_an_input_at_the_first_timestep(total, count):
    """V_th = 1/2, T = 16: min(T, floor(total / V_th)), a clipped ReLU in steps of V_th; all of it here at once."""
    neuron = make_neuron("if", threshold=0.5, **COUNTING)
    at_first = torch.zeros(16, 1)
    at_first[0] = total
    assert neuron(at_first).sum() == count
    assert neuron(torch.full((16, 1), total / 16)).sum() == count  # the same spread over time


def test_a_bias_in_each_timestep_inhibits_too_late():
    neuron = make_neuron("if", threshold=0.5, **COUNTING)

    def times(image: float, bias: float) -> list[int]:
        x = torch.full((16, 1), bias / 16)
        x[0] += image
        return [t + 1 for t, b in enumerate(neuron(x).flatten().tolist()) if b]

    assert times(2, 1) == [1, 2, 3, 4, 8, 16]
    assert times(2, -1) == [1, 2, 3]
    assert times(0, 2) == [4, 8, 12, 16]


def test_a_percentile_is_a_number_of_the_tensor():
    values = torch.arange(1001.0)[torch.randperm(1001, generator=torch.Generator().manual_seed(0))].view(7, 11, 13)
    assert [percentile_of(values, p).item() for p in (100, 99.9, 50, 0)] == [1000, 999, 500, 0]


@pytest.fixture
def source():
    torch.manual_seed(5)
    network = Blocks(lambda channels: make_neuron("relu"), timesteps=1)
    network.train()(pictures(torch.float32))
    return Source({"id": "teacher", "recipe": recipe().as_dict()}, frozen(network))


def converting(source: Source, epochs: int = 10, **options) -> TrainingStep:
    return stepping(Blocks(), "ptl", source, {"epochs": epochs}, **options)


def test_weights_are_the_sources_and_stages_have_equally_many_epochs(source):
    step = converting(source)
    theirs = source.network.state_dict()
    assert all(torch.equal(tensor, step.model.state_dict()[name]) for name, tensor in theirs.items())
    stages = []
    for epoch in range(10):
        step.method.epoch(epoch / 10)
        stages.append(step.method.stage)
    assert stages == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    uneven = converting(source, 7).method
    shares = [(uneven.epoch(epoch / 7), uneven.stage)[1] for epoch in range(7)]
    assert shares == [1, 2, 3, 3, 4, 5, 5]
    few = converting(source, 2).method
    assert [(few.epoch(epoch / 2), few.stage)[1] for epoch in range(2)] == [3, 5]


def at_stage(step: TrainingStep, epoch: int, x: Tensor | None = None) -> dict[str, Tensor]:
    """Gradients of a step in an epoch of ten."""
    step.method.epoch(epoch / 10)
    step(pictures(torch.float32) if x is None else x, LABELS, 0.01)
    return {name: p.grad for name, p in step.model.named_parameters() if p.grad is not None}


def thresholds(model: SpikingNetwork) -> list[float]:
    return [neuron.threshold.item() for neuron in named_neurons(model).values()]


def test_a_layer_begins_to_spike_at_the_percentile_of_its_own_activations(source):
    step = converting(source, percent=90.0)
    first = step.model.first
    with torch.no_grad():
        a = F.batch_norm(first.conv(pictures(torch.float32)), None, None, first.bn.weight, first.bn.bias, True).relu()
    at_stage(step, 0)
    calibrated = thresholds(step.model)
    assert calibrated[0] == pytest.approx(percentile_of(a, 90.0).item(), rel=1e-5)
    assert calibrated[1:] == [1.0] * 4
    at_stage(step, 1)
    assert thresholds(step.model) == calibrated  # once for all
    at_stage(step, 2)
    assert thresholds(step.model)[0] == calibrated[0]
    assert [t != 1 for t in thresholds(step.model)] == [True, True, False, False, False]
    assert step.method.tensors()["converted"] == 2


def test_layers_that_spike_are_frozen_but_the_first_in_its_stage(source):
    """Their batch norms' running statistics go on."""
    step = converting(source)
    assert set(at_stage(step, 0)) == {name for name, _ in step.model.named_parameters()}
    before = {name: tensor.clone() for name, tensor in step.model.state_dict().items()}
    behind = at_stage(step, 2)  # the second layer lies within the first block
    of_frozen = ("first.", "second.conv1", "second.bn1")
    assert set(behind) == {name for name, _ in step.model.named_parameters() if not name.startswith(of_frozen)}
    for epoch in (4, 6):
        assert set(at_stage(step, epoch)) < set(behind)
    assert set(at_stage(step, 8)) == {"classifier.weight", "classifier.bias"}
    for name, tensor in step.model.state_dict().items():
        if name.startswith(of_frozen) and "threshold" not in name:
            assert torch.equal(tensor, before[name]) == ("running" not in name and "tracked" not in name), name


def test_the_gradient_of_a_count_is_handed_on_as_it_is(source):
    """dr/da = 1/T in the first stage, whatever the threshold; with T = 1 and as classifier the layer behind it."""
    step = converting(source)
    step.method.epoch(0)
    step.method.layer = 0
    a = torch.tensor([[[[-1.0, 0.5, 3.0]]]], requires_grad=True)
    rate, spikes = step.method.fire(step.model.first.neuron, Pair(a, a.detach().expand(4, 1, 1, 1, 3)))
    assert torch.equal(rate, spikes.mean(0))
    assert torch.autograd.grad(rate.sum(), a)[0].tolist() == [[[[0, 0.25, 0.25]]]]


def test_once_all_spike_the_network_is_what_evaluation_computes(source):
    step = converting(source)
    step.method.epoch(0.9)  # all at once: each layer is calibrated on the spikes below it
    x = pictures(torch.float32)
    _, scores = step.method.gradients(step, x, LABELS)
    with torch.no_grad():
        torch.testing.assert_close(step.model.eval()(x), scores)


class Projected(Blocks):
    """A convolution and a block with a projection: batch norm behind every layer of neurons but the last."""

    def units(self):
        return [("first", self.first), ("second", self.second)]


@pytest.fixture
def scale_free():
    """A network without spikes in which a layer's scale says nothing, and pictures."""
    torch.manual_seed(6)
    network = Projected(lambda channels: make_neuron("relu"), timesteps=1).double()
    return network, torch.randn(40, 2, 6, 6, dtype=torch.float64)


def without_spikes(network: SpikingNetwork, x: Tensor, scale: float = 1.0) -> Walk:
    """The network in training mode, with the first layer's activations times a factor."""
    factors = iter([scale, 1.0, 1.0])
    walk = Walk(network.train(), x, lambda _neuron, current: Pair(next(factors) * current.rate.relu(), None))
    with torch.no_grad():
        walk.scores()
    return walk


def test_a_layer_s_scale_is_taken_back_by_the_batch_norm_behind_it(scale_free):
    """Counts in place of activations, a T / P: nothing else in the network changes, but for batch norm's epsilon."""
    plain, counts = without_spikes(*scale_free), without_spikes(*scale_free, scale=16 / 3.0)
    torch.testing.assert_close(counts.values["first"].rate, 16 / 3.0 * plain.values["first"].rate)
    for place in ("second.conv1", "second.shortcut.conv", "classifier"):
        torch.testing.assert_close(counts.values[place].rate, plain.values[place].rate, rtol=1e-3, atol=1e-4)


def test_with_many_timesteps_it_is_the_network_without_spikes(scale_free):
    """At the largest activation as threshold; the last layer's is left to the classifier's weights."""
    network, x = scale_free
    given = Source({"id": "teacher", "recipe": recipe().as_dict()}, frozen(network))
    expected = without_spikes(network, x).values

    def rates(timesteps: int) -> Tensor:
        step = stepping(Projected(timesteps=timesteps).double(), "ptl", given, percent=100.0)
        for bn in step.model.modules():
            if isinstance(bn, BatchNorm2d):
                bn.momentum = 1.0  # so that spikes have the statistics of this very batch
        step.method.epoch(0.9)
        step.method.layer = 0
        walk = Walk(step.model, x, step.method.fire)
        with torch.no_grad():
            walk.scores()
        return step.model.second.neuron2.threshold * walk.values["second.2"].rate

    wanted = expected["second.2"].rate
    errors = [(rates(timesteps) - wanted).abs().mean() / wanted.mean() for timesteps in (8, 64, 512)]
    assert errors[0] > 4 * errors[1] > 8 * errors[2] and errors[2] < 0.01


def test_what_a_checkpoint_keeps_is_enough(source):
    step, other = converting(source), converting(source)
    at_stage(step, 3)
    other.model.load_state_dict(step.model.state_dict())
    other.method.load(step.method.tensors())
    x = 2 * pictures(torch.float32)  # on which thresholds would be others
    first, second = (at_stage(one, 3, x) for one in (step, other))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    assert thresholds(step.model) == thresholds(other.model)


def test_what_cannot_be_converted_is_refused(source):
    with pytest.raises(UserError, match="set epochs to at least 1"):
        converting(source, epochs=0)
    with pytest.raises(UserError, match="that of BinaryLIF in layer first is not to be set; choose neuron if"):
        stepping(Blocks(lambda channels: make_neuron("binary")), "ptl", source)
    spiking = Source(source.record, frozen(Blocks()))
    with pytest.raises(UserError, match="source teacher has spiking neurons; choose a run of neuron relu"):
        stepping(Blocks(), "ptl", spiking)
