"""The addition-only executor: the dense network's spikes, without a single floating-point multiplication."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ternary_spike.reparam import synops
from ternary_spike.reparam.executor import AdditionOnlyExecutor, Operations
from ternary_spike.reparam.folding import fold
from tests.helpers.networks import random_network

SMALL = [("resnet20w4", 16), ("resnet19w4", 12), ("resnet18w4", 32), ("resnet34w2", 32), ("resnet6w4", 9)]
FORBIDDEN = (
    "mul", "div", "mm", "bmm", "addmm", "addmv", "addbmm", "baddbmm", "mv", "dot", "matmul", "linear", "convolution",
    "conv2d", "addcmul", "addcdiv", "pow", "square", "reciprocal", "lerp", "prod", "ldexp", "einsum", "mean",
)  # fmt: skip


class NoMultiplication(TorchDispatchMode):
    """Raises when torch is asked to multiply, in whatever guise."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__.rstrip("_")
        if name in FORBIDDEN or kwargs.get("alpha", 1) != 1:
            raise AssertionError(f"multiplication: {func}")
        return func(*args, **kwargs)


class GuardedExecutor(AdditionOnlyExecutor):
    """The executor with everything behind the encoder under the guard."""

    def _encode(self, image, counted):
        with torch.utils._python_dispatch._disable_current_modes():
            return super()._encode(image, counted)


def dyadic(network, step=2.0**-12):
    """The same network with its weights rounded to multiples of a power of two: every sum of spikes is then exact."""
    network.weights = {name: (w / step).round() * step for name, w in network.weights.items()}
    return network


def spikes_of_dense(network, x):
    found = {}
    network.compute(x, lambda name, _, b: found.__setitem__(name, b))
    return found


@pytest.mark.parametrize("architecture, size", SMALL)
@pytest.mark.parametrize("neuron", ["binary", "trainable"])
def test_same_spikes_as_the_dense_network_without_multiplication(architecture, size, neuron):
    model, x = random_network(1, architecture, neuron, size)
    network = fold(model)
    if "18" not in architecture and "34" not in architecture:  # their 3x3 pooling divides by 9: no sum is exact
        network = dyadic(network)
        x = (x * 256).round() / 256
    x = torch.cat([x, x.flip(-1), x.flip(-2)]).double()[:20]
    dense, logits = spikes_of_dense(network, x), network.compute(x)
    executor = GuardedExecutor(network)
    for i, image in enumerate(x):
        found = {}
        with NoMultiplication():
            scores = executor.compute(image, found.__setitem__)
        assert found.keys() == dense.keys()
        for name, spikes in found.items():
            assert torch.equal(spikes.double(), dense[name][:, i]), (name, i)
        torch.testing.assert_close(scores, logits[i], rtol=1e-12, atol=1e-12)


def test_the_guard_itself_catches_a_multiplication():
    with pytest.raises(AssertionError, match="multiplication"), NoMultiplication():
        torch.ones(2) * torch.ones(2)
    with pytest.raises(AssertionError, match="multiplication"), NoMultiplication():
        torch.nn.functional.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3))
    with pytest.raises(AssertionError, match="multiplication"), NoMultiplication():
        torch.ones(2).add_(torch.ones(2), alpha=2)


@pytest.mark.parametrize("architecture, size", [("resnet6", 9), ("resnet20w4", 15), ("resnet18w4", 32)])
def test_counted_additions_are_the_synaptic_operations(architecture, size):
    model, x = random_network(2, architecture, "trainable", size)
    network = fold(model)
    expected, _, _ = synops.count(network, [x.double()])
    counted = Operations()
    executor = AdditionOnlyExecutor(network)
    for image in x.double():
        executor.compute(image, operations=counted)
    assert counted.additions.keys() == expected.keys()
    for name, additions in counted.additions.items():
        assert additions == round(expected[name] * len(x)), name


def test_other_operations_are_counted():
    model, x = random_network(3, "resnet6w4", "ternary", 8, timesteps=3)
    network = fold(model)
    counted = Operations()
    AdditionOnlyExecutor(network).compute(x[0].double(), operations=counted)
    shapes = network.shapes()
    neurons = sum(torch.Size(shapes[name]).numel() for name in network.spike_layers())
    assert counted.comparisons == 2 * 3 * neurons
    assert counted.exponent_shifts == counted.membrane_additions == 2 * neurons  # the first timestep has no past
    assert counted.multiplications == {"encoder": 4 * 3 * 9 * 64, "decay": 0}
    projection = torch.Size(shapes["stage2.block1.add"]).numel()
    assert counted.current_additions == 3 * projection


@pytest.mark.parametrize("decay, multiplies", [(0.0, False), (0.5, False), (1.0, False), (0.3, True)])
def test_decay_needs_multiplication_only_where_it_is_no_power_of_two(decay, multiplies):
    model, x = random_network(4, "resnet6w4", "ternary", 8, neuron_options={"decay": decay})
    network = fold(model)
    counted, found = Operations(), {}
    AdditionOnlyExecutor(network).compute(x[0].double(), found.__setitem__, counted)
    assert (counted.multiplications["decay"] > 0) == multiplies
    for name, spikes in spikes_of_dense(network, x[:1].double()).items():
        assert torch.equal(found[name].double(), spikes[:, 0]), name


def test_event_frames():
    generator = torch.Generator().manual_seed(5)
    model, _ = random_network(5, "resnet6w4", "binary", 10, channels=2, timesteps=3)
    network = dyadic(fold(model))
    x = torch.randint(0, 3, (1, 3, 2, 10, 10), generator=generator).double()
    found, counted = {}, Operations()
    AdditionOnlyExecutor(network).compute(x[0], found.__setitem__, counted)
    for name, spikes in spikes_of_dense(network, x).items():
        assert torch.equal(found[name].double(), spikes[:, 0]), name
    assert counted.multiplications["encoder"] == 3 * 4 * 2 * 9 * 100


def test_the_papers_resnet20_at_half_its_width_on_one_image():
    torch.manual_seed(6)
    model, x = random_network(6, "resnet20w32", "trainable", 32)
    network = dyadic(fold(model))
    image = ((x[:1] * 256).round() / 256).double()
    found, counted = {}, Operations()
    executor = GuardedExecutor(network)
    with NoMultiplication():
        executor.compute(image[0], found.__setitem__, counted)
    for name, spikes in spikes_of_dense(network, image).items():
        assert torch.equal(found[name].double(), spikes[:, 0]), name
    expected, _, _ = synops.count(network, [image])
    assert counted.additions == {name: round(n) for name, n in expected.items()}
