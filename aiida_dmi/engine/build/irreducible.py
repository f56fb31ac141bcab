"""Which k points of a mesh a nscf run computes, and how every other one is made of these.

Without spin-orbit interaction the Hamiltonian of either spin is a scalar of the crystal: it commutes with every
operation {R|f}, r -> R r + f, that keeps atoms and their kinds, for a kind has one moment, and spins need not turn with
it. It is real, too (time reversal). So with psi_k(r) = sum_G c_k(G) e^{i (k + G) r}

    psi_k(R^-1 (r - f)):   c_Rk(R G) = e^{-i R(k + G).f} c_k(G),   E_Rk = E_k,
    psi_k^*:               c_-k(-G)  = c_k(G)^*,                   E_-k = E_k

are states as well. Of a 6x6 mesh of a film with C_3v 7 points are enough, of 12x12 19; a film without symmetry keeps
one of k and -k (20 and 74).

`reduced` chooses the points, `Images.of` says how each point of a list is made; `completed` makes the states.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from ..arguments import listed, number, refusal, whole
from ..errors import InputError
from ..symmetry.groups import crystal_operations

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Complexes = npt.NDArray[np.complex128]
Booleans = npt.NDArray[np.bool_]

KPOINT_TOLERANCE = 1e-6
"""Two k points are one, modulo reciprocal lattice vectors; in their units."""
DISTANCE_TOLERANCE = 1e-5
"""Angstrom between an atom's image and the atom it is taken for."""
TRANSLATION_TOLERANCE = 1e-5
"""Lattice vectors: pw.x's own."""
TWELFTHS, KNOWN_TWELFTHS = 12, (0, 2, 3, 4, 6)
"""Parts of a lattice vector by which pw.x lets an operation translate."""


@dataclasses.dataclass(frozen=True)
class SpaceOperation:
    """{R|f} on fractional coordinates, x -> rotation @ x + translation.

    Parameters
    ----------
    rotation : tuple of three tuples of int
    translation : tuple of float
    """

    rotation: tuple[tuple[int, ...], ...] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    translation: tuple[float, ...] = (0.0, 0.0, 0.0)

    @classmethod
    def from_mapping(cls, name: str, given: Any) -> SpaceOperation:
        """As a spec has it: the inverse of `record`.

        Raises
        ------
        InputError
            If it is none.
        """
        expected = "a mapping with rotation (three rows of three whole numbers) and translation (three numbers)"
        if not isinstance(given, Mapping) or set(given) != {"rotation", "translation"}:
            raise refusal(name, given, expected)
        rows, shift = [listed(row) for row in listed(given["rotation"]) or []], listed(given["translation"])
        if len(rows) != 3 or any(row is None or len(row) != 3 for row in rows) or shift is None or len(shift) != 3:
            raise refusal(name, given, expected)
        rotation = tuple(tuple(whole(name, x, expected, least=-9, most=9) for x in row or ()) for row in rows)
        if abs(round(float(np.linalg.det(np.array(rotation))))) != 1:
            raise refusal(name, given["rotation"], "a rotation, its determinant 1 or -1")
        return cls(rotation, tuple(number(name, x, expected, least=-1, most=1) for x in shift))

    def record(self) -> dict[str, Any]:
        """For a spec, a database or an attribute."""
        return {"rotation": [list(row) for row in self.rotation], "translation": list(self.translation)}

    @property
    def matrix(self) -> Integers:
        """R on fractional coordinates, shape (3, 3)."""
        return np.array(self.rotation, dtype=np.int64)

    @property
    def reciprocal(self) -> Integers:
        """R on k and G in units of the reciprocal lattice vectors: the inverse transpose of `matrix`."""
        return np.rint(np.linalg.inv(self.matrix)).astype(np.int64).T

    @property
    def keeps_normal(self) -> bool:
        """Whether the third coordinate stays as it is."""
        return self.rotation[2] == (0, 0, 1) and all(row[2] == 0 for row in self.rotation[:2])

    def phases(self, rotated: Floats) -> Complexes:
        """e^{-i R(k + G).f} of vectors R(k + G) in units of the reciprocal lattice vectors, shape (n, 3)."""
        return np.asarray(np.exp(-2j * np.pi * (rotated @ np.array(self.translation))), dtype=np.complex128)

    def describe(self) -> str:
        """One line."""
        rows = "; ".join(" ".join(map(str, row)) for row in self.rotation)
        return f"[{rows}] + ({', '.join(f'{x:g}' for x in self.translation)})"


IDENTITY = SpaceOperation()


