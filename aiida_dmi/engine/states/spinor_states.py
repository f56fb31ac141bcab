"""Eigenstates of H = Hbar + xi V, and what the quantities of H need between them."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from ..model.operators import Operators, SpinOrbit
from .coefficients import EVERY_ENERGY, occupied_range
from .eigenstates import eigh
from .spinors import dagger, spinor

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]


class SpinorStates:
    """Eigenstates of one H = Hbar + xi V at a batch of k points; what quantities share is made once, if asked for.

    Of a pair of bands two full or two empty states have no weight in a sum of (f_n - f_m): there n runs over the bands
    that hold electrons somewhere, the lowest `held` ones, and m over those that are not full everywhere, from number
    `full` on.

    Parameters
    ----------
    operators, spin_orbit
        At the batch of k points.
    xi : float
        Scale of the spin-orbit interaction.
    threshold : float
        Splitting below which pairs are kept apart, eV: see `coefficients.splitting_threshold`.
    window : (float, float)
        Energies (eV) below which every state is full and above which every state is empty, see
        `coefficients.energy_window`.

    Attributes
    ----------
    every : ndarray, shape (k, 2n)
        Energies of all bands, ascending, eV.
    states : ndarray, shape (k, 2n, 2n)
        Columns.
    held, full : int
        Numbers of the lowest bands that are not empty everywhere, and that are full everywhere.
    energies : ndarray, shape (k, held)
        Of the bands that hold electrons somewhere, those of every coefficient, eV.
    """

    def __init__(
        self,
        operators: Operators,
        spin_orbit: SpinOrbit,
        xi: float,
        threshold: float,
        window: tuple[float, float] = EVERY_ENERGY,
    ) -> None:
        self.operators, self.spin_orbit, self.xi, self.threshold = operators, spin_orbit, xi, threshold
        hamiltonian = spinor(operators.hamiltonian, spin_orbit.interaction, xi, lower=False)
        self.every, self.states = eigh(hamiltonian)
        self.held, self.full = occupied_range(self.every, window)
        self.energies: Floats = self.every[:, : self.held]

    @property
    def functions(self) -> int:
        """Functions n a spin."""
        return int(self.operators.overlap.shape[-1])

    @property
    def kets(self) -> Complexes:
        """States of the bands that hold electrons somewhere, shape (k, 2n, held)."""
        return self.states[..., : self.held]

    @functools.cached_property
    def bras(self) -> Complexes:
        """Adjoint of the states that are not full everywhere, shape (k, 2n - full, 2n)."""
        return dagger(self.states[..., self.full :])

    @functools.cached_property
    def velocity_kets(self) -> Complexes:
        """Hbar v_j|n> of the bands that hold electrons somewhere, shape (d, k, 2n, held), eV*Angstrom."""
        velocity = spinor(self.operators.velocity, self.spin_orbit.velocity, self.xi)
        return np.asarray(velocity @ self.kets)

    @functools.cached_property
    def velocity(self) -> Complexes:
        """<m|hbar v_j|n> of the m that are not full and the n that are not empty everywhere, (d, k, m, n)."""
        return np.asarray(self.bras @ self.velocity_kets)
