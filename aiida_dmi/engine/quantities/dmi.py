"""D: the Dzyaloshinskii-Moriya interaction from the Berry phase of the bands.

PRB 96, 054403 (2017), Eqs. 2, 11 and 12; signs and units in docs/theory.md.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..states.coefficients import Coefficients, Pairs, nearly_equal
from ..states.spinor_states import SpinorStates
from ..states.spinors import dagger, exchange_commutator, real_products, real_products_by_row
from .quantity import FiniteOrder

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]


class Dmi(FiniteOrder):
    """D_ij = sum_nm W_nm Im[<n|T_i|m><m|hbar v_j|n>] with the antisymmetric weight W_nm.

        W_nm = (1/2) { (f_n + f_m)/(E_m - E_n) + 2 (g_n - g_m)/(E_m - E_n)^2 }.

    Y_nm = Im[T_nm v_mn] = Re[conj(i T_mn) v_mn] is antisymmetric too, so

        D = sum_n f_n sum_m Y_nm/(E_m - E_n) + g_n sum_m 2 Y_nm/(E_m - E_n)^2.
    """

    name = "D"
    title = "Dzyaloshinskii-Moriya interaction, Berry phase form (Eqs. 2, 11, 12)"
    by_default = True
    place = 1

    def coefficients(self, states: SpinorStates) -> Coefficients:
        """Components e_1 and e_2 of the spin frame: D.n = 0. Pairs closer than the threshold are kept apart."""
        i_torque, velocity = i_torque_elements(states), states.velocity
        held, full = states.held, states.full
        difference = states.every[:, full:, None] - states.energies[:, None, :]
        k, upper, lower = nearly_equal(difference, states.threshold)
        difference[k, upper, lower] = np.inf
        inverse = np.repeat(1 / difference, 2, axis=-1)  # for (Re, Im)
        once = upper + full > lower  # both orders of a pair are here if neither band is full everywhere
        k, upper, lower = k[once], upper[once], lower[once]
        elements = (i_torque[:, None, k, upper, lower].conj() * velocity[None, :, k, upper, lower]).real
        every = states.every
        pairs = Pairs(every[k, lower], every[k, upper + full], np.moveaxis(elements, -1, 0), k)

        i_torque.view(float)[...] *= inverse
        of_f = real_products(i_torque, velocity)
        # Bands that are full somewhere only have the bands that are full everywhere among their partners, too.
        partial = slice(full, held)
        mixed = slice(0, max(held - full, 0)), slice(0, min(full, held))
        of_f[:, partial] += real_products_by_row(i_torque, velocity, *mixed)
        i_torque.view(float)[...] *= inverse
        of_g = 2 * real_products(i_torque, velocity)
        of_g[:, partial] -= 2 * real_products_by_row(i_torque, velocity, *mixed)
        return Coefficients(states.energies, of_f, of_g, berry=pairs)


def i_torque_elements(states: SpinorStates) -> Complexes:
    """<m|i T|n>, T = (i/2)[Hbar, sigma], of the m that are not full and the n that are not empty everywhere.

    With C = (H_u O - O H_d)/2, T_x has the up-down block i C and T_y the block C. Between bands, with
    X = <m up|C|n down> and Y = <m down|C^+|n up>: T_x = i (X - Y), T_y = X + Y.

    Returns
    -------
    ndarray, shape (2, k, m, n)
        T_x and T_y of the spin frame, eV.
    """
    n, bras, kets = states.functions, states.bras, states.kets
    commutator = exchange_commutator(states.operators)
    x = bras[..., :n] @ (commutator @ kets[:, n:])
    y = bras[..., n:] @ (dagger(commutator) @ kets[:, :n])
    i_torque = np.empty((2, *x.shape), dtype=complex)
    np.subtract(y, x, out=i_torque[0])
    np.add(x, y, out=i_torque[1])
    i_torque[1] *= 1j
    return i_torque


QUANTITIES = (Dmi(),)
