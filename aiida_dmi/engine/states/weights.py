"""Occupations, and what the kernels hand over before they are known: coefficients of f and g for each band.

f is the Fermi function, g = -kT ln(1 + exp(-(E - mu)/kT)), g' = f. Every quantity is reduced to coefficients of f and
g for each band, so that any number of chemical potentials and temperatures costs one small matrix product; pairs of
nearly equal energies, where differences of f and g over the splitting cancel, are kept apart and get the limit forms
of their weights. Energies in eV, lengths in Angstrom.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from ..constants import BOLTZMANN_EV

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]

NEARLY_EQUAL = 0.05
"""Pairs closer than this times kT use the limit form: its error is (0.05)^4 * 2e-4 there."""
SMALLEST_SPLITTING = 1e-5
"""Pairs closer than this (eV) are weighted one by one at any temperature: summed by bands they lose digits."""
FILLED = 40.0
"""States this many kT below (above) the chemical potential are full (empty), to 1e-17."""
LARGE_EXPONENT = 30.0
EVERY_ENERGY = (-np.inf, np.inf)


# -- occupations -------------------------------------------------------------------------------------


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


def splitting_threshold(temperature: float) -> float:
    """Energy difference (eV) below which the limit forms are used, for the lowest temperature (K) asked for."""
    return max(NEARLY_EQUAL * BOLTZMANN_EV * temperature, SMALLEST_SPLITTING)


def nearly_equal(difference: Floats, threshold: float) -> tuple[Integers, ...]:
    """Indices of the energy differences below the threshold."""
    # On the flat array: with several axes numpy's search is ten times slower.
    found = np.flatnonzero(np.abs(difference) < threshold)
    return np.unravel_index(found, difference.shape)


def energy_window(mu: Floats, kt: Floats) -> tuple[float, float]:
    """Energies (eV) below which f = 1 and above which f = g = 0, to rounding, for every one of the (mu, kT)."""
    return float((mu - FILLED * kt).min()), float((mu + FILLED * kt).max())


def occupied_range(energies: Floats, window: tuple[float, float]) -> tuple[int, int]:
    """Numbers of the lowest bands that are not empty at all k points, and that are full at all of them.

    Parameters
    ----------
    energies : ndarray, shape (k, bands)
        Ascending, eV.
    window : (float, float)
        From `energy_window`.
    """
    held = int((energies <= window[1]).sum(axis=-1).max())
    full = int((energies < window[0]).sum(axis=-1).min())
    return held, full


# -- coefficients ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Nearly degenerate pairs of one batch: energies (pairs,), elements (pairs, ...), number of the k point."""

    lower: Floats
    upper: Floats
    elements: Floats
    point: Integers


@dataclasses.dataclass(frozen=True)
class Triples:
    """Triples (a, b, c) with nearly equal energies among them, to be weighted by g[a, b, c] (D(1) only).

    Parameters
    ----------
    energies : ndarray, shape (triples, 3)
    already : ndarray, shape (triples, 3)
        Coefficients with which g_a, g_b, g_c of the triple stand in `of_g` already, to be taken off.
    elements : ndarray, shape (triples, ...)
    point : ndarray of int, shape (triples,)
    """

    energies: Floats
    already: Floats
    elements: Floats
    point: Integers


@dataclasses.dataclass(frozen=True)
class Coefficients:
    """What one batch contributes before occupations are known.

    Parameters
    ----------
    energies : ndarray, shape (k, bands)
    of_f, of_g : ndarray, shape (k, bands, ...)
        Coefficients of f_n and g_n; of_g None where no g enters.
    of_slope : ndarray or None
        Coefficients of f'_n.
    berry, quotient, slope : Pairs or None
        Nearly equal energies, to be weighted by the limits of W, of (f_n - f_m)/(E_n - E_m) and of
        (g_n - g_m)/(E_n - E_m).
    triples : Triples or None
    """

    energies: Floats
    of_f: Floats
    of_g: Floats | None = None
    of_slope: Floats | None = None
    berry: Pairs | None = None
    quotient: Pairs | None = None
    slope: Pairs | None = None
    triples: Triples | None = None


