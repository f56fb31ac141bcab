"""Single values of a spec or a call, checked: one line with the argument's name, what was given and what was expected.

A spec holds what YAML knows; a call from Python also numpy's numbers, arrays and iterators. In neither is a text or a
boolean taken for a number, nor 25.0 for a whole one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from .constants import LOWEST_TEMPERATURE
from .errors import InputError, brief

HIGHEST_TEMPERATURE = 1e6
"""K; what lies beyond it is a slip of the pen."""


def refusal(name: str, value: Any, expected: str) -> InputError:
    """The error of a value that does not fit."""
    return InputError(f"{name}: {shown(value)} was given, expected {expected}")


def shown(value: Any) -> str:
    """What was given, for a message of one line."""
    try:
        text = repr(value)
    except ValueError:  # Python does not write out integers of thousands of digits
        text = "a number of thousands of digits"
    return brief(text)


def named(key: Any) -> str:
    """A key, for a message of one line: as it stands if it is a word, else as Python writes it."""
    return brief(key) if isinstance(key, str) and key.isprintable() and key.strip() else shown(key)


# -- numbers -----------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """Numpy's and xarray's single values as Python's."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def number(
    name: str,
    value: Any,
    expected: str = "a finite number",
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    most: float = math.inf,
) -> float:
    """A finite number within its limits.

    Parameters
    ----------
    name : str
    value
    expected : str
        For the message.
    above, least, most : float
        The value lies above `above`, and between the other two or is one of them.

    Raises
    ------
    InputError
    """
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, Real):
        raise refusal(name, value, expected)
    try:
        result = float(plain)
    except OverflowError as error:
        raise refusal(name, value, expected) from error
    if not (math.isfinite(result) and result > above and least <= result <= most):
        raise refusal(name, value, expected)
    return result


def whole(name: str, value: Any, expected: str = "a positive integer", *, least: int = 1, most: int = 10**18) -> int:
    """A whole number within its limits.

    Raises
    ------
    InputError
    """
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, int) or not least <= plain <= most:
        raise refusal(name, value, expected)
    return plain


def temperature(name: str, value: Any) -> float:
    """Kelvins that the theory's weights and double precision can do.

    Raises
    ------
    InputError
    """
    kelvins = number(name, value, "kelvins above 0", above=0)
    if kelvins < LOWEST_TEMPERATURE:
        raise InputError(
            f"{name}: {kelvins:g} K was given, expected at least {LOWEST_TEMPERATURE:g} K: below it k_BT comes near "
            "the rounding errors of the band energies"
        )
    return limited(name, kelvins, HIGHEST_TEMPERATURE, " K")


def limited(name: str, value: float, limit: float, unit: str = "") -> float:
    """A number that is not larger than the limit; beyond it lies a slip of the pen, and would overflow.

    Raises
    ------
    InputError
    """
    if abs(value) > limit:
        raise InputError(f"{name}: {value:g}{unit} was given, expected at most {limit:g}{unit} in magnitude")
    return value


# -- lists -------------------------------------------------------------------------------------------


def listed(values: Any) -> list[Any] | None:
    """What a list, array or iterator holds; None for what is none, or has no order."""
    if isinstance(values, (str, bytes, Mapping, Set)) or not isinstance(values, Iterable):
        return None
    try:
        return list(values)
    except TypeError:  # an array without axes
        return None


def numbers(name: str, values: Any, expected: str = "a list of finite numbers") -> tuple[float, ...]:
    """One finite number or more.

    Raises
    ------
    InputError
    """
    given = list(values) if isinstance(values, Iterator) else values
    items = listed(given)
    if not items:
        raise refusal(name, given, expected)
    try:
        return tuple(number(name, item) for item in items)
    except InputError as error:
        raise refusal(name, given, expected) from error


def different(name: str, values: Sequence[Any]) -> None:
    """Refuse a list that holds a value twice.

    Raises
    ------
    InputError
    """
    if len(set(values)) != len(values):
        raise InputError(f"{name}: {list(values)} holds a value twice; give each once")