def film_operations(cell: npt.ArrayLike, positions: npt.ArrayLike, kinds: Sequence[int]) -> tuple[SpaceOperation, ...]:
    """The space group of a crystal as pw.x takes it, one operation for each rotation, the identity first.

    Of translations pw.x (`sgam_at` in PW/src/symm_base.f90, 6.7 to 7.5) knows 1/2, 1/3, 1/4 and 1/6 of a lattice
    vector, which its FFT grid is made to have, and none in a supercell; under others it does not make the density
    symmetric.

    Parameters
    ----------
    cell : array_like, shape (3, 3)
        Rows, Angstrom; pw.x's own, vacuum and all.
    positions : array_like, shape (atoms, 3)
        In units of the lattice vectors.
    kinds : sequence of int
        A number for the kind of every atom: kinds have their own pseudopotentials and moments.

    Raises
    ------
    InputError
        If spglib is missing or finds no symmetry.
    """
    lattice, places = np.asarray(cell, dtype=float), np.asarray(positions, dtype=float)
    found: dict[tuple[tuple[int, ...], ...], set[tuple[int, ...]]] = {}
    for matrix, shift in crystal_operations(lattice, places, list(kinds), DISTANCE_TOLERANCE):
        # Exactly such a part: else the last digits of the atoms' places would stand in every phase.
        parts = np.rint(TWELFTHS * shift)
        rotation = tuple(tuple(int(x) for x in row) for row in matrix)
        known = np.abs(shift - parts / TWELFTHS).max() <= TRANSLATION_TOLERANCE
        nearest = tuple(int(x) - TWELFTHS * (2 * int(x) > TWELFTHS) for x in parts % TWELFTHS)
        if known and all(abs(part) in KNOWN_TWELFTHS for part in nearest):
            found.setdefault(rotation, set()).add(nearest)
    translations = found.pop(IDENTITY.rotation)
    if len(translations) > 1:
        found = {rotation: {(0, 0, 0)} for rotation, shifts in found.items() if (0, 0, 0) in shifts}
    operations = [
        SpaceOperation(rotation, tuple(part / TWELFTHS for part in min(shifts, key=lambda x: (np.abs(x).sum(), x))))
        for rotation, shifts in sorted(found.items(), reverse=True)
    ]
    if not is_group(operations):
        operations = [operation for operation in operations if not any(operation.translation)]
    return (IDENTITY, *operations)


# -- how points are made -------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Images:
    """How every point of a list is made of a computed one: k = +-R k' + S.

    Parameters
    ----------
    operations : tuple of SpaceOperation
        Those that are used, the identity first.
    origin : ndarray of int, shape (q,)
        Number of k'; -1 where no image of a computed point is that of the list.
    operation : ndarray of int, shape (q,)
        Number of R.
    conjugated : ndarray of bool, shape (q,)
        Minus, and the states conjugate.
    shifts : ndarray of int, shape (q, 3)
        S, Miller indices.
    """

    operations: tuple[SpaceOperation, ...]
    origin: Integers
    operation: Integers
    conjugated: Booleans
    shifts: Integers

    @classmethod
    def of(cls, kpoints: Floats, computed: Floats, operations: Iterable[SpaceOperation]) -> Images:
        """Each point by the first that serves: as computed, by time reversal, by the next operation, by both.

        Parameters
        ----------
        kpoints, computed : ndarray, shape (q, 3), (p, 3)
            In units of the reciprocal lattice vectors.
        operations : iterable of SpaceOperation
            The identity goes before them, whether it is among them or not.
        """
        points = len(kpoints)
        origin, operation = np.full(points, -1), np.zeros(points, dtype=np.int64)
        conjugated, shifts = np.zeros(points, dtype=bool), np.zeros((points, 3), dtype=np.int64)
        used = [IDENTITY]
        for candidate in (IDENTITY, *operations):
            for sign in (1, -1):
                left = np.flatnonzero(origin < 0)
                if not len(left):
                    break
                nearest, shift, same = _Located(sign * computed @ candidate.reciprocal.T).find(kpoints[left])
                made = left[same]
                if not len(made):
                    continue
                if candidate not in used:
                    used.append(candidate)
                origin[made], operation[made] = nearest[same], used.index(candidate)
                conjugated[made], shifts[made] = sign < 0, shift[same]
        return cls(tuple(used), origin, operation, conjugated, shifts)

    def points(self, computed: Floats) -> Floats:
        """The list, to the digits of the computed points; shape (q, 3)."""
        rotations = np.array([operation.reciprocal for operation in self.operations])[self.operation]
        rotated = np.einsum("kij,kj->ki", rotations, computed[self.origin])
        return np.asarray(np.where(self.conjugated, -1, 1)[:, None] * rotated + self.shifts, dtype=np.float64)


