"""SVG in fewer letters, with the same look: a report has hundreds of figures, each in a file and in a page."""

import re


def slim(svg: str) -> str:
    """What matplotlib wrote, without what nobody sees: a third of the size for a picture of many steps.

    Places are rounded to a hundredth of a point, outlines are written by :func:`short_path`, and ids to which nothing
    refers go, as do spaces between elements.
    """
    svg = re.sub(r'\sd="([^"]*)"', lambda path: f' d="{short_path(path[1])}"', svg)
    svg = re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", svg)
    svg = re.sub(r'\s(?:x|y|transform)="[^"]*"', lambda place: _rounded(place[0]), svg)
    wanted = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r'\sid="([^"]+)"', lambda found: found[0] if found[1] in wanted else "", svg)
    return re.sub(r">\s+<", "><", svg)


def short_path(path: str) -> str:
    """An SVG path of straight lines with rounded coordinates, each step relative to the one before.

    Args:
        path: what matplotlib writes: "M x y" and "L x y" with "z" behind closed outlines, in points; of curves the
            numbers alone are rounded.

    Returns:
        The same outline: no point of it is further than half a hundredth of a point from where it was.
    """
    steps = re.findall(r"([A-Za-z])([^A-Za-z]*)", path)
    if not {letter for letter, _ in steps} <= {"M", "L", "z"}:
        return _rounded(path)
    written, begin, here = [], (0, 0), (0, 0)
    for letter, numbers in steps:
        if letter == "z":
            here = begin
            written.append("z")
            continue
        # whole hundredths, so that differences of rounded places add up to them exactly
        x, y = (round(float(number) * 100) for number in numbers.split())
        across, down = x - here[0], y - here[1]
        here = (x, y)
        if letter == "M":
            begin = here
            written.append(f"M{_in_hundredths(x)} {_in_hundredths(y)}")
        elif down == 0:
            written.append(f"h{_in_hundredths(across)}")
        elif across == 0:
            written.append(f"v{_in_hundredths(down)}")
        else:
            written.append(f"l{_in_hundredths(across)} {_in_hundredths(down)}")
    return "".join(written)


def _in_hundredths(number: int) -> str:
    """Hundredths as a decimal number without what it can do without: 150 is "1.5", -5 is "-.05"."""
    text = f"{abs(number) // 100}.{abs(number) % 100:02}".rstrip("0").rstrip(".")
    return ("-" if number < 0 else "") + (text.removeprefix("0") or "0")


def _rounded(text: str) -> str:
    """The same with its numbers in hundredths."""
    return re.sub(r"-?\d+\.\d{3,}", lambda number: _in_hundredths(round(float(number[0]) * 100)), text)
