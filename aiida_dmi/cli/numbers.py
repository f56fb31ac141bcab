"""Numbers that commands take: what no film, machine or calendar has is refused where it is given."""

from __future__ import annotations

import math
from typing import Any

import click

RANKS = click.IntRange(1, 100_000)
DAYS = click.IntRange(1, 36_500)
SECONDS = click.IntRange(1, 10 * 365 * 86_400)
LINES = click.IntRange(1, 1_000_000)
POINTS = click.IntRange(2, 10_000)
"""Along each direction of a k mesh that is computed for a figure."""


class Finite(click.ParamType):
    """A number that is one: neither nan nor infinite.

    Parameters
    ----------
    positive : bool
        Greater than 0.
    """

    name = "float"

    def __init__(self, positive: bool = False) -> None:
        self._positive = positive

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        """The number of a text."""
        found: float = click.FLOAT.convert(value, parameter, context)
        if not math.isfinite(found) or (self._positive and found <= 0):
            self.fail(f"{value!r} was given, expected a {'positive' if self._positive else 'finite'} number")
        return found
