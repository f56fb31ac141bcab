"""The energy of the occupied states, whose difference between two directions is the magnetic anisotropy.

By the magnetic force theorem the energies of H(xi) along two directions n at one number of electrons differ by the
anisotropy. With Omega the grand potential, E = Omega(mu) + mu N; as dOmega/dmu = -N, a mu that does not hold quite N
electrons changes E to second order only. N is that of Hbar at the same shift, one number for all directions, masks
and xi, so that E of two directions are at the same N for any shift and any `fermi_level`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..constants import EV
from ..model.rashba import RashbaModel
from ..states.coefficients import Coefficients
from ..states.divided_differences import fermi
from ..states.spinor_states import SpinorStates
from .quantity import Filling, FiniteOrder, Model, Unit

Floats = npt.NDArray[np.float64]


class Energy(FiniteOrder):
    """E = sum_n g_n + mu N of H(xi), a free energy at electronic temperature T."""

    name = "energy"
    title = "energy of the occupied states, Omega + mu N at the number of electrons N of Hbar"
    symbol = "E"
    axes = ()

    def unit(self, model: Model) -> Unit:
        """MeV per cell; of a RashbaModel meV/Angstrom^2."""
        if isinstance(model, RashbaModel):
            return Unit(EV * model.measure, "meV / angstrom^2", "area")
        return Unit(EV, "meV", "cell")

    def coefficients(self, states: SpinorStates) -> Coefficients:
        """Omega: every band's g."""
        return Coefficients(states.energies, np.zeros_like(states.energies), np.ones_like(states.energies))

    def integrand(self, coefficients: Coefficients, mu: float, kt: float) -> Floats:
        """Omega + mu N at every k, with the electrons of H(xi) there."""
        electrons = fermi(coefficients.energies, mu, kt).sum(axis=-1)
        return np.asarray(super().integrand(coefficients, mu, kt) + mu * electrons)

    def completed(self, mean: Floats, filling: Filling) -> Floats:
        """Omega + mu N."""
        return mean + filling.mu * filling.electrons


QUANTITIES = (Energy(),)
