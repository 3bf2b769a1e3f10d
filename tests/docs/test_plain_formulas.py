"""Formulas that docstrings spell in plain text, as the site typesets them."""

import ast
import importlib.util
from pathlib import Path

import pytest
from latex2mathml.converter import convert

ROOT = Path(__file__).parents[2]
SHOWN = ("neurons", "membrane", "models", "methods", "data", "reparam", "measuring", "interop")


@pytest.fixture(scope="module")
def formulas():
    """The module, from the folder that Sphinx takes it from."""
    spec = importlib.util.spec_from_file_location("plain_formulas", ROOT / "docs/site/plain_formulas.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def docstrings():
    """Those of every module that the reference shows."""
    for wing in SHOWN:
        for path in sorted((ROOT / "lib/ternary_spike" / wing).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
                    yield f"{path.name}: {getattr(node, 'name', 'module')}", ast.get_docstring(node)


@pytest.mark.parametrize(
    ("plain", "latex"),
    [
        ("u[t] = tau v[t-1] + x[t]", r"u[t]=\tau v[t-1]+x[t]"),
        ("b[t] = 1[u[t] >= V_th]", r"b[t]=\mathbf{1}[u[t]\ge V_{\mathrm{th}}]"),
        ("sqrt(variance + eps)", r"\sqrt{\mathrm{variance}\,+\epsilon}"),
        ("sum_{i>0} H(q'_0_bar, q'_i)", r"\sum_{i>0}H(\bar{q}_{0}',q_{i}')"),
        ("g[t] (x) a[t]", r"g[t]\otimes a[t]"),
        ("r(x) = clamp(r(y), 0, 1)", r"r(x)=\mathrm{clamp}(r(y),0,1)"),
        ("10^(i/N) K_max", r"10^{i/N}K_{\mathrm{max}}"),
        ("0 where |d| > w, else the same for all", r"0\text{where}\left|d\right|>w,\text{elsethesameforall}"),
    ],
)
def test_plain_text_becomes_latex(formulas, plain, latex):
    assert formulas.as_latex(plain).replace(" ", "") == latex.replace(" ", "")


def test_a_block_of_formulas_is_typeset_and_other_blocks_stay(formulas):
    lines = [
        "It fires:",
        "",
        "    y = a b      emit",
        "    z = 1",
        "",
        "As code::",
        "",
        "    y = |a|",
        "",
        "Of |a|.",
    ]
    formulas.typeset(None, "class", "name", None, None, lines)
    assert [line for line in lines if line] == [
        "It fires:",
        r".. math:: y  = a  b  \qquad \text{emit}",
        ".. math:: z  = 1",
        "As code::",
        "    y = |a|",
        r"Of \|a\|.",
    ]
    table = ["Kinds:", "", "    A   average of 2", "    N   neurons"]
    formulas.typeset(None, "module", "name", None, None, table)
    assert table == ["Kinds:", "", ".. code-block:: text", "", "    A   average of 2", "    N   neurons", ""]


def test_every_formula_of_the_reference_can_be_shown(formulas):
    count = 0
    for where, docstring in docstrings():
        lines = docstring.splitlines()
        formulas.typeset(None, "class", where, None, None, lines)
        for line in lines:
            if line.lstrip().startswith(".. math:: "):
                count += 1
                shown = convert(line.split(".. math:: ")[1], display="block")
                assert shown.startswith("<math"), where
                assert "&#x0005C;" not in shown and "\\" not in shown, f"{where}: a command is shown as text: {line}"
    assert count > 50
