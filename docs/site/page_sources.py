"""The pages are written for whoever reads them in the repository; here Sphinx is told what is meant.

A page of the site stands in for a README of another folder, and names of files in the text become links to the pages
that show them.
"""

import re
from pathlib import PurePosixPath

from docutils import nodes
from sphinx.application import Sphinx

# README elsewhere in the repository -> page of the site
STAND_INS = {"config/README.md": "configuration", "profiles/README.md": "clusters", "README.md": "index"}
ANCHOR = re.compile(r'^<a id="([\w-]+)"></a>$', re.MULTILINE)


def as_myst(app: Sphinx, page: str, source: list[str]) -> None:
    """Change what a page's source says in GitHub's way: its anchors, and its links to READMEs of other folders."""
    text = ANCHOR.sub(r"(\1)=", source[0])
    for readme, stand_in in STAND_INS.items():
        text = text.replace(f"](../{readme}", f"]({stand_in}.md")
    source[0] = text


def page_of(name: str, pages: set[str], package: str = "") -> str | None:
    """The page that shows a file of the repository; None if there is none.

    Args:
        name: from the repository's root or the package's, or beside the file that names it.
        pages: all that there are.
        package: of the file that names it, such as ``neurons``.
    """
    if name in STAND_INS:
        return STAND_INS[name]
    path = PurePosixPath(name)
    if path.parts[:1] == ("docs",) and path.suffix in (".md", ".py"):
        page = str(PurePosixPath(*path.parts[1:]).with_suffix(""))
        return page if page in pages else None
    if path.suffix != ".py" or path.is_absolute():
        return None
    inside = path.relative_to("lib/ternary_spike") if path.is_relative_to("lib/ternary_spike") else path
    for folder in ("", package):
        page = "api/generated/ternary_spike." + ".".join((PurePosixPath(folder) / inside.with_suffix("")).parts)
        if page in pages:
            return page
    return None


def link_names_of_files(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Make a link of every file's name, set as code, that has a page."""
    pages = set(app.env.found_docs)
    package = page.removeprefix("api/generated/ternary_spike.").split(".")[0] if page.startswith("api/gen") else ""
    for literal in list(tree.findall(nodes.literal)):
        target = page_of(literal.astext(), pages, package)
        if target is None or target == page or isinstance(literal.parent, nodes.reference):
            continue
        link = nodes.reference("", "", internal=True, refuri=app.builder.get_relative_uri(page, target))
        literal.replace_self(link)
        link += literal


def setup(app: Sphinx) -> dict:
    """Register both with Sphinx."""
    app.connect("source-read", as_myst)
    app.connect("doctree-resolved", link_names_of_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
