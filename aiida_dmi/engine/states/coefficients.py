"""What a quantity hands over before occupations are known: coefficients of f and g for each band, and their sums.

Every quantity is reduced to coefficients of f and g for each band,

    D = sum_n f_n alpha_n + g_n beta_n,    Q = sum_n f_n q_n,    a = sum_n f_n a_n,

so that any number of chemical potentials and temperatures costs one small matrix product; pairs of nearly equal
energies, where differences of f and g over the splitting cancel, are kept apart and get the limit forms of their
weights (`divided_differences`). Energies in eV, lengths in Angstrom.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..constants import BOLTZMANN_EV
from .divided_differences import (
    NEARLY_EQUAL,
    berry_weight,
    divided_f,
    divided_g,
    divided_g_twice,
    fermi,
    fermi_derivatives,
    grand_potential,
)

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]

SMALLEST_SPLITTING = 1e-5
"""Pairs closer than this (eV) are weighted one by one at any temperature: summed by bands they lose digits."""
FILLED = 40.0
"""States this many kT below (above) the chemical potential are full (empty), to 1e-17."""
EVERY_ENERGY = (-np.inf, np.inf)


# -- which bands and pairs ---------------------------------------------------------------------------


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

    @property
    def specials(self) -> list[tuple[Any, Callable[..., Floats]]]:
        """Pairs and triples of nearly equal energies, each with its weight."""
        found: list[tuple[Any, Callable[..., Floats]]] = [
            (self.berry, berry_limit),
            (self.quotient, quotient_limit),
            (self.slope, slope_limit),
            (self.triples, triple_limit),
        ]
        return [(special, weight) for special, weight in found if special is not None]


# -- sums --------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Occupations:
    """f and g of every band for many chemical potentials and temperatures.

    Parameters
    ----------
    mu, kt : ndarray, shape (m,)
        Chemical potential and k_B T of each evaluation, eV.
    f, g : ndarray, shape (m, k * bands)
    weights : ndarray, shape (k,) or (rows, k)
        How many points of the mesh each k stands for, or several such rows: then there is a sum for each.
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
        """Sum f, shape (m,) or (rows, m)."""
        each = self.f.reshape(len(self.f), self.weights.shape[-1], -1).sum(axis=-1)
        return np.asarray(self.weights @ each.T)


def occupy(coefficients: Coefficients, occupations: Occupations) -> Floats:
    """Sum over k and bands for many chemical potentials and temperatures.

    Parameters
    ----------
    coefficients : Coefficients
    occupations : Occupations
        Of the same band energies.

    Returns
    -------
    ndarray, shape (m, ...) or (rows, m, ...)
        Trailing axes as the coefficients'; eV*Angstrom (not divided by the number of k points).
    """
    # First the sum over bands at each k: rows of weights then cost one small product, however many there are.
    points, values = coefficients.of_f.shape[0], len(occupations.mu)
    trailing = coefficients.of_f.shape[2:]
    columns, rows = occupations.mu[:, None], occupations.kt[:, None]

    def at_points(occupied: Floats, of_band: Floats) -> Floats:
        by_point = occupied.reshape(values, points, -1).transpose(1, 0, 2)
        return np.asarray(by_point @ of_band.reshape(points, -1, math.prod(trailing)))

    result = at_points(occupations.f, coefficients.of_f)
    if coefficients.of_g is not None:
        result += at_points(occupations.g, coefficients.of_g)
    if coefficients.of_slope is not None:
        result += at_points(-occupations.f * (1 - occupations.f) / rows, coefficients.of_slope)
    for special, weight in coefficients.specials:
        if len(special.point):
            elements = special.elements.reshape(len(special.point), 1, -1)
            add_at_points(result, special.point, weight(special, columns, rows).T[:, :, None] * elements)
    return np.tensordot(occupations.weights, result.reshape(points, values, *trailing), axes=1)


def add_at_points(target: Floats, point: Integers, values: Floats) -> None:
    """target[point[p]] += values[p] for every p; `np.add.at` is many times slower."""
    if (np.diff(point) < 0).any():
        order = np.argsort(point, kind="stable")
        point, values = point[order], values[order]
    starts = np.flatnonzero(np.diff(point, prepend=-1))
    target[point[starts]] += np.add.reduceat(values, starts, axis=0)


def occupy_each(coefficients: Coefficients, mu: float, kt: float) -> Floats:
    """Sum over bands at each k point: `occupy` without its sum over k, at one chemical potential and temperature.

    Parameters
    ----------
    coefficients : Coefficients
    mu, kt : float
        eV.

    Returns
    -------
    ndarray, shape (k, ...)
        Trailing axes as the coefficients'.
    """
    energies = coefficients.energies
    result: Floats = np.einsum("kn,kn...->k...", fermi(energies, mu, kt), coefficients.of_f)
    if coefficients.of_g is not None:
        result += np.einsum("kn,kn...->k...", grand_potential(energies, mu, kt), coefficients.of_g)
    if coefficients.of_slope is not None:
        slope = fermi_derivatives(energies, mu, kt)[0]
        result += np.einsum("kn,kn...->k...", slope, coefficients.of_slope)
    for special, weight in coefficients.specials:
        if len(special.point):
            np.add.at(result, special.point, np.einsum("p,p...->p...", weight(special, mu, kt), special.elements))
    return result


def berry_limit(pairs: Pairs, mu: Floats, kt: Floats) -> Floats:
    """2 W_nm for nearly equal energies, both orders of the pair."""
    return 2 * berry_weight(pairs.lower, pairs.upper, mu, kt)


def quotient_limit(pairs: Pairs, mu: Floats, kt: Floats) -> Floats:
    """(f_n - f_m)/(E_n - E_m) for nearly equal energies."""
    return divided_f(pairs.lower, pairs.upper, mu, kt)


def slope_limit(pairs: Pairs, mu: Floats, kt: Floats) -> Floats:
    """(g_n - g_m)/(E_n - E_m) for nearly equal energies."""
    return divided_g(pairs.lower, pairs.upper, mu, kt)


def triple_limit(triples: Triples, mu: Floats, kt: Floats) -> Floats:
    """g[a, b, c] of each triple, less what the bands' own coefficients hold of it."""
    first, second, third = triples.energies.T
    weight = divided_g_twice(first, second, third, mu, kt)
    for energies, already in zip(triples.energies.T, triples.already.T, strict=True):
        weight -= already * grand_potential(energies, mu, kt)
    return weight
