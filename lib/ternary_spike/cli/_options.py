"""Reading KEY=VALUE options of the command line."""

from ternary_spike.errors import UserError


def key_values(words: list[str], option: str) -> dict[str, str]:
    """``["a=1", "b=x"]`` as a dictionary of strings. Raises UserError if a word has no ``=`` or a key comes twice."""
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UserError(f"{option} {word}: write it as KEY=VALUE")
        if key in found:
            raise UserError(f"{option} {word}: {key} is given twice")
        found[key] = value
    return found
