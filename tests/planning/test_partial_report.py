"""After a failure: a report that could not be made anew says that it is of an earlier call."""

import dataclasses
import os
import sys
from pathlib import Path

import pytest

from ternary_spike.planning.partial_report import ASIDE, FRONT_PAGE, after_failure
from ternary_spike.report.templating import environment
from ternary_spike.system.files import read_json
from tests.planning.test_failures import RUN

FAILED = "the report of what is finished could not be made: the call that makes it ended with status 3"


@pytest.fixture
def results(tmp_path):
    """A preset with a failed training, a plan, and the report of an earlier call."""
    page = environment().get_template("base.html.j2").render(title="x", root="", page="", preset="p", titles={})
    run = dataclasses.replace(RUN, seed=0)
    for name, text in (
        (f"logs/train/{run.folder}.log", "error: the loss is nan\n"),
        ("plan.csv", ""),
        (FRONT_PAGE, page),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    os.utime(tmp_path / FRONT_PAGE, (1e9, 1e9))
    return tmp_path


def call(results: Path, program: str) -> bool:
    return after_failure([dataclasses.replace(RUN, seed=0)], results, "{}", [sys.executable, "-c", program])


def test_the_report_is_made_by_the_command_with_failures_and_settings_recorded(results, capsys):
    made = f"import pathlib; pathlib.Path({str(results / FRONT_PAGE)!r}).write_text('new')"
    assert call(results, made)
    assert (results / FRONT_PAGE).read_text() == "new" and (results / "config.json").read_text() == "{}\n"
    (status,) = results.glob("status/*/seed0/train.json")
    assert read_json(status)["reason"] == "the loss is nan"
    said = capsys.readouterr().err
    assert "train failed: the loss is nan" in said and "could not be made" not in said


def test_a_report_that_could_not_be_made_anew_says_so_once(results, capsys):
    for _ in range(2):
        assert not call(results, "import sys; sys.exit(3)")
        assert f"error: {FAILED}; {results / FRONT_PAGE} is of an earlier call, and says so" in capsys.readouterr().err
    page = (results / FRONT_PAGE).read_text()
    assert page.count("This report is of an earlier call.") == 1 and page.count('role="alert"') == 1
    assert page.rstrip().endswith("</html>")
    # for the workflow it is as old as it was
    assert (results / FRONT_PAGE).stat().st_mtime == 1e9


def test_where_the_page_is_no_page_it_is_set_aside(results, capsys):
    (results / FRONT_PAGE).write_text("something else")
    assert not call(results, "import sys; sys.exit(3)")
    assert f"that of an earlier call is now {results / ASIDE}" in capsys.readouterr().err
    assert (results / ASIDE).read_text() == "something else" and not (results / FRONT_PAGE).exists()


def test_without_a_plan_or_a_report_nothing_is_called(results, capsys):
    (results / "plan.csv").unlink()
    (results / FRONT_PAGE).unlink()
    assert not call(results, "raise SystemExit('called')")
    said = capsys.readouterr().err
    assert said.rstrip().endswith(f"could not be made: there is no {results / 'plan.csv'}") and "called" not in said
