"""The statistics of a layer beside the same counted in the plainest way."""

import pytest
import torch

from ternary_spike.measuring.evaluation import MEMBRANE_BINS, MEMBRANE_RANGE, LayerStatistics

T, B, SHAPE = 3, 5, (4, 6, 6)


def potentials(signed: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Potentials wider than the histogram, as a network on a processor lays them in memory, and their spikes."""
    u = torch.randn(T, B, *SHAPE, generator=torch.Generator().manual_seed(1)) * 3
    u = u.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (T, B))
    return u, torch.where(u.abs() >= 0.5, u.sign(), 0.0) if signed else (u >= 0.5).float()


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("at_once", [T, 1])
def test_spikes_are_counted_by_sign_site_and_timestep(signed, at_once):
    u, b = potentials(signed)
    statistics = LayerStatistics(u, T)
    for first in range(0, T, at_once):
        statistics.add(u[first : first + at_once], b[first : first + at_once], first)
    assert torch.equal(statistics.positive, (b == 1).sum((0, 1)).double())
    assert torch.equal(statistics.negative, (b == -1).sum((0, 1)).double())
    assert bool((b == -1).any()) == signed
    assert torch.equal(statistics.by_timestep, (b != 0).sum((1, 2, 3, 4)).double())
    assert statistics.sum.item() == pytest.approx(u.double().sum().item(), rel=1e-12)
    assert statistics.sum_of_squares.item() == pytest.approx(u.double().square().sum().item(), rel=1e-12)


def test_the_histogram_is_torch_s_to_the_last_value_at_its_edges_and_without_what_is_no_number():
    u, _ = potentials(True)
    edges = torch.linspace(-MEMBRANE_RANGE, MEMBRANE_RANGE, MEMBRANE_BINS + 1)
    infinity = torch.full_like(edges, torch.inf)
    beyond = torch.tensor([torch.inf, -torch.inf, torch.nan])
    at_edges = torch.cat([edges, edges.nextafter(infinity), edges.nextafter(-infinity), beyond])
    values = torch.cat([u.flatten(), at_edges])
    statistics = LayerStatistics(values.view(1, 1, -1), 1)
    for _ in range(2):
        statistics.add(values.view(1, 1, -1), torch.zeros(1, 1, values.numel()))
    expected = torch.histc(values, MEMBRANE_BINS, -MEMBRANE_RANGE, MEMBRANE_RANGE)
    assert torch.equal(statistics.histogram, 2 * expected.double())
    assert statistics.below.item() == 2 * (values < -MEMBRANE_RANGE).sum().item()
    assert statistics.above.item() == 2 * (values > MEMBRANE_RANGE).sum().item()
