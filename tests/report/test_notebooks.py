"""Executing and rendering notebooks."""

import json
import sys
from pathlib import Path

import jupytext
import pytest

from ternary_spike.report import Results
from ternary_spike.report.notebooks import execute, prose, title
from ternary_spike.system.errors import UserError

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.py"))
HEAD = """# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% tags=["parameters"]
results = "nowhere"
"""


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_has_the_form_that_the_report_needs(notebook):
    text = notebook.read_text()
    # with the format guessed from the header, as papermill's users would open it
    content = jupytext.reads(text, fmt=None if "extension: .py" in text else "py:percent")
    assert [cell.metadata.get("tags") for cell in content.cells].count(["parameters"]) == 1
    assert content.cells[0].metadata["tags"] == ["parameters"]
    headings = [line for cell in content.cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    assert headings[0].startswith("# ")
    assert any(line.startswith("**Asked:**") for line in headings)
    assert "## What was found" in headings
    assert "import torch" not in text


def test_the_parameter_reaches_the_notebook_and_the_output_the_page(tmp_path):
    path = tmp_path / "small.py"
    path.write_text(f"{HEAD}\n# %% [markdown]\n# # A title\n\n# %%\nprint('given', results)\nresults\n")
    page = execute(path, tmp_path / "results" / "x", tmp_path / "out")
    body = page.read_text()
    assert f"given {tmp_path}/results/x" in body
    assert title(body) == "A title"
    assert (tmp_path / "out" / "small.ipynb").exists()


def test_the_user_s_own_settings_decide_nothing(tmp_path, monkeypatch):
    kernel = tmp_path / "jupyter/kernels/python3/kernel.json"
    startup = tmp_path / "ipython/profile_default/startup/own.py"
    for path, text in (
        (kernel, json.dumps({"argv": ["false"], "display_name": "somebody else's", "language": "python"})),
        (startup, "print = None"),
        (tmp_path / "python/startup.py", "print = None"),
        (tmp_path / "matplotlib/matplotlibrc", "text.usetex: True\nlines.linestyle: dotted\n"),
    ):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "python/startup.py"))
    monkeypatch.setenv("MATPLOTLIBRC", str(tmp_path / "matplotlib"))
    path = tmp_path / "small.py"
    path.write_text(
        f"{HEAD}\n# %%\nimport io, sys\nfrom ternary_spike import report\n"
        "drawn, axes = report.subplots()\n(line,) = axes.plot([1, 2])\ndrawn.savefig(io.BytesIO(), format='svg')\n"
        "print('ran by', sys.executable, 'in style', line.get_linestyle())\n"
    )
    assert f"ran by {sys.executable} in style -\n" in execute(path, tmp_path, tmp_path / "out").read_text()


def test_a_failing_cell_is_one_line_and_leaves_the_executed_notebook(tmp_path):
    path = tmp_path / "failing.py"
    path.write_text(f"{HEAD}\n# %%\n1 / 0\n")
    (tmp_path / "failing.html").write_text("of an earlier call")
    with pytest.raises(UserError, match=r"failing\.py failed in cell \d: ZeroDivisionError: division by zero; see"):
        execute(path, tmp_path, tmp_path)
    assert "ZeroDivisionError" in (tmp_path / "failing.ipynb").read_text()
    assert not (tmp_path / "failing.html").exists()


def test_a_notebook_without_parameters_cell_is_refused(tmp_path):
    path = tmp_path / "plain.py"
    path.write_text("# %%\n1 + 1\n")
    with pytest.raises(UserError, match='no cell tagged "parameters"'):
        execute(path, tmp_path, tmp_path)
    with pytest.raises(UserError, match="cannot read"):
        execute(tmp_path / "absent.py", tmp_path, tmp_path)


def test_formulas_become_mathml_and_headings_get_anchors():
    body = prose("## Where it acts\n\nThe $a_1$ of\n\n$$x^2$$\n\n| a | b |\n| - | - |\n| 1 | 2 |\n")
    assert "<math" in body
    assert "$" not in body
    assert 'id="where-it-acts"' in body
    assert "<table>" in body
    assert 'tabindex="0"' in body


def test_missing_tables_are_one_line(tmp_path):
    with pytest.raises(UserError, match="run the `collect` stage first"):
        Results(tmp_path).table("summary")


def test_text_that_looks_like_a_number_stays_text(tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "runs.csv").write_text("id,seed,commit,neuron\na,0,0000123,\n")
    row = Results(tmp_path).table("runs").iloc[0]
    assert (row["commit"], row["seed"], row["neuron"]) == ("0000123", 0, "")
