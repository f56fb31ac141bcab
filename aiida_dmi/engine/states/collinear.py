"""Eigenstates of Hbar, the two spins apart, and the energy differences between them.

Indices: a, c for spin up, b, d for spin down; O is the spin overlap <up|down> between bands.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import numpy.typing as npt

from ..model.operators import Operators
from .coefficients import nearly_equal
from .eigenstates import eigh
from .spinors import dagger

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]
Integers = npt.NDArray[np.intp]
Booleans = npt.NDArray[np.bool_]
Indices = tuple[Integers, Integers, Integers]


@dataclasses.dataclass(frozen=True)
class Collinear:
    """Eigenstates of Hbar, up and down apart, and what the first order needs between them.

    Parameters
    ----------
    energies : ndarray, shape (2, k, n)
    states, bras : ndarray, shape (2, k, n, n)
        And their adjoint.
    overlap : ndarray, shape (k, n, n)
        O = <a up|b down>.
    operators : Operators
        That they are made from.
    """

    energies: Floats
    states: Complexes
    bras: Complexes
    overlap: Complexes
    operators: Operators

    @classmethod
    def of(cls, operators: Operators) -> Collinear:
        """Diagonalise Hbar at a batch of k points."""
        energies, states = eigh(operators.hamiltonian)
        bras = dagger(states)
        overlap = bras[0] @ (operators.overlap @ states[1])
        return cls(energies, states, bras, overlap, operators)

    @functools.cached_property
    def velocity(self) -> Complexes:
        """Hbar vbar between the bands of one spin, shape (2, d, k, n, n)."""
        result: Complexes = self.bras[:, None] @ (self.operators.velocity @ self.states[:, None])
        return result

    @functools.cached_property
    def anticommutator(self) -> Complexes:
        """Up-down block v_u O + O v_d of {sigma_x, hbar vbar}, shape (d, k, n, n)."""
        result: Complexes = self.velocity[0] @ self.overlap
        result += self.overlap @ self.velocity[1]
        return result

    @property
    def joined(self) -> Floats:
        """Energies of the up, then the down bands, shape (k, 2n)."""
        return np.concatenate([self.energies[0], self.energies[1]], axis=-1)

    def flip(self, block: Complexes) -> Complexes:
        """An up-down block between the bands."""
        result: Complexes = self.bras[0] @ (block @ self.states[1])
        return result

    @functools.cached_property
    def group_velocity(self) -> Complexes:
        """Hbar vbar of each band, up then down: (d, k, 2n)."""
        return np.concatenate([np.diagonal(v, axis1=-2, axis2=-1) for v in self.velocity], axis=-1)


@dataclasses.dataclass(frozen=True)
class Splittings:
    """Inverse energy differences, zero where energies are nearly equal.

    Parameters
    ----------
    flip : ndarray, shape (k, n, n)
        1/(E_a - E_b), up minus down.
    same : ndarray, shape (2, k, n, n)
        1/(E_a - E_c) and 1/(E_b - E_d) of the up and of the down bands; zero on the diagonal.
    near_flip, near_same : ndarray of bool, shapes (k, n, n) and (2, k, n, n)
        Nearly equal energies; the diagonal counts.
    flip_pairs : tuple of ndarray of int
        (k, a, b) of the nearly equal pairs across the spins.
    same_pairs : pair of such tuples
        (k, a, c) and (k, b, d) of the nearly equal pairs within a spin, in both orders, without the diagonal.
    """

    flip: Floats
    same: Floats
    near_flip: Booleans
    near_same: Booleans
    flip_pairs: Indices
    same_pairs: tuple[Indices, Indices]

    @classmethod
    def of(cls, bands: Collinear, threshold: float) -> Splittings:
        """Of all pairs of bands; `threshold` in eV."""
        up, down = bands.energies
        flip, near_flip, (k, a, b) = _inverse(up, down, threshold)
        same, near_same, (spin, *pairs) = _inverse(bands.energies, bands.energies, threshold)
        different = pairs[1] != pairs[2]
        k_same, left, right = (index[different] for index in pairs)
        is_up = spin[different] == 0
        ups = k_same[is_up], left[is_up], right[is_up]
        downs = k_same[~is_up], left[~is_up], right[~is_up]
        return cls(flip, same, near_flip, near_same, (k, a, b), (ups, downs))

    @functools.cached_property
    def same_twice(self) -> Floats:
        """`same` for the real and imaginary parts of complex elements, shape (2, k, n, 2n)."""
        return np.repeat(self.same, 2, axis=-1)

    @property
    def up(self) -> Floats:
        """1/(E_a - E_c), shape (k, n, n)."""
        result: Floats = self.same[0]
        return result

    @property
    def down(self) -> Floats:
        """1/(E_b - E_d), shape (k, n, n)."""
        result: Floats = self.same[1]
        return result

    @property
    def near_up(self) -> Booleans:
        """Nearly equal energies of the up bands, shape (k, n, n)."""
        result: Booleans = self.near_same[0]
        return result

    @property
    def near_down(self) -> Booleans:
        """Nearly equal energies of the down bands, shape (k, n, n)."""
        result: Booleans = self.near_same[1]
        return result


def _inverse(left: Floats, right: Floats, threshold: float) -> tuple[Floats, Booleans, tuple[Integers, ...]]:
    """1/(left - right), zero where nearly equal; where that is, as a mask and as indices."""
    difference = left[..., :, None] - right[..., None, :]
    indices = nearly_equal(difference, threshold)
    difference[indices] = np.inf
    near = np.zeros(difference.shape, dtype=bool)
    near[indices] = True
    return np.reciprocal(difference, out=difference), near, indices
