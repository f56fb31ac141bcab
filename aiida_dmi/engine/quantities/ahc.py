"""The intrinsic anomalous Hall conductivity of H(xi).

sigma_jl = -(e^2/hbar) int d^dk/(2 pi)^d sum_n f_n Omega_n,jl with the Berry curvature in its Kubo form,

    Omega_n,jl = -2 Im sum_(m != n) <n|hbar v_j|m><m|hbar v_l|n>/(E_n - E_m)^2

(Nagaosa et al., RMP 82, 1539 (2010), Eq. 1.5 ff.). The velocity is that of all quantities here, dH/dk - i[A, H]
between Wannier functions: what leads out of their space and back is left out, as in Q and a(I).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..constants import ELEMENTARY_CHARGE, HBAR_EV_S
from ..model.rashba import RashbaModel
from ..states.coefficients import Coefficients, Pairs, nearly_equal
from ..states.spinor_states import SpinorStates
from ..states.spinors import real_products, real_products_by_row
from .quantity import DIRECTION, FIELD, FiniteOrder, Model, Unit

Floats = npt.NDArray[np.float64]


class AnomalousHall(FiniteOrder):
    """sigma_jl: current along j in a field along l; antisymmetric, odd under time reversal.

    Y_nm = Im[v_nm v_mn] = Re[conj(i v_mn) v_mn] of components j and l is antisymmetric in n and m, so that

        -sum_n f_n Omega_n = sum_n f_n sum_m 2 Y_nm/(E_n - E_m)^2.
    """

    name = "ahc"
    title = "intrinsic anomalous Hall conductivity, current along j in a field along l"
    symbol = "sigma"
    axes = (DIRECTION, FIELD)
    odd_in_time = True

    def unit(self, model: Model) -> Unit:
        """e^2/h of a film, S/cm of a bulk magnet."""
        if isinstance(model, RashbaModel):
            return Unit(2 * np.pi * model.measure, "e^2 / h", "film")
        if model.dimension == 2:
            return Unit(2 * np.pi / model.area, "e^2 / h", "film")
        siemens, per_cm = ELEMENTARY_CHARGE / HBAR_EV_S, 1e8
        return Unit(siemens * per_cm / abs(float(np.linalg.det(model.cell))), "S / cm", "volume")

    def coefficients(self, states: SpinorStates) -> Coefficients:
        """Angstrom^2; the quotients of pairs that are nearly equal are kept apart."""
        velocity, held, full, every = states.velocity, states.held, states.full, states.every
        difference = every[:, full:, None] - states.energies[:, None, :]
        k, upper, lower = nearly_equal(difference, states.threshold)
        # A band with itself, and bands that are equal to the last bit, have no curvature between them.
        apart = difference[k, upper, lower]
        once = (upper + full > lower) & (apart != 0.0)
        difference[k, upper, lower] = np.inf
        k, upper, lower, apart = k[once], upper[once], lower[once], apart[once]
        between = velocity[:, k, upper, lower]
        elements = -2 * (between.conj()[:, None] * between[None]).imag / apart
        pairs = Pairs(every[k, lower], every[k, upper + full], np.moveaxis(elements, -1, 0), k)

        over = 1j * velocity
        over.view(float)[...] *= np.repeat(difference**-2.0, 2, axis=-1)
        of_f = 2 * real_products(over, velocity)
        # Bands that are full somewhere only have the bands that are full everywhere among their partners, too.
        rows, columns = slice(0, max(held - full, 0)), slice(0, min(full, held))
        of_f[:, full:held] -= 2 * real_products_by_row(over, velocity, rows, columns)
        return Coefficients(states.energies, of_f, quotient=pairs)


QUANTITIES = (AnomalousHall(),)
