"""Checking settings and tables against JSON schemas, with one-line messages for people."""

import copy
import difflib
import math
import re
from pathlib import Path
from typing import Any

from ternary_spike.system.errors import UserError

KINDS = {
    "null": "nothing",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "array": "a list",
    "object": "a mapping",
}


def load_schema(path: Path) -> dict[str, Any]:
    """A schema from a YAML file."""
    import yaml

    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def checked(content: Any, schema: dict[str, Any], where: str) -> Any:
    """A copy of the content with the schema's defaults filled in.

    Args:
        content: what a user wrote: mappings, lists and plain values.
        schema: a JSON schema (2020-12) whose ``properties`` may have a ``default``.
        where: what the message calls the content, such as a file's name.

    Raises:
        UserError: for the first thing that the schema forbids.
    """
    content = _with_defaults(copy.deepcopy(content), schema)
    errors = sorted(_validator(schema).iter_errors(content), key=lambda e: [str(p) for p in e.absolute_path])
    if errors:
        raise UserError(f"{where}: {_message(errors[0])}")
    return content


def _validator(schema: dict[str, Any]) -> Any:
    """A validator that is stricter than JSON where a command line would be: 5.0 is no integer, infinity no number."""
    from jsonschema import Draft202012Validator, ValidationError, validators

    def is_integer(_, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    def is_number(_, value: Any) -> bool:
        return is_integer(_, value) or (isinstance(value, float) and math.isfinite(value))

    def pattern(validator, wanted: str, value: Any, _):
        # the whole text: to Python, $ also matches before a newline at the end
        if validator.is_type(value, "string") and not re.fullmatch(wanted, value):
            yield ValidationError(f"{value!r} is not of the form {wanted}")

    kinds = Draft202012Validator.TYPE_CHECKER.redefine_many({"integer": is_integer, "number": is_number})
    return validators.extend(Draft202012Validator, {"pattern": pattern}, type_checker=kinds)(schema)


def _with_defaults(content: Any, schema: dict[str, Any]) -> Any:
    if isinstance(content, dict):
        for key, part in schema.get("properties", {}).items():
            if key not in content and "default" in part:
                content[key] = copy.deepcopy(part["default"])
        others = schema.get("additionalProperties")
        for key, value in content.items():
            part = schema.get("properties", {}).get(key, others)
            if isinstance(part, dict):
                content[key] = _with_defaults(value, part)
    return content


def _message(error) -> str:
    place = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = [key for key in error.instance if key not in known]
        close = difflib.get_close_matches(str(unknown[0]), known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
        return f"unknown key {'.'.join([*filter(None, [place]), str(unknown[0])])!r}; {hint}"
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        return f"{'.'.join([*filter(None, [place]), missing[0]])} is missing"
    return f"{place or 'the content'} is {error.instance!r}, but must be {_demand(error)}"


def _demand(error) -> str:
    """What a schema asks for, in words."""
    value = error.validator_value
    if error.validator == "enum":
        return f"one of {', '.join(map(str, value))}"
    if error.validator == "type":
        return " or ".join(KINDS[kind] for kind in (value if isinstance(value, list) else [value]))
    words = {
        "minimum": f"at least {value}",
        "maximum": f"at most {value}",
        "pattern": f"of the form {value}",
        "minLength": "not empty",
    }
    return words.get(error.validator, f"such that {error.validator} is {value}")
