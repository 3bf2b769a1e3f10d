"""Which energies of an operation stand where an energy does; the paper's name only where they are the paper's."""

import json
import re
import shutil
from html import unescape
from pathlib import Path

import pandas as pd
import pytest

from ternary_spike import claims, paper
from ternary_spike.cli import main
from ternary_spike.report.results import Results
from ternary_spike.report.site import build
from ternary_spike.tables import collect
from tests.helpers.notebook import shown
from tests.report import fixture

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.py"))
WITH_ENERGIES = {"reference", "rivals", "scale", "table5"}
TABLE5 = NOTEBOOKS[0].with_name("table5.py")
PAPERS = "12.5 pJ a FLOP, 77 fJ an addition, 3.7 pJ a comparison"
OTHERS = "12.5 pJ a FLOP, 900 fJ an addition, 3.7 pJ a comparison"


def collected(folder: Path, constants: dict | None) -> Path:
    rows = [
        fixture.plan_row("digits", "resnet8", 2, neuron, seed, tables="5") for neuron in fixture.LAST for seed in (0, 1)
    ]
    for row in rows:
        path = fixture.write_run(folder, row) / "energy.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"constants_picojoule": constants}))
    tables = collect.tables(collect.read_plan(fixture.write_plan(folder, rows)), folder)
    collect.write_tables(tables | {"claims": claims.judge(tables)}, folder / "tables")
    return folder


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    return collected(tmp_path_factory.mktemp("a") / "demo", {"flop": 12.5, "synop": 0.9, "sign": 3.7})


def test_the_paper_s_constants_are_called_so(tmp_path):
    for constants in (None, {"flop": 12.5, "synop": 0.077, "sign": 3.7}):  # None: a record of an earlier version
        results = Results(collected(tmp_path / f"{bool(constants)}" / "demo", constants))
        assert paper.CONSTANTS == PAPERS and set(results.table("energy")["constants"]) == {PAPERS}
        assert results.energies_at == f"energies at the paper's constants, {PAPERS}"
        assert "paper's formula, mean over neurons" in set(results.table("energy")["method"])
    results.table("energy").drop(columns="constants").to_csv(tmp_path / "True/demo/tables/energy.csv", index=False)
    (tmp_path / "True/demo/tables/SHA256SUMS").unlink()
    assert Results(tmp_path / "True/demo").energies_at == f"energies at the paper's constants, {PAPERS}"


def test_others_have_no_name_and_no_verdict_of_the_paper_s(others):
    results = Results(others)
    energy, table5 = results.table("energy"), results.table("table5")
    assert set(energy["constants"]) == {OTHERS}
    assert "formula at other constants, mean over layers" in set(energy["method"])
    assert not energy["method"].str.contains("paper").any()
    ours = table5[table5["kind"] == "ours"]
    assert set(ours["constants"]) == {OTHERS} and not ours["method"].str.contains("paper").any()
    assert set(table5.loc[table5["kind"] != "ours", "constants"]) == {PAPERS}
    extra = results.table("claims").set_index("id").loc["energy-extra-measured"]
    assert extra["verdict"] == "not tested" and OTHERS in extra["result"]


def on_cifar10(folder: Path) -> Path:
    """Runs that the pages of kept results show."""
    rows = [
        fixture.plan_row("cifar10", "resnet20w8", 2, neuron, seed)
        for neuron in ("binary", "ternary")
        for seed in (0, 1)
    ]
    for row in rows:
        fixture.write_run(folder, row, label="CIFAR-10", epochs=10)
    return fixture.write_plan(folder, rows)


def at_others(folder: Path, *makes) -> Path:
    """A preset of such runs, with energies at constants that are not the paper's."""
    plans = [pd.read_csv(make(folder), dtype=str, keep_default_na=False) for make in makes]
    pd.concat(plans).drop_duplicates(["id", "seed"]).to_csv(folder / "plan.csv", index=False)
    for path in folder.glob("runs/*/*/energy.json"):
        content = json.loads(path.read_text()) | {"constants_picojoule": {"flop": 12.5, "synop": 0.9, "sign": 3.7}}
        path.write_text(json.dumps(content))
    tables = collect.tables(collect.read_plan(folder / "plan.csv"), folder)
    collect.write_tables(tables | {"claims": claims.judge(tables)}, folder / "tables")
    return folder


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """A preset that every notebook of a preset has something of."""
    folder = at_others(tmp_path_factory.mktemp("results") / "demo", fixture.controls, fixture.rivals)
    main(["trace", "--out", str(folder / "trace.csv")])
    main(["amplitudes", "--out", str(folder / "amplitudes.csv")])
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory, everything):
    """A kept set that every notebook of kept sets has something of."""
    folder = at_others(tmp_path_factory.mktemp("kept") / "set", on_cifar10)
    shutil.copy(everything / "amplitudes.csv", folder)
    return folder.parent


@pytest.mark.parametrize(
    "notebook",
    [
        # those that show none take as long as those that do
        pytest.param(path, id=path.stem, marks=[] if path.stem in WITH_ENERGIES else pytest.mark.full)
        for path in NOTEBOOKS
    ],
)
def test_wherever_a_notebook_shows_an_energy_its_constants_stand(everything, kept, notebook):
    measured = 0
    for value in shown(notebook, everything, kept):
        text = unescape(value._repr_markdown_() if hasattr(value, "_repr_markdown_") else value._repr_html_())
        if "printed" in text or not re.search("µJ|More energy|Energy, ratio|Energy is", text):
            continue
        measured += 1
        assert OTHERS in text and "paper's formula" not in text, text[:3000]
    assert bool(measured) == (notebook.stem in WITH_ENERGIES)


def test_where_no_energy_is_shown_no_constants_are_named(tmp_path):
    folder = collected(tmp_path / "demo", None)
    for path in folder.glob("runs/*/*/energy.json"):
        path.unlink()
    tables = collect.tables(collect.read_plan(folder / "plan.csv"), folder)
    collect.write_tables(tables | {"claims": claims.judge(tables)}, folder / "tables")
    assert Results(folder).energies_at == "no energies of these settings yet"


def test_pages_say_which_constants_were_taken(others):
    build(others, others / "report")
    said = f"energies not at the paper&#x27;s constants but at {OTHERS}"
    assert (others / "report/index.html").read_text().count(said) == 2  # in the caption and for those who hear the page
    pieces = [value.html for value in shown(TABLE5, others) if hasattr(value, "html")]
    of_ours = [
        html for html in pieces if ("Energy, µJ" in html or "Energy per image" in html) and "as printed" not in html
    ]
    assert len(of_ours) >= 3 and all(said in html for html in of_ours)
    assert not any("paper&#x27;s formula" in html for html in of_ours)
