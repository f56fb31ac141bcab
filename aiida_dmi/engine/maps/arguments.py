"""Arguments that depend on the model, of maps, bands and densities of states: cut-off, mask, k points, mu."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import arguments
from ..errors import InputError
from ..integrate.settings import LIMITS
from ..kspace.mesh import Mesh
from ..model.rashba import NO_CUTOFF, RashbaModel
from ..model.wannier import WannierModel

Floats = npt.NDArray[np.float64]
Model = WannierModel | RashbaModel

LARGEST_MAP = 4_000_000
"""k points of a map or of a density of states: their values stand in memory at once."""
LARGEST_KPOINT = 1e6
"""In units of the reciprocal lattice vectors: further out their phases have no digits left."""


def with_cutoff(model: Model, cutoff: float | None) -> Model:
    """The model, a RashbaModel with its cut-off.

    Raises
    ------
    InputError
        If it is neither, or a cut-off is missing, wrong or of no use.
    """
    if isinstance(model, RashbaModel):
        return model.with_cutoff(cutoff)
    if not isinstance(model, WannierModel):
        raise arguments.refusal("model", model, "a WannierModel or a RashbaModel")
    if cutoff is not None:
        raise InputError(f"cutoff: {arguments.shown(cutoff)} was given, {NO_CUTOFF}")
    return model


def checked_divisions(mesh: Any, dimension: int) -> tuple[int, ...]:
    """Divisions of a mesh whose points are all kept in memory.

    Raises
    ------
    InputError
        If they are none, or too many.
    """
    found = Mesh.from_input(mesh, dimension)
    if found.size > LARGEST_MAP:
        raise InputError(
            f"mesh: {found.text} was given, expected at most {LARGEST_MAP:.0e} k points, which are all kept; give a "
            "coarser mesh"
        )
    return found.divisions


def checked_mask(mask: Any, atoms: int) -> tuple[float, ...]:
    """One weight an atom; all of them 1 where none is given."""
    if mask is None:
        return (1.0,) * atoms
    return arguments.weights("soi_masks", mask, atoms, LIMITS["soi_masks"][0])


def checked_scale(soi_scale: Any) -> float:
    """A xi."""
    return arguments.limited("soi_scale", arguments.number("soi_scale", soi_scale), LIMITS["soi_scales"][0])


def fractional_points(kpoints: Any, dimension: int) -> Floats:
    """K points as (k, 3), checked; a film's may have two components."""
    expected = f"(k, {dimension}), finite numbers"
    try:
        points = arguments.rows_of_numbers("kpoints", kpoints, expected)
    except InputError as error:
        raise InputError(f"kpoints: shape {_shape(kpoints)} was given, expected {expected}") from error
    if points.shape[1] not in {dimension, 3}:
        raise InputError(f"kpoints: shape {points.shape} was given, expected {expected}")
    limit = max(points.min(), points.max(), key=abs)
    arguments.limited("kpoints", float(limit), LARGEST_KPOINT)
    return np.pad(points, ((0, 0), (0, 3 - points.shape[1])))


def _shape(values: Any) -> Any:
    try:
        return np.shape(values)
    except ValueError:
        return "of rows of different lengths"


def mesh_points(divisions: tuple[int, ...]) -> Floats:
    """A Gamma-centred mesh in C order, (k, 3)."""
    indices = np.indices(divisions).reshape(len(divisions), -1).T
    return fractional_points(indices / np.asarray(divisions), len(divisions))


def cartesian_points(model: Model, points: Floats) -> Floats:
    """K points in 1/Angstrom, shape (k, dimension); a RashbaModel's wrapped to [-cutoff, cutoff)."""
    if isinstance(model, RashbaModel):
        wrapped: Floats = ((points[:, :2] + 0.5) % 1.0 - 0.5) * model.side
        return wrapped
    cartesian: Floats = 2 * np.pi * points @ np.linalg.inv(model.cell).T
    return cartesian[:, : model.dimension]


def chemical_potential(model: Model, mu: float | str) -> float:
    """Mu in eV, 'dft' resolved."""
    if isinstance(mu, str) and mu == "dft":
        return float(model.fermi_energy)
    return arguments.number("mu", mu, "eV, or 'dft' (compute's result holds mu and mu_bare)")


def minority(model: Model) -> str:
    """'up' or 'down': the spin channel whose levels lie higher on average."""
    if isinstance(model, RashbaModel):
        return "up" if model.exchange >= 0 else "down"
    up, down = np.einsum("sqii->s", model.hamiltonian).real
    return "up" if up >= down else "down"
