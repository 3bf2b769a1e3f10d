"""GLIF: worked examples, the neurons at the gates' ends, and gradients."""

import copy
import math

import pytest
import torch

from ternary_spike import BinaryLIF, SpikingResNet, make_neuron
from ternary_spike.neurons.glif import GatedLIF
from tests.helpers.rivals import spikingjelly

FAR = 40.0  # a raw parameter whose gate is 0 or 1


def gated(timesteps: int = 4, **raw: float) -> GatedLIF:
    """A layer with one set of parameters, the raw ones as given, in float64."""
    neuron = GatedLIF(timesteps).double()
    with torch.no_grad():
        for name, value in raw.items():
            neuron.raw[name].fill_(value)
    return neuron


def watched(neuron: GatedLIF, x) -> tuple[torch.Tensor, torch.Tensor]:
    told = []
    neuron.observer = lambda u, b: told.append((u, b))
    neuron(torch.as_tensor(x, dtype=torch.float64))
    return told[0]


def loop(x: torch.Tensor, p: dict[str, torch.Tensor]) -> torch.Tensor:
    """The unified equation in a plain loop over time; the rectangle in the place of the step's derivative."""
    al, be, ga, tau, leak, v_th, v_re = (
        1 / (1 + torch.exp(-p[name])) for name in ("alpha", "beta", "gamma", "decay", "leak", "threshold", "reset")
    )
    u, b, spikes = torch.zeros_like(x[0]), torch.zeros_like(x[0]), []
    for t, current in enumerate(x):
        g = 1 / (1 + torch.exp(-p["gain"][t]))
        u = (1 - al * (1 - tau)) * u * (1 - ga * b) - (1 - al) * leak
        u = u + (1 - be * (1 - g)) * current - (1 - ga) * v_re * b
        d = u - v_th
        b = (d.detach() > 0).double() + (d.detach().abs() < 0.5).double() * (d - d.detach())
        spikes.append(b)
    return torch.stack(spikes)


@pytest.mark.parametrize(
    ("alpha", "beta", "gamma", "potentials"),
    [
        (FAR, -FAR, FAR, [0.4, 0.7, 0.3, 0.975]),
        (FAR, -FAR, -FAR, [0.4, 0.7, -0.025, 0.89375]),
        (-FAR, -FAR, FAR, [0.3375, 0.875, 0.2375, 1.075]),
        (0.0, 0.0, 0.0, [0.26875, 0.586719, 0.127100, 0.723187]),
    ],
)
def test_potentials_and_spikes_of_four_timesteps(alpha, beta, gamma, potentials):
    u, b = watched(gated(alpha=alpha, beta=beta, gamma=gamma), [0.4, 0.6, 0.3, 0.9])
    # GatedLIF's parameters are made in float32
    torch.testing.assert_close(u, torch.tensor(potentials, dtype=torch.float64), rtol=0, atol=6e-7)
    assert b.tolist() == [0, 1, 0, 1]


def test_gradients_are_those_of_a_plain_loop():
    torch.manual_seed(0)
    x = torch.randn(4, 2, 3, 5, 5, dtype=torch.float64, requires_grad=True)
    neuron = GatedLIF(4, 3).double()
    for p in neuron.parameters():
        p.data += 0.5 * torch.randn_like(p)
    inputs, weight = [x, *neuron.raw.values()], torch.randn_like(x)
    found = torch.autograd.grad((neuron(x) * weight).sum(), inputs)
    expected = torch.autograd.grad((loop(x, dict(neuron.raw.items())) * weight).sum(), inputs)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert all(g.abs().sum() > 0 for g in found)


def test_gradients_of_one_timestep_are_the_closed_forms():
    """Of the second of two timesteps, where the first has fired: u' = 0.5 * x - 0.5 * leak."""
    neuron = gated(2, alpha=0.0, beta=0.0, gamma=0.0, threshold=-2.0)
    x = torch.tensor([0.6, 0.3], dtype=torch.float64, requires_grad=True)
    told = []
    neuron.observer = lambda u, b: told.append((u, b))
    neuron(x)
    (u, b), tau, leak, g, v_re = told[0], 0.25, 0.0625, 0.5, 0.5
    assert b[0] == 1
    first = u[0].item()
    raw = {name: neuron.raw[name] for name in ("alpha", "beta", "gamma")}
    found = torch.autograd.grad(u[0], [x, raw["alpha"], raw["beta"]], retain_graph=True)
    slope = 0.25  # of the logistic function at 0
    assert found[0].tolist() == pytest.approx([1 - 0.5 * (1 - g), 0])
    assert found[1].item() == pytest.approx(slope * leak) and found[2].item() == pytest.approx(-slope * (1 - g) * 0.6)
    # gamma reaches the first potential by nothing, so that this is the second timestep's own
    found = torch.autograd.grad(u[1], raw["gamma"])[0].item()
    assert found == pytest.approx(slope * (-(1 - 0.5 * (1 - tau)) * first + v_re))


