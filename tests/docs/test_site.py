"""The documentation site as `make docs` makes it: without a warning, without the network, for every screen.

`make docs` installs what it takes; these tests skip, saying so, where that has not been done.
"""

import os
import re
import shutil
import subprocess
import sys
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlparse

import pytest

from tests.report import browser

ROOT = Path(__file__).parents[2]
# pages with a notebook, wide tables, blocks of code, formulas, classes, and the search
EACH_KIND = {
    "index",
    "first-network",
    "parts",
    "extending",
    "search",
    *(f"ternary_spike.{name}" for name in ("neurons", "neurons.lif", "membrane.dynamics", "reparam.folding")),
}
pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, made of a copy of the pages as the Makefile has it made."""
    for name in ("sphinx", "furo", "myst_nb"):
        pytest.importorskip(name, reason="`make docs` installs what makes the site")
    folder = tmp_path_factory.mktemp("repository")
    for name in ("docs", "config", "profiles", "lib"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("generated", "__pycache__"))
    (words,) = re.findall(r"python -m sphinx (.+)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    environment = os.environ | {"PYTHONPATH": f"{folder / 'lib'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *words.split()], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder / "build" / "site"


class Page(HTMLParser):
    """What a page links to and loads, its ids, its headings."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.ids, self.formulas = [], [], set(), 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids.add(given.get("id"))
        self.formulas += tag == "math"
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in ("script", "img", "iframe", "source") and "src" in given:
            self.loaded.append(given["src"])
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload"):
            self.loaded.append(given["href"])


def test_nothing_is_loaded_from_elsewhere_and_every_link_leads_somewhere(site):
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html")}
    assert len(pages) > 80
    for path, page in pages.items():
        assert all(not urlparse(link).scheme or link.startswith("data:") for link in page.loaded), path
        for link in [*page.loaded, *page.links]:
            parts = urlparse(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.exists(), f"{path.name} leads to {link}"
            if parts.fragment and target in pages and "viewcode" not in link:
                assert unquote(parts.fragment) in pages[target].ids, f"{path.name} leads to {link}"
    styles = "".join(sheet.read_text(encoding="utf-8") for sheet in site.rglob("*.css"))
    assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", styles)


def test_the_reference_has_classes_formulas_and_references(site):
    lif = (site / "api/generated/ternary_spike.neurons.lif.html").read_text()
    for name in ("LIF", "BinaryLIF", "TernaryLIF", "TrainableTernaryLIF", "LIF.update"):
        assert f'id="ternary_spike.neurons.lif.{name}"' in lif
    assert "ternary_spike.neurons.base.html#ternary_spike.neurons.base.SpikingNeuron.emit" in lif
    dynamics = Page(site / "api/generated/ternary_spike.membrane.dynamics.html")
    assert dynamics.formulas >= 8
    text = re.sub(r"<[^>]+>", "", lif)
    assert ":class:" not in text and ":meth:" not in text and "::" not in text


def test_the_notebook_was_executed_and_shows_its_pictures(site):
    page = (site / "first-network.html").read_text()
    assert float(re.search(r"([\d.]+) % of 450 test pictures", page)[1]) > 90
    assert len(re.findall(r"<img[^>]+_images", page)) == 3


def opened(driver, path, width, scheme):
    """A browser's tab without a network, and the list of what it complains about."""
    chromium = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    context.route(re.compile("https?://(?!127\\.0\\.0\\.1)"), lambda route: route.abort())
    tab, noise = context.new_page(), []
    tab.on("console", lambda message: noise.append(message.text))
    tab.on("pageerror", lambda error: noise.append(str(error)))
    tab.on("requestfailed", lambda request: noise.append(request.url))
    return chromium, tab, noise


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_pages_in_a_browser(site, width, scheme):
    """No console message, no failed request, no page wider than the screen, no serious accessibility finding."""
    path = browser.chromium()
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="it brings axe's accessibility rules")
    pages = [page for page in sorted(site.rglob("*.html")) if "_modules" not in page.parts]
    if width > 1000:  # what fits a phone fits: of pages that are made alike one is enough
        pages = [page for page in pages if page.stem in EACH_KIND or page.parent == site]
    assert {page.stem for page in pages} >= EACH_KIND
    with playwright.sync_playwright() as driver:
        chromium, tab, noise = opened(driver, path, width, scheme)
        wide, findings = [], []
        for page in pages:
            tab.goto(page.as_uri())
            if tab.evaluate("document.documentElement.scrollWidth") > width:
                wide.append(page.name)
            if page.stem in EACH_KIND:  # others are made alike, and axe is slow
                found = axe.Axe().run(tab, options={"preload": False}).response
                assert found["passes"], page.name
                findings += [
                    f"{page.name}: {v['id']} {v['nodes'][0]['html'][:200]}"
                    for v in found["violations"]
                    if v["impact"] in ("serious", "critical")
                ]
        chromium.close()
    assert (wide, findings, noise) == ([], [], [])


@pytest.mark.parametrize("served", [False, True], ids=["from disk", "from a server"])
def test_search_needs_no_network(site, served):
    path = browser.chromium()
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site))
    Thread(target=server.serve_forever, daemon=True).start()
    with playwright.sync_playwright() as driver:
        chromium, tab, noise = opened(driver, path, 1280, "light")
        tab.goto(f"http://127.0.0.1:{server.server_port}/index.html" if served else (site / "index.html").as_uri())
        tab.get_by_placeholder("Search").fill("TrainableTernaryLIF")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#search-results li a")
        tab.wait_for_load_state("networkidle")
        links = tab.eval_on_selector_all("#search-results li a", "all => all.map(a => a.href)")
        chromium.close()
    server.shutdown()
    server.server_close()
    assert any("ternary_spike.neurons.lif.html" in link for link in links)
    assert noise == []
