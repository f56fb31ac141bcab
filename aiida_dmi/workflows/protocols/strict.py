"""Checked mappings: what a user wrote in YAML, held against a model of pydantic, refused in one line."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from aiida_dmi.engine.errors import InputError, brief

Model = TypeVar("Model", bound=BaseModel)

LONGEST = 120
"""Characters of a value that a message repeats."""
UNKNOWN, NO_MAPPING = "unknown_key", "no_mapping"
EXPECTED = {
    "bool_type": "true or false",
    "int_type": "an integer",
    "string_type": "text",
    "string_too_short": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    NO_MAPPING: "a mapping",
}
"""By pydantic's name of an error."""


class Strict(BaseModel):
    """A mapping whose keys are all known, and whose values are of the type they should be: no text for a number."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def keys_are_known(cls, given: Any) -> Any:
        """Refuse what is no mapping and keys that nothing reads."""
        if not isinstance(given, Mapping):
            raise PydanticCustomError(NO_MAPPING, "no mapping")
        unknown = [str(key) for key in given if key not in cls.model_fields]
        if unknown:
            raise PydanticCustomError(UNKNOWN, "unknown", {"keys": unknown, "expected": ", ".join(cls.model_fields)})
        return given


def checked(model: type[Model], content: Any, name: str, terse: bool = False, **context: Any) -> Model:
    """A mapping as a model, every value checked.

    Parameters
    ----------
    model : type
    content : mapping
        As read from YAML; numbers of numpy and tuples are taken for Python's own numbers and lists.
    name : str
        What begins the message, such as 'overrides: '.
    terse : bool
        Of the two ways in which messages say of mappings what they are not.
    **context
        For the model's validators.

    Raises
    ------
    InputError
        In one line: the place, what was given, what is expected.
    """
    try:
        return model.model_validate(plain(content), context=context)
    except ValidationError as error:
        lines = dict.fromkeys(_line(found, terse) for found in error.errors(include_url=False))
        raise InputError(name + "; ".join(lines)) from error
    except RecursionError as error:
        raise InputError(f"{name}nested too deeply") from error


def plain(value: Any) -> Any:
    """Lists for tuples, Python's numbers for numpy's, in mappings and lists of whatever depth."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


class PlacedError(ValueError):
    """What a validator says of a value further inside: `place` (keys), and `words` that follow it."""

    def __init__(self, place: Sequence[str | int], words: str) -> None:
        super().__init__(place, words)
        self.place, self.words = tuple(place), words


def _line(error: Any, terse: bool) -> str:
    place, given, kind = error["loc"], error["input"], error["type"]
    context = error.get("ctx", {})
    if kind == UNKNOWN:
        keys = ", ".join(_path((*place, brief(key, LONGEST))) for key in context["keys"])
        words = ": unknown; expected some of" if terse else " is unknown; expected one of"
        return f"{keys}{words} {context['expected']}"
    if kind == "value_error":
        cause = context["error"]
        if isinstance(cause, PlacedError):
            return f"{_path((*place, *cause.place))}{cause.words}"
        words = str(cause)
    elif kind == "missing":
        return f"{_path(place)} is missing"
    else:
        words = f"expected {EXPECTED[kind].format(**context)}" if kind in EXPECTED else error["msg"]
    path = _path(place)
    separator = " " if kind == NO_MAPPING and not terse else ": "
    return f"{path}{separator if path else ''}{shown(given)} was given, {words}"


def _path(place: Sequence[str | int]) -> str:
    """Such as scf.kpoints_mesh, systems[2].layers."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place if key != "[key]")
    return text.removeprefix(".")


def shown(value: Any) -> str:
    """What was given, for a message of one line."""
    try:
        return brief(repr(value), LONGEST)
    except ValueError:  # Python does not write out integers of thousands of digits
        return "a number of thousands of digits"


def number(value: Any) -> bool:
    """Whether it is a finite number, and no boolean."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def fits(test: Callable[[Any], bool], words: str) -> Callable[[Any], Any]:
    """A validator: the value as it is where it passes a test; else `words` say what is expected."""

    def validate(value: Any) -> Any:
        if not test(value):
            raise ValueError(f"expected {words}")
        return value

    return validate


def quantity(least: float | None = None, above: float | None = None, most: float | None = None) -> AfterValidator:
    """For `Annotated`: a finite number within bounds; 1 stays 1, so that the same overrides have the same hash.

    Parameters
    ----------
    least, above, most : float, optional
    """
    bounds = [f"above {above:g}"] if above is not None else []
    bounds += [f"of at least {least:g}"] if least is not None else []
    bounds += [f"at most {most:g}"] if most is not None else []

    def within(value: Any) -> bool:
        return (
            number(value)
            and (above is None or value > above)
            and (least is None or value >= least)
            and (most is None or value <= most)
        )

    return AfterValidator(fits(within, " ".join(["a number", " and ".join(bounds)]).strip()))


def or_none(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A validator that lets None pass."""
    return lambda value: None if value is None else check(value)
