"""What `compute` was asked for, checked before anything runs."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import arguments
from ..errors import InputError
from ..kspace.mesh import LARGEST_MESH, Mesh
from ..model.spin_frame import spin_frame
from ..quantities.quantity import FiniteOrder, FirstOrder, Quantity
from ..quantities.registry import BY_DEFAULT, METHODS, NAMES, asked

Floats = npt.NDArray[np.float64]

FERMI_LEVELS = ("neutral", "neutral-bare", "dft")
LIMITS = {"soi_scales": (1e3, ""), "fermi_shifts": (100.0, " eV"), "soi_masks": (1e3, "")}
"""Largest magnitudes: what lies beyond is a slip of the pen, and would overflow."""
SYMMETRISED, AUTOMATIC = "model", "auto"
"""What `symmetry` is where the model is symmetrised first, and where it is so if that is possible."""
FIRST_MESH = 24
"""Points a side of the first mesh of a refinement that is given none."""
MAX_MESH = 768
LARGEST_PART = 100.0
"""Per cent of D; what is more is a slip of the pen."""


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """What the errors of a refined result may be.

    Parameters
    ----------
    value : float
        meV*Angstrom per cell, or a part of D.
    relative : bool
    """

    value: float
    relative: bool

    @classmethod
    def checked(cls, given: Any) -> Tolerance:
        """From a number, or a text such as '1 %'.

        Raises
        ------
        InputError
            If it is neither, or not above zero.

        Examples
        --------
        >>> Tolerance.checked("0.5 %"), Tolerance.checked(0.05)
        (Tolerance(value=0.005, relative=True), Tolerance(value=0.05, relative=False))
        """
        expected = "a positive number in meV*Angstrom, or a part of D such as '1 %'"
        if isinstance(given, str):
            number = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*%\s*", given)
            if number is None or not 0 < float(number[1]) <= LARGEST_PART:
                raise arguments.refusal("tolerance", given, expected)
            return cls(float(number[1]) / 100, True)
        return cls(arguments.number("tolerance", given, expected, above=0, most=1e300), False)

    @property
    def text(self) -> str:
        """As it stands in a spec."""
        return f"{100 * self.value:.6g} %" if self.relative else f"{self.value:.6g}"

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.text} of D" if self.relative else f"{self.text} meV*Angstrom"

    @property
    def stored(self) -> float | str:
        """For an attribute: a number where it is one."""
        return self.text if self.relative else self.value


@dataclasses.dataclass(frozen=True)
class Settings:
    """What one computation is to give: its axes, and how its sum over the Brillouin zone converges.

    Parameters
    ----------
    mesh : Mesh
        With `tolerance` the first one.
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
        Of `registry.NAMES`, in their order.
    symmetry : bool or str
        Whether the mesh is reduced; SYMMETRISED: and the model symmetrised first; AUTOMATIC: where that is possible.
    tolerance : Tolerance or None
        That the mesh is refined to.
    max_mesh : int
        Points along a direction at most.
    """

    mesh: Mesh
    soi_scales: tuple[float, ...]
    fermi_shifts: tuple[float, ...]
    temperatures: tuple[float, ...]
    directions: tuple[tuple[float, ...], ...]
    soi_masks: dict[str, tuple[float, ...]]
    fermi_level: str
    method: str = "bands"
    quantities: tuple[str, ...] = BY_DEFAULT
    symmetry: bool | str = False
    tolerance: Tolerance | None = None
    max_mesh: int = MAX_MESH

    @classmethod
    def checked(
        cls,
        *,
        dimension: int,
        atoms: int,
        mesh: int | Sequence[int] | None = None,
        soi_scales: Iterable[float] = (1.0,),
        fermi_shifts: Iterable[float] = (0.0,),
        temperatures: Iterable[float] = (300.0,),
        directions: Iterable[Sequence[float]] = ((0, 0, 1),),
        soi_masks: Mapping[str, Sequence[float]] | None = None,
        fermi_level: str = "neutral",
        method: str = "bands",
        quantities: Iterable[str] | None = None,
        symmetry: bool | str = False,
        tolerance: float | str | None = None,
        max_mesh: int = MAX_MESH,
    ) -> Settings:
        """Validate every argument of `compute` against the model.

        Raises
        ------
        InputError
            Naming the argument, its value and what was expected.
        """
        if not isinstance(symmetry, str) or symmetry not in (SYMMETRISED, AUTOMATIC):
            symmetry = _truth("symmetry", symmetry)
        max_mesh = arguments.whole("max_mesh", max_mesh, most=LARGEST_MESH)
        return cls(
            mesh=_mesh(mesh, dimension) if tolerance is None else _first_mesh(mesh, dimension, max_mesh),
            soi_scales=_axis("soi_scales", soi_scales),
            fermi_shifts=_axis("fermi_shifts", fermi_shifts),
            temperatures=_temperatures(temperatures),
            directions=_directions(directions),
            soi_masks=_masks(soi_masks, atoms),
            fermi_level=arguments.choice("fermi_level", fermi_level, FERMI_LEVELS),
            method=arguments.choice("method", method, METHODS),
            quantities=BY_DEFAULT if quantities is None else arguments.choices("quantities", quantities, NAMES),
            symmetry=symmetry,
            tolerance=None if tolerance is None else Tolerance.checked(tolerance),
            max_mesh=max_mesh,
        )

    @functools.cached_property
    def summed(self) -> tuple[Quantity, ...]:
        """The quantities that are asked for, and those that accompany them."""
        return asked(self.quantities, self.method)

    @functools.cached_property
    def first_order(self) -> tuple[FirstOrder, ...]:
        """Those of first order in the spin-orbit interaction."""
        return tuple(one for one in self.summed if isinstance(one, FirstOrder))

    @functools.cached_property
    def finite_order(self) -> tuple[FiniteOrder, ...]:
        """Those at finite xi."""
        return tuple(one for one in self.summed if isinstance(one, FiniteOrder))

    @property
    def direction_labels(self) -> list[str]:
        """Labels such as '0,0,1'."""
        return [direction_label(n) for n in self.directions]


def direction_label(direction: Sequence[float]) -> str:
    """'0,0,1' for [0, 0, 1.0]: six digits at most, no minus zero."""
    return ",".join(f"{round(float(x), 6) + 0.0:g}" for x in direction)


def _truth(name: str, value: Any) -> bool:
    try:
        return arguments.truth(name, value)
    except InputError as error:
        raise arguments.refusal(name, value, f"true, false, '{SYMMETRISED}' or '{AUTOMATIC}'") from error


def _mesh(mesh: Any, dimension: int) -> Mesh:
    if mesh is None:
        raise InputError("mesh: missing; give the points along each direction, or a tolerance to refine it to")
    return Mesh.from_input(mesh, dimension)


def _first_mesh(mesh: Any, dimension: int, max_mesh: int) -> Mesh:
    """The mesh that a refinement starts from."""
    first = Mesh.from_input(FIRST_MESH if mesh is None else mesh, dimension)
    if max(first.divisions) > max_mesh:
        raise InputError(
            f"max_mesh: {max_mesh} was given, the first mesh has {max(first.divisions)} points along a direction; "
            "raise max_mesh or give a coarser mesh"
        )
    return first


def _axis(name: str, values: Any) -> tuple[float, ...]:
    numbers = arguments.numbers(name, values)
    arguments.different(name, numbers)
    limit, unit = LIMITS[name]
    return tuple(arguments.limited(name, value, limit, unit) for value in numbers)


def _temperatures(values: Any) -> tuple[float, ...]:
    kelvins = arguments.numbers("temperatures", values)
    arguments.different("temperatures", kelvins)
    return tuple(arguments.temperature("temperatures", value) for value in kelvins)


def _directions(values: Any) -> tuple[tuple[float, ...], ...]:
    expected = "a list of vectors such as [[0, 0, 1]]"
    given = list(values) if isinstance(values, Iterator) else values
    items = arguments.listed(given)
    if not items:
        raise arguments.refusal("directions", given, expected)
    try:
        vectors = [arguments.numbers("directions", item) for item in items]
    except InputError as error:
        raise arguments.refusal("directions", given, expected) from error
    units = tuple(tuple(float(x) for x in spin_frame(vector)[2]) for vector in vectors)
    labels = [direction_label(n) for n in units]
    if len(set(labels)) != len(labels):
        raise InputError(f"directions: {labels} holds a direction twice; give each once")
    return units


def _masks(masks: Any, atoms: int) -> dict[str, tuple[float, ...]]:
    if masks is None:
        return {"all": (1.0,) * atoms}
    if not isinstance(masks, Mapping) or not masks:
        raise arguments.refusal("soi_masks", masks, "names with one weight an atom, as {'all': [1, 1]}")
    limit, _ = LIMITS["soi_masks"]
    result = {}
    for key, values in masks.items():
        name = arguments.label("soi_masks", key)
        result[name] = arguments.weights(f"soi_masks: {name}", values, atoms, limit)
    return result
