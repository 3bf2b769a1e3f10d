"""Our neurons inside of Norse's networks: where both are the same, and each place where they are not."""

import math

import pytest
import torch
from torch import nn

from ternary_spike import BinaryLIF, TernaryLIF, TrainableTernaryLIF
from ternary_spike.interop import NorseCell, NorseSequence
from ternary_spike.membrane.surrogate import curve, derivative
from ternary_spike.neurons.soft_reset import SoftResetLIF
from tests.helpers.hosted import FEATURES, current, slope_through_reset, slopes, with_gradients
from tests.helpers.rivals import norse

pytestmark = pytest.mark.full
THRESHOLD, DECAY, DT = 0.75, 0.5, 0.001
# ours and its options; theirs and its alpha
SURROGATES = {
    "triangle": (("triangle", 1.0), 1.0),
    "tanh": (("tanh_unclipped", 0.5), 2.0),
}


class Doubled(nn.Module):
    """Twice its input: Norse's neurons take half of it at this decay."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / (1 - DECAY)


def ours(method: str = "triangle") -> BinaryLIF:
    """Our neuron with the constants above."""
    (name, window), alpha = SURROGATES[method]
    return BinaryLIF(THRESHOLD, DECAY, name, window, temperature=alpha)


def parameters(kind: str, method: str = "triangle") -> object:
    """Their constants: the decay is 1 - dt tau_mem_inv; a synapse without memory where there is one."""
    alpha = SURROGATES[method][1]
    given = {"tau_mem_inv": (1 - DECAY) / DT, "v_th": THRESHOLD, "method": method, "alpha": alpha}
    if kind == "LIF":
        given["tau_syn_inv"] = 1 / DT
    kind = "LIFBoxParameters" if kind == "LIFBox" else "LIFParameters"
    return getattr(norse(), kind)(**{k: v if k == "method" else torch.as_tensor(v) for k, v in given.items()})


def sequential(first: nn.Module, second: nn.Module, scaled: bool) -> nn.Module:
    """Two linear layers and neurons in Norse's container."""
    torch.manual_seed(0)
    linear = [nn.Linear(FEATURES, 30), nn.Linear(30, 20)]
    layers = [nn.Sequential(layer, Doubled()) if scaled else layer for layer in linear]
    return norse().SequentialState(layers[0], first, layers[1], second)


def of_membrane_input(cell: nn.Module):
    """A cell of theirs as a function of the membrane's input: it takes a share of its own."""
    return lambda x, state: cell(x / (1 - DECAY), state)


def stepped(net: nn.Module):
    """A network of cells as a function of a whole sequence."""

    def run(x: torch.Tensor) -> torch.Tensor:
        state, found = None, []
        for now in x:
            out, state = net(now, state)
            found.append(out)
        return torch.stack(found)

    return run


def close(a, b) -> bool:
    """Whether two runs gave the same, and the same gradients, in single precision."""
    assert 0 < a[0].count_nonzero() < a[0].numel() and a[1][0].any(), "nothing to compare"
    assert torch.equal(a[0], b[0]), "other spikes"
    return all(torch.allclose(x, y, rtol=1e-4, atol=1e-5) for x, y in zip(a[1], b[1], strict=True))


@pytest.mark.parametrize("method", SURROGATES)
@pytest.mark.parametrize("kind", ["LIFBox", "LIF"])
def test_a_network_of_theirs_gives_the_same_spikes_and_within_a_timestep_the_same_gradients(kind, method):
    cell = getattr(norse(), f"{kind}Cell")
    mine = sequential(NorseCell(ours(method)), NorseCell(ours(method)), scaled=False)
    theirs = sequential(*(cell(parameters(kind, method)) for _ in range(2)), scaled=True)
    x = 3 * current(dtype=torch.float32)
    assert torch.equal(stepped(mine)(x), stepped(theirs)(x))
    assert close(with_gradients(stepped(mine), x[:1], mine), with_gradients(stepped(theirs), x[:1], theirs))


def test_not_the_same_gradient_through_the_reset():
    """Theirs cannot be detached, and flows through silent neurons too."""
    u = torch.linspace(-1, 1.5, 40)
    s = derivative(
        "tanh_unclipped",
        u,
        signed=False,
        threshold=THRESHOLD,
        window=0.5,
        curve=curve("tanh_unclipped", 0.5, torch.tensor(2.0)),
    )
    mine = NorseCell(ours("tanh"))
    theirs = norse().LIFBoxCell(parameters("LIFBox", "tanh"))
    for through_silence, cell in {False: mine, True: of_membrane_input(theirs)}.items():
        expected = DECAY * slopes(u, s, THRESHOLD, through_silence)
        assert torch.allclose(slope_through_reset(cell, u), expected, atol=1e-5)


