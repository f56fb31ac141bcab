"""Which Fourier coefficients of an integrand tell how far the sum over a mesh is from the converged one.

With X(k) = sum_R F(R) exp(2 pi i k.R) the mean over a mesh of N_j points along each direction is the sum of F over all
L = (m_1 N_1, m_2 N_2, ...): F(0), which is the converged value, and its aliases. F(L) and F(-L) come together, so that
the even part of X counts alone, F(R) = mean of X(k) cos(2 pi k.R). The mesh gives F(R) as far as half of the way to an
alias; how it falls there tells how large it is at the alias (`integrate.k_error`). The aliases that count are those
nearest to R = 0: the vectors of the superlattice L whose perpendicular bisectors bound its Wigner-Seitz cell, three
pairs of a hexagonal lattice, two of a square one.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..symmetry.groups import Operation
from .images import reduced

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

NEAR, FAR = (0.2, 0.25), (0.4, 0.5)
"""Of the way to an alias: where coefficients are compared."""
FEWEST = (2, 3)
"""Coefficients near and far, at least: one alone may be small by chance."""
MOST = ((6, 8), (3, 4), (2, 3))
"""Coefficients near and far, at most, on each way; F(R) oscillates with R, and the largest of them counts. The more
numbers a sweep has, the fewer there are, so that their sums stay small beside the memory."""
EQUAL = 1e-9
"""Vectors that differ by less than this part of their squared length are equally long."""


@dataclasses.dataclass(frozen=True)
class Way:
    """From R = 0 to a pair of aliases.

    Parameters
    ----------
    near, far : ndarray of int
        Numbers of the vectors near and far on it.
    length : float
        Of the alias, in the cell's unit.
    between, beyond : float
        From the middle of the near ones to that of the far ones, and on to the alias; in units of the length.
    """

    near: Integers
    far: Integers
    length: float
    between: float
    beyond: float


@dataclasses.dataclass(frozen=True)
class Aliases:
    """The lattice vectors at which Fourier coefficients are summed, and what they are for.

    Parameters
    ----------
    vectors : ndarray of int, shape (r, d)
        In units of the cell's vectors; with every vector those that the mesh's symmetry makes of it.
    ways : tuple of Way
        One for each pair of aliases.
    images : tuple of ndarray of int, each of shape (r,)
        For each operation g of the group, numbers of the vectors M^T R with M what g makes of k.
    """

    vectors: Integers
    ways: tuple[Way, ...]
    images: tuple[Integers, ...] = ()

    @classmethod
    def of(
        cls,
        divisions: Sequence[int],
        cell: Floats,
        operations: Sequence[Operation] = (),
        most: tuple[int, int] = MOST[0],
    ) -> Aliases:
        """Of a mesh.

        Parameters
        ----------
        divisions : sequence of int
            Of the mesh.
        cell : ndarray, shape (d, 3)
            Its periodic vectors, any unit.
        operations : sequence of Operation
            That reduced the mesh.
        most : (int, int)
            Of MOST.
        """
        d, numbers = len(divisions), np.asarray(divisions, dtype=np.int64)
        matrices = [operation.reciprocal[:d, :d].astype(np.int64) for operation in operations]
        found: dict[tuple[int, ...], int] = {}
        vectors: list[Integers] = []

        def number(vector: Integers) -> int:
            """Of a vector; R, -R and what differs from them by an alias have one coefficient."""
            key = min(tuple(int(x) for x in sign * vector % numbers) for sign in (1, -1))
            if key not in found:
                found[key] = len(vectors)
                vectors.append(vector)
            return found[key]

        ways = []
        for alias in nearest_aliases(numbers, cell):
            longest = int(np.abs(alias).max())
            start, end = max(1, math.ceil(NEAR[0] * longest)), max(1, int(FAR[1] * longest))
            # On a small mesh a few more on the side that makes the decay seem slower.
            steps = (
                np.arange(start, max(int(NEAR[1] * longest), start + FEWEST[0] - 1) + 1),
                np.arange(max(1, min(math.ceil(FAR[0] * longest), end - FEWEST[1] + 1)), end + 1),
            )
            chosen = [_some(part, largest) for part, largest in zip(steps, most, strict=True)]
            near, far = (
                [number(np.rint(alias * (int(n) / longest)).astype(np.int64)) for n in part] for part in chosen
            )
            middle = [float(part.mean()) / longest for part in chosen]
            length = float(np.linalg.norm(alias @ cell))
            ways.append(Way(np.array(near), np.array(far), length, middle[1] - middle[0], 1 - middle[1]))
        place = 0
        while place < len(vectors):  # grows until it is closed
            for matrix in matrices:
                number(matrix.T @ vectors[place])
            place += 1
        images = tuple(np.array([number(matrix.T @ r) for r in vectors]) for matrix in matrices)
        return cls(np.array(vectors, dtype=np.int64).reshape(-1, d), tuple(ways), images)

    @classmethod
    def none(cls, dimension: int) -> Aliases:
        """Nothing is asked of the error."""
        return cls(np.zeros((0, dimension), dtype=np.int64), ())

    def cosines(self, kpoints: Floats) -> Floats:
        """cos(2 pi k.R), shape (r, k), of k points (k, 3) in units of the reciprocal lattice vectors."""
        d = self.vectors.shape[1]
        return np.asarray(np.cos(2 * np.pi * (self.vectors @ kpoints[:, :d].T)))


def nearest_aliases(divisions: Integers, cell: Floats) -> list[Integers]:
    """One of each pair of vectors L that bound the Wigner-Seitz cell of the lattice they form.

    L = sum_j m_j N_j a_j bounds it if it and -L alone are the shortest among all L + 2 L' (Voronoi). With short basis
    vectors the shortest of each of these classes have coefficients -1, 0, 1.

    Parameters
    ----------
    divisions : ndarray of int, shape (d,)
    cell : ndarray, shape (d, 3)

    Returns
    -------
    list of ndarray of int, shape (d,)
        In units of the cell's vectors.
    """
    d = len(divisions)
    start = np.zeros((3, 3), dtype=np.int64)
    start[:d, :d] = np.diag(divisions)
    basis, lattice = start, np.zeros((3, 3))
    lattice[:d] = cell
    if d < 3:  # vectors that are not periodic: far longer than, and normal to, the others
        others = np.linalg.svd(cell)[2][d:]
        start[range(d, 3), range(d, 3)] = 1
        lattice[d:] = others * 10 * np.linalg.norm(divisions[:, None] * cell)
    basis = reduced(start, lattice)
    basis = basis[(basis[:, d:] == 0).all(axis=1)][:, :d] if d < 3 else basis
    found = []
    for parity in itertools.product((0, 1), repeat=d):
        if not any(parity):
            continue
        steps = [s for s in itertools.product((-1, 0, 1), repeat=d) if tuple(x % 2 for x in s) == parity]
        candidates = np.array(steps, dtype=np.int64) @ basis
        squared = ((candidates @ cell) ** 2).sum(axis=1)
        shortest = candidates[squared <= squared.min() * (1 + EQUAL)]
        if len(shortest) == 2:
            found.append(shortest[0])
    return found


def _some(steps: Integers, most: int) -> Integers:
    """Of some steps so many at most, evenly."""
    return np.asarray(steps[np.unique(np.linspace(0, len(steps) - 1, most).round().astype(int))])
