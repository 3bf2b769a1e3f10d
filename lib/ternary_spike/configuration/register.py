"""Parts that plug in (neurons, normalisations, architectures, methods) and the options that a user may set.

A registry maps a name of the run table to a :class:`Part`: where its code is, what it is, which options it has. It is
data, so that the workflow can check a table, print help and draw a legend without importing torch. Whoever needs the
code asks the part for it.

A part need not be in a registry: ``mypackage.mymodule:MyNeuron`` names the code itself, wherever Python finds it.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

ELSEWHERE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
# what float() takes beyond this, such as 1_0 for 10 and digits of other scripts, is a slip of the pen
NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_MISSING = object()


@dataclass(frozen=True)
class Option:
    """A value that a user may set: its default, what it may be, and what it means.

    Attributes:
        default: the value where nothing is said; its type is the option's type unless ``kind`` names another.
        meaning: one sentence for the documentation.
        kind: int, float, bool or str; None is the default's type.
        low, high: smallest and largest number allowed, both included.
        above, below: bounds of a number that are not included.
        choices: what is allowed for text; empty for any.
        absent: what None means, such as "for all"; None is allowed only where this is said.
        most: for a list, how many values of this kind it may hold; 0 for a single value.
    """

    default: Any
    meaning: str
    kind: type | None = None
    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    choices: tuple[str, ...] = ()
    absent: str = ""
    most: int = 0

    @property
    def type(self) -> type:
        """The type of the option's values."""
        return self.kind or type(self.default)

    @property
    def rule(self) -> str:
        """What is allowed, in words: "a whole number from 1 to 1024"."""
        rule = self._rule_of_a_value()
        return f"{rule}, or null {self.absent}" if self.absent else rule

    def _rule_of_a_value(self) -> str:
        if self.type is bool:
            return "true or false"
        if self.type is str:
            if len(self.choices) == 1:
                return f"{self.choices[0]} (the only one)"
            return f"one of {', '.join(self.choices)}" if self.choices else "text"
        name = "a whole number" if self.type is int else "a number"
        if self.most:
            name = f"a list of 1 to {self.most} {name.removeprefix('a ')}s"
        if self.low > -math.inf and self.high < math.inf:
            return f"{name} from {_plain(self.low)} to {_plain(self.high)}"
        bounds = [("of at least", self.low), ("above", self.above), ("up to", self.high), ("below", self.below)]
        words = " and ".join(f"{word} {_plain(bound)}" for word, bound in bounds if math.isfinite(bound))
        return f"{name} {words}".strip()

    def value(self, given: Any, *, text: bool = False) -> Any:
        """A given value as the option's type.

        Args:
            given: the value. A number may be text, because YAML 1.1 takes 1e-4 for text.
            text: whether everything may be text, as a command line gives it.

        Raises:
            ValueError: with :attr:`rule` as its words, if it is not allowed.
        """
        if given is None and self.absent:
            return None
        found = self._listed(given, text) if self.most else self._typed(given, text)
        if found is _MISSING:
            raise ValueError(self.rule)
        return found

    def _listed(self, given: Any, text: bool) -> Any:
        if not isinstance(given, list | tuple) or not 1 <= len(given) <= self.most:
            return _MISSING
        values = tuple(self._typed(value, text) for value in given)
        return _MISSING if _MISSING in values else values

    def _typed(self, given: Any, text: bool) -> Any:
        if self.type is bool:
            if text and isinstance(given, str):
                return {"true": True, "false": False}.get(given.lower(), _MISSING)
            return given if isinstance(given, bool) else _MISSING
        if self.type is str:
            allowed = isinstance(given, str) and given.strip() and (not self.choices or given in self.choices)
            return given if allowed else _MISSING
        # True is an int to Python; written as a number it is a slip of the pen
        if isinstance(given, bool):
            return _MISSING
        number = self._whole(given, text) if self.type is int else self._real(given)
        if number is _MISSING or (isinstance(number, float) and not math.isfinite(number)):
            return _MISSING
        inside = self.low <= number <= self.high and self.above < number < self.below
        return number if inside else _MISSING

    @staticmethod
    def _whole(given: Any, text: bool) -> Any:
        if isinstance(given, str) and text and re.fullmatch(r"-?[0-9]{1,19}", given):
            return int(given)
        return given if isinstance(given, int) else _MISSING

    @staticmethod
    def _real(given: Any) -> Any:
        if not isinstance(given, int | float) and not (isinstance(given, str) and NUMBER.fullmatch(given)):
            return _MISSING
        try:
            return float(given)
        except OverflowError:
            return _MISSING


def _plain(bound: float) -> str:
    """A bound as people write it: 1,000,000 and not 1000000.0."""
    return f"{int(bound):,}" if float(bound).is_integer() else f"{bound:g}"


