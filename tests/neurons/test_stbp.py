"""The iterative LIF of STBP: worked examples, a plain loop, and what it shares with the paper's binary neuron."""

import pytest
import torch

from ternary_spike import BinaryLIF, make_neuron
from ternary_spike.reparam import fold
from ternary_spike.reparam.equivalence import compare
from tests.helpers.networks import random_network

TET = {"threshold": 1.0, "decay": 0.5, "surrogate": "triangle", "window": 1.0}
RECTANGLE = {"surrogate": "rectangle", "window": 0.5}


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def drawn(seed: int) -> torch.Tensor:
    return torch.randn(5, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_a_worked_example_of_tet():
    """Its slopes dv/du by step: with 1 - |b| the silent ones would be 1."""
    neuron, x = make_neuron("stbp", **TET), double(0.8, 0.8, 0.4)
    v, potentials, spikes, slopes = None, [], [], []
    for current in x:
        current = current.clone().requires_grad_()
        u, b, v = neuron.update(current, None if v is None else v.detach())
        slopes.append(torch.autograd.grad(v, current)[0].item())
        potentials.append(u.item())
        spikes.append(b.item())
    assert potentials == pytest.approx([0.8, 1.2, 0.4]) and spikes == [0, 1, 0]
    assert slopes == pytest.approx([0.36, -0.96, 0.84])


def test_a_worked_example_of_tdbn():
    neuron, told = make_neuron("stbp", **RECTANGLE), []
    neuron.observer = lambda u, b: told.extend((u, b))
    neuron(double(0.4, 0.45, 0.6, 0.2))
    assert told[0].tolist() == pytest.approx([0.4, 0.55, 0.6, 0.2]) and told[1].tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(("options", "width"), [(TET, 1.0), (RECTANGLE, 0.5)])
@pytest.mark.parametrize("detach_reset", [True, False])
def test_gradients_are_those_of_a_plain_loop(options, width, detach_reset):
    neuron = make_neuron("stbp", **options, detach_reset=detach_reset)
    x, weight = drawn(0).requires_grad_(), drawn(1)
    v, spikes = torch.zeros_like(x[0]), []
    for now in x:
        u = neuron.decay * v + now
        distance = (u.detach() - neuron.threshold).abs()
        slope = (1 - distance).clamp(min=0) if options is TET else (distance <= width).double()
        b = (u.detach() >= neuron.threshold).double() + slope * (u - u.detach())
        v = u * (1 - (b.detach() if detach_reset else b))
        spikes.append(b)
    expected = torch.stack(spikes)
    assert torch.equal(neuron(x), expected)
    (found,) = torch.autograd.grad((neuron(x) * weight).sum(), x)
    torch.testing.assert_close(found, torch.autograd.grad((expected * weight).sum(), x)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("detach_reset", [True, False])
def test_it_spikes_as_the_papers_neuron_and_with_a_detached_reset_learns_as_it(detach_reset):
    gradients = []
    for neuron in (make_neuron("stbp", detach_reset=detach_reset), BinaryLIF(detach_reset=detach_reset)):
        x = drawn(0).float().requires_grad_()
        spikes = neuron(x)
        (spikes * drawn(1)).sum().backward()
        gradients.append((spikes, x.grad))
    assert torch.equal(gradients[0][0], gradients[1][0])
    assert torch.equal(gradients[0][1], gradients[1][1]) == detach_reset


def test_a_network_folds_exactly():
    model, x = random_network(1, "resnet6", "stbp", 8)
    result = compare(model, fold(model), [x], torch.float64)
    assert result["differing_spikes"] == 0 and result["largest_relative_logit_difference"] <= 1e-12
