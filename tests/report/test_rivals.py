"""The page of prior methods: each run is in every figure that it has numbers for, by its name and level."""

import re
import warnings
from html import unescape
from itertools import pairwise
from pathlib import Path

import pytest

from ternary_spike import claims
from ternary_spike.report import show
from ternary_spike.report.rivals import published
from ternary_spike.tables import collect
from tests.helpers.notebook import shown
from tests.report import fixture

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
NAMES = {
    *("binary", "ternary", "binary symmetric window", "plif (faithful)"),
    *("TET on binary (partly)", "TET on ternary (partly)"),
}


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """Prior methods on the digits, of which one was not counted."""
    folder = tmp_path_factory.mktemp("results") / "rivals"
    tables = collect.tables(collect.read_plan(fixture.rivals(folder)), folder)
    collect.write_tables(tables | {"claims": claims.judge(tables)}, folder / "tables")
    return folder, tables


def words_of(folder, name):
    """The pieces of text in a figure."""
    svg = (folder / "figures" / f"{name}.svg").read_text()
    return {unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)}


def test_every_method_is_named_in_every_figure_and_every_run_in_the_table(preset):
    folder, _ = preset
    page = "".join(str(getattr(each, "html", each)) for each in shown(NOTEBOOKS / "rivals.py", folder))
    place = "digits-resnet8-T2"
    for figure in ("operations", "time"):
        assert words_of(folder, f"rivals-{figure}-{place.removesuffix('-T2')}") >= NAMES
    assert words_of(folder, f"rivals-distance-{place}") >= NAMES - {"ternary"}
    for name in NAMES:
        assert name in page, name
    assert "not run: its training has not finished" in page  # PLIF with four timesteps
    assert "Deng and others, ICLR 2022" in page and "Fang et al., ICCV 2021" in page
    assert "1 of 2 prior methods are above the ternary spike: plif (faithful) (2.00 ±" in page
    assert "1 of 2 prior methods are below the ternary spike: TET on binary (partly)" in page
    assert "1 of 1 prior methods on ternary spikes are not told apart from the ternary spike" in page


def test_the_page_of_the_comparison_leaves_no_spiking_run_out(preset):
    folder, tables = preset
    shown(NOTEBOOKS / "comparison.py", folder)
    done = tables["summary"].query("n > 0 and neuron != 'relu'")
    labels = {show.called(row) for _, row in done.iterrows()}
    assert len(labels) == 6 and "plif (faithful)" in labels
    for figure in ("accuracy-and-rate", "accuracy-and-operations"):
        assert words_of(folder, figure) >= labels, figure


def test_the_quoted_rows_of_the_methods_that_are_there_stand_beside_them(preset):
    found = published(preset[1]["rivals"])
    assert set(found["method"]) == {"TET", "PLIF"} and len(found) == 6
    plif = found.query("method == 'PLIF'").iloc[0]
    # Table 2's best own row on CIFAR-10 has 95.80 %
    assert plif["margin"] == pytest.approx(93.50 - 95.80) and "last epoch has 92.40 %" in plif["remark"]
    other = preset[1]["rivals"].head(1)
    assert list(published(other.assign(name="inflor (partly)"))["method"]) == ["InfLoR-SNN"] * 2
    assert set(published(other.assign(name="STBP-tdBN on binary (partly)"))["method"]) == {"STBP-tdBN"}


def test_without_prior_methods_the_page_shows_what_is_kept_or_says_what_would_train_them(tmp_path, preset):
    folder = tmp_path / "demo"
    collect.write_tables(collect.tables(collect.read_plan(fixture.demo(folder)), folder), folder / "tables")
    assert "make rivals" in str(shown(NOTEBOOKS / "rivals.py", folder, kept=tmp_path / "nothing")[-1])
    page = "".join(
        str(getattr(each, "html", each)) for each in shown(NOTEBOOKS / "rivals.py", folder, kept=preset[0].parent)
    )
    assert "came with the repository: **rivals**" in page and "reference/rivals/tables/rivals.csv" in page
    for name in NAMES:
        assert name in page, name


def test_pictures_of_many_methods_keep_their_size_and_their_names_apart(tmp_path):
    """As many as `make rivals` has: names beside the points would leave the picture no room, or cover each other."""
    rows = [
        fixture.plan_row("digits", "resnet8", timesteps, "binary", seed, variant=f"a variant with a long name {n}")
        for n in range(30)
        for seed in (0, 1)
        for timesteps in (2, 4, 8)[: 1 + (n < 3) + (n < 1)]
    ]
    for row in rows:
        row["id"] = f"digits-resnet8-T{row['timesteps']}-{row['variant'].split()[-1]}"
        fixture.write_run(tmp_path / "many", row)
    tables = collect.tables(collect.read_plan(fixture.write_plan(tmp_path / "many", rows)), tmp_path / "many")
    collect.write_tables(tables | {"claims": claims.judge(tables)}, tmp_path / "many/tables")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # matplotlib's, where nothing is left of a picture
        shown(NOTEBOOKS / "comparison.py", tmp_path / "many")
    for name in ("accuracy-and-rate", "accuracy-and-operations"):
        svg = (tmp_path / f"many/figures/{name}.svg").read_text()
        heights = sorted(float(y) for y in re.findall(r'<text[^>]* y="([\d.]+)"[^>]*>binary a variant', svg))
        alone = name == "accuracy-and-operations"  # a picture for each T has none of the T that one run has
        assert len(heights) == 33 + alone and min(b - a for a, b in pairwise(heights)) > 6, name
        assert ("T = 8" in svg) == alone
