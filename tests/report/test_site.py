"""The report as a whole: pages whose links lead somewhere, with nothing from the network."""

import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

import pandas as pd
import pytest

from ternary_spike import claims
from ternary_spike.cli import main
from ternary_spike.report import show
from ternary_spike.report.notebooks import execute
from ternary_spike.report.results import Results
from ternary_spike.report.site import build
from ternary_spike.system.errors import UserError
from ternary_spike.tables import collect
from tests.helpers.notebook import written

from . import browser, fixture
from .test_figures import DOT

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.py"))


def collected(folder, make):
    """A preset with plan, runs, tables and trace."""
    plan = make(folder)
    tables = collect.tables(collect.read_plan(plan), folder)
    collect.write_tables(tables | {"claims": claims.judge(tables)}, folder / "tables")
    main(["trace", "--out", str(folder / "trace.csv")])
    main(["amplitudes", "--out", str(folder / "amplitudes.csv")])
    return folder


class Page(HTMLParser):
    """Links, ids and loaded resources of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.ids, self.loaded, self.unnamed = [], [], [], []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a":
            self.links.append(given["href"])
        if tag in ("script", "img", "iframe") and "src" in given:
            self.loaded.append(given["src"])
        if tag == "link":
            self.loaded.append(given["href"])
        if (tag == "img" and not given.get("alt")) or (tag == "svg" and not given.get("aria-label")):
            self.unnamed.append(tag)


def check_pages(report):
    """Every link leads to a file, and to an anchor in it; nothing is loaded from elsewhere; ids are unique."""
    pages = {path: Page(path) for path in report.rglob("*.html")}
    for path, page in pages.items():
        assert len(page.ids) == len(set(page.ids)), path
        assert not page.unnamed, path
        for link in [*page.links, *page.loaded]:
            parts = urlparse(link)
            if parts.scheme == "data":
                continue
            assert not parts.scheme, f"{path} refers to {link}"
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
            assert target.exists(), f"{path.name} links to {link}"
            if parts.fragment and target.suffix == ".html":
                assert unquote(parts.fragment) in pages[target].ids, f"{path.name} links to {link}"
    return pages


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A demo's report with two of its notebooks."""
    folder = collected(tmp_path_factory.mktemp("results") / "demo", fixture.demo)
    for name in ("comparison", "folding"):
        written(NOTEBOOKS[0].with_name(f"{name}.py"), folder, folder / "notebooks")
    (folder / "report").mkdir()
    (folder / "report" / "rulegraph.dot").write_text(DOT)
    build(folder, folder / "report")
    return folder


def test_front_page_says_what_ran_and_what_came_out(demo):
    text = re.sub(r"<[^>]+>", "", (demo / "report" / "index.html").read_text())
    text = re.sub(r"\s+", " ", unescape(text))
    summary = collect.tables(collect.read_plan(demo / "plan.csv"), demo)["summary"].set_index("neuron")
    assert "9 of 9 planned training runs finished" in text
    assert "reduced: scikit-learn digits, 16x16 instead of the paper's data" in text
    for name in ("binary", "ternary", "trainable"):
        row = summary.loc[name]
        assert f"{row['last_epoch_mean_percent']:.2f} ± {row['last_epoch_std_percent']:.2f}" in text
    assert "0 of 9,000,000 spikes differ" in text
    assert "Of the 36 own rows of the paper's Tables 1–4, 0 were run in full" in text
    for fact in ("0" * 40, "made-up processor", "0, 1, 2", "112 s of training in 9 runs", "0.0.test"):
        assert fact in text
    assert "agrees with the paper" not in text


def test_the_ledger_has_a_place_for_every_claim(demo):
    ledger = (demo / "report" / "claims.html").read_text()
    ids = list(Results(demo).table("claims")["id"])
    assert ids and [name for name in ids if f'id="{name}"' not in ledger] == []


