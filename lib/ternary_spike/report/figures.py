"""Figures: drawn once, written as SVG and PDF at paper size, and shown in the page in the page's own colours."""

import hashlib
import io
import re
import textwrap
from html import escape, unescape
from itertools import pairwise
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ternary_spike.report import palette
from ternary_spike.report.results import READ, Results
from ternary_spike.report.svg import slim

#: width of a paper's text in inches
TEXT_WIDTH = 6.75
#: pixels of a page for a point of a figure
SCALE = 1.75

matplotlib.rcdefaults()  # a user's matplotlibrc is for the user's own figures
matplotlib.rcParams.update(
    {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
        "font.size": 8.5,
        # names and labels from files may have dollars in them
        "text.parse_math": False,
        "axes.titlesize": 8.5,
        "axes.labelsize": 8.5,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": palette.RULE,
        "grid.linewidth": 0.5,
        "lines.linewidth": 1.4,
        "lines.markersize": 4.5,
        "text.color": palette.INK,
        "axes.edgecolor": palette.INK,
        "axes.labelcolor": palette.INK,
        "xtick.color": palette.INK,
        "ytick.color": palette.INK,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "legend.frameon": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "ternary-spike",
        "pdf.fonttype": 42,
    }
)


def subplots(rows: int = 1, columns: int = 1, height: float = 2.4, width: float = TEXT_WIDTH, **options):
    """A figure at paper size (inches) and its axes, as matplotlib's ``Figure.subplots`` gives them."""
    drawn = Figure(figsize=(width, height), layout="constrained")
    return drawn, drawn.subplots(rows, columns, **options)


def direct_label(axes, x: float, y: float, name: str, label: str | None = None, **options) -> None:
    """Write a neuron's name in its colour beside its line's point (x, y), instead of a legend."""
    options = {"xytext": (5, 0), "va": "center"} | options
    axes.annotate(
        label or palette.titled(name),
        (x, y),
        textcoords="offset points",
        color=palette.COLOURS[name],
        annotation_clip=False,
        **options,
    )


def end_labels(
    axes, points: list[tuple[float, float, str]], gap: float = 10.0, labels: list[str] | None = None
) -> None:
    """Names of neurons at the right ends of their lines, moved apart where they would overlap.

    Args:
        axes: with its lines drawn.
        points: (x, y, neuron) of each line's end.
        gap: least distance of two labels in points.
        labels: what is written, by default the neurons' names.
    """
    axes.figure.draw_without_rendering()
    pixels = [axes.transData.transform((x, y))[1] * 72 / axes.figure.dpi for x, y, _ in points]
    wanted = list(pixels)
    order = sorted(range(len(points)), key=lambda i: pixels[i])
    for below, above in pairwise(order):
        wanted[above] = max(wanted[above], wanted[below] + gap)
    for (x, y, name), label, own_height, target in zip(
        points, labels or [None] * len(points), pixels, wanted, strict=True
    ):
        direct_label(axes, x, y, name, label, xytext=(6, target - own_height))


def svg_text(drawn: Figure, alt: str = "", caption: str = "", source: str | None = None) -> str:
    """A figure as SVG, the same text each time; alternative text, caption and the runs it shows are in its metadata."""
    stream = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Title": alt, "Description": caption, "Source": source}
    # not `savefig`, which draws everything once more before
    FigureCanvasSVG(drawn).print_svg(stream, metadata=metadata)
    return slim(stream.getvalue())


def inline(svg: str, name: str, alt: str) -> str:
    """An SVG file's content as an element of a page: colours from the page, ids of its own, a text alternative."""
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg[svg.index("<svg") :], flags=re.S)
    # a page has many figures, whose names are long, and a figure refers to its marks hundreds of times
    own = f"f{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    numbers: dict[str, str] = {}
    short = lambda found: f"{found[1]}{numbers.setdefault(found[2], f'{own}-{len(numbers)}')}"  # noqa: E731
    svg = re.sub(r'(\sid="|href="#|url\(#)([^")]+)', short, svg)
    for variable, (colour, _) in palette.variables().items():
        svg = svg.replace(colour, f"var(--{variable}, {colour})")
    svg = svg.replace(palette.INK, "currentColor").replace(palette.RULE, f"var(--rule, {palette.RULE})")
    head, rest = svg.split(">", 1)
    points = float(re.search(r'\swidth="([\d.]+)pt"', head)[1])
    head = re.sub(r'\s(width|height)="[^"]+"', "", head)
    # letters of a figure are about as large as the page's, and shrink to no less than two thirds on a phone
    size = f"max-width: {points * SCALE / 16:.1f}rem; min-width: {min(points, 0.68 * points * SCALE) / 16:.1f}rem"
    return f'{head} style="{size}" role="img" aria-label="{escape(alt, quote=True)}">{rest}'