@dataclasses.dataclass(frozen=True)
class Reduction:
    """What a nscf run computes of a mesh.

    Parameters
    ----------
    kept : ndarray of int
        Numbers of the computed points, in the order of the mesh.
    weights : ndarray of int
        For how many points of the mesh each stands.
    operations : tuple of SpaceOperation
        Those by which the others are made, the identity first.
    """

    kept: Integers
    weights: Integers
    operations: tuple[SpaceOperation, ...]


def reduced(kpoints: Floats, operations: Iterable[SpaceOperation] = ()) -> Reduction:
    """The irreducible points of a mesh under a group and time reversal.

    Operations that do not map the mesh onto itself are left out: the rest of a group is one. So are those that turn a
    film (one point along its normal) over: where there are mirrors they spare nothing, and a field along the normal
    may break them.

    Parameters
    ----------
    kpoints : ndarray, shape (q, 3)
        A list that holds -k with every k, in units of the reciprocal lattice vectors.
    operations : iterable of SpaceOperation
        A group, or none: then one of k and -k is kept.

    Raises
    ------
    InputError
        If -k is missing for some k, or the operations are no group.
    """
    given = list(operations)
    if not is_group(given):
        raise InputError("operations: they are no group, the product of two is missing; give all of a crystal's")
    film = np.ptp(kpoints[:, 2]) <= KPOINT_TOLERANCE
    mesh = _Located(kpoints)
    numbers, _, paired = mesh.find(-kpoints)
    if not paired.all():
        alone = words(kpoints[np.flatnonzero(~paired)[0]])
        raise InputError(f"kpoints: {alone} is listed without -k; give a Gamma-centred mesh")
    fitting = []
    # The star of a point is all to which the group takes it: the first of a star is computed.
    first = np.minimum(np.arange(len(kpoints)), numbers)
    for operation in given:
        if film and not operation.keeps_normal:
            continue
        images = [mesh.find(sign * kpoints @ operation.reciprocal.T) for sign in (1, -1)]
        if all(same.all() for *_, same in images):
            fitting.append(operation)
            first = np.minimum.reduce([first, *(number for number, *_ in images)])
    kept, weights = np.unique(first, return_counts=True)
    return Reduction(kept, weights, Images.of(kpoints, kpoints[kept], fitting).operations)


def symmetric_divisions(divisions: Sequence[int], operations: Iterable[SpaceOperation]) -> list[int]:
    """Divisions, those given or more, of a mesh that a film's operations map onto itself.

    k_j = m_j / n_j goes to sum_j R_ij m_j / n_j: a multiple of 1 / n_i for all m where n_i R_ij / n_j is whole.
    Of a (110) film whose lattice vectors are unequal sides of a rhombus a mesh by distances alone is not.

    Parameters
    ----------
    divisions : sequence of int
    operations : iterable of SpaceOperation
        Those that turn the film over are left out.
    """
    result = list(divisions)
    matrices = [operation.reciprocal for operation in operations if operation.keeps_normal]
    mixed = [(i, j, int(matrix[i, j])) for matrix in matrices for i, j in np.argwhere(matrix).tolist()]
    while unequal := [(i, j) for i, j, step in mixed if result[i] * step % result[j]]:
        i, j = unequal[0]
        result[i] = result[j] = max(result[i], result[j])
    return result


def gamma_centred(divisions: Sequence[int]) -> Floats:
    """The points of a Gamma-centred mesh in units of the reciprocal lattice vectors, the last division fastest."""
    axes = (np.arange(number) / number for number in divisions)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def is_group(operations: Sequence[SpaceOperation]) -> bool:
    """Whether the rotations are one, the identity among them or not."""
    rotations = {IDENTITY.rotation, *(operation.rotation for operation in operations)}
    matrices = [np.array(rotation) for rotation in rotations]
    return all(tuple(tuple(row) for row in (a @ b).tolist()) in rotations for a in matrices for b in matrices)


class _Located:
    """Points to be found again modulo reciprocal lattice vectors."""

    def __init__(self, points: Floats) -> None:
        self._points = points
        self._tree = KDTree(_into_cell(points), boxsize=1.0)

    def find(self, wanted: Floats) -> tuple[Integers, Integers, Booleans]:
        """Number of the nearest point, the vector S to it, wanted = point + S, and whether it is that one."""
        _, nearest = self._tree.query(_into_cell(wanted), p=np.inf)
        difference = wanted - self._points[nearest]
        shifts = np.rint(difference)
        same = np.abs(difference - shifts).max(axis=-1) <= KPOINT_TOLERANCE
        return nearest.astype(np.int64), shifts.astype(np.int64), same


def _into_cell(vectors: Floats) -> Floats:
    # x % 1 is 1 for -1e-17.
    return (vectors % 1.0) % 1.0


def words(kpoint: Floats) -> str:
    """A k point in a message."""
    return f"({', '.join(f'{x:.6f}' for x in kpoint)})"
