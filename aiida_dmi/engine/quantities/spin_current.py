"""Q: the ground-state spin current. PRB 96, 054403 (2017), Eq. 5."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..states.coefficients import Coefficients
from ..states.spinor_states import SpinorStates
from ..states.spinors import dagger, real_products
from .quantity import FiniteOrder

Floats = npt.NDArray[np.float64]


class SpinCurrent(FiniteOrder):
    """Q_ij = (1/4) sum_n f_n <n|{sigma_i, hbar v_j}|n> = (1/2) sum_n f_n Re <sigma_i n|hbar v_j n>."""

    name = "Q"
    title = "ground-state spin current (Eq. 5)"
    by_default = True
    place = 2

    def coefficients(self, states: SpinorStates) -> Coefficients:
        """All three components of the spin frame."""
        n, overlap = states.functions, states.operators.overlap
        up, down = states.kets[:, :n], states.kets[:, n:]
        v_up, v_down = states.velocity_kets[:, :, :n], states.velocity_kets[:, :, n:]
        # sigma_x|n> = (O down, O^+ up), sigma_y|n> = (-i O down, i O^+ up), sigma_z|n> = (up, -down)
        flipped_up, flipped_down = overlap @ down, dagger(overlap) @ up
        x = real_products(flipped_up, v_up) + real_products(flipped_down, v_down)
        flipped_up *= 1j
        flipped_down *= 1j
        y = real_products(flipped_down, v_down) - real_products(flipped_up, v_up)
        z = real_products(up, v_up) - real_products(down, v_down)
        return Coefficients(states.energies, 0.5 * np.stack([x, y, z], axis=2))


QUANTITIES = (SpinCurrent(),)
