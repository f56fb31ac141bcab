"""a(I): the first part of the SOI-linear Dzyaloshinskii-Moriya interaction. PRB 96, 054403 (2017), Eq. 22."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..states.coefficients import Coefficients, Pairs, occupied_range
from ..states.first_order_states import FirstOrderStates, components, joined, pairs_across, tensor_by_band
from ..states.spinors import real_products, real_products_by_row
from .quantity import FirstOrder

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]


class FirstPart(FirstOrder):
    """a(I) = -(1/4) Re sum_nm (f_n - f_m)/(E_n - E_m) <n|{sigma, hbar vbar}|m><m|V|n>."""

    name = "a_I"
    title = "first part of the SOI-linear DMI (Eq. 22)"
    symbol = "a(I)"
    by_default = True
    place = 3

    def coefficients(self, states: FirstOrderStates) -> Coefficients:
        """All three components of the spin frame; that along n where it is wanted."""
        bands, n = states.bands, states.bands.overlap.shape[-1]
        across = tensor_by_band(states.anticommutator)
        of_f = np.concatenate([across, np.zeros_like(across[:, :, :1])], axis=2)
        of_slope = np.zeros_like(of_f)
        flip = components(states.near_anticommutator)
        near = [pairs_across(states, np.concatenate([flip, np.zeros_like(flip[:, :1])], axis=1))]
        for spin in range(2) if states.along_n else ():
            own = slice(spin * n, (spin + 1) * n)
            near.append(_along_n(states, spin, of_f[:, own, 2], of_slope[:, own, 2]))
        return Coefficients(bands.joined, of_f, of_slope=of_slope, quotient=joined(near))


def _along_n(states: FirstOrderStates, spin: int, of_f: Floats, of_slope: Floats) -> Pairs:
    """a(I) along n, of one spin: coefficients of f and f' are written, (k, band, d), pairs returned.

    {sigma_z, vbar} = +-2 vbar within one spin, and f_n gets both orders of every pair:
    -+ sum_m Re[v_nm V_mn]/(E_n - E_m) for spin up (down). Two full or two empty bands need no such term.
    """
    bands, energies = states.bands, states.bands.energies[spin]
    factor = (-1.0, 1.0)[spin]
    held, full = occupied_range(energies, states.window)
    kets = bands.states[spin][..., :held]
    interaction = bands.bras[spin][:, full:] @ (states.spin_orbit.interaction[2 * spin] @ kets)
    velocity = bands.velocity[spin][..., full:, :held]
    # 1/(E_m - E_n), rows m, columns n
    elements = interaction * states.splittings.same[spin][:, full:, :held]
    of_f[:, :held] = -factor * real_products(elements, velocity)
    # Bands that are full somewhere only have the bands that are full everywhere among their partners, too.
    rows, columns = slice(0, max(held - full, 0)), slice(0, min(full, held))
    of_f[:, full:held] += factor * real_products_by_row(elements, velocity, rows, columns)
    # A band with itself: the quotient is f'.
    own = np.arange(full, max(held, full))
    diagonal = velocity[:, :, own - full, own] * interaction[:, own - full, own].conj()
    of_slope[:, own] = 0.5 * factor * np.moveaxis(diagonal.real, 0, -1)
    k, m, n = states.splittings.same_pairs[spin]
    inside = (m >= full) & (n < held)
    k, m, n = k[inside], m[inside], n[inside]
    values = np.zeros((len(k), 3, velocity.shape[0]))
    values[:, 2] = 0.5 * factor * (velocity[:, k, m - full, n] * interaction[k, m - full, n].conj()).real.T
    return Pairs(energies[k, m], energies[k, n], values, k)


QUANTITIES = (FirstPart(),)
