"""SVG in fewer letters shows what matplotlib wrote."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ternary_spike.report import figures
from ternary_spike.report.svg import short_path, slim

PLACES = st.lists(st.tuples(st.sampled_from("MLz"), *[st.floats(-999, 999).map(lambda x: round(x, 6))] * 2), max_size=9)


def places(path: str) -> list[tuple[float, float] | str]:
    """The points of a path of straight lines, as a browser reads it, and where its outlines are closed."""
    found, begin, x, y = [], (0.0, 0.0), 0.0, 0.0
    for letter, text in re.findall(r"([MLlhvz])([^MLlhvz]*)", path):
        numbers = [float(number) for number in text.split()]
        if letter == "z":
            x, y = begin
            found.append("z")
            continue
        if letter in "ML":
            x, y = numbers
        else:
            across, down = {"l": numbers, "h": [*numbers, 0.0], "v": [0.0, *numbers]}[letter]
            x, y = x + across, y + down
        begin = (x, y) if letter == "M" else begin
        found.append((x, y))
    return found


def same(short: str, exact: str) -> bool:
    pairs = list(zip(places(short), places(exact), strict=True))
    return all(
        a == b if "z" in (a, b) else max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= 0.00501  # type: ignore[operator]
        for a, b in pairs
    )


@given(PLACES)
def test_a_path_s_points_are_where_they_were_to_half_a_hundredth(steps):
    exact = "M 0 0 " + " ".join("z" if letter == "z" else f"{letter} {x} {y}" for letter, x, y in steps)
    assert same(short_path(exact), exact)


@pytest.mark.parametrize(
    ("path", "short"),
    [
        ("M 1.5 0.25 \nL 3.004 0.25 \nL 3.004 -0.5 \nL 2 2 \nz\n", "M1.5 .25h1.5v-.75l-1 2.5z"),
        ("M 0 0 L 0 0", "M0 0h0"),  # a point with round ends is a dot
        ("M 1 2 L 3 4 z L 2 2", "M1 2l2 2zh1"),
        ("M 0 3.00049 C 1 2 1.26522 2.5 7 8", "M 0 3 C 1 2 1.27 2.5 7 8"),
        ("", ""),
    ],
)
def test_paths_are_short(path, short):
    assert short_path(path) == short


def test_a_figure_is_smaller_and_has_the_same_outlines_and_words():
    figure, axes = figures.subplots()
    axes.plot([0, 1 / 3, 2 / 3], [0, 1 / 7, 1], label="a name")
    axes.hist([0, 0.1, 0.4], bins=60, histtype="stepfilled")
    axes.set_ylabel("turned")
    axes.legend()
    stream = io.StringIO()
    figure.savefig(stream, format="svg")
    exact = stream.getvalue()
    short = slim(exact)
    assert len(short) < 0.6 * len(exact)
    outlines = [re.findall(r'\sd="([^"]*)"', text) for text in (short, exact)]
    straight = [(a, b) for a, b in zip(*outlines, strict=True) if "C" not in b and "Q" not in b]
    assert len(straight) > 5 and all(same(a, b) for a, b in straight)
    words = [re.findall(r"<text[^>]*>([^<]*)</text>", text) for text in (short, exact)]
    assert words[0] == words[1] and {"turned", "a name"} <= set(words[0])
    turned = re.search(r'<text[^>]*transform="(rotate\(-90 [^"]*)"[^>]*>turned', short)
    assert turned and not re.search(r"\d\.\d{3}", turned[1])
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', short)) == set(re.findall(r'\sid="([^"]+)"', short))