def test_whole_sequences_go_through_their_container_and_their_lift():
    x = 3 * current(dtype=torch.float32)
    mine = sequential(NorseSequence(ours()), NorseSequence(ours()), scaled=False)
    theirs = sequential(*(norse().LIF(parameters("LIF")) for _ in range(2)), scaled=True)
    given = mine(x)[0]
    assert given.any() and torch.equal(given, theirs(x)[0])
    lifted, state = norse().Lift(NorseCell(ours()))(x)
    expected, last = NorseSequence(ours())(x)
    assert torch.equal(lifted, expected) and torch.equal(state.v, last.v)


def test_states_go_in_and_come_out_and_parameters_train():
    net = sequential(NorseCell(TernaryLIF()), NorseCell(TrainableTernaryLIF()), scaled=False)
    x = 3 * current(dtype=torch.float32)
    whole = stepped(net)(x)
    state = None
    for now in x[:3]:
        _, state = net(now, state)
    again, _ = net(x[3], state)
    assert torch.equal(again, whole[3]) and state[1].v.shape == (len(x[0]), 30) and state[0] is None
    whole.sum().backward()
    assert net[3].neuron.amplitude.grad is not None


def test_the_membrane_that_both_keep_is_the_one_after_the_reset():
    mine, theirs = NorseCell(ours()), norse().LIFBoxCell(parameters("LIFBox"))
    state = other = None
    for now in current(dtype=torch.float32):
        _, state = mine(now, state)
        _, other = theirs(now / (1 - DECAY), other)
        assert torch.allclose(state.v, other.v)


def test_their_soft_reset_and_their_neuron_without_a_leak_are_ours():
    box = parameters("LIFBox")._replace(reset_method=norse().reset_subtract)
    theirs = of_membrane_input(norse().LIFBoxCell(box))
    without = norse().IAFCell(norse().IAFParameters(v_th=torch.as_tensor(THRESHOLD)))
    pairs = {SoftResetLIF(THRESHOLD, DECAY): theirs, BinaryLIF(THRESHOLD, 1.0): without}
    for neuron, cell in pairs.items():
        given, state = [], None
        for now in current(dtype=torch.float32):
            out, state = cell(now, state)
            given.append(out)
        expected, last = NorseSequence(neuron)(current(dtype=torch.float32))
        assert torch.equal(torch.stack(given), expected) and torch.allclose(state.v, last.v, atol=1e-6)


def test_not_the_same_at_the_threshold_itself():
    """Theirs fires above it alone; the next number above as our threshold gives the same."""
    theirs = norse().LIFBoxCell(parameters("LIFBox"))
    x = torch.full((1, 3), THRESHOLD)
    assert NorseCell(ours())(x)[0].eq(1).all() and theirs(x / (1 - DECAY))[0].eq(0).all()
    above = torch.nextafter(torch.tensor(THRESHOLD), torch.tensor(math.inf)).item()
    assert NorseCell(BinaryLIF(above, DECAY))(x)[0].eq(0).all()


def test_not_the_same_their_synapse():
    """Their default neuron sees a current that decays over several timesteps: it fires after its input is gone."""
    theirs = norse().LIFCell(norse().LIFParameters(v_th=torch.as_tensor(0.1)))
    spikes, state = [], None
    for now in (torch.ones(1, 1), torch.zeros(1, 1)):
        out, state = theirs(now, state)
        spikes.append(out.item())
    assert spikes == [0.0, 1.0] and state.i.item() > 0


def test_not_the_same_another_batch_size():
    """Of theirs torch complains, or one sample's state is taken for all; ours asks for state=None."""
    theirs, mine = norse().LIFBoxCell(parameters("LIFBox")), NorseCell(ours())
    batch = current(dtype=torch.float32)[0]
    for cell, refuses in ((theirs, False), (mine, True)):
        _, one = cell(batch[:1])
        _, three = cell(batch[:3])
        with pytest.raises(
            ValueError if refuses else RuntimeError, match="state=None" if refuses else "size of tensor"
        ):
            cell(batch, three)
        if refuses:
            with pytest.raises(ValueError, match="state=None"):
                cell(batch, one)
        else:
            assert cell(batch, one)[0].shape == batch.shape
