"""Formulas of the site as MathML: browsers show it without a script, and no font is fetched.

The report makes its formulas with the same library.
"""

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx


def inline(writer, node: nodes.math) -> None:
    """Write a formula within a sentence."""
    writer.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block(writer, node: nodes.math_block) -> None:
    """Write a formula on lines of its own; one that is wider than a phone scrolls by itself, with the keyboard too."""
    writer.body.append('<div class="math-block" tabindex="0" role="group" aria-label="Formula">')
    writer.body.append(convert(node.astext(), display="block") + "</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict:
    """Register the two with Sphinx."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
