from collections import Counter

import pytest

from ternary_spike import paper
from ternary_spike.reparam import energy


def test_rows_by_table():
    assert Counter(row.table for row in paper.accuracies()) == {1: 12, 2: 47, 3: 21, 4: 9}
    assert Counter(row.table for row in paper.accuracies() if row.own) == {1: 12, 2: 16, 3: 4, 4: 4}


def test_rows_that_two_tables_share_have_one_accuracy():
    shared = paper.own(1, "imagenet", "resnet34", 4, "trainable"), paper.own(3, "imagenet", "resnet34", 4, "trainable")
    assert {row.accuracy_percent for row in shared} == {70.74}
    assert [row.trials for row in shared] == [1, 3]


def test_constants_are_those_of_the_energy_stage():
    given = energy.Constants()
    assert {"mac": given.flop, "synop": given.synop, "sign": given.sign} == paper.ENERGY_PJ


def test_printed_energies_follow_from_printed_counts():
    assert [round(row.from_counts(), 3) for row in paper.energies()] == [50.139, 51.2]


def test_unknown_row():
    with pytest.raises(KeyError, match="Table 4 has no own row"):
        paper.own(4, "cifar10dvs", "resnet19", 10, "binary")
