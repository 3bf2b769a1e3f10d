"""docs/first-network.py, executed as it stands: what its text says is what comes out."""

import re
from pathlib import Path

import matplotlib
import pytest

from tests.helpers.notebook import shown

PAGE = Path(__file__).parents[2] / "docs" / "first-network.py"


@pytest.mark.full
def test_the_notebook_learns_folds_counts_and_exports(capsys, tmp_path):
    matplotlib.use("Agg")
    values = shown(PAGE, tmp_path)
    assert True in values  # stepping by hand gives the layer's spikes
    printed = capsys.readouterr().out
    (accuracy,) = re.findall(r"([\d.]+) % of 450 test pictures", printed)
    assert float(accuracy) > 90
    assert re.search(r"^0 of [\d,]+ spikes differ", printed, flags=re.MULTILINE)
    additions, dense = (
        int(number.replace(",", ""))
        for number in re.search(r"([\d,]+) additions in place of ([\d,]+) multiply", printed).groups()
    )
    assert 0 < additions < dense
    (same,) = re.findall(r"(\d+) of 450 pictures are given the same class", printed)
    assert int(same) >= 448
