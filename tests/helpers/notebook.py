"""Executing a notebook's cells in this process, without a kernel: quick, and what it shows comes back."""

import ast
from pathlib import Path

import jupytext


def shown(notebook: Path, results: Path, kept: Path | None = None) -> list:
    """What the cells of a notebook show, in order: their last expressions, and what they give to ``display``."""
    found: list = []
    space = {"display": found.append, "__name__": "__main__"}
    for cell in jupytext.reads(notebook.read_text(), fmt="py:percent").cells:
        if cell.cell_type != "code":
            continue
        body = ast.parse(cell.source, notebook.name).body
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        try:
            exec(compile(ast.Module(body, []), notebook.name, "exec"), space)
            if last is not None:
                found.append(eval(compile(ast.Expression(last.value), notebook.name, "eval"), space))
        except SystemExit:
            break
        if "parameters" in cell.metadata.get("tags", []):
            space["results"] = str(results)
            if kept is not None and "kept" in space:
                space["kept"] = str(kept)
    return [value for value in found if value is not None]
