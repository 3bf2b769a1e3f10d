"""What is registered, in words: as lines for a terminal, and as tables for the documentation."""

from collections.abc import Iterator, Mapping

from ternary_spike.configuration.register import Option, Part
from ternary_spike.data import registry
from ternary_spike.methods.registry import METHODS
from ternary_spike.models.normalisations import NORMALISATIONS
from ternary_spike.models.registry import ARCHITECTURES
from ternary_spike.neurons.registry import NEURONS, SURROGATES


def kinds() -> dict[str, Mapping[str, Part]]:
    """Every registered part, by kind and name."""
    return {
        "neurons": NEURONS,
        "normalisations": NORMALISATIONS,
        "architectures": ARCHITECTURES,
        "methods": METHODS,
        "surrogates": SURROGATES,
        "datasets": {name: _of_dataset(name) for name in registry.names()},
    }


def _of_dataset(name: str) -> Part:
    known = registry.describe(name)
    meaning = f"{known.label}; from {', '.join(known.sources)}"
    return Part(registry.module_name(name), meaning, known.options)


def lines(kind: str, parts: Mapping[str, Part]) -> Iterator[str]:
    """A kind's parts and below each its options."""
    yield kind
    width = max(map(len, parts))
    for name, part in parts.items():
        remarks = [part.source, part.level, *_abilities(kind, part)]
        yield f"  {name:{width}}  {part.meaning} ({'; '.join(filter(None, remarks))})".replace(" ()", "")
        for key, option in part.options.items():
            yield f"  {'':{width}}    {key}={shown(option)}: {option.meaning}; {option.rule}"


def page() -> str:
    """Every kind as Markdown."""
    return "\n".join(f"## {kind.capitalize()}\n\n{markdown(parts, kind)}" for kind, parts in kinds().items())


def markdown(parts: Mapping[str, Part], kind: str) -> str:
    """A kind's parts as a table, and their options as another."""
    text = _row("name", "what it is", "source", "level", "can") + "|" + " --- |" * 5 + "\n"
    for name, part in parts.items():
        text += _row(f"`{name}`", part.meaning, part.source, part.level, ", ".join(_abilities(kind, part)))
    options = ""
    for key, (option, owners) in _shared(parts).items():
        names = ", ".join(f"`{name}`" for name in owners)
        options += _row(names, f"`{key[0]}`", f"`{shown(option)}`", option.rule, option.meaning)
    if options:
        text += "\n" + _row("of", "option", "default", "allowed", "meaning") + "|" + " --- |" * 5 + "\n" + options
    return text


def shown(option: Option) -> str:
    """An option's default as one writes it."""
    return str(option.default).lower() if isinstance(option.default, bool | None) else str(option.default)


def _shared(parts: Mapping[str, Part]) -> dict[tuple, tuple[Option, list[str]]]:
    """Options by their name and what they are, with the names of all the parts that have them."""
    found: dict[tuple, tuple[Option, list[str]]] = {}
    for name, part in parts.items():
        for key, option in part.options.items():
            found.setdefault((key, option), (option, []))[1].append(name)
    return found


def _abilities(kind: str, part: Part) -> list[str]:
    """What can be done with a part, in words."""
    if kind == "neurons" and not part.spikes:
        return ["no spikes"]
    able = {"fused": part.fused, "folds": part.folds, "needs a source run": part.from_run}
    return [word for word, holds in able.items() if holds]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
