"""MPBN: worked examples, limits, what it is blind to, gradients, and the thresholds that it folds to."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from ternary_spike import SpikingResNet, UserError, make_neuron
from ternary_spike.membrane.channel_thresholds import ChannelThresholds
from ternary_spike.membrane.dynamics import spike_derivative, surrogate_curve
from ternary_spike.models.base import named_neurons
from ternary_spike.models.batch_norm import BatchNorm2d
from ternary_spike.models.known_modules import NotFoldable
from ternary_spike.models.mpbn import NormalisedLIF
from ternary_spike.reparam import energy, fold, onnx_export
from ternary_spike.reparam.equivalence import compare
from ternary_spike.reparam.executor import Operations
from ternary_spike.reparam.network import STRUCTURE_FILE, FoldedNetwork
from tests.helpers.networks import random_network
from tests.helpers.rivals import spikingjelly
from tests.reparam.test_executor import GuardedExecutor, NoMultiplication

SPIKES = ("binary", "ternary", "trainable")
T, C = 4, 3


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def mpbn(channels: int = C, spikes: str = "binary", eps: float = 1e-30, **options) -> NormalisedLIF:
    torch.manual_seed(0)
    neuron = make_neuron("mpbn", channels, spikes=spikes, **options).double()
    neuron.bn.eps = eps
    return neuron


def current(seed: int = 0) -> Tensor:
    return torch.randn(T, 5, C, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def with_statistics(neuron: NormalisedLIF, mean, variance, weight, bias) -> NormalisedLIF:
    """The neuron in evaluation with these numbers in its norm, whose eps is then far below their last digit."""
    for tensor, value in zip(
        (neuron.bn.running_mean, neuron.bn.running_var, neuron.bn.weight, neuron.bn.bias),
        (mean, variance, weight, bias),
        strict=True,
    ):
        tensor.data = torch.as_tensor(value, dtype=torch.float64).expand(tensor.shape).clone()
    return neuron.eval()


def column(*values: float) -> Tensor:
    """Values as a batch of one channel: [1, B, 1, 1, 1]."""
    return double(*values).view(1, -1, 1, 1, 1)


@pytest.mark.parametrize(
    ("gain", "threshold", "u", "n", "fires"),
    [
        (1.0, 0.25, (0.2, 0.3), (0.4, 0.6), (0, 1)),  # silent below
        (-1.0, -0.05, (-0.1, 0.0), (0.6, 0.4), (1, 0)),  # the opposite comparison
    ],
)
def test_a_threshold_as_worked_out_by_hand(gain, threshold, u, n, fires):
    neuron, told = with_statistics(mpbn(1), 0.1, 0.25, gain, 0.2), []
    neuron.observer = lambda potential, b: told.extend((potential.flatten(), b.flatten()))
    neuron(column(*u))
    torch.testing.assert_close(told[0], double(*n))
    assert told[1].tolist() == list(fires)
    folded = neuron.folds().thresholds
    assert (folded.direction * folded.positive).item() == pytest.approx(threshold, abs=1e-12)
    assert folded.direction.item() == gain and folded.negative is None
    assert folded.run(column(*u), neuron.dynamics)[1].flatten().tolist() == list(fires)


@pytest.mark.parametrize("bias, expected", [(0.7, 1), (0.5, 1), (0.3, 0), (-0.5, -1), (-0.7, -1)])
@pytest.mark.parametrize("spikes", ["binary", "ternary"])
def test_without_a_gain_a_channel_fires_always_or_never(spikes, bias, expected):
    neuron = with_statistics(mpbn(1, spikes), 0.1, 0.25, 0.0, bias)
    expected = max(expected, 0) if spikes == "binary" else expected
    x = column(-5, -0.1, 0, 0.2, 9)
    assert neuron(x).unique().tolist() == [expected]
    assert neuron.folds().thresholds.run(x, neuron.dynamics)[1].unique().tolist() == [expected]


def test_ternary_neurons_have_two_thresholds_a_channel():
    """n = (u - 0.1) / 0.5 + 0.2 reaches 0.5 at 0.25 and -0.5 at -0.25; with the sign turned -0.05 and 0.45."""
    for gain, positive, negative in ((1.0, 0.25, -0.25), (-1.0, -0.05, 0.45)):
        neuron = with_statistics(mpbn(1, "ternary"), 0.1, 0.25, gain, 0.2)
        found = neuron.folds().thresholds
        assert (gain * found.positive).item() == pytest.approx(positive, abs=1e-12)
        assert (gain * found.negative).item() == pytest.approx(negative, abs=1e-12)
        u = column(positive + gain * 0.01, positive - gain * 0.01, negative + gain * 0.01, negative - gain * 0.01)
        assert neuron(u).flatten().tolist() == [1, 0, 0, -1]


def test_each_timestep_has_its_own_statistics_and_moves_the_running_ones():
    """u is 0, 2 and then 1, 3; both times n is -1, 1, and the second neuron fires."""
    neuron, told, means = mpbn(1), [], []
    neuron.observer = lambda n, b: told.append((n.flatten().tolist(), b.flatten().tolist()))
    v = None
    for now, kept in ((column(0, 2), [0, 0]), (column(1, 3), [1, 0])):
        _, v = neuron.step(now[0], v)
        assert v.flatten().tolist() == kept
        means.append(neuron.bn.running_mean.item())
    assert [(pytest.approx(n), b) for n, b in told] == [([-1, 1], [0, 1])] * 2
    assert means == pytest.approx([0.1, 0.29]) and neuron.bn.num_batches_tracked == 2
    whole = mpbn(1)
    whole(torch.cat([column(0, 2), column(1, 3)]))
    assert whole.bn.running_mean.item() == pytest.approx(0.29)


def test_what_is_kept_is_the_potential_and_not_its_norm():
    neuron = with_statistics(mpbn(1), 0.1, 0.25, 1.0, 0.2)
    _, v = neuron.step(column(0.2)[0])
    assert v.item() == pytest.approx(0.2)  # where n is 0.4
    _, v = neuron.step(column(0.1)[0], v)
    assert v.item() == pytest.approx(0.15)


@pytest.mark.parametrize("spikes", SPIKES)
def test_with_a_norm_that_does_nothing_it_is_the_plain_neuron_to_the_bit(spikes):
    neuron, plain = mpbn(spikes=spikes), make_neuron(spikes)
    x = current()
    assert not torch.equal(neuron(x), plain(x))  # in training batch statistics norm
    with_statistics(neuron, 0.0, 1.0, 1.0, 0.0)
    assert torch.equal(neuron(x), plain(x)) and neuron(x).count_nonzero() > 0


def test_the_surrogate_is_that_of_the_code_and_sees_the_normalised_potential():
    """k sech^2(k (n - 1/2)) / (2 tanh(k/2)) with k = 3 on [0, 1]; n is 2 u - 1 here."""
    neuron = with_statistics(mpbn(1), 0.5, 0.25, 1.0, 0.0)
    u = column(0.75, 0.5, 1.0, 0.499, 1.001).requires_grad_()
    neuron(u).sum().backward()
    expected = 2 * double(1.657187, 0.299465, 0.299465, 0, 0)
    torch.testing.assert_close(u.grad.flatten(), expected, rtol=0, atol=2e-6)


def plain_loop(neuron: NormalisedLIF, x: Tensor) -> Tensor:
    """The equations written out, with the surrogate's derivative in the place of the step's."""
    d, v, spikes = neuron.dynamics, torch.zeros_like(x[0]), []
    curve = surrogate_curve(d, neuron.temperature)
    for now in x:
        u = d.decay * v + now
        mean = u.mean((0, 2, 3), keepdim=True)
        n = (u - mean) / ((u - mean) ** 2).mean((0, 2, 3), keepdim=True).add(neuron.bn.eps).sqrt()
        n = n * neuron.bn.weight.view(-1, 1, 1) + neuron.bn.bias.view(-1, 1, 1)
        still = n.detach()
        hard = (still >= d.threshold).double() - (neuron.signed * (still <= -d.threshold)).double()
        b = hard + spike_derivative(still, d, curve) * (n - still)
        reset = b.detach() if d.detach_reset else b
        v = u * (1 - (reset * hard if neuron.signed else reset))  # |b| has the gradient b db
        spikes.append(b if neuron.amplitude is None else b * neuron.amplitude)
    return torch.stack(spikes)


@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("spikes", SPIKES)
def test_gradients_are_those_of_a_plain_loop(spikes, detach_reset):
    neuron, x = mpbn(spikes=spikes, eps=1e-3, detach_reset=detach_reset), current().requires_grad_()
    neuron.bn.weight.data, neuron.bn.bias.data = double(0.5, -1.5, 2), double(0.1, -0.2, 0.3)
    leaves, weight = [x, *neuron.parameters()], current(1)
    found, expected = neuron(x), plain_loop(neuron, x)
    assert torch.equal(found, expected) and found.count_nonzero() > 50
    one, other = (torch.autograd.grad((y * weight).sum(), leaves) for y in (found, expected))
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("spikes", SPIKES)
def test_in_training_it_is_blind_to_the_size_of_its_input(spikes):
    """And so the sum of x dL/dx over time and places is 0 for each channel."""
    neuron, x = mpbn(spikes=spikes), current().requires_grad_()
    y = neuron(x)
    assert torch.equal(neuron(x * double(0.1, 3, 50).view(C, 1, 1)), y)
    (grad,) = torch.autograd.grad((y * current(1)).sum(), x)
    products = (x * grad).transpose(0, 2).flatten(1)
    assert products.sum(1).abs().max() < 1e-12 and products.abs().sum(1).min() > 1


@pytest.mark.parametrize("spikes", ["binary", "ternary"])
def test_a_norm_in_front_learns_no_size(spikes):
    """Its gain g and bias c have g dL/dg + c dL/dc = 0; with a single timestep both gradients are 0."""
    for steps in (T, 1):
        neuron, norm = mpbn(spikes=spikes), BatchNorm2d(C).double()
        norm.weight.data, norm.bias.data = double(0.5, 1.5, -2), double(0.3, -0.2, 0.1)
        (neuron(norm(current()[:steps])) * current(1)[:steps]).sum().backward()
        g, c = norm.weight.grad, norm.bias.grad
        assert (norm.weight * g + norm.bias * c).abs().max() < 1e-12
        assert (g.abs().max() > 0.1) == (c.abs().max() > 0.1) == (steps > 1)
        if steps == 1:
            assert max(g.abs().max(), c.abs().max()) < 1e-12
            alone = neuron(norm(current()[:1]))
            norm.weight.data, norm.bias.data = double(7, 0.1, -30), double(1, 2, 3)  # of the same signs
            assert torch.equal(neuron(norm(current()[:1])), alone)


def turned(spikes: str, architecture: str = "resnet6w4", size: int = 9, **options):
    """A network whose norms in front of spikes have gains of either sign and, in one channel, none."""
    chosen = {"spikes": spikes, **options}
    if spikes == "trainable":
        chosen["amplitude_per"] = "channel"
    model, x = random_network(1, architecture, "mpbn", size, neuron_options=chosen)
    generator = torch.Generator().manual_seed(2)
    for neuron in named_neurons(model).values():
        sign = torch.where(torch.rand(len(neuron.bn.weight), generator=generator) < 0.4, -1.0, 1.0)
        neuron.bn.weight.data *= sign
        neuron.bn.weight.data[0], neuron.bn.bias.data[0] = 0.0, 0.7
    return model, x


@pytest.mark.parametrize("spikes", SPIKES)
def test_a_network_folds_exactly_and_runs_by_additions_and_in_onnx(spikes):
    model, x = turned(spikes)
    folded = fold(model)
    result = compare(model, folded, [x], torch.float64)
    assert result["differing_spikes"] == 0 and result["largest_relative_logit_difference"] <= 1e-12
    firing, executor, counted = {}, GuardedExecutor(folded), Operations()
    folded.compute(x.double(), lambda name, _, b: firing.__setitem__(name, b))
    for i, image in enumerate(x[:3].double()):
        found = {}
        with NoMultiplication():
            executor.compute(image, found.__setitem__, counted)
        assert all(torch.equal(found[name].double(), b[:, i]) for name, b in firing.items())
    per_channel = [b.abs().mean((0, 1, 3, 4)) for b in firing.values()]
    assert all(rates[0] == 1 and 0.05 < rates[1:].mean() < 0.9 for rates in per_channel)
    neurons = sum(torch.Size(folded.shapes()[name]).numel() for name in firing)
    assert counted.comparisons == 3 * 2 * neurons * (1 if spikes == "binary" else 2)
    assert onnx_export.compare(folded, [x])["differing_spikes"] <= 1e-4 * result["spikes"]
    assert energy.measure(folded, [x.double()]) == energy.measure_itself(model.double(), [x.double()])


def test_a_threshold_of_the_wrong_side_is_caught():
    """A fold that forgets to turn one comparison is no fold."""
    model, x = turned("binary")
    folded = fold(model)
    direction = folded.weights["stage1.block1.1.direction"]
    assert (direction < 0).any()
    folded.weights["stage1.block1.1.direction"] = direction.abs()
    assert compare(model, folded, [x], torch.float64)["differing_spikes"] > 0


@pytest.mark.parametrize(("architecture", "size"), [("resnet20w4", 16), ("resnet18w2", 33)])
def test_other_architectures_fold_too(architecture, size):
    model, x = turned("trainable", architecture, size, decay=0.5, threshold=0.4)
    assert compare(model, fold(model), [x], torch.float64)["differing_spikes"] == 0


def test_event_frames_fold_too():
    model, _ = random_network(3, "resnet6w4", "mpbn", 10, channels=2, timesteps=3)
    x = torch.randint(0, 4, (4, 3, 2, 10, 10), generator=torch.Generator().manual_seed(0)).float()
    result = compare(model, fold(model), [x], torch.float64)
    assert result["differing_spikes"] == 0 and result["spikes"] > 0


def test_what_is_saved_is_read_and_computes_the_same(tmp_path):
    model, x = turned("ternary")
    folded = fold(model)
    folded.save(tmp_path)
    loaded = FoldedNetwork.load(tmp_path)
    assert torch.equal(loaded.compute(x.double()), folded.compute(x.double()))
    x[0, 0, 0, 0] = float("nan")
    assert loaded.compute(x.double()).isnan().any(1).tolist() == [True] + [False] * 7


DAMAGES = {
    "one missing": (lambda w: w.pop("stem1.positive"), "stem1.positive"),
    "of other channels": (
        lambda w: w.update({"stem1.negative": w["stem1.negative"][:2].contiguous()}),
        r"stem1.negative has the shape \(2, 1, 1\) for 4 channels",
    ),
    "a direction of 2": (lambda w: w.update({"stem1.direction": 2 * w["stem1.direction"]}), "direction must be -1, 0"),
    "two ways at once": (
        lambda w: w.update({"stem1.negative": w["stem1.positive"].clone()}),
        "stem1.negative must be below stem1.positive",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_thresholds_that_are_out_of_order_are_refused(tmp_path, damage):
    change, message = DAMAGES[damage]
    folded = fold(turned("ternary")[0])
    change(folded.weights)
    folded.save(tmp_path)
    with pytest.raises(UserError, match=f"{STRUCTURE_FILE}.*{message}"):
        FoldedNetwork.load(tmp_path)


def test_a_norm_of_another_kind_or_with_a_hook_is_not_foldable():
    model, _ = turned("binary")
    other = copy.deepcopy(model)
    model.stem[0].neuron.bn = nn.Identity()
    with pytest.raises(NotFoldable, match="layer stem1, NormalisedLIF, does not say what it is once folded"):
        fold(model)
    other.stages[0][0].neuron1.bn.register_forward_hook(lambda *_: None)
    with pytest.raises(NotFoldable, match=r"stage1.block1.1 has a forward hook"):
        fold(other)


def test_every_layer_of_a_network_has_a_norm_of_its_channels():
    model = SpikingResNet("resnet20w4", "mpbn", 2, image_size=16)
    widths = [neuron.bn.num_features for neuron in named_neurons(model).values()]
    assert widths == [4] * 3 + [4] * 4 + [8] * 4 + [16] * 4 + [32] * 4
    assert len({id(neuron.bn) for neuron in named_neurons(model).values()}) == len(widths)
    assert isinstance(model.stem[0].neuron.folds().thresholds, ChannelThresholds)


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        (None, {}, "mpbn has a batch norm and needs to be told the channels of its layer"),
        (
            4,
            {"initial_amplitude": 2.0},
            "initial_amplitude is of mpbn neurons with spikes=trainable, not spikes=binary",
        ),
        (4, {"spikes": "ternary", "amplitude_per": "channel"}, "amplitude_per is of mpbn neurons with spikes=train"),
        (4, {"spikes": "graded"}, "spikes is 'graded', but must be one of binary, ternary, trainable"),
    ],
)
def test_what_cannot_be_is_one_line(channels, options, message):
    with pytest.raises(ValueError, match=message):
        make_neuron("mpbn", channels, **options)


def test_constants_and_kinds():
    neuron = make_neuron("mpbn", 4)
    assert (neuron.threshold, neuron.decay, neuron.signed, neuron.amplitude) == (0.5, 0.25, False, None)
    assert (neuron.surrogate, neuron.window, neuron.temperature) == ("tanh", 0.5, 3)
    assert (neuron.bn.eps, neuron.bn.momentum) == (1e-5, 0.1)
    assert (neuron.bn.weight == 1).all() and (neuron.bn.bias == 0).all()
    assert make_neuron("mpbn", 4, spikes="ternary").signed
    for per, shape in {"layer": (), "channel": (4, 1, 1)}.items():
        chosen = {"spikes": "trainable", "initial_amplitude": 1.5, "amplitude_per": per}
        amplitude = make_neuron("mpbn", 4, **chosen).amplitude
        assert amplitude.shape == shape and (amplitude == 1.5).all()


ARCTAN = {"threshold": 1.0, "surrogate": "atan", "window": 1 / math.pi}  # and in SpikingJelly ATan(2)


def beside(ours: NormalisedLIF, slope: float = 1.0) -> nn.Module:
    """SpikingJelly's MPBNLIFNode with the constants and the norm of ours, its surrogate for a potential u.

    Its tau is above 1, so that no leak is one of less than a rounding error.

    Args:
        ours: with the constants of :data:`ARCTAN`.
        slope: dn/du, where its surrogate has u - V_th and ours n - V_th.
    """
    theirs = spikingjelly("neuron").MPBNLIFNode(
        tau=1 / (1 - ours.decay) if ours.decay else math.nextafter(1.0, 2.0),
        v_threshold=ours.threshold,
        surrogate_function=spikingjelly("surrogate").ATan(2.0 * slope),
        detach_reset=ours.detach_reset,
        step_mode="m",
        out_channels=ours.bn.num_features,
    )
    theirs.vbn.eps = ours.bn.eps
    theirs.double().vbn.load_state_dict(ours.bn.state_dict())
    return theirs.train(ours.training)


def results(neuron: nn.Module, x: Tensor, leaves) -> tuple[Tensor, list[Tensor]]:
    """Spikes, and the gradients of the input and of other leaves."""
    x = x.clone().requires_grad_()
    spikes = neuron(x)
    return spikes, torch.autograd.grad((spikes * current(1)[: len(x)]).sum(), [x, *leaves])


@pytest.mark.full
@pytest.mark.parametrize("decay, timesteps", [(0.5, 1), (0.0, T)])
def test_spikingjelly_agrees_in_training_where_nothing_is_kept(decay, timesteps):
    """Statistics of each timestep, which move the running ones. From then on its state is another: see below."""
    ours, x = mpbn(eps=1e-5, decay=decay, **ARCTAN), current()[:timesteps]
    ours.bn.weight.data, ours.bn.bias.data = double(0.5, -1.5, 2), double(0.1, -0.2, 0.3)
    theirs = beside(ours)
    spikes, gradients = results(ours, x, [ours.bn.weight, ours.bn.bias])
    expected, others = results(theirs, x, [theirs.vbn.weight, theirs.vbn.bias])
    assert torch.equal(spikes, expected) and spikes.sum() > 20
    torch.testing.assert_close(gradients, others, rtol=1e-11, atol=1e-12)
    assert ours.bn.num_batches_tracked == theirs.vbn.num_batches_tracked == timesteps
    for statistic in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(ours.bn, statistic), getattr(theirs.vbn, statistic), rtol=1e-12, atol=0)


@pytest.mark.full
@pytest.mark.parametrize("detach_reset", [False, True])
def test_spikingjelly_agrees_where_the_norm_does_nothing(detach_reset):
    """Through time and its resets; at the threshold both fire, where the authors' code does not."""
    ours = with_statistics(mpbn(decay=0.5, detach_reset=detach_reset, **ARCTAN), 0.0, 1.0, 1.0, 0.0)
    theirs, x = beside(ours), 2 * current()
    x[0, 0, :, 0, 0] = double(1.0, 1.0, math.nextafter(1.0, 0.0))
    spikes, gradients = results(ours, x, [])
    expected, others = results(theirs, x, [])
    assert torch.equal(spikes, expected) and spikes[0, 0, :, 0, 0].tolist() == [1, 1, 0]
    torch.testing.assert_close(gradients, others, rtol=1e-12, atol=1e-12)


