"""What plan, tables and report were made of is told by content; times of files are nowhere asked for."""

import os
from pathlib import Path

import pytest

from ternary_spike.planning import made_from, plan_file
from ternary_spike.planning.plan_file import PLAN_COLUMNS
from ternary_spike.system.files import SUMS, write_json, write_listed, write_text

RUN = ("digits-resnet6-T1-binary", 0)
ROW = dict.fromkeys(PLAN_COLUMNS, "") | {"id": RUN[0], "seed": RUN[1], "timesteps": 1}


@pytest.fixture
def results(tmp_path) -> Path:
    """A preset with a run, tables and a notebook's page, none of which anybody reads here."""
    folder = tmp_path / "results/smoke"
    for name in (
        f"runs/{RUN[0]}/seed0/run.json",
        f"runs/{RUN[0]}/match.json",
        "data/digits/manifest.json",
        "plan.csv",
        f"tables/{SUMS}",
        "trace.csv",
        "notebooks/one.html",
        "notebooks/other.html",
        "report/rulegraph.dot",
        "report/index.html",
    ):
        write_text_in(folder / name, "as it was")
    return folder


def write_text_in(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    os.utime(path, (1e9, 1e9))  # no time says anything


def test_a_plan_is_compared_by_its_rows_but_not_by_its_costs(tmp_path):
    path, rows = tmp_path / "plan.csv", [ROW, ROW | {"seed": 1}]
    assert not made_from.plan_says(path, rows)
    plan_file.write_rows(path, [rows[0] | {"projected_hours": "2"}, rows[1]])
    assert made_from.plan_says(path, rows)
    assert not made_from.plan_says(path, [*rows, ROW | {"seed": 2}])
    assert not made_from.plan_says(path, [rows[0], rows[1] | {"code": "{}"}])
    path.write_text(path.read_text().replace("resnet6", "resnet8"))
    assert not made_from.plan_says(path, [row | {"id": row["id"].replace("resnet6", "resnet8")} for row in rows])


@pytest.mark.parametrize(
    "name", ["plan.csv", f"runs/{RUN[0]}/seed0/run.json", f"runs/{RUN[0]}/match.json", "data/digits/manifest.json"]
)
def test_tables_are_of_the_files_as_they_were(results, name):
    write_json(results / "tables" / made_from.RECORD, made_from.of_tables(results, [RUN]))

    def current() -> bool:
        return made_from.still(results / "tables", made_from.of_tables(results, [RUN]))

    assert current()
    write_text_in(results / name, "other")
    assert not current()
    write_text_in(results / name, "as it was")
    assert current()
    write_text_in(results / f"status/{RUN[0]}/seed0/train.json", "{}")  # it has failed since then
    assert not current()


def test_a_page_is_of_the_tables_that_its_report_has(results, tmp_path):
    kept = tmp_path / "kept"
    write_text_in(kept / f"set/tables/{SUMS}", "kept")
    report, page = results / "report", results / "notebooks/one.html"

    def current() -> tuple[bool, bool]:
        now = made_from.of_report(results, kept)
        return made_from.page_still(report, page, now), made_from.still(report, now)

    assert current() == (False, False)  # an earlier version's report, which does not say what it is of
    write_json(report / made_from.RECORD, made_from.of_report(results, kept))
    assert current() == (True, True)
    for path, expected in (
        (results / "notebooks/other.html", (True, False)),
        (results / "notebooks/one.html", (False, False)),
        (results / f"tables/{SUMS}", (False, False)),
        (results / "trace.csv", (False, False)),
        (report / "rulegraph.dot", (True, False)),
        (kept / f"set/tables/{SUMS}", (False, False)),
    ):
        before = path.read_text()
        write_text_in(path, "other")
        assert current() == expected, path
        write_text_in(path, before)
    (report / "index.html").unlink()
    (report / made_from.RECORD).unlink()
    assert current() == (True, False)  # its pages are being made just now


@pytest.mark.parametrize("name", made_from.OF_CODE)
def test_what_is_made_of_code_alone_is_of_the_present_code(tmp_path, name, monkeypatch):
    path = tmp_path / name
    assert not made_from.still_of_code(path)
    write_listed(path, "a,b\n")
    assert not made_from.still_of_code(path)  # as an earlier version left it
    made_from.write_code(path, name)
    assert made_from.still_of_code(path)
    monkeypatch.setitem(made_from.OF_CODE, name, ("measuring.evaluation",))
    assert not made_from.still_of_code(path)