def test_with_the_gates_at_their_ends_it_is_the_papers_binary_neuron():
    torch.manual_seed(0)
    x = torch.randn(4, 200, dtype=torch.float64, requires_grad=True)
    weight = torch.randn_like(x)
    results = []
    for neuron in (gated(alpha=FAR, beta=-FAR, gamma=FAR), BinaryLIF(surrogate="rectangle", window=0.5)):
        spikes = neuron(x)
        results.append((spikes, *torch.autograd.grad((spikes * weight).sum(), x)))
    assert torch.equal(results[0][0], results[1][0]) and results[0][0].sum() > 100
    # of the last timestep: before it the gradient of |b| in the paper's reset is 0 at b = 0, that of S here is 1
    torch.testing.assert_close(results[0][1][-1], results[1][1][-1], rtol=0, atol=1e-6)


def test_other_ends_of_the_gates():
    x = torch.tensor([0.4, 0.4, 0.4, 0.3], dtype=torch.float64)
    soft = watched(gated(alpha=FAR, beta=-FAR, gamma=-FAR, reset=math.log(0.125 / 0.875)), [0.4, 0.6, 0.3, 0.9])[0]
    v, kept = 0.0, []
    for current in (0.4, 0.6, 0.3, 0.9):  # decay * (u - V_th b): V_re is decay * V_th
        kept.append(0.25 * v + current)
        v = kept[-1] - 0.5 * (kept[-1] > 0.5)
    assert soft.tolist() == pytest.approx(kept, abs=1e-6)
    u, b = watched(gated(alpha=-FAR, beta=-FAR, gamma=FAR, leak=-FAR), x)
    assert u.tolist() == pytest.approx([0.4, 0.8, 0.4, 0.7]) and b.tolist() == [0, 1, 0, 1]  # no leak
    assert watched(gated(alpha=FAR, beta=FAR, gain=-FAR), x)[0].abs().max() < 1e-15  # no input


@pytest.mark.parametrize(
    ("gate", "end", "idle"), [("beta", -FAR, "gain"), ("alpha", FAR, "leak"), ("gamma", FAR, "reset")]
)
def test_what_a_gate_shuts_off_gets_no_gradient(gate, end, idle):
    neuron = gated(**{gate: end})
    neuron(torch.tensor([0.9, 0.6, 0.3, 0.9], dtype=torch.float64)).sum().backward()
    gradient = {name: p.grad.abs().sum() for name, p in neuron.raw.items()}
    assert gradient[idle] < 1e-15 and all(gradient[name] > 1e-4 for name in ("decay", "threshold"))


def test_parameters_and_their_values_at_the_start():
    neuron = make_neuron("glif", 6, timesteps=3)
    assert sum(p.numel() for p in neuron.parameters()) == (7 + 3) * 6
    assert sum(p.numel() for p in make_neuron("glif", 6, timesteps=3, parameters_per="layer").parameters()) == 10
    values = {name: p.sigmoid() for name, p in neuron.raw.items()}
    for name, value in {"decay": 0.25, "leak": 0.0625, "threshold": 0.5, "reset": 0.5, "gain": 0.5}.items():
        torch.testing.assert_close(values[name], torch.full_like(values[name], value))
    gates = torch.cat([values[name].flatten() for name in ("alpha", "beta", "gamma")])
    assert 0.47502 < gates.min() < 0.5 < gates.max() < 0.52498 and len(gates.unique()) == 18
    fixed = make_neuron("glif", 6, alpha=0.55, beta=0.65, gamma=0.55)
    torch.testing.assert_close(fixed.raw["beta"].sigmoid(), torch.full((6, 1, 1), 0.65))
    with pytest.raises(ValueError, match=r"decay must lie between 0 and 1, and be neither, not 1\.0"):
        GatedLIF(decay=1.0)


def test_it_has_a_gain_for_each_of_the_networks_timesteps_and_runs_no_longer():
    model = SpikingResNet("resnet6w4", "glif", 3, in_channels=1, image_size=8)
    neuron = model.stem[0].neuron
    assert neuron.raw["gain"].shape == (3, 4, 1, 1) and "stem.0.neuron.raw.gain" in model.state_dict()
    x = torch.randn(3, 2, 4, 5, 5)
    before = neuron(x)
    neuron = copy.deepcopy(neuron)
    neuron.raw["gain"].data[1:] = FAR
    after = neuron(3 * x)
    assert before.shape == after.shape and torch.equal(neuron(x)[0], before[0])  # the first gain is as it was
    with pytest.raises(ValueError, match="input gains for 3 timesteps and cannot run longer"):
        neuron(torch.randn(4, 2, 4, 5, 5))


