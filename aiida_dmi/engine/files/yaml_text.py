"""YAML from elsewhere: the plain values of YAML 1.2, each key once, and no more of them than the text is long.

PyYAML reads YAML 1.1, in which 060 is 48, 1:30 is 90, `on` and `no` are booleans, 1e-3 is a text and 2024-01-01 a date,
and of two equal keys the last one counts. Here scalars are those of YAML 1.2's core schema (chapter 10.3.2), and a key
that stands twice is refused. `<<` merges another mapping as in YAML 1.1, what stands beside it goes first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from ..errors import brief

LARGEST = 100_000
"""Values of a spec, those that aliases repeat counted each time: a few lines of aliases can stand for 10^9 of them."""

PREFIX = "tag:yaml.org,2002:"
CORE = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": (r"<<", ["<"]),
}
"""Tag to the scalars that have it, and their first characters; every other scalar is a text."""


class _Loader(yaml.SafeLoader):
    """Texts, numbers, booleans, null, lists and mappings: nothing else has a constructor."""

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """An int or a float, also where a tag says so of what would be a text."""
        text, tag = self.construct_scalar(node), node.tag.removeprefix(PREFIX)
        if not re.fullmatch(CORE[tag][0], text):
            raise ConstructorError(None, None, f"{brief(repr(text))} is no {tag}", node.start_mark)
        if tag == "int":
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        number = float(re.sub(r"\.(inf|nan)", r"\1", text.lower()))
        if math.isinf(number) and "inf" not in text.lower():
            raise ConstructorError(None, None, f"{brief(text)} is too large for a number", node.start_mark)
        return number

    def construct_word(self, node: yaml.ScalarNode) -> bool | None:
        """A boolean or null."""
        text, tag = self.construct_scalar(node), node.tag.removeprefix(PREFIX)
        if not re.fullmatch(CORE[tag][0], text):
            raise ConstructorError(None, None, f"{brief(repr(text))} is no {tag}", node.start_mark)
        return text.lower() == "true" if tag == "bool" else None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Every key once: of two equal ones (1, 1.0 and true are equal) one would be lost."""
        places: dict[Any, tuple[str, int]] = {}
        for key_node, _ in node.value:
            merges = key_node.tag == f"{PREFIX}merge"
            key: Any = ("merge",) if merges else self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise ConstructorError(None, None, "a list or mapping was given as a key", key_node.start_mark)
            text, line = brief(key_node.value), key_node.start_mark.line + 1
            if key in places:
                other, before = places[key]
                raise ConstructorError(
                    None, None, f"{other} (line {before}) and {text} (line {line}) are the same key; give it once"
                )
            places[key] = text, line
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """Puts texts in quotes that either version of YAML would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        """Lists are written out where they stand."""
        return True


# None of what SafeLoader has of either.
_Loader.yaml_implicit_resolvers, _Loader.yaml_constructors = {}, {}
for _tag, (_pattern, _first) in CORE.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"{PREFIX}{_tag}", re.compile(f"(?:{_pattern})$"), _first)
for _tag, _construct in (
    ("int", _Loader.construct_number),
    ("float", _Loader.construct_number),
    ("bool", _Loader.construct_word),
    ("null", _Loader.construct_word),
    ("str", _Loader.construct_yaml_str),
    ("merge", _Loader.construct_yaml_str),  # where it is no key
    ("seq", _Loader.construct_yaml_seq),
    ("map", _Loader.construct_yaml_map),
):
    _Loader.add_constructor(f"{PREFIX}{_tag}", _construct)
_Loader.add_constructor(None, _Loader.construct_undefined)  # type: ignore[type-var]  # the stubs know no tag None


def load_yaml(text: str) -> Any:
    """The value of a YAML text.

    Parameters
    ----------
    text : str

    Returns
    -------
    None, bool, int, float, str, list or dict

    Raises
    ------
    ValueError
        In one short line: what is no YAML, a key that is given twice (with its lines), a tag of another kind, such as
        one that would make Python objects, a number beyond floats, and whatever else PyYAML raises, such as
        RecursionError of a thousand brackets.

    Examples
    --------
    >>> load_yaml("{mesh: 060, shift: 1e-3, name: on, spacing: 1:30}")
    {'mesh': 60, 'shift': 0.001, 'name': 'on', 'spacing': '1:30'}
    """
    try:
        reader = _Loader(text)
        try:
            node = reader.get_single_node()
            if node is None:
                return None
            if _size(node, {}) > LARGEST:
                raise ValueError(f"holds more than {LARGEST} values, its aliases repeat too many of them")
            return reader.construct_document(node)
        finally:
            reader.dispose()
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(brief(error, 300)) from error


def dump_yaml(value: Any) -> str:
    """A YAML text of plain values, keys in their order: the same to `load_yaml` and to readers of YAML 1.1.

    Parameters
    ----------
    value : None, bool, int, float, str, list or dict

    Examples
    --------
    >>> print(dump_yaml({"mesh": 24, "soi_masks": {"1e3": [1, 0], "on": [0, 1]}}), end="")
    mesh: 24
    soi_masks:
      '1e3':
      - 1
      - 0
      'on':
      - 0
      - 1
    """
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False)


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Values that a node stands for; a node that holds itself, for ever more than allowed."""
    if id(node) not in known:
        known[id(node)] = LARGEST + 1
        children = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]
