"""One colour and one marker a neuron, everywhere; told apart with any colour vision, and in light and dark.

The hues are Okabe and Ito's, darkened. Figures in files have the colours for white paper; pages replace them by CSS
variables, which take the second value in dark mode.
"""

from collections.abc import Iterable

from ternary_spike.neurons.registry import NEURONS

#: neurons with a colour of their own, in the order in which they are always shown
NAMED = ("binary", "ternary", "trainable", "relu")
#: of all the others in turn: colours on white and on black, and markers; 42 pairs before one comes again
OTHERS = (
    ("#530679", "#bc49f5"),
    ("#0d33f2", "#7581bd"),
    ("#674432", "#e6550c"),
    ("#9d0808", "#b96d6d"),
    ("#055261", "#a0c9d1"),
    ("#078531", "#6ef79c"),
)
OTHER_MARKERS = ("v", "P", "X", "*", "<", ">", "p")
#: neurons without a colour of their own, in the order in which they have one of OTHERS
_others = [name for name in NEURONS if name not in NAMED]


class Assigned(dict[str, str]):
    """Colours or markers by neuron; one that has none of its own takes the next of the others."""

    def __init__(self, named: Iterable[str], others: Iterable[str]) -> None:
        super().__init__(zip(NAMED, named, strict=True))
        self.others = tuple(others)

    def __missing__(self, name: str) -> str:
        return self.others[_place(name) % len(self.others)]


def _place(name: str) -> int:
    if name not in _others:
        _others.append(name)
    return _others.index(name)


COLOURS = Assigned(("#0072b2", "#c44f00", "#008060", "#6e6e6e"), (light for light, _ in OTHERS))
DARK = Assigned(("#56b4e9", "#f0914f", "#35c79a", "#a8a8a8"), (dark for _, dark in OTHERS))
MARKERS = Assigned(("o", "s", "^", "D"), OTHER_MARKERS)

#: text and axes, and grid lines: a page's own text colour and rule in the page
INK, RULE = "#1b1b1b", "#c9c9c9"
#: page background in light and dark
PAPER, NIGHT = "#ffffff", "#14171a"


def ordered(names: Iterable[str]) -> list[str]:
    """Neurons, each once, in the order in which they are always shown: those with a colour of their own first.

    The others have their colours in that order too: whoever asks for all neurons of a preset first, as the reading of
    its tables does, gives each the same colour in every notebook and page.
    """
    found = {*names}
    known = [name for name in (*NAMED, *_others) if name in found]
    others = sorted(found.difference(known))
    for name in others:
        _place(name)
    return known + others


def titled(name: str) -> str:
    """What a neuron is called: one of a published method never without the level at which it is published here."""
    level = NEURONS[name].level if name in NEURONS else ""
    return f"{name} ({level})" if level else name


def rank(name: str) -> int:
    """A neuron's place in the order of :func:`ordered`."""
    return NAMED.index(name) if name in NAMED else len(NAMED) + _place(name)


def variables() -> dict[str, tuple[str, str]]:
    """The palette's CSS variables: name to the colours in light and dark."""
    named = {name: (COLOURS[name], DARK[name]) for name in NAMED}
    return named | {f"other-{i}": pair for i, pair in enumerate(OTHERS)}


def variable(name: str) -> str:
    """The CSS variable of a neuron's colour."""
    return name if name in NAMED else f"other-{_place(name) % len(OTHERS)}"


def css() -> str:
    """The palette as CSS variables, dark mode included, and the colour of the mark before each neuron's name."""

    def block(shade: int) -> str:
        colours = {name: pair[shade] for name, pair in (variables() | {"paper": (PAPER, NIGHT)}).items()}
        return " ".join(f"--{name}: {value};" for name, value in colours.items())

    marks = " ".join(f".neuron.{name}::before {{ background: var(--{name}); }}" for name in variables())
    return f":root {{ {block(0)} }}\n{marks}\n@media (prefers-color-scheme: dark) {{ :root {{ {block(1)} }} }}\n"


def contrast(first: str, second: str) -> float:
    """WCAG contrast ratio of two colours, #rrggbb, from 1 to 21."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)
