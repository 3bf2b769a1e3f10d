"""The ways to train by the names of the run table. Importing it needs no torch; making one does."""

from typing import TYPE_CHECKING, Any

from ternary_spike.configuration.register import Part, Registry

if TYPE_CHECKING:
    from ternary_spike.methods.base import Method

PAPERS_WAY = "cross_entropy"  # what trains where nothing else is said
GUO = "Guo et al., AAAI 2024"

METHODS = Registry(
    "method",
    {
        PAPERS_WAY: Part(
            "ternary_spike.methods.cross_entropy:CrossEntropy",
            "cross-entropy of the class scores' mean over time: the paper's way",
            source=GUO,
        ),
    },
)


def make_method(name: str, **options: Any) -> "Method":
    """A way to train, for one training.

    Args:
        name: one of :data:`METHODS`, or ``module:Class`` for one of your own.
        options: of that method, see :data:`METHODS`.

    Raises:
        ValueError: if the name or an option is unknown, an option's value is not allowed, or the code is no method.
    """
    from ternary_spike.methods.base import Method

    options = METHODS.options(name, options)
    made = METHODS[name].load()(**options)
    if not isinstance(made, Method):
        raise ValueError(f"method {name!r} is no subclass of ternary_spike.methods.base:Method")
    return made
