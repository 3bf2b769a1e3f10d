"""Snakemake's own report of a finished preset."""

import base64
import json
import re

import pytest

from tests.workflow.running import smoke

pytestmark = pytest.mark.full


def part(text: str, name: str) -> dict:
    """A part of the report's data, as JSON in a script of that name."""
    start = text.index("= ", text.index(f'<script id="{name}">')) + 2
    return json.JSONDecoder().raw_decode(text, start)[0]


@pytest.fixture(scope="module")
def results(smoke_run, tmp_path_factory):
    """The results that the report lists by category and path, and its whole text."""
    folder, _, mended, _ = smoke_run
    assert mended.status == 0, mended.text
    path = tmp_path_factory.mktemp("report") / "report.html"
    made = smoke(folder, "--report", str(path))
    assert made.status == 0, made.text
    assert "WARNING" not in made.text.upper(), made.text
    text = path.read_text()
    entries, categories = part(text, "results"), part(text, "categories")
    return {
        category: [entries[path] for paths in parts.values() for path in paths]
        for category, parts in categories.items()
    }, text


def test_every_result_has_a_category_a_label_and_a_caption(results):
    found, _ = results
    assert set(found) == {"Overview", "Notebooks", "Tables"}
    for entries in found.values():
        for entry in entries:
            assert len(re.sub(r"<[^>]+>", "", entry["caption"])) > 50, entry["name"]
            assert "{{" not in entry["caption"], entry["name"]
    assert {entry["labels"]["page"] for entry in found["Overview"]} == {"front page", "plan of all runs"}
    assert {entry["labels"]["notebook"] for entry in found["Notebooks"]} == {"comparison"}
    assert {"summary", "claims", "table2"} <= {entry["labels"]["table"] for entry in found["Tables"]}


def test_the_introduction_names_the_preset_and_the_data_is_inside(results):
    found, text = results
    assert "preset <strong>smoke</strong>" in text
    (plan,) = [entry for entry in found["Overview"] if entry["labels"]["page"] == "plan of all runs"]
    content = base64.b64decode(plan["data_uri"].partition("base64,")[2]).decode()
    assert content.startswith("id,seed,dataset")
