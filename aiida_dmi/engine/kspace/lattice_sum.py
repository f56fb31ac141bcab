"""Sums over lattice vectors, X(k) = sum_R exp(ik.R) X(R)."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]
Integers = npt.NDArray[np.int64]

LINES_BYTES = 96 * 1024**2
"""Lines of a mesh that are summed at once take no more than this, or there is one."""


class LatticeSum:
    """X(k) = sum_R exp(ik.R) X(R) of several matrices, and with it dX/dk_j = sum_R i R_j exp(ik.R) X(R).

    exp(ik.R) factorises, so R is summed one axis after the other. The points of one line of a mesh share their first
    coordinate, and several lines are summed at once: the matrices at all R, which no cache holds, are read once for
    all of them and not once a point.

    Parameters
    ----------
    vectors : ndarray of int, shape (R, 3)
        Lattice vectors, in units of the cell's.
    matrices : ndarray, shape (matrices, R, n, n)
        X(R).
    cell : ndarray, shape (3, d), optional
        Components j of the lattice vectors, Angstrom, for dX/dk_j; without it there are no derivatives.
    """

    def __init__(self, vectors: Integers, matrices: Complexes, cell: Floats | None = None) -> None:
        self._axes = [axis for axis in range(3) if vectors[:, axis].any()] or [0]
        used = vectors[:, self._axes]
        self._coordinates = [np.arange(low, high + 1) for low, high in zip(used.min(0), used.max(0), strict=True)]
        count, _, n, _ = matrices.shape
        # On the box of R vectors, zero where there is none.
        box = np.zeros((*(len(r) for r in self._coordinates), count, n * n), dtype=complex)
        box[tuple((used - used.min(0)).T)] = matrices.reshape(count, -1, n * n).swapaxes(0, 1)
        self._shape = (count, n)
        self._box = _reversed_axes(box)
        self._cell = np.zeros((len(self._axes), 0)) if cell is None else cell[self._axes]

    @classmethod
    def from_samples(cls, first: Sequence[int], samples: Complexes) -> LatticeSum:
        """The sum that takes given values on a mesh: X(R) = (1/M) sum_p exp(-ik_p.R) X(k_p).

        Exact for a sum over the box of R vectors that begins at `first` and has as many along each axis as the
        Gamma-centred mesh has points.

        Parameters
        ----------
        first : sequence of int
            First R along each axis, in units of the cell's vectors.
        samples : ndarray, shape (M_1, M_2, M_3, matrices, n, n)
            X(k_p), k_p = p/M; may be overwritten.
        """
        made = cls.__new__(cls)
        *divisions, count, n, _ = samples.shape
        made._axes = [axis for axis in range(3) if divisions[axis] > 1] or [0]
        made._coordinates = [np.arange(first[axis], first[axis] + divisions[axis]) for axis in made._axes]
        made._shape = (count, n)
        made._cell = np.zeros((len(made._axes), 0))
        lengths = [divisions[axis] for axis in made._axes]
        phases = [
            np.exp(-2j * np.pi / m * np.outer(vectors, np.arange(m))) / m
            for vectors, m in zip(made._coordinates, lengths, strict=True)
        ]
        # All axes but the first in place, one slab after the other: new memory of this size is slow to get.
        samples = np.ascontiguousarray(samples)
        for slab in samples.reshape(lengths[0], -1):
            box = slab.reshape(*lengths[1:], count, n * n)
            for axis in reversed(range(len(lengths) - 1)):
                box = phases[axis + 1] @ np.moveaxis(box, axis, -2)
            slab[...] = box.ravel()
        rest = samples.reshape(lengths[0], count, *reversed(lengths[1:]), n * n)
        made._box = phases[0] @ np.moveaxis(rest, 0, -2)
        return made

    def part(self, matrices: slice, imaginary: bool) -> LatticeSum:
        """Of some of the matrices, the sum of the real or of the imaginary parts (times i) of X(R) alone."""
        made = copy.copy(self)
        box = self._box[matrices]
        made._box = np.asarray(1j * box.imag if imaginary else box.real, dtype=np.complex128)
        made._shape = (len(box), self._shape[1])
        return made

    def at(self, kpoints: Floats) -> Complexes:
        """X at some k points.

        Parameters
        ----------
        kpoints : ndarray, shape (k, 3)
            In units of the reciprocal lattice vectors.

        Returns
        -------
        ndarray, shape (matrices, k, n, n)
        """
        (count, n), k = self._shape, len(kpoints)
        values = np.empty((count, k, n * n), dtype=complex)
        self._fill(self._box[None], 0, kpoints[:, self._axes], values, None)
        return values.reshape(count, k, n, n)

    def with_gradient(self, kpoints: Floats) -> tuple[Complexes, Complexes]:
        """X and dX/dk_j at some k points, for a sum that was made with `cell`.

        Returns
        -------
        values : ndarray, shape (matrices, k, n, n)
        gradient : ndarray, shape (matrices, d, k, n, n)
            In X's unit times Angstrom.
        """
        (count, n), k, d = self._shape, len(kpoints), self._cell.shape[1]
        values = np.empty((count, k, n * n), dtype=complex)
        gradient = np.empty((count, d, k, n * n), dtype=complex)
        self._fill(self._box[None], 0, kpoints[:, self._axes], values, gradient)
        return values.reshape(count, k, n, n), gradient.reshape(count, d, k, n, n)

    def _fill(
        self, stack: Complexes, axis: int, kpoints: Floats, values: Complexes, gradient: Complexes | None
    ) -> None:
        """Sum the axes that are left, `axis` first.

        stack[-1] is X with the earlier axes summed, stack[a] its derivative along axis a (2 pi k_a), if wanted:
        (1 + axes summed, matrix, R of the axes after this one in descending order, R of this axis, element).
        """
        if axis + 1 < len(self._axes):
            runs = list(equal_runs(kpoints[:, axis]))
            line = stack[0, ..., 0, :].nbytes * (len(stack) + (gradient is not None))
            together = max(1, LINES_BYTES // line)
            for start in range(0, len(runs), together):
                some = runs[start : start + together]
                lines = self._summed(
                    stack, axis, kpoints[[points.start for points in some], axis], gradient is not None
                )
                for index, points in enumerate(some):
                    part = None if gradient is None else gradient[:, :, points]
                    self._fill(lines[..., index, :], axis + 1, kpoints[points], values[:, points], part)
            return
        phases = np.exp(2j * np.pi * np.outer(kpoints[:, axis], self._coordinates[axis]))
        np.matmul(phases, stack[-1], out=values)
        if gradient is not None:
            # dX/dk_j = sum_a cell_aj dX/d(2 pi k_a): earlier axes' derivatives stand in the stack, this one's is made.
            factors = [phases] * axis + [1j * self._coordinates[axis] * phases]
            weights = np.concatenate([np.multiply.outer(c, f) for c, f in zip(self._cell, factors, strict=True)], -1)
            terms = np.concatenate(list(stack), axis=-2)
            np.matmul(weights, terms[:, None], out=gradient)

    def _summed(self, stack: Complexes, axis: int, coordinates: Floats, gradient: bool) -> Complexes:
        """The stack with one axis summed for some coordinates of k, which take this axis' place."""
        vectors = self._coordinates[axis]
        phases = np.exp(2j * np.pi * np.outer(coordinates, vectors))
        if not gradient:
            return phases @ stack
        both = np.concatenate([1j * vectors * phases, phases]) @ stack[-1]
        derivative, value = both[..., : len(coordinates), :], both[..., len(coordinates) :, :]
        return np.concatenate([phases @ stack[:-1], derivative[None], value[None]])


def _reversed_axes(box: Complexes) -> Complexes:
    """(R_1, R_2, ..., matrix, element) to (matrix, ..., R_2, R_1, element): what is summed first comes last."""
    axes = range(box.ndim - 2)
    return np.ascontiguousarray(box.transpose(box.ndim - 2, *reversed(axes), box.ndim - 1))


def equal_runs(coordinates: Floats) -> Iterator[slice]:
    """Stretches of equal neighbours."""
    if not len(coordinates):
        return
    bounds = [0, *(np.flatnonzero(np.diff(coordinates)) + 1).tolist(), len(coordinates)]
    for start, stop in itertools.pairwise(bounds):
        yield slice(start, stop)
