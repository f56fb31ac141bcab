"""Sums over lattice vectors, X(k) = sum_R exp(ik.R) X(R)."""

from __future__ import annotations

import itertools
import math
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
    axes : sequence of int
        Those of the three along which there is more than one R.
    coordinates : sequence of ndarray of int
        R along each of them, ascending, in units of the cell's vectors.
    box : ndarray, shape (matrices, ..., R_2, R_1, n^2)
        X(R) at every R of the box, axes in reversed order: what is summed first comes last.
    cell : ndarray, shape (3, d), optional
        Components j of the lattice vectors, Angstrom, for dX/dk_j; without it there are no derivatives.
    """

    def __init__(
        self, axes: Sequence[int], coordinates: Sequence[Integers], box: Complexes, cell: Floats | None = None
    ) -> None:
        self._axes, self._coordinates, self._box, self._cell = list(axes), list(coordinates), box, cell

    @classmethod
    def of(cls, vectors: Integers, matrices: Complexes, cell: Floats | None = None) -> LatticeSum:
        """The sum over given lattice vectors.

        Parameters
        ----------
        vectors : ndarray of int, shape (R, 3)
            In units of the cell's.
        matrices : ndarray, shape (matrices, R, n, n)
            X(R).
        cell : ndarray, shape (3, d), optional
            See the class.
        """
        axes = [axis for axis in range(3) if vectors[:, axis].any()] or [0]
        used = vectors[:, axes]
        coordinates = [np.arange(low, high + 1) for low, high in zip(used.min(0), used.max(0), strict=True)]
        count, _, n, _ = matrices.shape
        # On the box of R vectors, zero where there is none.
        box = np.zeros((*(len(r) for r in coordinates), count, n * n), dtype=complex)
        box[tuple((used - used.min(0)).T)] = matrices.reshape(count, -1, n * n).swapaxes(0, 1)
        return cls(axes, coordinates, _reversed_axes(box), cell)

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
        *divisions, count, n, _ = samples.shape
        axes = [axis for axis in range(3) if divisions[axis] > 1] or [0]
        coordinates = [np.arange(first[axis], first[axis] + divisions[axis]) for axis in axes]
        lengths = [divisions[axis] for axis in axes]
        phases = [
            np.exp(-2j * np.pi / m * np.outer(vectors, np.arange(m))) / m
            for vectors, m in zip(coordinates, lengths, strict=True)
        ]
        # All axes but the first in place, one slab after the other: new memory of this size is slow to get.
        samples = np.ascontiguousarray(samples)
        for slab in samples.reshape(lengths[0], -1):
            box = slab.reshape(*lengths[1:], count, n * n)
            for axis in reversed(range(len(lengths) - 1)):
                box = phases[axis + 1] @ np.moveaxis(box, axis, -2)
            slab[...] = box.ravel()
        rest = samples.reshape(lengths[0], count, *reversed(lengths[1:]), n * n)
        return cls(axes, coordinates, phases[0] @ np.moveaxis(rest, 0, -2))

    def part(self, matrices: slice, imaginary: bool) -> LatticeSum:
        """Of some of the matrices, the sum of the real or of the imaginary parts (times i) of X(R) alone."""
        chosen = self._box[matrices]
        box = np.asarray(1j * chosen.imag if imaginary else chosen.real, dtype=np.complex128)
        return LatticeSum(self._axes, self._coordinates, box, self._cell)

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
        count, elements = len(self._box), self._box.shape[-1]
        values = np.empty((count, len(kpoints), elements), dtype=complex)
        for points, partial in self._lines(kpoints, gradient=False):
            np.matmul(self._last_phases(kpoints[points]), partial[-1], out=values[:, points])
        return _matrices(values)

    def with_gradient(self, kpoints: Floats) -> tuple[Complexes, Complexes]:
        """X and dX/dk_j at some k points, for a sum that was made with `cell`.

        Returns
        -------
        values : ndarray, shape (matrices, k, n, n)
        gradient : ndarray, shape (matrices, d, k, n, n)
            In X's unit times Angstrom.
        """
        cell = np.zeros((len(self._axes), 0)) if self._cell is None else self._cell[self._axes]
        count, elements = len(self._box), self._box.shape[-1]
        values = np.empty((count, len(kpoints), elements), dtype=complex)
        gradient = np.empty((count, cell.shape[1], len(kpoints), elements), dtype=complex)
        for points, partial in self._lines(kpoints, gradient=True):
            phases = self._last_phases(kpoints[points])
            np.matmul(phases, partial[-1], out=values[:, points])
            # dX/dk_j = sum_a cell_aj dX/d(2 pi k_a): those of the earlier axes are there, that of the last is made.
            factors = [phases] * (len(self._axes) - 1) + [1j * self._coordinates[-1] * phases]
            weights = np.concatenate([np.multiply.outer(c, f) for c, f in zip(cell, factors, strict=True)], -1)
            terms = np.concatenate(list(partial), axis=-2)
            np.matmul(weights, terms[:, None], out=gradient[:, :, points])
        return _matrices(values), _matrices(gradient)

    def _last_phases(self, kpoints: Floats) -> Complexes:
        """exp(ik.R) of the last axis, shape (k, R)."""
        return np.asarray(np.exp(2j * np.pi * np.outer(kpoints[:, self._axes[-1]], self._coordinates[-1])))

    def _lines(self, kpoints: Floats, gradient: bool) -> Iterator[tuple[slice, Complexes]]:
        """Stretches of k points that share all coordinates but the last, with the partial sums of all axes but that.

        Partial sums are one array, shape (1 + axes summed, matrices, R of the axes left in reversed order, elements):
        the last entry is X, entry a its derivative dX/d(2 pi k_a), which is there if a gradient is wanted.
        """
        every = slice(0, len(kpoints))
        whole = self._box[None]
        if len(self._axes) == 1:
            if len(kpoints):
                yield every, whole
        elif len(self._axes) == 2:
            yield from self._summed(whole, 0, kpoints, every, gradient)
        else:
            for plane, partial in self._summed(whole, 0, kpoints, every, gradient):
                yield from self._summed(partial, 1, kpoints, plane, gradient)

    def _summed(
        self, partial: Complexes, axis: int, kpoints: Floats, among: slice, gradient: bool
    ) -> Iterator[tuple[slice, Complexes]]:
        """Sum one axis: stretches of the points `among` that share its coordinate, and their partial sums."""
        coordinates, vectors = kpoints[among, self._axes[axis]], self._coordinates[axis]
        runs = list(equal_runs(coordinates))
        line = partial[0, ..., 0, :].nbytes * (len(partial) + gradient)
        together = max(1, LINES_BYTES // line)
        for start in range(0, len(runs), together):
            some = runs[start : start + together]
            phases = np.exp(2j * np.pi * np.outer(coordinates[[run.start for run in some]], vectors))
            if gradient:
                both = np.concatenate([1j * vectors * phases, phases]) @ partial[-1]
                derivative, value = both[..., : len(some), :], both[..., len(some) :, :]
                sums = np.concatenate([phases @ partial[:-1], derivative[None], value[None]])
            else:
                sums = phases @ partial
            for place, run in enumerate(some):
                yield slice(among.start + run.start, among.start + run.stop), sums[..., place, :]


def _matrices(values: Complexes) -> Complexes:
    """(..., n^2) to (..., n, n)."""
    n = math.isqrt(values.shape[-1])
    return values.reshape(*values.shape[:-1], n, n)


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
