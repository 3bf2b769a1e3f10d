"""The protocol of Norse's cells and modules, for which Norse is not needed: out, state = module(x, state)."""

import pytest
import torch

from ternary_spike import TernaryLIF
from ternary_spike.interop import NorseCell, NorseSequence
from tests.helpers.hosted import MADE, current


@pytest.mark.parametrize("name", MADE)
def test_steps_parts_and_the_bare_neuron_give_the_same(name):
    neuron, x = MADE[name](), current()
    whole = neuron(x)
    cell, steps, state = NorseCell(neuron), [], None
    for now in x:
        out, state = cell(now, state)
        steps.append(out)
    assert torch.equal(torch.stack(steps), whole)
    first, middle = NorseSequence(neuron)(x[:2])
    rest, last = NorseSequence(neuron)(x[2:], middle)
    assert torch.equal(torch.cat([first, rest]), whole)
    if isinstance(last.v, torch.Tensor):
        assert torch.equal(last.v, state.v)
    assert not torch.equal(cell(x[0], state)[0], cell(x[0])[0]), "a state must count"


@pytest.mark.parametrize("name", MADE)
def test_another_batch_size_is_one_clear_error(name):
    cell = NorseCell(MADE[name]())
    _, state = cell(current()[0])
    with pytest.raises(ValueError, match="begin another batch with state=None"):
        cell(current(batch=3)[0], state)


def test_gradients_flow_through_the_state():
    x = current().requires_grad_()
    cell = NorseCell(TernaryLIF(detach_reset=True))
    _, state = cell(x[0])
    out, _ = cell(x[1], state)
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert grad[0].any() and grad[1].any()
