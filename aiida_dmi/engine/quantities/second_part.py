"""a(II): the second part of the SOI-linear Dzyaloshinskii-Moriya interaction. PRB 96, 054403 (2017), Eq. 23."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..model.wannier import WannierModel
from ..states.coefficients import Coefficients, occupied_range
from ..states.first_order_states import FirstOrderStates, by_band, tensor_by_band
from ..states.spinors import real_products
from .quantity import Derived, FirstOrder, Model

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]


class SecondPart(FirstOrder):
    """a(II) = -(1/4) Re sum_n f_n <n|{sigma, hbar v^SOI}|n>, with v^SOI = dV/dk - i [A, V]."""

    name = "a_II"
    title = "second part of the SOI-linear DMI (Eq. 23)"
    symbol = "a(II)"
    by_default = True
    place = 4

    def coefficients(self, states: FirstOrderStates) -> Coefficients:
        """All three components of the spin frame; that along n where it is wanted."""
        return second_part(states, states.spin_orbit.velocity, states.overlap_velocity)


class ExactSecondPart(FirstOrder):
    """a(II) with hbar v^SOI = dV/dk of the differentiated projectors: i[V, r] between Wannier functions as it is.

    a(I) + a(II) closes with the v^SOI of `SecondPart` only, which has the Wannier functions put between V and r.
    """

    name = "a_II_exact"
    title = "a_II from differentiated projectors: what the Wannier space cuts off is the difference to a_II"
    symbol = "a(II, exact)"
    accompanies = "a_II"
    exact = True
    place = 5

    def given_by(self, model: Model) -> bool:
        """Of models that hold the differentiated projectors."""
        return isinstance(model, WannierModel) and model.gradients is not None

    def coefficients(self, states: FirstOrderStates) -> Coefficients:
        """As `SecondPart`'s."""
        if states.exact is None:
            raise ValueError("exact: this V has no differentiated projectors")
        return second_part(states, states.exact, by_band(states.bands.overlap * states.exact_flip_velocity))


def second_part(states: FirstOrderStates, velocity: Complexes, flip: Complexes) -> Coefficients:
    """a(II) from the blocks of v^SOI, shape (3, d, k, n, n), and the sums of O_ab conj(y_ab) for each band.

    {sigma_x, v}_uu = v_ud O^+ + h.c., {sigma_y, v}_uu = i v_ud O^+ + h.c., {sigma_x, v}_dd = O^+ v_ud + h.c.,
    {sigma_y, v}_dd = i O^+ v_ud + h.c., {sigma_z, v} = +-2 v within one spin. Empty bands' last is left out.
    """
    bands, n = states.bands, states.bands.overlap.shape[-1]
    across = tensor_by_band(-0.25 * flip)
    of_f = np.concatenate([across, np.zeros_like(across[:, :, :1])], axis=2)
    for spin, factor in enumerate((-0.5, 0.5) if states.along_n else ()):
        held, _ = occupied_range(bands.energies[spin], states.window)
        kets = bands.states[spin][..., :held]
        of_f[:, spin * n : spin * n + held, 2] = factor * real_products(kets, velocity[2 * spin] @ kets)
    return Coefficients(bands.joined, of_f)


QUANTITIES = (SecondPart(), ExactSecondPart())
DERIVED = (Derived("Q_1", "SOI-linear spin current, -(a_I + a_II) (Eq. 24)", "Q(1)", ("a_I", "a_II"), (-1.0, -1.0)),)
