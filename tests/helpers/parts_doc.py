"""The tables of docs/parts.md and config/README.md, made from the registries, and docs/methods.md, also from sheets.

``PYTHONPATH=lib:. python -m tests.helpers.parts_doc`` writes them anew.
"""

from ternary_spike.cli._parts import kinds, page
from tests.helpers import methods_doc
from tests.helpers.datasets_doc import ROOT, renewed


def names() -> str:
    """What each column of the run table may say."""
    columns = {"dataset": "datasets", "architecture": "architectures", "neuron": "neurons"}
    columns |= {
        "`normalisation=` in `neuron_options`": "normalisations",
        "`surrogate=` in `neuron_options`": "surrogates",
    }
    rows = [(place if "`" in place else f"`{place}`", kinds()[kind]) for place, kind in columns.items()]
    text = "".join(f"| {place} | {', '.join(f'`{name}`' for name in found)} |\n" for place, found in rows)
    return f"| in | registered |\n| --- | --- |\n{text}"


PAGES = {
    ROOT / "docs" / "parts.md": {"parts": page},
    ROOT / "config" / "README.md": {"names": names},
    ROOT / "docs" / "methods.md": {"methods": methods_doc.page},
}

if __name__ == "__main__":
    for path, tables in PAGES.items():
        path.write_text(renewed(path.read_text(encoding="utf-8"), tables), encoding="utf-8")