def vector(name: str, value: Any, expected: str = "three finite numbers") -> tuple[float, ...]:
    """Three finite numbers.

    Raises
    ------
    InputError
    """
    given = numbers(name, value, expected)
    if len(given) != 3:
        raise refusal(name, list(given), expected)
    return given


def weights(name: str, values: Any, atoms: int, limit: float) -> tuple[float, ...]:
    """One finite weight an atom.

    Raises
    ------
    InputError
    """
    expected = f"{atoms} finite weights, one an atom"
    given = numbers(name, values, expected)
    if len(given) != atoms:
        raise refusal(name, values, expected)
    return tuple(limited(name, weight, limit) for weight in given)


# -- words -------------------------------------------------------------------------------------------


def choice(name: str, value: Any, known: Iterable[str]) -> str:
    """One of some words.

    Raises
    ------
    InputError
    """
    if not isinstance(value, str) or value not in known:
        raise refusal(name, value, f"one of {', '.join(known)}")
    return value


def choices(name: str, values: Any, known: Sequence[str]) -> tuple[str, ...]:
    """Some of some words, at least one, in the order in which they are known.

    Raises
    ------
    InputError
    """
    given = list(values) if isinstance(values, Iterator) else values
    items = listed(given)
    if not items or any(not isinstance(item, str) or item not in known for item in items):
        raise refusal(name, given, f"a list of some of {', '.join(known)}")
    return tuple(word for word in known if word in items)


def label(name: str, value: Any) -> str:
    """A name that stands in files, tables and messages: a text without control characters.

    Raises
    ------
    InputError
    """
    if not isinstance(value, str):
        raise refusal(name, value, f"a name; put it in quotes, '{value}', if it is meant as one")
    if not value.strip() or not value.isprintable():
        raise refusal(name, value, "a name of printable characters")
    return value


def truth(name: str, value: Any) -> bool:
    """True or false; no other word means either.

    Raises
    ------
    InputError
    """
    plain = _plain(value)
    if not isinstance(plain, bool):
        raise refusal(name, value, "true or false")
    return plain


# -- mappings ----------------------------------------------------------------------------------------


def known_keys(name: str, given: Any, known: Iterable[str], needed: Iterable[str] = ()) -> dict[str, Any]:
    """A mapping of known keys only, and with all of those that are needed.

    Raises
    ------
    InputError
    """
    expected = ", ".join(known)
    if not isinstance(given, Mapping):
        raise refusal(name, given, f"keys and values; known are {expected}")
    for key in given:
        if not isinstance(key, str) or key not in known:
            raise InputError(f"{name}: {named(key)} is unknown; expected {expected}")
    for key in needed:
        if key not in given:
            raise InputError(f"{name}: {key} is missing")
    return dict(given)


def check_keys(spec: Mapping[str, Any], known: Iterable[str], needed: Iterable[str], command: str) -> None:
    """Refuse a spec with an unknown key, or without one that `dmi-engine COMMAND` needs.

    Raises
    ------
    InputError
    """
    for key in spec:
        if key not in known:
            raise InputError(f"{named(key)}: unknown key; expected {', '.join(known)}")
    for key in needed:
        if key not in spec:
            raise InputError(f"{key}: missing; dmi-engine {command} needs it")


def within(section: str, error: InputError) -> InputError:
    """The same refusal, saying which section it is about."""
    return InputError(f"{section}: {error}")


def rows_of_numbers(name: str, values: Any, expected: str) -> npt.NDArray[np.float64]:
    """Rows of finite numbers, all of one length: shape (rows, length).

    Raises
    ------
    InputError
    """
    given = list(values) if isinstance(values, Iterator) else values
    if isinstance(given, np.ndarray) and given.ndim == 2 and given.size and given.dtype.kind in "iuf":
        array = given.astype(float)
        if not np.isfinite(array).all():
            raise refusal(name, given, expected)
        return array
    items = listed(given)
    if not items:
        raise refusal(name, given, expected)
    try:
        rows = [numbers(name, row) for row in items]
    except InputError as error:
        raise refusal(name, given, expected) from error
    if len({len(row) for row in rows}) != 1:
        raise refusal(name, given, expected)
    return np.array(rows, dtype=float)
