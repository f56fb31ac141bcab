"""Which k points of a save folder stand for which of a mesh, and what the film's symmetry makes of their tensors.

At first order in the spin-orbit interaction the collinear spins turn apart from the lattice: D(1) of direction n is
what is normal to n of one tensor G_alpha,j, alpha the axis of the angular momentum, whatever n. Every spatial operation
that keeps the atoms and moves moments to equal ones, or all to opposite ones, then turns G(k) into G(Rk), alpha as an
axial index and j as a polar one, and each atom's part into that of the atom it is moved to. Time reversal of the
collinear spins adds G(-k) = G(k).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from ..build.irreducible import KPOINT_TOLERANCE
from ..build.quantum_espresso import SaveFolder
from ..errors import InputError
from ..kspace.mesh import Mesh
from ..model.wannier import WannierModel
from ..symmetry.action import stars
from ..symmetry.groups import Operation, moment_classes, moment_signs, space_group

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

NESTED = (2, 3)
"""How much coarser the nested mesh may be: what is nested five or more times coarser says nothing of the mesh."""
MOST_POINTS = 200
"""Along a direction; a list that needs a finer mesh is no mesh."""


@dataclasses.dataclass(frozen=True)
class MeshPoints:
    """A mesh, and those k points of a save folder that stand for all of it.

    Parameters
    ----------
    mesh : Mesh
    places : ndarray of int, shape (points,)
        Numbers among the folder's k points; those of the nested mesh first.
    weights : ndarray, shape (points,)
        How many points of the mesh each stands for.
    nested : ndarray of bool, shape (points,)
        Whether it belongs to the nested coarse mesh.
    operations : tuple of Operation
        Spatial, the identity first.
    """

    mesh: Mesh
    places: Integers
    weights: Floats
    nested: npt.NDArray[np.bool_]
    operations: tuple[Operation, ...]

    @classmethod
    def of(cls, save: SaveFolder, model: WannierModel) -> MeshPoints:
        """From a complete list, one of each pair k and -k, or pw.x's irreducible points.

        Raises
        ------
        InputError
            If the k points lie on no mesh, or do not stand for all of it.
        """
        d = model.dimension
        mesh, integers = _on_mesh(save.kpoints, d)
        operations = spatial_operations(model)
        both = [dataclasses.replace(one, time_reversal=flag) for one in operations for flag in (False, True)]
        try:
            star = stars(mesh.divisions, both)
        except InputError as error:
            raise InputError(
                f"nscf: its {len(save.kpoints)} k points lie on a mesh of {mesh.text}, which lacks the film's "
                "symmetry; give pw.x the same number of points along directions that it exchanges"
            ) from error
        stored = star[np.ravel_multi_index(tuple(integers.T), mesh.divisions)]
        heads, counts = np.unique(star, return_counts=True)
        if len(absent := np.setdiff1d(heads, stored)):
            at = np.array(np.unravel_index(absent[0], mesh.divisions)) / np.array(mesh.divisions)
            raise InputError(
                f"nscf: its {len(save.kpoints)} k points lie on a mesh of {mesh.text}, but none stands for "
                f"({', '.join(f'{x:.6f}' for x in at)}); give pw.x a complete Gamma-centred mesh, one of each pair k "
                "and -k, or its irreducible points"
            )
        places = np.array([np.flatnonzero(stored == head)[0] for head in heads], dtype=np.int64)
        coarse = nested_mesh(mesh)
        step = 0 if coarse is None else mesh.divisions[0] // coarse.divisions[0]
        nested = (integers[places] % step == 0).all(axis=1) if step else np.zeros(len(places), bool)
        order = np.argsort(~nested, kind="stable")
        return cls(mesh, places[order], counts[order].astype(float), nested[order], operations)

    def turned(self, tensors: Floats) -> Floats:
        """Average over the film's operations of tensors (..., atoms, 3, d): what they are on the whole mesh."""
        d = tensors.shape[-1]
        result = np.zeros_like(tensors)
        for one in self.operations:
            turn = one.cartesian[:d, :d]
            image = np.einsum("ab,jl,...xbl->...xaj", one.axial, turn, tensors, optimize=True)
            result[..., one.permutation, :, :] += image
        return result / len(self.operations)


def nested_mesh(mesh: Mesh) -> Mesh | None:
    """The coarse mesh with half or a third of the points along each direction; None where neither is whole."""
    common = math.gcd(*mesh.divisions)
    ratio = next((p for p in NESTED if common % p == 0), None)
    return None if ratio is None else Mesh(tuple(m // ratio for m in mesh.divisions))


def spatial_operations(model: WannierModel) -> tuple[Operation, ...]:
    """Operations that keep the atoms, and moments up to one sign of all; the identity alone without moments."""
    operations = space_group(model)
    if model.moments is None:
        return operations[:1]
    classes = moment_classes(model)
    return tuple(one for one in operations if moment_signs(classes, one.permutation))


def _on_mesh(kpoints: Floats, d: int) -> tuple[Mesh, Integers]:
    """The coarsest Gamma-centred mesh that holds all points, and their integer coordinates on it."""
    if np.abs(kpoints[:, d:]).max(initial=0.0) > KPOINT_TOLERANCE:
        raise InputError("nscf: its k points leave the film's plane; give a mesh with one point along the normal")
    divisions = []
    for axis in range(d):
        numbers = np.arange(1, MOST_POINTS + 1)
        scaled = kpoints[:, axis, None] * numbers
        fits = (np.abs(scaled - np.rint(scaled)) <= KPOINT_TOLERANCE * numbers).all(axis=0)
        if not fits.any():
            raise InputError(
                f"nscf: its k points lie on no Gamma-centred mesh of up to {MOST_POINTS} points along direction "
                f"{axis + 1}; give pw.x an unshifted mesh"
            )
        divisions.append(int(numbers[fits.argmax()]))
    mesh = Mesh(tuple(divisions))
    integers = np.rint(kpoints[:, :d] * np.array(divisions)).astype(np.int64) % np.array(divisions)
    return mesh, integers
