"""Which keywords wannier90.x knows, and what stands behind each."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from difflib import get_close_matches
from importlib.resources import files
from typing import Any

import yaml

LINE = re.compile(r"[ -~]+")
"""What can stand in a line of the .win file."""
RANGES = re.compile(r"[0-9 ,:-]+")


class KeywordError(ValueError):
    """A keyword that wannier90.x does not know, or a value that it could not read: what follows the keyword's name."""


@functools.cache
def keywords() -> dict[str, str]:
    """Keyword to the kind of its value."""
    content = yaml.safe_load((files(__package__) / "wannier90_keywords.yaml").read_text(encoding="utf-8"))
    return {name: kind for kind, names in content.items() for name in names}


def check_keyword(name: str, value: Any) -> None:
    """Refuse a keyword or a value with which wannier90.x would end.

    Parameters
    ----------
    name : str
        Lower case.
    value : Any
        None stands for no value.

    Raises
    ------
    KeywordError
        With what was given and what is expected.
    """
    kind = keywords().get(name)
    if kind is None:
        near = get_close_matches(name, keywords(), n=1)
        meant = f"did you mean {near[0]}? One" if near else "one"
        raise KeywordError(
            f" is no keyword of wannier90.x; {meant} of a newer wannier90.x has to stand in `unchecked_keywords` too"
        )
    if kind == "block":
        raise KeywordError(" is a block of the .win file, which other inputs write; leave it out")
    fits, words = KINDS[kind]
    if value is not None and not fits(value):
        raise KeywordError(f": {value!r} was given, expected {words}")


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _real(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _several(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and bool(value) and all(fits(item) for item in value)


KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "logical": (lambda value: isinstance(value, bool), "true or false"),
    "integer": (_integer, "an integer"),
    "real": (_real, "a number"),
    "text": (lambda value: isinstance(value, str) and LINE.fullmatch(value) is not None, "text of one line"),
    "integers": (lambda value: _integer(value) or _several(value, _integer), "a list of integers"),
    "reals": (lambda value: _several(value, _real), "a list of numbers"),
    "ranges": (
        lambda value: (
            _integer(value)
            or _several(value, _integer)
            or (isinstance(value, str) and RANGES.fullmatch(value) is not None)
        ),
        "integers, or ranges such as '1-3,7'",
    ),
}