@pytest.mark.full
@pytest.mark.parametrize("detach_reset", [False, True])
def test_spikingjelly_agrees_in_evaluation_once_its_norm_is_in_its_thresholds(detach_reset):
    """Then it keeps u as ours always does. Gradients have one surrogate where dn/du is the same in all channels.

    Not that of the gain: theirs moves the threshold by it, ours u too, which is the same at the threshold alone.
    """
    variance, slope = double(0.3, 1.2, 2.7), 1.5
    ours = mpbn(eps=1e-5, decay=0.5, detach_reset=detach_reset, **ARCTAN)
    gain = slope * (variance + 1e-5).sqrt()
    with_statistics(ours, double(0.2, -0.1, 0.4), variance, gain, double(0.1, -0.3, 0.2))
    theirs = beside(ours, slope)
    theirs.re_parameterize_v_threshold()
    spikes, gradients = results(ours, current(), [ours.bn.bias])
    expected, others = results(theirs, current(), [theirs.beta])
    assert torch.equal(spikes, expected) and 50 < spikes.sum() < 800
    torch.testing.assert_close(gradients, others, rtol=1e-11, atol=1e-12)
    thresholds = (ours.threshold - theirs.beta) / gain * (variance + 1e-5).sqrt() + theirs.mu
    torch.testing.assert_close(ours.folds().thresholds.positive.flatten(), thresholds, rtol=1e-12, atol=0)


