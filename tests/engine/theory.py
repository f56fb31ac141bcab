"""Coefficients of the quantities, as tests ask for them: by arguments instead of shared states."""

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
