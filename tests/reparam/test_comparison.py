"""The comparison of two networks, counted by hand."""

import pytest
import torch

from ternary_spike.reparam.comparison import Comparison


def test_differences_by_hand():
    comparison = Comparison(["stem1", "stage1.block1.1"])
    spikes = torch.tensor([[1.0, 0.0, -1.0, 1.0]])
    comparison.add_spikes("stem1", spikes, torch.tensor([[1, 1, -1, -1]], dtype=torch.int8))
    comparison.add_spikes("stem1", spikes, spikes)
    comparison.add_spikes("stage1.block1.1", spikes, -spikes)
    comparison.add_scores(torch.tensor([[1.0, 4.0], [0.0, 2.0]]), torch.tensor([[1.0, 4.5], [0.0, 2.0]]))
    comparison.add_scores(torch.tensor([[0.125, 0.25]]), torch.tensor([[0.25, 0.125]]))
    assert comparison.result() == {
        "samples": 3,
        "spikes": 12,
        "differing_spikes": 5,
        "largest_logit_difference": 0.5,  # of the first batch
        "largest_relative_logit_difference": 0.5,  # 1/8 of 1/4 in the second one, where it was 1/8 in the first
        "class_agreement_percent": 100 * 2 / 3,
        "layers": {"stem1": 2, "stage1.block1.1": 3},
    }


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_no_agreement(bad):
    for pair in ((torch.tensor([[1.0, bad]]), torch.ones(1, 2)), (torch.ones(1, 2), torch.tensor([[1.0, bad]]))):
        with pytest.raises(ValueError, match="not finite"):
            Comparison([]).add_scores(*pair)
