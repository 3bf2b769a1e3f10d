"""YAML that is read as it looks, or not at all."""

import re

import yaml

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
