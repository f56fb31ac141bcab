"""What `compute` was asked for, checked before anything runs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .brillouin import Mesh
from .errors import InputError
from .interpolation import spin_frame

Floats = npt.NDArray[np.float64]

FERMI_LEVELS = ("neutral", "neutral-bare", "dft")
LIMITS = {"soi_scales": (1e3, ""), "fermi_shifts": (100.0, " eV"), "temperatures": (1e6, " K"), "soi_masks": (1e3, "")}
"""Largest magnitudes: what lies beyond is a slip of the pen, and would overflow."""
METHODS = ("bands", "green")
QUANTITIES = ("D", "Q", "a_I", "a_II", "D_1")
"""What can be asked for; Q_1 follows from a_I and a_II, the closure from these and D_1."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """The axes of one computation.

    Parameters
    ----------
    mesh : Mesh
    soi_scales : tuple of float
        xi.
    fermi_shifts : tuple of float
        eV, added to the chemical potential.
    temperatures : tuple of float
        K.
    directions : tuple of tuple of float
        Unit vectors n.
    soi_masks : dict
        Name to one weight an atom.
    fermi_level : str
        'neutral', 'neutral-bare' or 'dft'.
    method : str
        'bands' or 'green', for D.
    quantities : tuple of str
        Of QUANTITIES, in their order.
    """

    mesh: Mesh
    soi_scales: tuple[float, ...]
    fermi_shifts: tuple[float, ...]
    temperatures: tuple[float, ...]
    directions: tuple[tuple[float, ...], ...]
    soi_masks: dict[str, tuple[float, ...]]
    fermi_level: str
    method: str = "bands"
    quantities: tuple[str, ...] = QUANTITIES

    @classmethod
    def checked(
        cls,
        *,
        dimension: int,
        atoms: int,
        mesh: int | Sequence[int],
        soi_scales: Iterable[float],
        fermi_shifts: Iterable[float],
        temperatures: Iterable[float],
        directions: Iterable[Sequence[float]],
        soi_masks: Mapping[str, Sequence[float]] | None,
        fermi_level: str,
        method: str = "bands",
        quantities: Iterable[str] | None = None,
    ) -> Settings:
        """Validate every argument of `compute` against the model.

        Raises
        ------
        InputError
            Naming the argument, its value and what was expected.
        """
        kelvins = _numbers("temperatures", temperatures)
        if min(kelvins) <= 0:
            raise InputError(f"temperatures: {min(kelvins):g} was given, expected kelvins above 0")
        if not isinstance(fermi_level, str) or fermi_level not in FERMI_LEVELS:
            raise InputError(f"fermi_level: {fermi_level!r} was given, expected one of {', '.join(FERMI_LEVELS)}")
        if method not in METHODS:
            raise InputError(f"method: {method!r} was given, expected one of {', '.join(METHODS)}")
        return cls(
            mesh=Mesh.from_input(mesh, dimension),
            soi_scales=_numbers("soi_scales", soi_scales),
            fermi_shifts=_numbers("fermi_shifts", fermi_shifts),
            temperatures=kelvins,
            directions=_directions(directions),
            soi_masks=_masks(soi_masks, atoms),
            fermi_level=fermi_level,
            method=method,
            quantities=_quantities(quantities),
        )

    @property
    def first_order(self) -> bool:
        """Whether anything of first order in the spin-orbit interaction is asked for."""
        return not {"a_I", "a_II", "D_1"}.isdisjoint(self.quantities)

    @property
    def finite_order(self) -> bool:
        """Whether anything at finite xi is asked for."""
        return not {"D", "Q"}.isdisjoint(self.quantities)

    @property
    def direction_labels(self) -> list[str]:
        """Labels such as '0,0,1'."""
        return [direction_label(n) for n in self.directions]


def direction_label(direction: Sequence[float]) -> str:
    """'0,0,1' for [0, 0, 1.0]: six digits at most, no minus zero."""
    return ",".join(f"{round(float(x), 6) + 0.0:g}" for x in direction)


def number(value: Any) -> float:
    """A float from what is a number, in quotes or not; no boolean and no container.

    Raises
    ------
    TypeError, ValueError, OverflowError
        If it is none, or too large for one.
    """
    if isinstance(value, (bool, np.bool_)):
        raise TypeError("a boolean is no number")
    return float(value)


def _listed(values: Any) -> list[float]:
    """Numbers of a list; empty for what is no list of numbers."""
    if isinstance(values, (str, bytes, Mapping)):
        return []
    try:
        return [number(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        return []


def _shown(value: Any) -> str:
    """What was given, for a message of one line."""
    try:
        text = repr(value)
    except ValueError:  # Python does not write out integers of thousands of digits
        text = "a number of thousands of digits"
    return text if len(text) <= 200 else f"{text[:100]}...{text[-20:]}"


def _within(name: str, numbers: Iterable[float]) -> None:
    limit, unit = LIMITS[name]
    for value in numbers:
        if abs(value) > limit:
            raise InputError(f"{name}: {value:g}{unit} was given, expected at most {limit:g}{unit} in magnitude")


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    given = list(values) if isinstance(values, Iterator) else values
    numbers = tuple(_listed(given))
    if not numbers or not all(math.isfinite(x) for x in numbers):
        raise InputError(f"{name}: {_shown(given)} was given, expected a list of finite numbers")
    if len(set(numbers)) != len(numbers):
        raise InputError(f"{name}: {list(numbers)} holds a value twice; give each once")
    _within(name, numbers)
    return numbers


def _quantities(values: Any) -> tuple[str, ...]:
    if values is None:
        return QUANTITIES
    given = [] if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable) else list(values)
    if not given or any(not isinstance(name, str) or name not in QUANTITIES for name in given):
        raise InputError(f"quantities: {_shown(values)} was given, expected a list of some of {', '.join(QUANTITIES)}")
    return tuple(name for name in QUANTITIES if name in given)


def _directions(values: Any) -> tuple[tuple[float, ...], ...]:
    try:
        given = [] if isinstance(values, (str, bytes, Mapping)) else [_listed(direction) for direction in values]
    except TypeError:
        given = []
    if not given or not all(given):
        raise InputError(f"directions: {_shown(values)} was given, expected a list of vectors such as [[0, 0, 1]]")
    units = tuple(tuple(float(x) for x in spin_frame(direction)[2]) for direction in given)
    labels = [direction_label(n) for n in units]
    if len(set(labels)) != len(labels):
        raise InputError(f"directions: {labels} holds a direction twice; give each once")
    return units


def _masks(masks: Mapping[str, Sequence[float]] | None, atoms: int) -> dict[str, tuple[float, ...]]:
    if masks is None:
        return {"all": (1.0,) * atoms}
    if not isinstance(masks, Mapping) or not masks:
        raise InputError(
            f"soi_masks: {_shown(masks)} was given, expected names with one weight an atom, as {{'all': [1, 1]}}"
        )
    result: dict[str, tuple[float, ...]] = {}
    for key, values in masks.items():
        name, weights = str(key), tuple(_listed(values))
        if name in result:
            raise InputError(f"soi_masks: two masks are called {name}; give each a name of its own")
        if len(weights) != atoms or not all(math.isfinite(w) for w in weights):
            raise InputError(
                f"soi_masks: {name}: {_shown(values)} was given, expected {atoms} finite weights, one an atom"
            )
        _within("soi_masks", weights)
        result[name] = weights
    return result
