"""YAML from elsewhere: plain values only, and no more of them than the text is long."""

from __future__ import annotations

from typing import Any

import yaml

from .errors import brief

LARGEST = 100_000
"""Values of a spec, those that aliases repeat counted each time: a few lines of aliases can stand for 10^9 of them."""


def load_yaml(text: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """The value of a YAML text; tags that would make Python objects are refused.

    Parameters
    ----------
    text : str
    loader : type
        `yaml.SafeLoader`, or one that is made from it.

    Raises
    ------
    ValueError
        In one short line, whatever PyYAML raises: it passes on what its conversions do, such as ValueError of a date
        in a thirteenth month and RecursionError of a thousand brackets.
    """
    try:
        reader = loader(text)
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


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Values that a node stands for; a node that holds itself, for ever more than allowed."""
    if id(node) not in known:
        known[id(node)] = LARGEST + 1
        children = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]