def test_links_lead_somewhere(demo):
    pages = check_pages(demo / "report")
    assert {"index.html", "claims.html", "files.html", "comparison.html", "folding.html"} <= {p.name for p in pages}


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A report, with the notebook of costs, on trainings of which one had a warning, and some no commit."""

    def made(folder):
        plan = fixture.demo(folder, seeds=(0, 1))
        runs = folder / "runs/digits-resnet8-T2-binary"
        for seed, reason in ((0, {"commit_unknown": "git is not installed"}), (1, {})):  # earlier: no reason
            record = json.loads((runs / f"seed{seed}/run.json").read_text())
            record["provenance"] |= {"commit": None, "dirty": None, **reason}
            record["warnings"] = ["layer stem1 emits no spikes"] * seed
            (runs / f"seed{seed}/run.json").write_text(json.dumps(record))
        return plan

    folder = collected(tmp_path_factory.mktemp("results") / "demo", made)
    written(NOTEBOOKS[0].with_name("cost.py"), folder, folder / "notebooks")
    (folder / "report").mkdir()
    (folder / "report" / "rulegraph.dot").write_text(DOT)
    build(folder, folder / "report")
    return folder


def test_a_training_s_warning_is_on_its_page_and_among_the_costs(odd):
    folder, cost = odd, (odd / "notebooks/cost.html").read_text()
    assert cost.count("layer stem1 emits no spikes") == 1
    pages = {path.stem: path.read_text() for path in (folder / "report/runs").glob("*.html")}
    shown = [name for name, page in pages.items() if "layer stem1 emits no spikes" in page]
    assert shown == ["digits-resnet8-T2-binary"] and len(pages) == 3


def test_what_other_code_made_is_said_on_the_front_page_and_the_runs_own(tmp_path):
    rows = [fixture.plan_row("digits", "resnet8", 2, neuron, 0) for neuron in ("binary", "ternary")]
    rows[0]["code"] = json.dumps({"train": "0" * 16})
    for row in rows:
        fixture.write_run(tmp_path, row)
    build(collected(tmp_path, lambda folder: fixture.write_plan(folder, rows)), tmp_path / "report")
    said = "done; other code: train"
    front = (tmp_path / "report/index.html").read_text()
    assert f'<a href="runs/{rows[0]["id"]}.html">{rows[0]["id"]}</a>: {said}</li>' in front
    assert f"{rows[1]['id']}</a>: " not in front
    assert said in (tmp_path / f"report/runs/{rows[0]['id']}.html").read_text()


def test_without_a_commit_everything_else_stands_there(odd):
    page = (odd / "report/runs/digits-resnet8-T2-binary.html").read_text()
    assert page.count("unknown: git is not installed") == 1 and page.count("unknown: no reason recorded") == 1
    for fact in ("(last epoch)", "digits, 4 epochs", "made-up processor", "2000-01-01T00:00:00Z", "python -m"):
        assert page.count(fact) == 2, fact
    assert "unknown: git is not installed" in (odd / "report/index.html").read_text()


@pytest.mark.parametrize("neuron", ["binary", "ternary", "trainable"])
def test_a_number_can_be_walked_back_to_its_commit(demo, neuron):
    front = demo / "report" / "index.html"
    run = f"digits-resnet8-T2-{neuron}"
    assert f"runs/{run}.html" in Page(front).links
    assert f"runs/{run}.html" in Page(demo / "report" / "comparison.html").links
    page = demo / "report" / "runs" / f"{run}.html"
    record = next(link for link in Page(page).links if link.endswith("seed1/run.json"))
    content = json.loads((page.parent / record).read_text())
    assert content["provenance"]["commit"] in page.read_text()
    assert (page.parent / record).read_bytes() == (demo / "runs" / run / "seed1" / "run.json").read_bytes()


def test_the_rule_graph_is_in_the_report(demo):
    page = (demo / "report" / "index.html").read_text()
    assert 'id="figure-rulegraph"' in page
    assert ">prepare<" in page


def test_rebuilding_drops_what_is_gone(tmp_path):
    folder = collected(tmp_path / "x", fixture.demo)
    build(folder, folder / "report")
    stale = folder / "report" / "files" / "runs" / "gone" / "seed0" / "run.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}")
    (folder / "report" / "runs" / "gone.html").write_text("")
    build(folder, folder / "report")
    assert not (folder / "report" / "files" / "runs" / "gone").exists()
    assert not (folder / "report" / "runs" / "gone.html").exists()
    assert (folder / "report" / "files" / "runs" / "digits-resnet8-T2-binary" / "seed0" / "run.json").exists()


def test_a_failed_notebook_is_named_and_the_rest_is_there(tmp_path):
    folder = collected(tmp_path / "x", fixture.demo)
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "membrane.ipynb").write_text("{}")
    (folder / "report").mkdir()
    (folder / "report" / "membrane.html").write_text("of an earlier call")
    front = build(folder, folder / "report").read_text()
    assert "Failed:</b> membrane" in front
    assert not (folder / "report" / "membrane.html").exists()


def test_the_files_of_the_benchmark_are_carried_and_this_machines_come_first(tmp_path):
    folder = collected(tmp_path / "results" / "x", fixture.demo)
    for place, words in ((tmp_path / "kept" / "bench", "kept"), (tmp_path / "results" / "bench", "own")):
        place.mkdir(parents=True)
        for name in ("benchmark.json", "neuron.csv", "precision.csv"):
            (place / name).write_text(f"{words} {name}")
    (tmp_path / "kept" / "bench" / "epoch.csv").write_text("of another call than this machine's")
    (tmp_path / "results" / "bench" / "precision.csv").unlink()
    build(folder, folder / "report", tmp_path / "kept")
    carried = {path.name: path.read_text() for path in (folder / "report" / "files" / "bench").iterdir()}
    assert carried == {
        "benchmark.json": "own benchmark.json",
        "neuron.csv": "own neuron.csv",
        "precision.csv": "kept precision.csv",
    }


def test_mistakes_are_one_line(tmp_path):
    with pytest.raises(UserError, match="run the `collect` stage first"):
        build(tmp_path, tmp_path / "report")
    folder = collected(tmp_path / "x", fixture.demo)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the report"):
        build(folder, tmp_path / "file")


# every notebook in a kernel once; in this process the same pages come ten times as fast
@pytest.mark.full
@pytest.mark.parametrize(
    ("make", "made"),
    [(fixture.demo, execute), (fixture.controls, written), (fixture.nothing_run, written)],
    ids=["demo", "controls", "nothing-run"],
)
def test_whole_reports_in_a_browser(tmp_path, make, made):
    """No console message, no failed request, no page wider than a phone, no accessibility finding."""
    path = browser.chromium()
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="it brings axe's accessibility rules")
    folder = collected(tmp_path / "preset", make)
    for notebook in NOTEBOOKS:
        made(notebook, folder, folder / "notebooks")
    report = folder / "report"
    build(folder, report)
    check_pages(report)
    assert sum(file.stat().st_size for file in report.rglob("*") if file.is_file()) < 15e6
    pages = sorted(report.glob("*.html")) + sorted(report.glob("runs/*.html"))[:3]
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for width, scheme in ((1280, "light"), (390, "dark")):
            context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True)
            tab = context.new_page()
            noise = []
            tab.on("console", lambda message: noise.append(message.text))  # noqa: B023
            tab.on("pageerror", lambda error: noise.append(str(error)))  # noqa: B023
            tab.on("requestfailed", lambda request: noise.append(request.url))  # noqa: B023
            for page in pages:
                tab.goto(page.as_uri())
                where = f"{page.name} at {width} px"
                assert tab.evaluate("document.documentElement.scrollWidth") <= width, where
                found = axe.Axe().run(tab, options={"preload": False}).response  # else it fetches style sheets
                assert found["passes"], where
                serious = [v["id"] for v in found["violations"] if v["impact"] in ("serious", "critical")]
                assert not serious, f"{where}: {serious}"
            assert not noise
        chromium.close()


@pytest.mark.full
def test_tables_sort_where_javascript_runs(tmp_path):
    path = browser.chromium()
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    rows = pd.DataFrame({"place": ["x", "x", "x", "y", "y"], "seed": [10, 9, 2, 7, 30], "name": list("abcde")})
    columns = [show.text("Name", "name"), show.number("Seed", "seed", 0)]
    table = show.table(rows, columns, "made up", group=lambda row: row["place"])
    script = (Path(show.__file__).parent / "assets" / "sort.js").read_text()
    (tmp_path / "page.html").write_text(f"<main>{table.html}</main><script>{script}</script>")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        tab = chromium.new_page()
        tab.goto((tmp_path / "page.html").as_uri())

        def order():
            return tab.evaluate("[...document.querySelector('tbody').rows].map(row => row.cells[0].textContent)")

        assert order() == ["x", "a", "b", "c", "y", "d", "e"]
        tab.get_by_role("button", name="Seed").click()
        assert order() == ["x", "c", "b", "a", "y", "d", "e"]
        tab.get_by_role("button", name="Seed").click()
        assert order() == ["x", "a", "b", "c", "y", "e", "d"]
        tab.get_by_role("button", name="Name").click()
        assert order() == ["x", "a", "b", "c", "y", "d", "e"]
        chromium.close()
