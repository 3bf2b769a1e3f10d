"""How Sphinx makes the documentation site of the pages in `docs/`: `make docs`.

Nothing here looks at the network, neither when the site is made nor when it is opened: no font, style, script or
inventory comes from elsewhere.
"""

import sys
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.ext import autosummary

SITE = Path(__file__).parent
sys.path[:0] = [str(SITE), str(SITE.parents[1] / "lib")]

import ternary_spike  # noqa: E402  (found on the path that was just set)

project = html_title = "Ternary Spike, reproduced"
version = release = ternary_spike.__version__
author = "the Ternary Spike reproduction authors"
copyright = f"{author}, MIT licence"
language = "en"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_nb",
    "docstring_attributes",
    "keyboard",
    "mathml",
    "page_sources",
    "plain_formulas",
    "short_names",
]
exclude_patterns = ["site"]
# the first is what the pages of the reference are made in
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".py": "myst-nb"}

# A name that leads nowhere is a warning, and `make docs` takes no warnings; other libraries' names are theirs.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(torch|nn|np|numpy|pathlib|collections|contextlib|types|PIL|onnx|spikingjelly|snntorch|norse)\..*"),
    ("py:class", r"Tensor|dict\[str"),
]

autosummary_generate = True
autosummary.WELL_KNOWN_ABBREVIATIONS += ("Eq.", "Eqs.")  # no sentence ends there
autodoc_default_options = {"show-inheritance": True, "member-order": "bysource", "no-value": True}
autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
templates_path = [str(SITE / "templates")]

nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["search_from_disk.js"]
html_copy_source = False
html_use_index = html_domain_indices = False  # the search finds names, and the index is wider than a screen


def setup(app) -> None:
    """Tables of commas, which the pages show, have no colours."""
    app.add_lexer("csv", TextLexer)