def test_a_membrane_at_the_threshold_is_silent():
    neuron = gated(alpha=FAR, beta=-FAR)
    assert neuron(torch.full((1, 1), 0.5, dtype=torch.float64)).item() == 0
    assert neuron(torch.full((1, 1), 0.5 + 1e-15, dtype=torch.float64)).item() == 1


#: what SpikingJelly calls our raw parameters
THEIR_NAMES = {"decay": "tau", "leak": "linear_decay", "threshold": "v_threshold", "reset": "v_subreset"}
THEIR_NAMES |= {"gain": "conduct", "alpha": "alpha", "beta": "beta", "gamma": "gamma"}


def pair(timesteps: int, channels: int, raw: dict[str, float] | None = None):
    """A layer of ours and SpikingJelly's GatedLIFNode, with the same parameters and the rectangle, not its sigmoid."""
    torch.manual_seed(0)
    rectangle = spikingjelly("surrogate").Rect(1.0)
    ours = GatedLIF(timesteps, channels).double()
    theirs = spikingjelly("neuron").GatedLIFNode(timesteps, channels, surrogate_function=rectangle).double()
    for name, p in ours.raw.items():
        p.data += 0.5 * torch.randn_like(p)
        if raw is not None:
            p.data.fill_(raw.get(name, 0.0))
        getattr(theirs, THEIR_NAMES[name]).data = p.data.flatten(-3).clone()
    return ours, theirs


@pytest.mark.full
def test_spikingjelly_agrees():
    """Spikes, potentials and gradients, of one call: in the next one its neuron has forgotten the last spikes."""
    ours, theirs = pair(4, 3)
    x = torch.randn(4, 5, 3, 6, 6, dtype=torch.float64)
    weight, found = torch.randn_like(x), []
    for neuron in (ours, theirs):
        mine = x.clone().requires_grad_()
        if neuron is ours:
            spikes, kept = neuron(mine, return_state=True)
            u, raw = kept.u, [neuron.raw[name] for name in THEIR_NAMES]
        else:
            spikes = neuron(mine)
            u, raw = neuron.v, [getattr(neuron, name) for name in THEIR_NAMES.values()]
        gradients = torch.autograd.grad((spikes * weight).sum() + u.sum(), [mine, *raw])
        found.append((spikes, u, gradients[0], *(g.flatten() for g in gradients[1:])))
    assert torch.equal(found[0][0], found[1][0]) and 300 < found[0][0].sum() < 1800
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-11)
    assert all(g.abs().max() > 0.1 for g in found[0][2:])


@pytest.mark.full
def test_at_the_threshold_spikingjelly_fires_and_at_the_rectangles_ends_it_has_no_slope():
    """Theirs are >= and <, as ours are > and <=; the authors' code has > and <."""
    spikes, slopes = [], []
    for neuron in pair(1, 1, {"alpha": FAR, "beta": -FAR}):
        x = torch.tensor([0.0, 0.5, 0.75, 1.0], dtype=torch.float64).view(1, 1, 1, 1, 4).requires_grad_()
        y = neuron(x)
        y.sum().backward()
        spikes.append(y.flatten().tolist())
        slopes.append(x.grad.flatten().tolist())
    assert spikes == [[0, 0, 1, 1], [0, 1, 1, 1]]
    assert slopes == [[1, 1, 1, 1], [0, 1, 1, 0]]


@pytest.mark.full
def test_spikingjelly_begins_alike_but_for_a_leak_that_follows_t():
    """V_th / (2 T), where the authors' code has V_th / 8 whatever T; gates are drawn from the same range."""
    for timesteps in (4, 2):
        theirs, ours = spikingjelly("neuron").GatedLIFNode(timesteps, 3), GatedLIF(timesteps, 3)
        for name in ("decay", "threshold", "reset", "gain", "leak"):
            same = torch.allclose(getattr(theirs, THEIR_NAMES[name]), ours.raw[name].flatten(-3))
            assert same == (name != "leak" or timesteps == 4), name
        gates = torch.stack([getattr(theirs, name).detach() for name in ("alpha", "beta", "gamma")])
        assert gates.abs().max() < 0.1 and len(gates.unique()) == 9
