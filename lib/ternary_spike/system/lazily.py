"""Names that a package offers and whose modules are imported only when somebody asks for them.

Importing torch takes seconds, so a package that offers a neuron must not import it before the neuron is wanted.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def offered(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The functions ``__getattr__`` and ``__dir__`` of a package that offers names from its modules.

    Args:
        package: its ``__name__``.
        homes: name -> the module that defines it, relative to the package: ``{"TernaryLIF": "lif"}``.
    """

    def attribute(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return attribute, names
