"""Whether a module computes what the class that we know does: whoever reads its attributes relies on that.

A subclass may add what it likes, and its weights may be computed by torch's parametrisations. Once it replaces a method
of the base, or the instance has a ``forward`` of its own, its attributes no longer say what it computes.
"""

from functools import cache
from inspect import isfunction

from torch import nn


class NotFoldable(ValueError):
    """A network has a layer that cannot be folded; the message names it and says why."""


# what may be replaced: none of them takes part in computing an output, or a network's fold asks it as its forward does
_FREE = {
    "__init__", "__setattr__", "__setstate__", "_load_from_state_dict", "extra_repr", "initialise",
    "reset_parameters", "reset_running_stats", "units",
}  # fmt: skip
_CALLS = ("__call__", "_wrapped_call_impl", "_call_impl")


@cache
def _replaced(kind: type, base: type) -> str | None:
    """A method of the base, or of its own bases, that a subclass replaces; None if there is none."""
    bases = base.__mro__[: base.__mro__.index(nn.Module)]
    methods = {name for part in bases for name, value in vars(part).items() if isfunction(value)} | {"forward"}
    return next((m for m in [*sorted(methods - _FREE), *_CALLS] if getattr(kind, m) is not getattr(base, m)), None)


def has_forward_of(module: object, base: type[nn.Module]) -> bool:
    """Whether a call of the module is a call of that class's ``forward``; simple enough for torch's compiler."""
    return type(module).forward is base.forward and "forward" not in module.__dict__


def computes_as(module: object, base: type[nn.Module]) -> bool:
    """Whether a module is of a class or a subclass of it, and computes by that class's methods."""
    return isinstance(module, base) and _replaced(type(module), base) is None and has_forward_of(module, base)


def require_known(name: str, module: object, base: type[nn.Module]) -> None:
    """Raise NotFoldable unless a module is of a class and replaces nothing of it that decides its output.

    Args:
        name: of the layer, as in result files.
        module: the layer.
        base: the class.
    """
    kind = type(module).__name__
    if not isinstance(module, base):
        raise NotFoldable(f"{name} is {kind}, which cannot be folded: it must be the library's {base.__name__}")
    if not computes_as(module, base):
        own = _replaced(type(module), base) or "forward"
        raise NotFoldable(
            f"{name} is {kind} with a {own} of its own, which cannot be folded; use {base.__name__} as it is"
        )