@dataclass(frozen=True)
class Part:
    """Something that plugs in.

    Attributes:
        home: module and name of its code, ``ternary_spike.neurons.lif:TernaryLIF``.
        meaning: one sentence for help and documentation.
        options: what a user may set, by name.
        source: where it was published, as a citation; empty for what is nobody's.
        level: "faithful", "partly" or "candidate" for a published method's part; empty where that says nothing.
        spikes: for a neuron, whether it emits spikes (``relu`` does not).
        fused: for a neuron, whether the fused kernels compute it.
        folds: for a neuron or a normalisation, whether it can be folded into the weights (Eqs. 15-17).
        from_run: for a method, whether it starts from another run: its teacher, or the network that it converts.
        data: for what is made from data, such as an architecture, that data.
    """

    home: str
    meaning: str
    options: Mapping[str, Option] = field(default_factory=dict)
    source: str = ""
    level: str = ""
    spikes: bool = True
    fused: bool = False
    folds: bool = False
    from_run: bool = False
    data: Any = None

    @property
    def module(self) -> str:
        """The module that its code lies in."""
        return self.home.partition(":")[0]

    def load(self) -> Any:
        """Its code: the class or function that ``home`` names.

        Raises:
            ValueError: if the module has no such name.
            ModuleNotFoundError: if there is no such module.
        """
        module, _, name = self.home.partition(":")
        found = getattr(import_module(module), name, None)
        if found is None:
            raise ValueError(f"{module} has no {name}")
        return found


class OwnPart(Part):
    """A part of a user's own, ``mypackage.mymodule:MyNeuron``, wherever Python finds it.

    What it is its class says: ``OPTIONS``, ``SOURCE``, ``FOLDS``, ``FROM_RUN`` and its docstring's first line. It is
    imported only when one of these is asked for, since that takes torch, which is long to import.
    """

    def __init__(self, kind: str, name: str) -> None:
        for key, value in (("kind", kind), ("home", name)):
            object.__setattr__(self, key, value)  # a part cannot be changed by `part.home = name`

    @property
    def meaning(self) -> str:
        """The first line of its docstring."""
        return (self.load().__doc__ or "").strip().partition("\n")[0]

    @property
    def options(self) -> Mapping[str, Option]:
        """Its ``OPTIONS`` by name; none unless it says so."""
        return getattr(self.load(), "OPTIONS", {})

    @property
    def source(self) -> str:
        """Its ``SOURCE``, a citation; empty unless it says so."""
        return getattr(self.load(), "SOURCE", "")

    @property
    def folds(self) -> bool:
        """Its ``FOLDS``; False unless it says so."""
        return bool(getattr(self.load(), "FOLDS", False))

    @property
    def from_run(self) -> bool:
        """Its ``FROM_RUN``: whether its training starts from another run; False unless it says so."""
        return bool(getattr(self.load(), "FROM_RUN", False))

    def load(self) -> Any:
        """Its code.

        Raises:
            ValueError: if it cannot be imported, whatever the reason.
        """
        try:
            return super().load()
        except ModuleNotFoundError as error:
            raise ValueError(
                f"{self.kind} {self.home!r}: there is no module {error.name!r}; name its folder under `plugins` in the "
                "configuration, or in PYTHONPATH"
            ) from error
        except ValueError as error:
            raise ValueError(f"{self.kind} {self.home!r}: {error}") from error
        except Exception as error:  # whatever a module of a user's own may raise while it is imported
            raise ValueError(f"{self.kind} {self.home!r}: {type(error).__name__}: {error}") from error


class Registry(Mapping[str, Part]):
    """The parts of one kind by name.

    Args:
        kind: what they are, in one word ("neuron"), for messages.
        parts: by the name that the run table uses.
    """

    def __init__(self, kind: str, parts: Mapping[str, Part]) -> None:
        self.kind = kind
        self._parts = dict(parts)

    def __getitem__(self, name: str) -> Part:
        """The part of a name, or of ``module:Name`` for code that is in no registry.

        Raises:
            ValueError: if the name is unknown.
        """
        if name in self._parts:
            return self._parts[name]
        if not ELSEWHERE.fullmatch(name):
            raise ValueError(
                f"unknown {self.kind} {name!r}: choose one of {', '.join(self._parts)}, or module:Name of your own"
            )
        return OwnPart(self.kind, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def options(self, name: str, given: Mapping[str, Any], *, text: bool = False) -> dict[str, Any]:
        """A part's options with the right types; those that are not given are left out.

        Args:
            name: the part's.
            given: values by option, as for :meth:`Option.value`.
            text: whether they come from a command line.

        Raises:
            ValueError: if the part is unknown, has no such option, or not with that value.
        """
        known = self[name].options
        if unknown := sorted(set(given) - set(known)):
            allowed = f"choose from {', '.join(sorted(known))}" if known else "it has none"
            words = ", ".join(f"{key}={given[key]}" for key in unknown)
            raise ValueError(f"unknown option {words} for {self.kind} {name!r}: {allowed}")
        found = {}
        for key, value in given.items():
            try:
                found[key] = known[key].value(value, text=text)
            except ValueError as error:
                raise ValueError(f"{self.kind} option {key} is {value!r}, but must be {error}") from None
        return found