@pytest.mark.full
def test_spikingjelly_keeps_the_normalised_potential_before_it_is_folded():
    """n (1 - b), where the authors' code and ours have u (1 - b): so later timesteps, and its own fold, differ."""
    ours = with_statistics(mpbn(1, eps=1e-30, decay=0.5, **ARCTAN), 0.1, 0.25, 1.0, 0.2)
    theirs, x = beside(ours), column(0.3, 0.2, 0.6)
    spikes, kept = ours(x, return_state=True)
    assert torch.equal(theirs(x), spikes) and spikes.flatten().tolist() == [0, 0, 1]
    torch.testing.assert_close(kept.flatten(), double(0.3, 0.2, 0))
    torch.testing.assert_close(theirs.v.flatten(), double(0.6, 0.4, 0))
    later = torch.cat([x, column(0.3, 0.3, 0.3)])
    theirs.reset()
    assert not torch.equal(theirs(later), ours(later))


@pytest.mark.full
def test_spikingjelly_does_not_turn_the_comparison_of_a_channel_with_a_negative_gain():
    """As soon as its norm is folded: n = -2 u + 1.4 reaches 1 for u up to 0.2, and it fires from there on."""
    ours = with_statistics(mpbn(1, **ARCTAN), 0.1, 0.25, -1.0, 1.2)
    theirs, x = beside(ours), column(-1, 0.1, 0.3, 2)
    assert torch.equal(theirs(x), ours(x)) and ours(x).flatten().tolist() == [1, 1, 0, 0]
    theirs.re_parameterize_v_threshold()
    theirs.reset()
    assert theirs(x).flatten().tolist() == [0, 0, 1, 1]
