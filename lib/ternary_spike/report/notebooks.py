"""Executing one notebook and rendering it as the body of a page."""

import re
import sys
import tempfile
from pathlib import Path

from ternary_spike.system.errors import UserError
from ternary_spike.system.files import write_text


def execute(notebook: Path, results: Path, out: Path, kept: Path | None = None) -> Path:
    """Execute a notebook, written in jupytext's percent format, with papermill, and render it.

    Args:
        notebook: the ``.py`` file; its cell tagged ``parameters`` sets ``results``.
        results: results/<preset>, given to the notebook as its parameter.
        out: folder for ``<name>.ipynb`` (kept, with the error in it, if the notebook fails) and ``<name>.html``.
        kept: results/reference, for a notebook whose parameters cell sets ``kept``.

    Returns:
        The HTML file: the body of a page, without head and style.

    Raises:
        UserError: if the file is missing or has no parameters cell, or a cell fails.
    """
    import jupytext
    import nbformat

    notebook, out = Path(notebook), Path(out)
    name = notebook.stem
    try:
        # without the format named, a header that lacks `extension` would be read as one cell with no parameters tag
        content = jupytext.reads(notebook.read_text(encoding="utf-8"), fmt="py:percent")
    except OSError as error:
        raise UserError(f"cannot read {notebook}: {error.strerror}; name one of the files in notebooks/") from None
    parameters = [cell.source for cell in content.cells if "parameters" in cell.metadata.get("tags", [])]
    if not parameters:
        raise UserError(f'{notebook} has no cell tagged "parameters"; tag the one that sets `results`')
    out.mkdir(parents=True, exist_ok=True)
    executed, page = out / f"{name}.ipynb", out / f"{name}.html"
    page.unlink(missing_ok=True)
    content.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(content, executed)
    given = {"results": str(results)} | ({"kept": str(kept)} if "kept" in parameters[0] else {})
    _run_in_this_python(notebook, executed, given)
    write_text(page, render(executed))
    return page


def _run_in_this_python(notebook: Path, executed: Path, parameters: dict) -> None:
    """Execute a notebook in place, with the interpreter that runs now and none of the user's own settings.

    A kernel that the user has installed as ``python3`` may be any interpreter, and IPython's start-up files any code.
    """
    import papermill
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from papermill.exceptions import PapermillExecutionError

    class ThisPython(AsyncKernelManager):
        kernel_spec = KernelSpec(
            argv=[sys.executable, "-m", "ternary_spike.cli._kernel", "-f", "{connection_file}"],
            display_name="Python 3",
            language="python",
        )

    with tempfile.TemporaryDirectory() as profile:
        try:
            papermill.execute_notebook(
                str(executed),
                str(executed),
                parameters=parameters,
                progress_bar=False,
                kernel_manager_class=ThisPython,
                extra_arguments=[
                    "--IPKernelApp.log_level=50",
                    f"--IPKernelApp.ipython_dir={profile}",
                    "--IPKernelApp.exec_PYTHONSTARTUP=False",
                ],
            )
        except PapermillExecutionError as error:
            raise UserError(
                f"{notebook} failed in cell {error.exec_count}: {error.ename}: {error.evalue}; see {executed}"
            ) from None


def render(executed: Path) -> str:
    """An executed notebook as HTML: code folded away, formulas as MathML, headings with anchors.

    A notebook that has nothing to show ends itself with ``sys.exit(0)``; the page ends there too.

    Written with a template of our own: nbconvert takes a second to import, in each of a dozen notebooks, and brings a
    style and scripts that this report would have to undo.
    """
    import nbformat
    from markupsafe import Markup
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    from ternary_spike.report.templating import environment

    cells = nbformat.read(executed, as_version=4).cells
    for number, cell in enumerate(cells):
        if _ended(cell):
            cell.outputs = [output for output in cell.outputs if output.output_type == "display_data"]
            del cells[number + 1 :]
            break
    templates = environment()
    templates.filters["prose"] = lambda markdown: Markup(prose(markdown))
    templates.filters["highlighted"] = lambda code: Markup(highlight(code, PythonLexer(), HtmlFormatter(nowrap=True)))
    return templates.get_template("body.html.j2").render(cells=cells)


def _ended(cell) -> bool:
    """Whether a notebook ended itself in a cell, by ``sys.exit(0)``: what follows was not executed."""
    return any(output.output_type == "error" and output.ename == "SystemExit" for output in cell.get("outputs", []))


def _mathml(formula: str, options: dict) -> str:
    from latex2mathml.converter import convert

    return convert(formula, display="block" if options.get("display_mode") else "inline")


def prose(markdown: str) -> str:
    """Markdown to HTML: tables, $formulas$ as MathML, headings with anchors; HTML within it is shown as text."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.anchors import anchors_plugin
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    anchors_plugin(parser, max_level=3)
    dollarmath_plugin(parser, renderer=_mathml, double_inline=True)
    # a formula wider than a phone scrolls by itself, with the keyboard too
    focusable = '<div class="math block" tabindex="0" role="group" aria-label="Formula">'
    return parser.render(markdown).replace('<div class="math block">', focusable)


def title(body: str) -> str:
    """The first heading of a rendered notebook, as text."""
    found = re.search(r"<h1[^>]*>(.*?)</h1>", body, re.S)
    return re.sub(r"<[^>]+>", "", found[1]).strip() if found else "Untitled"
