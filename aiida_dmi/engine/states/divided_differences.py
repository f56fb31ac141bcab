"""Occupations, and their divided differences with the limits where energies come near each other.

f is the Fermi function, g = -kT ln(1 + exp(-(E - mu)/kT)), so that dg/dE = f; energies in eV. Every weight of the
theory is one of

    f[x, y] = (f_x - f_y)/(x - y),    g[x, y] alike,    g[x, y, z] = (g[x, y] - g[y, z])/(x - z),
    W_xy = ((f_x + f_y)/2 - g[x, y])/(y - x).

As they stand they lose digits where energies are nearly equal: rounding of f divided by d = |x - y| and, in W and
g[x, y, z], by d^2. Nearer than kT/20 the first two terms of their series about the middle are taken. The third is
f^(5) d^4/1920 of f[x, y], f^(4) d^4/1920 of g[x, y], f^(6) d^5/53760 of W and of the order f^(5) d^4 of g[x, y, z]: at
d = kT/20 below 1e-8 of each weight's largest value, while the quotients have lost a factor (20)^2 of the 1e-16 there.
The tests hold all of them against sixty digits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit

Floats = npt.NDArray[np.float64]

NEARLY_EQUAL = 0.05
"""Energies closer than this times kT use the limit form."""
LARGE_EXPONENT = 30.0
"""Splittings beyond this times kT: the difference of g itself loses nothing."""


# -- one energy --------------------------------------------------------------------------------------


def fermi(energy: Floats, mu: Floats | float, kt: Floats | float) -> Floats:
    """Fermi function f((E - mu)/kT)."""
    return np.asarray(expit((mu - energy) / kt), dtype=np.float64)


def grand_potential(energy: Floats, mu: Floats | float, kt: Floats | float) -> Floats:
    """G = -kT ln(1 + exp(-(E - mu)/kT)): a state's contribution to the grand potential, eV."""
    return np.asarray(-kt * np.logaddexp(0.0, (mu - energy) / kt), dtype=np.float64)


def fermi_derivatives(energy: Floats, mu: Floats | float, kt: Floats | float) -> tuple[Floats, ...]:
    """First to fourth derivative of f with respect to E, in eV^-1 to eV^-4."""
    f = fermi(energy, mu, kt)
    p = f * (1 - f)
    return (
        -p / kt,
        p * (1 - 2 * f) / kt**2,
        -p * (1 - 6 * p) / kt**3,
        p * (1 - 2 * f) * (1 - 12 * p) / kt**4,
    )


# -- two energies ------------------------------------------------------------------------------------
# Nearer than kT/20 a series at the middle; farther, quotients that lose no digits to how deep the energies lie.


def berry_weight(lower: Floats, upper: Floats, mu: Floats | float, kt: Floats | float) -> Floats:
    """W_nm = ((f_n + f_m)/2 - g[n, m])/d with d = E_m - E_n; nearly equal, f'' d/12 + f'''' d^3/480."""
    d = upper - lower
    near = np.abs(d) < NEARLY_EQUAL * kt
    _, second, _, fourth = fermi_derivatives((lower + upper) / 2, mu, kt)
    mean = (fermi(lower, mu, kt) + fermi(upper, mu, kt)) / 2
    apart = (mean - divided_g(lower, upper, mu, kt)) / np.where(near, 1.0, d)
    return np.where(near, second * d / 12 + fourth * d**3 / 480, apart)


def divided_f(x: Floats, y: Floats, mu: Floats | float, kt: Floats | float) -> Floats:
    """(f_x - f_y)/(x - y); nearly equal, f' + f''' d^2/24 at the middle."""
    d = x - y
    near = np.abs(d) < NEARLY_EQUAL * kt
    first, _, third, _ = fermi_derivatives((x + y) / 2, mu, kt)
    apart = (fermi(x, mu, kt) - fermi(y, mu, kt)) / np.where(near, 1.0, d)
    return np.where(near, first + third * d**2 / 24, apart)


def divided_g(x: Floats, y: Floats, mu: Floats | float, kt: Floats | float) -> Floats:
    """(g_x - g_y)/(x - y); nearly equal, f + f'' d^2/24 at the middle.

    g_e - g_(e+d) = -kT ln(1 + f_(e+d) (exp(d/kT) - 1)): the difference itself loses digits where g is large against d.
    """
    d = np.abs(x - y)
    near, close = d < NEARLY_EQUAL * kt, d < LARGE_EXPONENT * kt
    middle = (x + y) / 2
    limit = fermi(middle, mu, kt) + fermi_derivatives(middle, mu, kt)[1] * d**2 / 24
    lower, upper = np.minimum(x, y), np.maximum(x, y)
    small = kt * np.log1p(fermi(upper, mu, kt) * np.expm1(np.where(close, d, 0.0) / kt))
    large = grand_potential(upper, mu, kt) - grand_potential(lower, mu, kt)
    return np.where(near, limit, np.where(close, small, large) / np.where(near, 1.0, d))


# -- three energies ----------------------------------------------------------------------------------


def divided_g_twice(x: Floats, y: Floats, z: Floats, mu: Floats | float, kt: Floats | float) -> Floats:
    """g[x, y, z], symmetric in the three, with x, y, z of one shape.

    All within kT/20: f'/2 + (third derivative of f)(sum of squared deviations)/48 at the mean.
    """
    lowest, middle, highest = np.sort(np.stack([x, y, z]), axis=0)
    together = highest - lowest < NEARLY_EQUAL * kt
    difference = divided_g(lowest, middle, mu, kt) - divided_g(middle, highest, mu, kt)
    apart = difference / np.where(together, 1.0, lowest - highest)
    mean = (lowest + middle + highest) / 3
    first, _, third, _ = fermi_derivatives(mean, mu, kt)
    deviations = (lowest - mean) ** 2 + (middle - mean) ** 2 + (highest - mean) ** 2
    return np.where(together, first / 2 + third * deviations / 48, apart)
