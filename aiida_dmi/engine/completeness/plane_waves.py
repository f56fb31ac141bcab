"""The collinear Kohn-Sham Hamiltonian in the plane waves of one k point: T + V_loc,s(r) + non-local projectors.

States are rows of plane-wave coefficients. The velocity hbar v_j = dH/dk_j is one for both spins: V_loc knows no k.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from ..constants import BOHR_ANGSTROM, RYDBERG_EV

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]
Integers = npt.NDArray[np.intp]

FFT_BYTES = 8 * 1024**2
"""Of states on the real-space grid at once: more falls out of the cache."""


@dataclasses.dataclass(frozen=True)
class PlaneWaves:
    """Operators at one k point, in double or in single precision.

    Parameters
    ----------
    kinetic : ndarray, shape (N,)
        (hbar^2/2m) |k + G|^2, eV.
    slopes : ndarray, shape (d, N)
        Its derivatives in k_j, eV*Angstrom.
    miller : ndarray of int, shape (N, 3)
    potentials : ndarray, shape (2, n1, n2, n3)
        Local, of spin up and down, eV.
    projectors : ndarray, shape (p, N), complex
    gradients : ndarray, shape (d, p, N), complex
        Angstrom.
    average : ndarray, shape (p, p)
        Scalar-relativistic coupling, eV.
    """

    kinetic: Floats
    slopes: Floats
    miller: Integers
    potentials: Floats
    projectors: Complexes
    gradients: Complexes
    average: Floats

    @classmethod
    def at(
        cls, vectors: Floats, miller: Integers, potentials: Floats, factors: tuple[Complexes, Complexes, Floats], d: int
    ) -> PlaneWaves:
        """At k + G (N, 3), 1/bohr, with the projectors, their gradients and coupling; d directions j."""
        projectors, gradients, average = factors
        return cls(
            kinetic=RYDBERG_EV * (vectors**2).sum(axis=1),
            slopes=np.ascontiguousarray(2 * RYDBERG_EV * BOHR_ANGSTROM * vectors[:, :d].T),
            miller=miller,
            potentials=potentials,
            projectors=projectors,
            gradients=np.ascontiguousarray(gradients[:d]),
            average=average,
        )

    @property
    def size(self) -> int:
        """Number N of plane waves."""
        return len(self.kinetic)

    def single(self, potentials: Any) -> PlaneWaves:
        """The same in single precision, with the potentials that were made so once for all k points."""
        return PlaneWaves(
            self.kinetic.astype(np.float32),
            self.slopes.astype(np.float32),
            self.miller,
            potentials,
            self.projectors.astype(np.complex64),
            self.gradients.astype(np.complex64),
            self.average.astype(np.float32),
        )

    @functools.cached_property
    def _bras(self) -> Complexes:
        return np.ascontiguousarray(self.projectors.conj().T)

    @functools.cached_property
    def _gradient_bras(self) -> Complexes:
        return np.ascontiguousarray(self.gradients.conj().swapaxes(1, 2))

    @functools.cached_property
    def _box(self) -> Box:
        return Box.of(self.miller, self.potentials.shape[1:])

    # -- operators on states, (m, N) -> (m, N) ---------------------------------------------------------

    def hamiltonian(self, spin: int, states: Complexes) -> Complexes:
        """H_s on states."""
        result: Complexes = self.kinetic * states
        result += (self.overlaps(states) @ self.average.T) @ self.projectors
        step = max(1, FFT_BYTES // (states.dtype.itemsize * int(np.prod(self._box.grid))))
        for start in range(0, len(states), step):
            result[start : start + step] += self._box.multiplied(states[start : start + step], self.potentials[spin])
        return result

    def velocity(self, j: int, states: Complexes) -> Complexes:
        """Hbar v_j on states, eV*Angstrom."""
        result: Complexes = self.slopes[j] * states
        result += (self.overlaps(states) @ self.average.T) @ self.gradients[j]
        result += (self.gradient_overlaps(j, states) @ self.average.T) @ self.projectors
        return result

    # -- projections, (m, N) -> (m, p) -----------------------------------------------------------------

    def overlaps(self, states: Complexes) -> Complexes:
        """<beta|psi>."""
        return np.asarray(states @ self._bras)

    def gradient_overlaps(self, j: int, states: Complexes) -> Complexes:
        """<d_j beta|psi>, Angstrom."""
        return np.asarray(states @ self._gradient_bras[j])


@dataclasses.dataclass(frozen=True)
class Box:
    """Where the plane waves of one k point stand on the grid: those lines of it that hold none are not transformed.

    Parameters
    ----------
    grid : tuple of int
        n1, n2, n3.
    planes : ndarray of int
        The first coordinates, modulo n1, of lines along the third direction that hold plane waves, each once.
    lines : pair of ndarray of int
        Of each line its place among `planes` and its second coordinate.
    places : pair of ndarray of int, shape (N,)
        Of each plane wave its line and its third coordinate.
    """

    grid: tuple[int, int, int]
    planes: Integers
    lines: tuple[Integers, Integers]
    places: tuple[Integers, Integers]

    @classmethod
    def of(cls, miller: Integers, grid: tuple[int, ...]) -> Box:
        """Of the Miller indices (N, 3)."""
        n1, n2, n3 = grid
        first, second, third = (miller % np.array(grid)).T
        lines, line = np.unique(first * n2 + second, return_inverse=True)
        planes, plane = np.unique(lines // n2, return_inverse=True)
        return cls((n1, n2, n3), planes, (plane, lines % n2), (line, third))

    def multiplied(self, states: Complexes, potential: Floats) -> Complexes:
        """V(r) psi(r), back in the plane waves: shape (m, N)."""
        (n1, n2, n3), m = self.grid, len(states)
        lines, planes = len(self.lines[0]), len(self.planes)
        along = np.zeros((m, lines, n3), dtype=states.dtype)
        along[:, self.places[0], self.places[1]] = states
        along = scipy.fft.ifft(along, axis=2, overwrite_x=True)
        in_planes = np.zeros((m, planes, n2, n3), dtype=states.dtype)
        in_planes[:, self.lines[0], self.lines[1]] = along
        in_planes = scipy.fft.ifft(in_planes, axis=2, overwrite_x=True)
        space = np.zeros((m, n1, n2, n3), dtype=states.dtype)
        space[:, self.planes] = in_planes
        space = scipy.fft.ifft(space, axis=1, overwrite_x=True)
        space *= potential
        space = scipy.fft.fft(space, axis=1, overwrite_x=True)
        in_planes = scipy.fft.fft(space[:, self.planes], axis=2, overwrite_x=True)
        along = scipy.fft.fft(in_planes[:, self.lines[0], self.lines[1]], axis=2, overwrite_x=True)
        return np.asarray(along[:, self.places[0], self.places[1]])
