"""The kernels of the theory: D, Q, a(I), a(II) as sums over the bands of one batch of k points.

Equation numbers are those of Freimuth, Bluegel, Mokrousov, PRB 96, 054403 (2017).
f is the Fermi function, g = -kT ln(1 + exp(-(E - mu)/kT)), g' = f. Energies in eV, lengths in Angstrom.

Every quantity is reduced to coefficients of f and g for each band, so that any number of chemical
potentials and temperatures costs one small matrix product:

    D = sum_n f_n alpha_n + g_n beta_n,    Q = sum_n f_n q_n,    a = sum_n f_n a_n,

with pairs of nearly equal energies, where the two terms cancel, kept apart and summed with the limit form
of their weight. Spin components are those of the spin frame (e_1, e_2, n); `to_lab` turns them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..model.operators import Operators, SpinOrbit
from ..states.eigenstates import eigh
from ..states.spinors import dagger, exchange_commutator, real_products, real_products_by_row, spinor
from ..states.weights import EVERY_ENERGY, Coefficients, Pairs, nearly_equal, occupied_range

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]
Integers = npt.NDArray[np.intp]


# -- D and Q ----------------------------------------------------------------------------------------


def dmi_and_spin_current(
    operators: Operators,
    spin_orbit: SpinOrbit,
    xi: float,
    threshold: float,
    window: tuple[float, float] = EVERY_ENERGY,
) -> tuple[Coefficients, Coefficients]:
    """D (Eqs. 2, 11, 12) and Q (Eq. 5) of H = Hbar + xi V.

    Parameters
    ----------
    operators, spin_orbit
        At a batch of k points.
    xi : float
        Scale of the spin-orbit interaction.
    threshold : float
        Splitting below which pairs are kept apart, eV.
    window : (float, float)
        Energies (eV) below which every state is full and above which every state is empty, see `energy_window`.
        Bands that are empty at all k points of the batch, and pairs of bands that are both full, are left out.

    Returns
    -------
    dmi, current : Coefficients
        Of the lowest bands, those that are not empty everywhere. Trailing axes: spin component (2 for D, for
        D.n = 0; 3 for Q), direction j; eV*Angstrom.
    """
    order = FiniteOrder(operators, spin_orbit, xi, window)
    return order.dmi(threshold), order.spin_current()


class FiniteOrder:
    """D and Q of one H = Hbar + xi V, see `dmi_and_spin_current`: what they share is made once, the rest if asked for.

    Parameters
    ----------
    operators, spin_orbit
        At a batch of k points.
    xi : float
        Scale of the spin-orbit interaction.
    window : (float, float)
        From `energy_window`.

    Attributes
    ----------
    energies : ndarray, shape (k, held)
        Of the lowest bands, those that are not empty everywhere: the bands of both coefficients, eV.
    """

    def __init__(
        self,
        operators: Operators,
        spin_orbit: SpinOrbit,
        xi: float,
        window: tuple[float, float] = EVERY_ENERGY,
    ) -> None:
        self._operators, self._n = operators, operators.overlap.shape[-1]
        hamiltonian = spinor(operators.hamiltonian, spin_orbit.interaction, xi, lower=False)
        self._every, self._states = eigh(hamiltonian)
        # Of the pairs (n, m) in D two full or two empty states have no weight: n runs over the bands that hold
        # electrons somewhere, m over those that are not full everywhere.
        self._held, self._full = occupied_range(self._every, window)
        self.energies: Floats = self._every[:, : self._held]
        self._kets = self._states[..., : self._held]
        self._v_kets = spinor(operators.velocity, spin_orbit.velocity, xi) @ self._kets  # (d, k, 2n, held)

    def spin_current(self) -> Coefficients:
        """Q, Eq. 5."""
        return Coefficients(self.energies, _spin_current(self._operators.overlap, self._kets, self._v_kets))

    def dmi(self, threshold: float) -> Coefficients:
        """D, Eqs. 2, 11, 12; pairs closer than the threshold (eV) are kept apart.

        Torque T = (i/2)[Hbar, sigma]: with C = (H_u O - O H_d)/2, T_x has the up-down block i C and T_y the block C.
        Between bands, with X = <m up|C|n down> and Y = <m down|C^+|n up>: T_x = i (X - Y), T_y = X + Y.
        """
        n, kets = self._n, self._kets
        bras = self._states[..., self._full :].conj().swapaxes(-1, -2)
        commutator = exchange_commutator(self._operators)
        x = bras[..., :n] @ (commutator @ kets[:, n:])
        y = bras[..., n:] @ (dagger(commutator) @ kets[:, :n])
        i_torque = np.empty((2, *x.shape), dtype=complex)
        np.subtract(y, x, out=i_torque[0])
        np.add(x, y, out=i_torque[1])
        i_torque[1] *= 1j
        return _berry_coefficients(self._every, i_torque, bras @ self._v_kets, self._full, threshold)


def _spin_current(overlap: Complexes, kets: Complexes, v_kets: Complexes) -> Floats:
    """(1/4) <n|{sigma_i, hbar v_j}|n> = (1/2) Re <sigma_i n|hbar v_j n> (Eq. 5), shape (k, band, 3, d)."""
    n = overlap.shape[-1]
    up, down, v_up, v_down = kets[:, :n], kets[:, n:], v_kets[:, :, :n], v_kets[:, :, n:]
    # sigma_x|n> = (O down, O^+ up), sigma_y|n> = (-i O down, i O^+ up), sigma_z|n> = (up, -down)
    flipped_up, flipped_down = overlap @ down, dagger(overlap) @ up
    x = real_products(flipped_up, v_up) + real_products(flipped_down, v_down)
    flipped_up *= 1j
    flipped_down *= 1j
    y = real_products(flipped_down, v_down) - real_products(flipped_up, v_up)
    z = real_products(up, v_up) - real_products(down, v_down)
    return 0.5 * np.stack([x, y, z], axis=2)


def _berry_coefficients(
    energies: Floats, i_torque: Complexes, v_bands: Complexes, full: int, threshold: float
) -> Coefficients:
    """D_ij = sum_nm W_nm Im[T_i,nm (hbar v_j)_mn] with the antisymmetric weight W_nm.

        W_nm = (1/2) { (f_n + f_m)/(E_m - E_n) + 2 (g_n - g_m)/(E_m - E_n)^2 }.

    Y_nm = Im[T_nm v_mn] = Re[conj(i T_mn) v_mn] is antisymmetric too, so
    D = sum_n f_n sum_m Y_nm/(E_m - E_n) + g_n sum_m 2 Y_nm/(E_m - E_n)^2.

    Parameters
    ----------
    energies : ndarray, shape (k, 2n)
    i_torque, v_bands : ndarray, shapes (2, k, m, n) and (d, k, m, n)
        <m|iT|n> and <m|hbar v|n> of all bands m from number `full` on and the lowest bands n.
    full : int
    threshold : float
    """
    held = v_bands.shape[-1]
    difference = energies[:, full:, None] - energies[:, None, :held]
    k, upper, lower = nearly_equal(difference, threshold)
    difference[k, upper, lower] = np.inf
    inverse = np.repeat(1 / difference, 2, axis=-1)  # for (Re, Im)
    once = upper + full > lower  # both orders of a pair are here if neither band is full everywhere
    k, upper, lower = k[once], upper[once], lower[once]
    elements = (i_torque[:, None, k, upper, lower].conj() * v_bands[None, :, k, upper, lower]).real
    pairs = Pairs(energies[k, lower], energies[k, upper + full], np.moveaxis(elements, -1, 0), k)

    i_torque.view(float)[...] *= inverse
    of_f = real_products(i_torque, v_bands)
    # Bands that are full somewhere only have the bands that are full everywhere among their partners, too.
    partial = slice(full, held)
    mixed = slice(0, max(held - full, 0)), slice(0, min(full, held))
    of_f[:, partial] += real_products_by_row(i_torque, v_bands, *mixed)
    i_torque.view(float)[...] *= inverse
    of_g = 2 * real_products(i_torque, v_bands)
    of_g[:, partial] -= 2 * real_products_by_row(i_torque, v_bands, *mixed)
    return Coefficients(energies[:, :held], of_f, of_g, berry=pairs)
