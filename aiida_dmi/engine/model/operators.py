"""Operators of a model at a batch of k points, as the theory takes them."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]
Points = slice | npt.NDArray[np.intp]


@dataclasses.dataclass(frozen=True)
class Operators:
    """Operators without spin-orbit interaction at a batch of k points, in the basis up, then down.

    Parameters
    ----------
    hamiltonian : ndarray, shape (2, k, n, n)
        Hbar of spin up and down, eV.
    velocity : ndarray, shape (2, d, k, n, n)
        hbar vbar_j = dHbar/dk_j - i [A_j, Hbar], eV*Angstrom; d Cartesian directions.
    position : ndarray, shape (2, d, k, n, n)
        A_j, Angstrom; empty where no product with it is left to be taken.
    overlap : ndarray, shape (k, n, n)
        O = <W_i up|W_j down>.
    commutator : ndarray, shape (k, n, n), optional
        (Hbar_u O - O Hbar_d)/2, eV, where it is known already: see `spinors.exchange_commutator`.
    """

    hamiltonian: Complexes
    velocity: Complexes
    position: Complexes
    overlap: Complexes
    commutator: Complexes | None = None

    def part(self, points: Points) -> Operators:
        """Of some points of the batch."""
        return Operators(
            self.hamiltonian[:, points],
            self.velocity[:, :, points],
            self.position if self.position.shape[2] == 0 else self.position[:, :, points],
            self.overlap[points],
            None if self.commutator is None else self.commutator[points],
        )


@dataclasses.dataclass(frozen=True)
class SpinOrbit:
    """V of one direction n and one mask at a batch of k points.

    Parameters
    ----------
    interaction : ndarray, shape (3, k, n, n)
        Blocks up-up, up-down, down-down of V along the spinors of n, eV.
    velocity : ndarray, shape (3, d, k, n, n)
        The same blocks of hbar v_j^SOI = dV/dk_j - i [A_j, V], eV*Angstrom.
    """

    interaction: Complexes
    velocity: Complexes

    def part(self, points: Points) -> SpinOrbit:
        """Of some points of the batch."""
        return SpinOrbit(self.interaction[:, points], self.velocity[:, :, points])
