import pytest
import torch

from ternary_spike.measuring.trace import input_current, trace
from ternary_spike.neurons.lif import BinaryLIF, TernaryLIF, TrainableTernaryLIF


def column(rows, key):
    return [row[key] for row in rows]


def test_by_hand():
    # 0.4 stays below; 0.25 * 0.4 + 0.4 = 0.5 fires at the threshold; -0.6 fires; 0.1 starts from rest
    current = torch.tensor([0.4, 0.4, -0.6, 0.1], dtype=torch.float64)
    rows = trace("trainable", TrainableTernaryLIF(initial_amplitude=1.5), current)
    assert column(rows, "membrane") == pytest.approx([0.4, 0.5, -0.6, 0.1])
    assert column(rows, "membrane_after_reset") == pytest.approx([0.4, 0.0, 0.0, 0.1])
    assert column(rows, "spike") == [0, 1, -1, 0]
    assert column(rows, "output") == [0, 1.5, -1.5, 0]
    assert column(rows, "timestep") == [1, 2, 3, 4]
    binary = trace("binary", BinaryLIF(), current)
    assert column(binary, "membrane") == pytest.approx([0.4, 0.5, -0.6, -0.05])
    assert column(binary, "spike") == [0, 1, 0, 0]


def test_the_input_shows_what_the_neurons_differ_in():
    current = input_current(24)
    spikes = column(trace("ternary", TernaryLIF(), current), "spike")
    assert {-1, 0, 1} == set(spikes)
    assert set(column(trace("binary", BinaryLIF(), current), "spike")) == {0, 1}
