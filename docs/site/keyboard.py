"""What the theme leaves out for whoever reads without a mouse or a screen.

What scrolls sideways can be reached with the keyboard, and the captions of the list of pages say how deep they stand.
"""

from sphinx.application import Sphinx

SCROLLS = {
    "<pre>": '<pre tabindex="0">',
    '<div class="table-wrapper ': '<div tabindex="0" role="region" aria-label="Table" class="table-wrapper ',
}


def reachable(app: Sphinx, page: str, template: str, context: dict, tree: object) -> None:
    """Change a page's HTML before it is written."""
    for plain, focusable in SCROLLS.items():
        context["body"] = context.get("body", "").replace(plain, focusable)
    pages = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = pages.replace('role="heading"', 'role="heading" aria-level="2"')


def setup(app: Sphinx) -> dict:
    """Register it with Sphinx, behind the theme."""
    app.connect("html-page-context", reachable, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
