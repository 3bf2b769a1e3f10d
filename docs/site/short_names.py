"""Docstrings name what everybody here knows by its short name, such as :class:`LIF`; the site finds where it stands.

What has no entry of its own, such as a constant or an attribute, leads to the module or class that has it. A name that
nobody has stays a warning.
"""

import inspect
import sys

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

PACKAGE = "ternary_spike"


def owner_of(node: pending_xref, objects: dict) -> str | None:
    """The documented module or class that has the attribute which a reference names; None if none has."""
    module, _, name = node["reftarget"].rpartition(".")
    module = module or node.get("py:module") or ""
    known = sys.modules.get(module)
    if known is not None and hasattr(known, name) and module in objects:
        return module
    owner = f"{module}.{node.get('py:class') or ''}"
    for place in (owner, *(full for full in objects if full.endswith(f".{module}"))):
        if place not in objects or objects[place].objtype != "class":
            continue
        home, _, cls = place.rpartition(".")
        cls = getattr(sys.modules.get(home), cls, None)
        ours = (base for base in getattr(cls, "__mro__", ()) if base.__module__.startswith(PACKAGE))
        if hasattr(cls, name) or any(f"self.{name}" in inspect.getsource(base) for base in ours):
            return place
    return None


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.Element) -> nodes.reference | None:
    """A link for a reference that Sphinx found no target for."""
    if node.get("refdomain") != "py" or "reftarget" not in node:
        return None
    objects = env.domains.python_domain.objects
    found = [full for full in objects if full.startswith(PACKAGE) and full.endswith(f".{node['reftarget']}")]
    target = found[0] if len(found) == 1 else owner_of(node, objects)
    if target is None:
        return None
    entry = objects[target]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, [shown], target)


def setup(app: Sphinx) -> dict:
    """Register it with Sphinx."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
