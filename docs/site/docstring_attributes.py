"""What docstrings say of attributes, as Sphinx's reader of Google's style takes it.

Several may be described in one line, ``channels, image_size: of ...``, where it wants a line for each; and what stands
in front of a colon, in the comment on a constant, it would take for a type.
"""

import re

from sphinx.application import Sphinx

SEVERAL = re.compile(r"^( +)(\w+(?:, \w+)+): ")


def one_each(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Repeat what is said of several attributes for each of them; a comment on a constant has no type in front."""
    if what in ("attribute", "data", "property"):
        lines.insert(0, "\\ ")  # shows as nothing
        return
    found: list[str] = []
    section, at = "", 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if line and not line.startswith(" "):
            section = line
        named = SEVERAL.match(line) if section == "Attributes:" else None
        if named is None:
            found.append(line)
            continue
        indent, names = named[1], named[2].split(", ")
        rest = [line[named.end() :]]
        while at < len(lines) and lines[at].startswith(indent + " "):
            rest.append(lines[at])
            at += 1
        for one in names:
            found += [f"{indent}{one}: {rest[0]}", *rest[1:]]
    lines[:] = found


def setup(app: Sphinx) -> dict:
    """Register it with Sphinx, before Google's sections are read."""
    app.connect("autodoc-process-docstring", one_each, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
