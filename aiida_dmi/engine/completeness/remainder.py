"""(E - H)^-1 on everything that is not among the active bands, by preconditioned conjugate gradients.

Every sum over empty states of first-order perturbation theory,

    |y> = sum_c |c> <c|rhs>/(E - E_c),    c outside the active bands,

solves (H - E)|y> = -Q|rhs> with Q = 1 - sum_a |a><a| over the active ones. H - E is positive there for E of any active
band, so conjugate gradients converge. The empty bands that pw.x has left (C below, energies E_c) need not be exact:
they make the first guess and one part of the preconditioner

    M = (Q - C^+ C) K (Q - C^+ C) + C^+ (E_c - E)^-1 C,    K = 1/(T + shift - E),

so the gap that decides on the number of iterations is the one above them, and the solution does not depend on them.

Single precision suffices: the elements of |y> are wanted to 1e-4, and the residual that decides is the recursion's,
each step of which adds some 1e-7 of the solution; the tests hold the results against double precision and against all
bands of a small film.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from ..constants import RYDBERG_EV
from ..errors import StoppedError
from .plane_waves import PlaneWaves

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

TOLERANCE = 1e-4
"""Norm of the residual at the end, against that of Q|rhs>."""
MOST_ITERATIONS = 300
COMPACT = 0.75
"""Rows that have converged leave the arrays when fewer than this part of them is left."""
HIGHEST = 0.5 * RYDBERG_EV
"""eV: bands above this are preconditioned as if they were here, so that K stays positive."""
ARRAYS = 10
"""Of the rows' size, that conjugate gradients hold at once."""


@dataclasses.dataclass(frozen=True)
class Remainder:
    """Q (E - H)^-1 Q of one spin at one k point.

    Parameters
    ----------
    waves : PlaneWaves
        In the precision of the iterations.
    spin : int
    active, empty : ndarray, shapes (a, N) and (c, N)
        Bands below the cut, and those above it that there are.
    energies : ndarray, shape (c,)
        Of `empty`, eV.
    memory_limit : int
        Bytes of working arrays.
    name : str
        The k point, for the message.
    tolerance : float
    """

    waves: PlaneWaves
    spin: int
    active: Complexes
    empty: Complexes
    energies: Floats
    memory_limit: int
    name: str
    tolerance: float = TOLERANCE

    @classmethod
    def of(
        cls, waves: PlaneWaves, spin: int, bands: Complexes, energies: Floats, active: int, memory_limit: int, name: str
    ) -> Remainder:
        """Of pw.x's bands (bands, N) and energies (bands,), eV, the first `active` of which are."""
        kept = np.asarray(bands, dtype=waves.projectors.dtype)
        return cls(waves, spin, kept[:active], kept[active:], energies[active:], memory_limit, name)

    def __call__(self, energies: Floats, states: Complexes) -> Complexes:
        """Q (E_m - H)^-1 Q |m>, shape (m, N), in the precision of the iterations.

        Parameters
        ----------
        energies : ndarray, shape (m,)
            E of each state, eV; of active bands.
        states : ndarray, shape (m, N)

        Raises
        ------
        StoppedError
            If it does not converge.
        """
        rows = max(1, self.memory_limit // (ARRAYS * self.active.itemsize * self.waves.size))
        result = np.empty(states.shape, dtype=self.active.dtype)
        for start in range(0, len(states), rows):
            part = slice(start, start + rows)
            result[part] = self._solved(energies[part], states[part])
        return result

    def _solved(self, energies: Floats, states: Complexes) -> Complexes:
        kind = self.active.dtype.type(0).real.dtype
        shift = energies.astype(kind)[:, None]
        rest = -self._without_active(states.astype(self.active.dtype))
        solution = self._along_empty(rest, energies)
        scale = np.maximum(_norms(rest), np.finfo(kind).tiny)
        rest -= self._without_active(self.waves.hamiltonian(self.spin, solution) - shift * solution)
        kernel = (1 / (self.waves.kinetic + RYDBERG_EV - np.minimum(energies, HIGHEST)[:, None])).astype(kind)
        step = self._preconditioned(rest, kernel, energies)
        product = _products(rest, step)
        left = np.arange(len(states))
        result = solution.copy()
        for _ in range(MOST_ITERATIONS):
            error = _norms(rest) / scale
            going = error > self.tolerance
            if not going.any():
                result[left] = solution
                return result
            if going.sum() < COMPACT * len(going):
                result[left] = solution
                left, solution, rest, step = left[going], solution[going], rest[going], step[going]
                kernel, shift, scale, product = kernel[going], shift[going], scale[going], product[going]
                energies = energies[going]
            image = self.waves.hamiltonian(self.spin, step) - shift * step
            length = (product / _products(step, image)).astype(kind)[:, None]
            solution += length * step
            rest -= length * image
            direction = self._preconditioned(rest, kernel, energies)
            following = _products(rest, direction)
            step *= (following / product).astype(kind)[:, None]
            step += direction
            product = following
        raise StoppedError(
            f"k = {self.name}, spin {('up', 'down')[self.spin]}: conjugate gradients have not converged in "
            f"{MOST_ITERATIONS} iterations, the residual is {float(error.max()):.1e} of the right-hand side, expected "
            f"{self.tolerance:g}; run the nscf with more bands (nbnd)"
        )

    def _without_active(self, states: Complexes) -> Complexes:
        """Q on states."""
        return np.asarray(states - (states @ self.active.conj().T) @ self.active)

    def _along_empty(self, states: Complexes, energies: Floats) -> Complexes:
        """C^+ (E_c - E)^-1 C on states."""
        along = (states @ self.empty.conj().T) / (self.energies - energies[:, None])
        return np.asarray(along.astype(states.dtype) @ self.empty)

    def _preconditioned(self, rest: Complexes, kernel: Floats, energies: Floats) -> Complexes:
        """M on residuals, which lose what they have along the active bands."""
        rest -= (rest @ self.active.conj().T) @ self.active
        along = rest @ self.empty.conj().T
        result = kernel * (rest - along @ self.empty)
        result -= (result @ self.active.conj().T) @ self.active
        result -= (result @ self.empty.conj().T) @ self.empty
        result += (along / (self.energies - energies[:, None])).astype(rest.dtype) @ self.empty
        return np.asarray(result)


def _norms(states: Complexes) -> Floats:
    return np.asarray(np.sqrt(_products(states, states)))


def _products(left: Complexes, right: Complexes) -> Floats:
    """Re <left|right>, row by row."""
    return np.asarray(np.vecdot(left, right).real)