class Shown:
    """A piece of HTML that a notebook displays."""

    def __init__(self, html: str) -> None:
        self.html = html

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return "(see the page)"


def figure(
    results: Results, drawn: Figure, name: str, alt: str, caption: str, runs: pd.DataFrame | None = None
) -> Shown:
    """Write a figure to results/<preset>/figures/<name>.svg and .pdf and show it.

    Args:
        results: the preset.
        drawn: from :func:`subplots`.
        name: file name without its ending.
        alt: what the picture shows, for those who do not see it.
        caption: how to read it.
        runs: rows of the trainings that it shows, of which the picture then says how they are reduced.
    """
    if runs is not None and (note := reductions(runs)):
        write_below(drawn, note)
    folder = results.folder / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    svg = svg_text(drawn, alt, caption, sources(runs))
    (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    layout = drawn.get_layout_engine()
    drawn.set_layout_engine("none")  # all is in its place already, and to find it again takes as long as to draw it
    FigureCanvasPdf(drawn).print_pdf(folder / f"{name}.pdf", metadata={"CreationDate": None, "ModDate": None})
    drawn.set_layout_engine(layout)
    return Shown(framed(inline(svg, name, alt), name, caption))


def sources(runs: pd.DataFrame | None = None) -> str:
    """The runs that a figure came from, as ``<preset>/runs/<id>`` with spaces between; "none" if it came from none.

    Args:
        runs: rows of the trainings that it shows. Without, all of the tables that its notebook has read so far.
    """
    shown = None if runs is None or "id" not in runs else {*runs["id"]}
    found = [
        f"{'reference/' if folder.resolve().parent.name == 'reference' else ''}{folder.resolve().name}/runs/{run}"
        for folder, ids in READ.items()
        for run in ids
        if shown is None or run in shown
    ]
    return " ".join(sorted(found)) or "none"


#: points of the letters of what is written below a picture, and their mean width in relation to that
BELOW, LETTER = 6.0, 0.54


def reductions(runs: pd.DataFrame) -> str:
    """How trainings are reduced, in words; empty if none is."""
    found = dict.fromkeys(text for text in runs["reduced"] if isinstance(text, str) and text)
    return f"Reduced: {' / '.join(found)}" if found else ""


def write_below(drawn: Figure, note: str) -> None:
    """Make a figure higher by some lines of text."""
    width, height = drawn.get_size_inches()
    lines = textwrap.wrap(note, int((width - 0.1) * 72 / (BELOW * LETTER)))
    label = getattr(drawn, "_supxlabel", None)
    added = 0.06 + len(lines) * BELOW * 1.25 / 72
    drawn.set_size_inches(width, height + added)
    share = added / (height + added)
    if label is not None:  # the layout would put it at the very bottom
        label._autopos = False
        label.set_y(share)
        share += 1.6 * label.get_fontsize() / 72 / (height + added)
    drawn.get_layout_engine().set(rect=(0, share, 1, 1 - share))
    drawn.text(0.05 / width, 0.03 / (height + added), "\n".join(lines), va="bottom", fontsize=BELOW, linespacing=1.2)


def framed(svg: str, name: str, caption: str) -> str:
    """A figure element: picture, caption and links to the files."""
    name = escape(name, quote=True)
    files = " ".join(f'<a href="files/figures/{name}.{kind}">{kind.upper()}</a>' for kind in ("svg", "pdf"))
    return (
        f'<figure id="figure-{name}"><div class="scroll" tabindex="0" role="group" aria-label="Figure">{svg}</div>'
        f"<figcaption>{escape(caption)} <span class='files'>{files}</span></figcaption></figure>"
    )


def drawn_before(results: Results, name: str) -> str | None:
    """A figure that a notebook wrote, for another page; None if it has not been drawn."""
    path = Path(results.folder) / "figures" / f"{name}.svg"
    if not path.exists():
        return None
    svg = path.read_text(encoding="utf-8")
    alt, caption = (
        unescape(re.search(rf"<dc:{key}>(.*?)</dc:{key}>", svg, re.S)[1]) for key in ("title", "description")
    )
    return framed(inline(svg, name, alt), name, caption)
