"""The tables of docs/datasets.md, made from the datasets' and recipes' own descriptions.

``PYTHONPATH=lib:. python -m tests.helpers.datasets_doc`` writes them anew.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING
from pathlib import Path

import yaml

from ternary_spike.configuration.recipe import FIELDS, load, sources
from ternary_spike.data import registry

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "datasets.md"
BEGIN, END = "<!-- {}: made from the code, do not edit -->\n", "<!-- end of {} -->\n"


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |\n"


def _table(*head: str) -> str:
    return _row(*head) + "|" + " --- |" * len(head) + "\n"


def dataset_table() -> str:
    """A row for each kind of source."""
    text = _table("dataset", "source", "results are labelled", "the path (`root`) is", "`download`")
    for name in registry.names():
        known = registry.describe(name)
        for kind, label in known.sources.items():
            label = f"{label} (*n* + *m*)" if kind == "subset" else label
            path = registry.root_of(name, kind) or "not needed"
            text += _row(f"`{name}`", f"`{kind}`", label, path, "yes" if kind in known.downloadable else "no")
    return text


def option_table() -> str:
    """A row for each option of a preparation."""
    text = _table("dataset", "option", "default", "allowed", "meaning")
    for name in registry.names():
        for key, option in registry.describe(name).options.items():
            allowed = ", ".join(f"`{choice}`" for choice in option.choices) or option.rule
            text += _row(f"`{name}`", f"`{key}`", f"`{option.default}`", allowed, option.meaning)
    return text


def key_table() -> str:
    """A row for each key of a recipe."""
    text = _table("key", "allowed", "default", "meaning")
    for name, key in FIELDS.items():
        option = key.metadata["option"]
        default = "needed" if key.default is MISSING else f"`{yaml.safe_dump(key.default).split()[0]}`"
        text += _row(f"`{name}`", option.rule, default, option.meaning)
    return text


def recipe_tables() -> str:
    """For each shipped recipe, its values and where they come from."""
    text = ""
    for path in sorted((ROOT / "config" / "recipes").glob("*.yaml")):
        recipe, origins = load(path).as_dict(), sources(path)
        text += f"\n`config/recipes/{path.name}`\n\n" + _table("key", "value", "origin")
        for key, origin in origins.items():
            if key != "name":
                text += _row(f"`{key}`", recipe[key], origin)
    return text


TABLES = {"datasets": dataset_table, "options": option_table, "keys": key_table, "recipes": recipe_tables}


def renewed(page: str, tables: Mapping[str, Callable[[], str]] = TABLES) -> str:
    """A page with its tables as the code has them now."""
    for name, table in tables.items():
        begin, end = BEGIN.format(name), END.format(name)
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"the page lacks the marks of the table {name}")
        page = f"{before}{begin}\n{table().strip()}\n\n{end}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
