"""Executing a notebook's cells in this process, without a kernel: quick, and what it shows comes back."""

import ast
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat
from nbformat import v4

from ternary_spike.report.notebooks import render


def shown(notebook: Path, results: Path, kept: Path | None = None) -> list:
    """What the cells of a notebook show, in order: their last expressions, and what they give to ``display``."""
    return [value for _, values in executed(notebook, results, kept) for value in values]


def written(notebook: Path, results: Path, out: Path, kept: Path | None = None) -> Path:
    """The page that ``ternary_spike.report.notebooks.execute`` writes, and the notebook beside it."""
    content = v4.new_notebook()
    for cell, values in executed(notebook, results, kept):
        if cell.cell_type == "code":
            cell.outputs = [v4.new_output("display_data", data=as_kernel(value)) for value in values]
        content.cells.append(cell)
    out.mkdir(parents=True, exist_ok=True)
    nbformat.write(content, out / f"{notebook.stem}.ipynb")
    page = out / f"{notebook.stem}.html"
    page.write_text(render(page.with_suffix(".ipynb")))
    return page


def as_kernel(value) -> dict[str, str]:
    """A value's forms as a kernel would send them."""
    forms = {"text/html": "_repr_html_", "text/markdown": "_repr_markdown_"}
    found = {kind: getattr(value, method)() for kind, method in forms.items() if hasattr(value, method)}
    return found or {"text/plain": repr(value)}


def executed(notebook: Path, results: Path, kept: Path | None = None) -> Iterator[tuple[nbformat.NotebookNode, list]]:
    """The cells of a notebook, each with what it shows, until the last or one that ends the notebook."""
    found: list = []
    space = {"display": lambda *values: found.extend(values), "__name__": "__main__"}
    for cell in jupytext.reads(notebook.read_text(), fmt="py:percent").cells:
        ended = False
        if cell.cell_type == "code":
            body = ast.parse(cell.source, notebook.name).body
            last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
            try:
                exec(compile(ast.Module(body, []), notebook.name, "exec"), space)
                if last is not None:
                    found.append(eval(compile(ast.Expression(last.value), notebook.name, "eval"), space))
            except SystemExit:
                ended = True
            if "parameters" in cell.metadata.get("tags", []):
                space["results"] = str(results)
                if kept is not None and "kept" in space:
                    space["kept"] = str(kept)
        yield cell, [value for value in found if value is not None]
        if ended:
            break
        found.clear()
