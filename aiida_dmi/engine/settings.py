"""What `compute` was asked for, checked before anything runs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .brillouin import Mesh
from .errors import InputError
from .interpolation import spin_frame

Floats = npt.NDArray[np.float64]

FERMI_LEVELS = ("neutral", "neutral-bare", "dft")


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
    """

    mesh: Mesh
    soi_scales: tuple[float, ...]
    fermi_shifts: tuple[float, ...]
    temperatures: tuple[float, ...]
    directions: tuple[tuple[float, ...], ...]
    soi_masks: dict[str, tuple[float, ...]]
    fermi_level: str

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
        if fermi_level not in FERMI_LEVELS:
            raise InputError(f"fermi_level: {fermi_level!r} was given, expected one of {', '.join(FERMI_LEVELS)}")
        return cls(
            mesh=Mesh.from_input(mesh, dimension),
            soi_scales=_numbers("soi_scales", soi_scales),
            fermi_shifts=_numbers("fermi_shifts", fermi_shifts),
            temperatures=kelvins,
            directions=_directions(directions),
            soi_masks=_masks(soi_masks, atoms),
            fermi_level=fermi_level,
        )

    @property
    def direction_labels(self) -> list[str]:
        """Labels such as '0,0,1'."""
        return [direction_label(n) for n in self.directions]


def direction_label(direction: Sequence[float]) -> str:
    """'0,0,1' for [0, 0, 1.0]: six digits at most, no minus zero."""
    return ",".join(f"{round(float(x), 6) + 0.0:g}" for x in direction)


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    try:
        numbers = tuple(float(v) for v in values)
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or not all(math.isfinite(x) for x in numbers):
        raise InputError(f"{name}: {values!r} was given, expected a list of finite numbers")
    if len(set(numbers)) != len(numbers):
        raise InputError(f"{name}: {list(numbers)} holds a value twice; give each once")
    return numbers


def _directions(values: Any) -> tuple[tuple[float, ...], ...]:
    try:
        given = [tuple(float(x) for x in direction) for direction in values]
    except (TypeError, ValueError):
        given = []
    if not given:
        raise InputError(f"directions: {values!r} was given, expected a list of vectors such as [[0, 0, 1]]")
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
            f"soi_masks: {masks!r} was given, expected names with one weight an atom, as {{'all': [1, 1]}}"
        )
    result = {}
    for name, weights in masks.items():
        try:
            result[str(name)] = tuple(float(w) for w in weights)
        except (TypeError, ValueError):
            result[str(name)] = ()
        if len(result[str(name)]) != atoms or not all(math.isfinite(w) for w in result[str(name)]):
            raise InputError(f"soi_masks: {name}: {weights!r} was given, expected {atoms} finite weights, one an atom")
    return result
