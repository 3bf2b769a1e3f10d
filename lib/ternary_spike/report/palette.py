"""One colour and one marker a neuron, everywhere; told apart with any colour vision, and in light and dark.

The hues are Okabe and Ito's, darkened. Figures in files have the colours for white paper; pages replace them by CSS
variables, which take the second value in dark mode.
"""

#: neurons in the order in which they are always shown
NEURONS = ("binary", "ternary", "trainable", "relu")

COLOURS = {"binary": "#0072b2", "ternary": "#c44f00", "trainable": "#008060", "relu": "#6e6e6e"}
DARK = {"binary": "#56b4e9", "ternary": "#f0914f", "trainable": "#35c79a", "relu": "#a8a8a8"}
MARKERS = {"binary": "o", "ternary": "s", "trainable": "^", "relu": "D"}

#: text and axes, and grid lines: a page's own text colour and rule in the page
INK, RULE = "#1b1b1b", "#c9c9c9"
#: page background in light and dark
PAPER, NIGHT = "#ffffff", "#14171a"


def css() -> str:
    """The palette as CSS variables, dark mode included."""

    def block(colours: dict[str, str]) -> str:
        return " ".join(f"--{name}: {value};" for name, value in colours.items())

    light = block(COLOURS | {"paper": PAPER})
    dark = block(DARK | {"paper": NIGHT})
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"


def contrast(first: str, second: str) -> float:
    """WCAG contrast ratio of two colours, #rrggbb, from 1 to 21."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)
