"""Docstrings spell formulas in plain text, for whoever reads the code; the site typesets them.

A formula stands in an indented block behind a paragraph::

    u[t] = tau v[t-1] + x[t],   b[t] = 1[u[t] >= V_th]        charge and fire

A block in which every line has a relation is taken for formulas, any other for text whose columns stay as they are.
"""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

SYMBOLS = {"alpha", "beta", "gamma", "theta", "lambda", "sigma", "tau", "phi", "psi", "pi", "sum"}
# what joins formulas; other words that stand alone are names
JOINING = {"where", "else", "for", "in", "of", "or", "but", "the"}
SIGNS = {">=": r"\ge ", "<=": r"\le ", "||": r"\|", "*": r"\ast ", " (x) ": r"\otimes ", "{": r"\{", "}": r"\}"}
WORD = r"(?:\w+\.py|[A-Za-z]{2,}(?:'s)?)"
PROSE = re.compile(rf"{WORD}(?:(?:'?[,:]? +|-){WORD})+'?(?![\w\[(^'])")
TOKEN = re.compile(
    r"sqrt\((?P<root>[^()]*)\)"
    r"|(?P<name>[A-Za-z]+[0-9]*)(?P<prime>'?)(?P<index>(?:_(?:{[^}]*}|[A-Za-z0-9_]+))?)"
    r"|\^(?P<power>\([^()]*\)|-?\w+)"
    r"|(?P<indicator>1)(?=\[)"
    r"|\|(?!\|)(?P<size>[^|]+)\|(?!\|)"
    r"|1e(?P<exponent>-?[0-9]+)"
    r"|(?P<sign> \(x\) |>=|<=|\|\||[*{}])"
    r"|(?P<rest>.)"
)
LABEL = re.compile(r"(\w[\w-]*:) +")
RELATION = re.compile("[=<>]")
FORMULA = re.compile(r"[=<>\[_^]")
BAR_IN_PROSE = re.compile(r"(``.*?``)|\|")


def name_as_latex(name: str, prime: str, index: str, called: bool, spaced: bool) -> str:
    """A name with its index as LaTeX: V_th, sum_{i>0}, q'_i_bar.

    Args:
        name, prime, index: its parts, as written.
        called: whether arguments follow.
        spaced: whether a space follows.
    """
    barred, index = index.endswith("_bar"), index.removesuffix("_bar").lstrip("_").strip("{}")
    if name in JOINING and not index:
        return rf"\text{{ {name} }}"
    symbol = name in SYMBOLS or name == "eps"
    if symbol:
        shown = r"\epsilon" if name == "eps" else rf"\{name}"
    elif re.fullmatch("d[A-Za-z]", name):
        shown = rf"\mathrm{{d}}{name[1]}"
    else:
        shown = name if len(name) == 1 else rf"\mathrm{{{name}}}"
    shown = rf"\bar{{{shown}}}" if barred else shown
    if index:
        shown += f"_{{{as_latex(index)}}}"
    return shown + prime + ("" if called else r"\," if len(name) > 2 and not symbol and spaced else " ")


def as_latex(formula: str) -> str:
    """A formula in plain text as LaTeX."""
    made, at = [], 0
    while at < len(formula):
        prose = PROSE.match(formula, at)
        if prose and not SYMBOLS.intersection(re.findall("[a-z]+", prose[0])):
            made.append(rf"\text{{ {prose[0]} }}")
            at = prose.end()
            continue
        token = TOKEN.match(formula, at)
        at = token.end()
        after = formula[at : at + 1]
        if token["name"]:
            made.append(name_as_latex(token["name"], token["prime"], token["index"], after == "(", after == " "))
        elif token["root"] is not None:
            made.append(rf"\sqrt{{{as_latex(token['root'])}}}")
        elif token["size"]:
            made.append(rf"\left|{as_latex(token['size'])}\right|")
        elif token["power"]:
            made.append(f"^{{{as_latex(token['power'].strip('()'))}}}")
        elif token["indicator"]:
            made.append(r"\mathbf{1}")
        elif token["exponent"]:
            made.append(f"10^{{{token['exponent']}}}")
        else:
            made.append(SIGNS[token["sign"]] if token["sign"] else token["rest"])
    return "".join(made)


def line_as_latex(line: str) -> str:
    """A line of a block: formulas and remarks, with three spaces or more between them."""
    line, label = re.sub(" +=", " =", line.strip()), ""
    if named := LABEL.match(line):
        line, label = line[named.end() :], rf"\text{{{named[1]} }}"
    cells = re.split(" {3,}", line)
    return label + r" \qquad ".join(as_latex(cell) if FORMULA.search(cell) else rf"\text{{{cell}}}" for cell in cells)


def as_rest(block: list[str], indent: str) -> list[str]:
    """An indented block as reST: formulas, or text as it stands."""
    if all(RELATION.search(line) for line in block):
        return [row for line in block for row in (f"{indent}.. math:: {line_as_latex(line)}", "")]
    return [f"{indent}.. code-block:: text", "", *block, ""]


def typeset(app: "Sphinx", what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Typeset the blocks of a docstring, and keep bars in its sentences from being taken for markup."""
    made: list[str] = []
    literal = None  # the indent of what a "::" announces, which stays as it is
    at = 0
    while at < len(lines):
        line = lines[at]
        indent = line[: len(line) - len(line.lstrip())]
        if literal is not None and line and len(indent) <= len(literal):
            literal = None
        before = next((other for other in reversed(lines[:at]) if other), "")
        outer = before[: len(before) - len(before.lstrip())]
        if literal is None and line and at and not lines[at - 1] and len(indent) >= len(outer) + 4:
            if before.rstrip().endswith("::"):
                literal = outer
            else:
                end = next((i for i in range(at, len(lines)) if not lines[i]), len(lines))
                made += as_rest(lines[at:end], outer)
                at = end
                continue
        made.append(line if literal is not None else BAR_IN_PROSE.sub(lambda m: m[1] or r"\|", line))
        at += 1
    lines[:] = made


def setup(app: "Sphinx") -> dict:
    """Register it with Sphinx, before Google's sections are read."""
    app.connect("autodoc-process-docstring", typeset, priority=300)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
