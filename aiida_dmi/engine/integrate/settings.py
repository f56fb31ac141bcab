"""What `compute` was asked for, checked before anything runs."""

from __future__ import annotations

import dataclasses
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
SYMMETRISED = "model"
"""What `symmetry` is where the model is symmetrised first."""
FIRST_MESH = 24
"""Points a side of the first mesh of a refinement that is given none."""
MAX_MESH = 768


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
        Whether the mesh is reduced; SYMMETRISED: and the model symmetrised first.
    tolerance : float or None
        meV*Angstrom per cell that the mesh is refined to.
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
    tolerance: float | None = None
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
        tolerance: float | None = None,
        max_mesh: int = MAX_MESH,
    ) -> Settings:
        """Validate every argument of `compute` against the model.

        Raises
        ------
        InputError
            Naming the argument, its value and what was expected.
        """
        if symmetry != SYMMETRISED or not isinstance(symmetry, str):
            symmetry = _truth("symmetry", symmetry)
        if tolerance is not None:
            expected = "a positive number in meV*Angstrom"
            tolerance = arguments.number("tolerance", tolerance, expected, above=0, most=1e300)
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
            tolerance=tolerance,
            max_mesh=max_mesh,
        )

    @property
    def summed(self) -> tuple[Quantity, ...]:
        """The quantities that are asked for, and those that accompany them."""
        return asked(self.quantities, self.method)

    @property
    def first_order(self) -> tuple[FirstOrder, ...]:
        """Those of first order in the spin-orbit interaction."""
        return tuple(one for one in self.summed if isinstance(one, FirstOrder))

    @property
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
        raise arguments.refusal(name, value, f"true, false or '{SYMMETRISED}'") from error


def _mesh(mesh: Any, dimension: int) -> Mesh:
    """The mesh, which has to have a nested one for the k error."""
    if mesh is None:
        raise InputError("mesh: missing; give the points along each direction, or a tolerance to refine it to")
    found = Mesh.from_input(mesh, dimension)
    if found.ratio is None:
        others = " or ".join(other.text for other in found.with_nested())
        raise InputError(
            f"mesh: {found.text} was given, expected points along each direction that can all be halved, or all be "
            f"divided by three: the k error is the change from that nested mesh; give {others}"
        )
    return found


def _first_mesh(mesh: Any, dimension: int, max_mesh: int) -> Mesh:
    """The mesh that a refinement starts from: it holds the mesh of half the points along each direction."""
    found = Mesh.from_input(FIRST_MESH if mesh is None else mesh, dimension)
    first = found if found.ratio == 2 else found.doubled()
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
