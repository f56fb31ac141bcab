"""What several tests of the engine hold it against: coefficients by arguments, exact weights, a model relabelled."""

import dataclasses
import decimal
from decimal import Decimal

from aiida_dmi.engine.quantities.registry import QUANTITIES
from aiida_dmi.engine.states.coefficients import EVERY_ENERGY
from aiida_dmi.engine.states.first_order_states import FirstOrderStates
from aiida_dmi.engine.states.spinor_states import SpinorStates


def dmi_and_spin_current(operators, spin_orbit, xi, threshold, window=EVERY_ENERGY):
    """D and Q of H(xi)."""
    states = SpinorStates(operators, spin_orbit, xi, threshold, window)
    return QUANTITIES["D"].coefficients(states), QUANTITIES["Q"].coefficients(states)


def first_part(bands, splittings, spin_orbit, window=EVERY_ENERGY):
    """a(I)."""
    return QUANTITIES["a_I"].coefficients(FirstOrderStates(bands, splittings, spin_orbit, window))


def second_part(bands, splittings, spin_orbit, window=EVERY_ENERGY):
    """a(II)."""
    return QUANTITIES["a_II"].coefficients(FirstOrderStates(bands, splittings, spin_orbit, window))


def exact_second_part(bands, splittings, spin_orbit, exact):
    """a(II) with v^SOI of differentiated projectors."""
    return QUANTITIES["a_II_exact"].coefficients(FirstOrderStates(bands, splittings, spin_orbit, exact=exact))


def first_order_dmi(bands, splittings, spin_orbit):
    """D(1)."""
    return QUANTITIES["D_1"].coefficients(FirstOrderStates(bands, splittings, spin_orbit))


def exact_weight(lower, upper, mu, kt):
    """W_nm = (1/2) {(f_n + f_m)/(E_m - E_n) + 2 (g_n - g_m)/(E_m - E_n)^2} in sixty digits, of the doubles passed."""
    with decimal.localcontext() as context:
        context.prec = 60
        e_n, e_m, mu, kt = (Decimal(float(x)) for x in (lower, upper, mu, kt))
        f = [1 / (1 + ((e - mu) / kt).exp()) for e in (e_n, e_m)]
        g = [-kt * (1 + (-(e - mu) / kt).exp()).ln() for e in (e_n, e_m)]
        d = e_m - e_n
        return float(((f[0] + f[1]) / d + 2 * (g[0] - g[1]) / d**2) / 2)


def relabelled(model, order):
    """The same model: functions in another order, the atoms in the opposite one."""
    return dataclasses.replace(
        model,
        symbols=model.symbols[::-1],
        positions=model.positions[::-1].copy(),
        centres=model.centres[:, order],
        hamiltonian=model.hamiltonian[..., order, :][..., order],
        position=model.position[..., order, :][..., order],
        overlap=model.overlap[..., order, :][..., order],
        projections=tuple(p[..., order] for p in model.projections[::-1]),
        coupling=model.coupling[::-1],
    )
