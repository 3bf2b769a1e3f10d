"""YAML that is read as it looks, or not at all."""

import re
from pathlib import Path

import yaml

from ternary_spike.configuration.user_text import read_user_text
from ternary_spike.system.errors import UserError

PLAIN = {"int": re.compile(r"[-+]?(0|[1-9][0-9]*)"), "float": re.compile(r"[^_:]*")}


class StrictLoader(yaml.SafeLoader):
    """YAML that refuses what the standard loader silently reads as something else.

    Those are a key given twice, of which it keeps the last, and numbers in notations that few know of: ``010`` is 8 to
    it, ``1:30`` is 90, and ``1_0`` is 10.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        keys = [self.construct_object(key, deep=deep) for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                problem = f"{key!r} is given twice; leave one of them out"
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return super().construct_mapping(node, deep)


def _plain_number(kind: str):
    standard = yaml.SafeLoader.yaml_constructors[f"tag:yaml.org,2002:{kind}"]

    def construct(loader: StrictLoader, node: yaml.ScalarNode) -> int | float:
        number = standard(loader, node)
        if not PLAIN[kind].fullmatch(node.value):
            problem = f"{node.value} would be read as {number}; write that, or {node.value!r} for text"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return number

    return construct


for _kind in PLAIN:
    StrictLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", _plain_number(_kind))


def read_mapping(path: Path, kind: str) -> dict:
    """The mapping that a user's YAML file holds.

    Args:
        path: the file.
        kind: what it is, for messages: "recipe".

    Raises:
        UserError: if it is missing, cannot be read, or holds something else.
    """
    path = Path(path)
    try:
        content = yaml.load(read_user_text(path), StrictLoader)
    except FileNotFoundError:
        others = ", ".join(sorted(other.stem for other in path.parent.glob("*.yaml"))) or "none"
        raise UserError(f"there is no {kind} {path}; in that folder there are: {others}") from None
    except OSError as error:
        raise UserError(f"cannot read the {kind} {path}: {error.strerror or error}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # the last for a date or number that cannot be
        problem = " ".join(str(error).split())
        raise UserError(f"{path} is not a YAML mapping of {kind} values: {problem}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a YAML mapping of {kind} values; see config for examples")
    return content