# -- sums --------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Occupations:
    """f and g of every band for many chemical potentials and temperatures.

    Parameters
    ----------
    mu, kt : ndarray, shape (m,)
        Chemical potential and k_B T of each evaluation, eV.
    f, g : ndarray, shape (m, k * bands)
    weights : ndarray, shape (k,)
        How many points of the mesh each k stands for.
    """

    mu: Floats
    kt: Floats
    f: Floats
    g: Floats
    weights: Floats

    @classmethod
    def of(cls, energies: Floats, mu: Floats, kt: Floats, weights: Floats | None = None) -> Occupations:
        """Of band energies (k, bands), eV."""
        # f and g = -kT ln(1 + exp(x)) from one exponential: x = (mu - E)/kT, e = exp(-|x|).
        x = (mu[:, None] - energies.ravel()) / kt[:, None]
        e = np.abs(x)
        np.exp(np.negative(e, out=e), out=e)
        f = np.where(x > 0, 1.0, e)
        e += 1.0
        f /= e
        # ln(1 + e) loses e < 1e-16 only, kT times that in g.
        g = np.maximum(x, 0.0, out=x)
        g += np.log(e, out=e)
        g *= -kt[:, None]
        return cls(mu, kt, f, g, np.ones(len(energies)) if weights is None else weights)

    @property
    def electrons(self) -> Floats:
        """Sum f, shape (m,)."""
        return np.asarray(self.f @ np.repeat(self.weights, self.f.shape[1] // len(self.weights)))


def occupy(coefficients: Coefficients, occupations: Occupations) -> Floats:
    """Sum over k and bands for many chemical potentials and temperatures.

    Parameters
    ----------
    coefficients : Coefficients
    occupations : Occupations
        Of the same band energies.

    Returns
    -------
    ndarray, shape (m, ...)
        Trailing axes as the coefficients'; eV*Angstrom (not divided by the number of k points).
    """
    bands = occupations.f.shape[1]
    trailing = coefficients.of_f.shape[2:]
    columns, rows = occupations.mu[:, None], occupations.kt[:, None]
    weights = occupations.weights

    def weighted(values: Floats) -> Floats:
        return (values * weights.reshape(-1, *[1] * (values.ndim - 1))).reshape(bands, math.prod(trailing))

    result = occupations.f @ weighted(coefficients.of_f)
    if coefficients.of_g is not None:
        result += occupations.g @ weighted(coefficients.of_g)
    if coefficients.of_slope is not None:
        slope = -occupations.f * (1 - occupations.f) / rows
        result += slope @ weighted(coefficients.of_slope)
    specials: list[tuple[Pairs | Triples | None, Callable[..., Floats]]] = [
        (coefficients.berry, berry_limit),
        (coefficients.quotient, quotient_limit),
        (coefficients.slope, slope_limit),
        (coefficients.triples, triple_weight),
    ]
    for special, weight in specials:
        if special is not None and len(special.point):
            elements = special.elements.reshape(len(special.point), -1) * weights[special.point, None]
            result += weight(special, columns, rows) @ elements
    return result.reshape(len(occupations.mu), *trailing)


def berry_limit(pairs: Pairs, mu: Floats, kt: Floats) -> Floats:
    """2 W_nm for nearly equal energies, both orders of the pair."""
    return 2 * berry_weight(pairs.lower, pairs.upper, mu, kt)


def quotient_limit(pairs: Pairs, mu: Floats, kt: Floats) -> Floats:
    """(f_n - f_m)/(E_n - E_m) for nearly equal energies."""
    return divided_f(pairs.lower, pairs.upper, mu, kt)


def slope_limit(pairs: Pairs, mu: Floats, kt: Floats) -> Floats:
    """(g_n - g_m)/(E_n - E_m) for nearly equal energies."""
    return divided_g(pairs.lower, pairs.upper, mu, kt)


def triple_weight(triples: Triples, mu: Floats, kt: Floats) -> Floats:
    """g[a, b, c], the second divided difference of g, less what the bands' own coefficients hold of it.

    With x <= y <= z: g[x, y, z] = (g[x, y] - g[y, z])/(x - z); where all three are within kT/20, f'/2 + f''' (sum of
    squared deviations)/48 at the mean.
    """
    x, y, z = np.sort(triples.energies, axis=1).T
    together = z - x < NEARLY_EQUAL * kt
    apart = (divided_g(x, y, mu, kt) - divided_g(y, z, mu, kt)) / np.where(together, 1.0, x - z)
    mean = (x + y + z) / 3
    first, _, third, _ = fermi_derivatives(mean, mu, kt)
    deviations = (x - mean) ** 2 + (y - mean) ** 2 + (z - mean) ** 2
    weight = np.where(together, first / 2 + third * deviations / 48, apart)
    for column in range(3):
        weight -= triples.already[:, column] * grand_potential(triples.energies[:, column], mu, kt)
    return weight


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
