"""Meshes in the Brillouin zone: Gamma-centred, whole or irreducible, in batches."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..arguments import refusal
from ..errors import InputError
from ..symmetry.action import reduce_mesh
from ..symmetry.groups import Operation
from .lattice_sum import equal_runs

Floats = npt.NDArray[np.float64]

LARGEST_MESH = 10**9
"""k points; beyond it their list alone does not fit into memory."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """A batch of k points.

    Parameters
    ----------
    kpoints : ndarray, shape (k, 3)
        In units of the reciprocal lattice vectors.
    weights : ndarray, shape (k,)
        How many points of the mesh each stands for: 1 without symmetry.
    opposite : ndarray, shape (k,), or None
        Of the complete mesh: how many of the points k and -k each stands for where one of the two is enough: 2 or 0,
        or 1 where they are the same. None with symmetry.
    """

    kpoints: Floats
    weights: Floats
    opposite: Floats | None = None


@dataclasses.dataclass(frozen=True)
class Mesh:
    """A complete Gamma-centred mesh.

    Parameters
    ----------
    divisions : tuple of int
        Points along each periodic direction (2 for a film, 3 for a bulk magnet).

    Raises
    ------
    InputError
        From `from_input`, if the divisions do not fit the model's dimension.
    """

    divisions: tuple[int, ...]

    @classmethod
    def from_input(cls, mesh: int | Sequence[int], dimension: int) -> Mesh:
        """A mesh from one number for all directions, or one each."""
        plain = mesh.tolist() if isinstance(mesh, np.ndarray) else mesh
        given = list(plain) if isinstance(plain, Sequence) else [plain] * dimension
        if len(given) != dimension or any(
            isinstance(m, bool) or not isinstance(m, (int, np.integer)) or m < 1 for m in given
        ):
            raise refusal("mesh", mesh, f"a positive integer or {dimension} of them")
        divisions = tuple(int(m) for m in given)
        if math.prod(divisions) > LARGEST_MESH:
            raise InputError(f"mesh: more than {LARGEST_MESH:.0e} k points were asked for; give a coarser mesh")
        return cls(divisions)

    @property
    def size(self) -> int:
        """Number of k points."""
        return int(np.prod(self.divisions))

    @property
    def text(self) -> str:
        """As it stands in a spec: 24, or [12, 18]."""
        one = len(set(self.divisions)) == 1
        return str(self.divisions[0]) if one else str(list(self.divisions))

    def grown(self, factor: float) -> Mesh:
        """At least `factor` as many points along each direction: equal numbers stay equal."""
        return Mesh(tuple(math.ceil(m * factor - 1e-9) for m in self.divisions))

    def batches(self, size: int, operations: Sequence[Operation] = ()) -> list[Batch]:
        """The mesh in batches of at most `size` points.

        A batch holds whole lines (points that share their first coordinate) where they fit, else an equal part of
        one: sums over R are made line by line (`lattice_sum.LatticeSum`), a line in two batches costs twice.
        The batches depend on nothing but the mesh, `size` and the symmetry, so partial sums added in their order
        are the same for any number of processes.

        Parameters
        ----------
        size : int
        operations : sequence of Operation
            A magnetic point group that reduces the mesh; none: every point.

        Raises
        ------
        InputError
            If the mesh lacks the symmetry.
        """
        indices, weights = self._points(operations)
        opposite = None if operations else self._opposite(indices)
        kpoints = np.zeros((len(indices), 3))
        kpoints[:, : len(self.divisions)] = indices / np.asarray(self.divisions)
        return [
            Batch(kpoints[part], weights[part], None if opposite is None else opposite[part])
            for part in _whole_lines(kpoints[:, 0], size)
        ]

    def _opposite(self, indices: Floats) -> Floats:
        """Of k and -k the one that comes first on the mesh stands for both."""
        other = -indices % np.asarray(self.divisions)
        place, image = (np.ravel_multi_index(tuple(i.astype(int).T), self.divisions) for i in (indices, other))
        return np.asarray(1.0 + np.sign(image - place), dtype=np.float64)

    def _points(self, operations: Sequence[Operation]) -> tuple[Floats, Floats]:
        """Integer coordinates and weights of all or of the irreducible points."""
        if operations:
            flat, weights = reduce_mesh(self.divisions, operations)
            return np.stack(np.unravel_index(flat, self.divisions), axis=1).astype(float), weights.astype(float)
        return np.indices(self.divisions).reshape(len(self.divisions), -1).T.astype(float), np.ones(self.size)


def _whole_lines(coordinates: Floats, size: int) -> list[slice]:
    """Points in parts of at most `size`, of whole lines of equal first coordinates or of equal pieces of one."""
    parts: list[slice] = []
    room = False  # whether the last part is of whole lines
    for line in equal_runs(coordinates):
        if room and line.stop - parts[-1].start <= size:
            parts[-1] = slice(parts[-1].start, line.stop)
            continue
        length = line.stop - line.start
        pieces = -(-length // size)
        bounds = [line.start + length * piece // pieces for piece in range(pieces + 1)]
        parts += [slice(*pair) for pair in itertools.pairwise(bounds)]
        room = pieces == 1
    return parts
