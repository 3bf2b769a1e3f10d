"""Whatever stands in a field of a run's files is shown as text, and never becomes a part of a page."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from ternary_spike import claims
from ternary_spike.cli import main
from ternary_spike.report.notebooks import prose
from ternary_spike.report.show import as_text
from ternary_spike.report.site import build
from ternary_spike.tables import collect
from tests.helpers.notebook import shown
from tests.report import fixture

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.py"))
#: what would make an element, a link, letters of another kind and a formula
MARKUP = "<img src=x onerror=alert(1)>[link](https://example.invalid)**bold**$x$ &lt; `code`"
#: fields that say which run a file is of, what another file holds, or which of several known words holds
BINDING = {"id", "dataset", "architecture", "neuron", "method", "encoder", "kind", "input", "weights", "format", "seal"}
BINDING |= {"weights.safetensors", "history.csv", "energy.csv", "sha256", "name", "layer", "trained_weights", "target"}
#: fields, some of each file, that are known to be on some page
SHOWN = {"label", "commit", "cpu", "device", "torch", "started", "warnings", "citation", "reason", "not_counted"}


class Elements(HTMLParser):
    """What a page consists of, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.handlers, self.links, self.words = set(), set(), set(), []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.handlers |= {name for name, _ in attributes if name.startswith("on")}
        self.links |= {value for name, value in attributes if name in ("href", "src")}

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


def marked(content, key=""):
    """A record with markup in every text that is free."""
    if isinstance(content, dict):
        return {name: marked(value, name) for name, value in content.items()}
    if isinstance(content, list):
        return [marked(value, key) for value in content]
    return f"{key}: {MARKUP}" if isinstance(content, str) and key not in BINDING else content


def hostile(folder: Path, *makes) -> Path:
    """A preset with finished, refused and absent runs, every field of text and the layers' names full of markup."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fixture, "LAYERS", tuple(f"{name}{MARKUP}" for name in fixture.LAYERS))
        plans = [pd.read_csv(make(folder), dtype=str, keep_default_na=False) for make in makes]
    plan = pd.concat(plans).drop_duplicates(["id", "seed"])
    waiting = (plan["neuron"] == "plif") & (plan["timesteps"] == "4")
    plan.loc[waiting, ["status", "reason"]] = "not run", f"reason: {MARKUP}"
    plan["method_label"] = plan["method_label"].replace("TET", f"title: {MARKUP}", regex=True)
    plan.to_csv(folder / "plan.csv", index=False)
    for path in folder.glob("runs/*/*/*.json"):
        content = json.loads(path.read_text())
        if path.name == "run.json":
            content |= {"warnings": ["a layer"], "changed": {"epochs": "2"}}
            if content["sheet"]:
                content["sheet"] |= {"label": "a title", "filled_in": ["a constant"]}
        if path.name == "energy.json" and "plif" in str(path):
            content["not_counted"] = "why"
        path.write_text(json.dumps(marked(content)))
    for path in folder.glob("runs/*plif*"):
        for seed in path.glob("seed*"):
            fixture.refuse(seed, f"not foldable: {MARKUP}")
    tables = collect.tables(collect.read_plan(folder / "plan.csv"), folder)
    collect.write_tables(tables | {"claims": claims.judge(tables)}, folder / "tables")
    return folder


@pytest.fixture(scope="module")
def rivals(tmp_path_factory):
    return hostile(tmp_path_factory.mktemp("results") / "demo", fixture.rivals)


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    folder = hostile(tmp_path_factory.mktemp("results") / "demo", fixture.controls, fixture.rivals)
    main(["trace", "--out", str(folder / "trace.csv")])
    main(["amplitudes", "--out", str(folder / "amplitudes.csv")])
    return folder


def require_text(html: str) -> Elements:
    page = Elements(html)
    assert "img" not in page.tags and not page.handlers
    assert len({page.text.count(part) for part in ("<img src=x", "[link](", "**bold**", "$x$", "`code`")}) == 1
    assert not {link for link in page.links if "example.invalid" in link or link == "x"}
    return page


def body_of(notebook: Path, results: Path) -> str:
    """What a notebook shows, rendered as its page has it."""
    parts = []
    for value in shown(notebook, results, results.parent):
        assert hasattr(value, "_repr_markdown_") or hasattr(value, "_repr_html_"), value
        markdown = hasattr(value, "_repr_markdown_")
        parts.append(prose(value._repr_markdown_()) if markdown else value._repr_html_())
    return "\n".join(parts)


def test_a_value_in_markdown_is_shown_letter_by_letter():
    for value in (
        MARKUP,
        "# no heading",
        "- no list",
        "12. no list",
        "a | b\n--- | ---",
        "*a*",
        r"\frac",
        "~~~",
        "+ 1",
    ):
        page = Elements(prose(as_text(value)))
        assert page.text.strip() == " ".join(value.split()) and page.tags == {"p"}
    assert Elements(prose("what is **ours**, and <b>what is not</b>")).tags == {"p", "strong"}


def test_pages_of_runs_and_the_front_page_show_values_as_text(rivals):
    for name in ("rates", "cost"):
        (rivals / "notebooks").mkdir(exist_ok=True)
        (rivals / "notebooks" / f"{name}.html").write_text(body_of(NOTEBOOKS[0].with_name(f"{name}.py"), rivals))
    build(rivals, rivals / "report", rivals.parent)
    pages = {path.stem: require_text(path.read_text()) for path in (rivals / "report").rglob("*.html")}
    text = "".join(page.text for page in pages.values())
    assert {field for field in SHOWN if f"{field}: {MARKUP}" in text} == SHOWN
    assert f"label: {MARKUP}" in pages["rates"].text and f"label: {MARKUP}" in pages["index"].text


@pytest.mark.full
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_shows_values_as_text(everything, notebook):
    require_text(body_of(notebook, everything))
