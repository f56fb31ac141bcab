"""The kernels of the theory: D, Q, a(I), a(II) as sums over the bands of one batch of k points.

Equation numbers are those of Freimuth, Bluegel, Mokrousov, PRB 96, 054403 (2017).
f is the Fermi function, g = -kT ln(1 + exp(-(E - mu)/kT)), g' = f. Energies in eV, lengths in Angstrom.

Every quantity is reduced to coefficients of f and g for each band, so that any number of chemical
potentials and temperatures costs one small matrix product:

    D = sum_n f_n alpha_n + g_n beta_n,    Q = sum_n f_n q_n,    a = sum_n f_n a_n,

with pairs of nearly equal energies, where the two terms cancel, kept apart and summed with the limit form
of their weight. Spin components are those of the spin frame (e_1, e_2, n); `to_lab` turns them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from .constants import BOLTZMANN_EV
from .interpolation import Operators, SpinOrbit

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]
Integers = npt.NDArray[np.intp]

NEARLY_EQUAL = 0.05
"""Pairs closer than this times kT use the limit form: its error is (0.05)^4 * 2e-4 there."""
SMALLEST_SPLITTING = 1e-5
"""... and pairs closer than this (eV) at any temperature, where the direct form loses digits."""
FILLED = 40.0
"""States this many kT below (above) the chemical potential are full (empty), to 1e-17."""
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


# -- eigenstates -------------------------------------------------------------------------------------


def assemble(blocks: Complexes) -> Complexes:
    """Spinor matrix from its blocks up-up, up-down, down-down: (3, ..., n, n) -> (..., 2n, 2n)."""
    up, mixed, down = blocks
    n = up.shape[-1]
    result = np.empty((*up.shape[:-2], 2 * n, 2 * n), dtype=complex)
    result[..., :n, :n] = up
    result[..., :n, n:] = mixed
    result[..., n:, :n] = mixed.conj().swapaxes(-1, -2)
    result[..., n:, n:] = down
    return result


def spinor(diagonal: Complexes, spin_orbit: Complexes, xi: float) -> Complexes:
    """X + xi X^SOI as spinor matrices: (2, ..., n, n) and blocks (3, ..., n, n) -> (..., 2n, 2n)."""
    n = diagonal.shape[-1]
    result = np.empty((*diagonal.shape[1:-2], 2 * n, 2 * n), dtype=complex)
    up, mixed, down = result[..., :n, :n], result[..., :n, n:], result[..., n:, n:]
    for block, source in zip((up, mixed, down), spin_orbit, strict=True):
        np.multiply(source, xi, out=block)
    up += diagonal[0]
    down += diagonal[1]
    np.conj(mixed.swapaxes(-1, -2), out=result[..., n:, :n])
    return result


def dagger(matrix: Complexes) -> Complexes:
    """Adjoint of the matrices in the last two axes."""
    return np.conj(matrix).swapaxes(-1, -2)


def band_energies(operators: Operators, spin_orbit: SpinOrbit | None, xi: float) -> Floats:
    """Eigenvalues of Hbar + xi V, shape (k, 2n), eV; without spin_orbit those of Hbar, up then down."""
    if spin_orbit is None:
        up, down = np.linalg.eigvalsh(operators.hamiltonian)
        return np.concatenate([up, down], axis=-1)
    hamiltonian = spinor(operators.hamiltonian, spin_orbit.interaction, xi)
    return np.asarray(np.linalg.eigvalsh(hamiltonian), dtype=np.float64)


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


def dmi_and_spin_current(
    operators: Operators,
    spin_orbit: SpinOrbit,
    xi: float,
    threshold: float,
    window: tuple[float, float] = EVERY_ENERGY,
) -> tuple[Coefficients, Coefficients]:
    """D (Eqs. 2, 11, 12) and Q (Eq. 5) of H = Hbar + xi V.

    Parameters
    ----------
    operators, spin_orbit
        At a batch of k points.
    xi : float
        Scale of the spin-orbit interaction.
    threshold : float
        Splitting below which pairs are kept apart, eV.
    window : (float, float)
        Energies (eV) below which every state is full and above which every state is empty, see `energy_window`.
        Bands that are empty at all k points of the batch, and pairs of bands that are both full, are left out.

    Returns
    -------
    dmi, current : Coefficients
        Of the lowest bands, those that are not empty everywhere. Trailing axes: spin component (2 for D, for
        D.n = 0; 3 for Q), direction j; eV*Angstrom.
    """
    n = operators.overlap.shape[-1]
    energies, states = np.linalg.eigh(spinor(operators.hamiltonian, spin_orbit.interaction, xi))
    # Of the pairs (n, m) in D two full or two empty states have no weight: n runs over the bands that hold electrons
    # somewhere, m over those that are not full everywhere.
    held = int((energies <= window[1]).sum(axis=-1).max())
    full = int((energies < window[0]).sum(axis=-1).min())
    kets = states[..., :held]
    bras = states[..., full:].conj().swapaxes(-1, -2)
    v_kets = spinor(operators.velocity, spin_orbit.velocity, xi) @ kets  # (d, k, 2n, held)
    current = _spin_current(operators.overlap, kets, v_kets)

    # Torque T = (i/2)[Hbar, sigma]: with C = (H_u O - O H_d)/2, T_x has the up-down block i C and T_y the block C.
    # Between bands, with X = <m up|C|n down> and Y = <m down|C^+|n up>: T_x = i (X - Y), T_y = X + Y.
    h_up, h_down = operators.hamiltonian
    commutator = 0.5 * (h_up @ operators.overlap - operators.overlap @ h_down)
    x = bras[..., :n] @ (commutator @ kets[:, n:])
    y = bras[..., n:] @ (dagger(commutator) @ kets[:, :n])
    i_torque = np.empty((2, *x.shape), dtype=complex)
    np.subtract(y, x, out=i_torque[0])
    np.add(x, y, out=i_torque[1])
    i_torque[1] *= 1j
    return _berry_coefficients(energies, i_torque, bras @ v_kets, full, threshold), Coefficients(
        energies[:, :held], current
    )


def _spin_current(overlap: Complexes, kets: Complexes, v_kets: Complexes) -> Floats:
    """(1/4) <n|{sigma_i, hbar v_j}|n> = (1/2) Re <sigma_i n|hbar v_j n> (Eq. 5), shape (k, band, 3, d)."""
    n = overlap.shape[-1]
    up, down = kets[:, :n], kets[:, n:]
    spin = np.empty((3, *kets.shape), dtype=complex)
    spin[0, :, :n], spin[0, :, n:] = overlap @ down, dagger(overlap) @ up
    np.multiply(spin[0, :, :n], -1j, out=spin[1, :, :n])
    np.multiply(spin[0, :, n:], 1j, out=spin[1, :, n:])
    spin[2, :, :n] = up
    np.negative(down, out=spin[2, :, n:])
    return 0.5 * real_products(spin, v_kets)


def real_products(left: Complexes, right: Complexes) -> Floats:
    """Re sum_m conj(a_mn) b_mn: (components, k, m, n), (d, k, m, n) -> (k, n, component, d)."""
    # Re conj(a) b is the scalar product of (Re, Im) pairs: real arithmetic on the same memory.
    pairs = np.einsum("ckmx,dkmx->kxcd", left.view(float), right.view(float))
    return np.asarray(pairs[:, 0::2] + pairs[:, 1::2])


def _berry_coefficients(
    energies: Floats, i_torque: Complexes, v_bands: Complexes, full: int, threshold: float
) -> Coefficients:
    """D_ij = sum_nm W_nm Im[T_i,nm (hbar v_j)_mn] with the antisymmetric weight W_nm.

        W_nm = (1/2) { (f_n + f_m)/(E_m - E_n) + 2 (g_n - g_m)/(E_m - E_n)^2 }.

    Y_nm = Im[T_nm v_mn] = Re[conj(i T_mn) v_mn] is antisymmetric too, so
    D = sum_n f_n sum_m Y_nm/(E_m - E_n) + g_n sum_m 2 Y_nm/(E_m - E_n)^2.

    Parameters
    ----------
    energies : ndarray, shape (k, 2n)
    i_torque, v_bands : ndarray, shapes (2, k, m, n) and (d, k, m, n)
        <m|iT|n> and <m|hbar v|n> of all bands m from number `full` on and the lowest bands n.
    full : int
    threshold : float
    """
    held = v_bands.shape[-1]
    difference = energies[:, full:, None] - energies[:, None, :held]
    k, upper, lower = nearly_equal(difference, threshold)
    difference[k, upper, lower] = np.inf
    inverse = np.repeat(1 / difference, 2, axis=-1)  # for (Re, Im)
    once = upper + full > lower  # both orders of a pair are here if neither band is full everywhere
    k, upper, lower = k[once], upper[once], lower[once]
    elements = (i_torque[:, None, k, upper, lower].conj() * v_bands[None, :, k, upper, lower]).real
    pairs = Pairs(energies[k, lower], energies[k, upper + full], np.moveaxis(elements, -1, 0), k)

    i_torque.view(float)[...] *= inverse
    of_f = real_products(i_torque, v_bands)
    # Bands that are full somewhere only have the bands that are full everywhere among their partners, too.
    partial = slice(full, held)
    mixed = slice(0, max(held - full, 0)), slice(0, min(full, held))
    of_f[:, partial] += _real_products_by_row(i_torque, v_bands, *mixed)
    i_torque.view(float)[...] *= inverse
    of_g = 2 * real_products(i_torque, v_bands)
    of_g[:, partial] -= 2 * _real_products_by_row(i_torque, v_bands, *mixed)
    return Coefficients(energies[:, :held], of_f, of_g, berry=pairs)


def _real_products_by_row(left: Complexes, right: Complexes, rows: slice, columns: slice) -> Floats:
    """Re sum_n conj(a_mn) b_mn of some rows and columns: (k, m, component, d)."""
    a, b = (np.ascontiguousarray(matrix[..., rows, columns]).view(float) for matrix in (left, right))
    return np.asarray(np.einsum("ckmx,dkmx->kmcd", a, b))


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
    """2 W_nm for nearly equal energies, both orders of the pair: W = f'' d/12 + f'''' d^3/480, d = E_m - E_n."""
    _, second, _, fourth = fermi_derivatives((pairs.lower + pairs.upper) / 2, mu, kt)
    d = pairs.upper - pairs.lower
    return 2 * (second * d / 12 + fourth * d**3 / 480)


def quotient_limit(pairs: Pairs, mu: Floats, kt: Floats) -> Floats:
    """(f_n - f_m)/(E_n - E_m) for nearly equal energies: f' + f''' d^2/24, at the middle."""
    first, _, third, _ = fermi_derivatives((pairs.lower + pairs.upper) / 2, mu, kt)
    return first + third * (pairs.upper - pairs.lower) ** 2 / 24


def slope_limit(pairs: Pairs, mu: Floats, kt: Floats) -> Floats:
    """(g_n - g_m)/(E_n - E_m) for nearly equal energies: f + f'' d^2/24, at the middle."""
    return _divided_g(pairs.lower, pairs.upper, mu, kt)


def triple_weight(triples: Triples, mu: Floats, kt: Floats) -> Floats:
    """g[a, b, c], the second divided difference of g, less what the bands' own coefficients hold of it.

    With x <= y <= z: g[x, y, z] = (g[x, y] - g[y, z])/(x - z), where g[x, y] = f + f'' d^2/24 at the middle for
    nearly equal energies; f'/2 + f''' (sum of squared deviations)/48 at the mean where all three are.
    """
    x, y, z = np.sort(triples.energies, axis=1).T
    together = z - x < NEARLY_EQUAL * kt
    apart = (_divided_g(x, y, mu, kt) - _divided_g(y, z, mu, kt)) / np.where(together, 1.0, x - z)
    mean = (x + y + z) / 3
    first, _, third, _ = fermi_derivatives(mean, mu, kt)
    deviations = (x - mean) ** 2 + (y - mean) ** 2 + (z - mean) ** 2
    weight = np.where(together, first / 2 + third * deviations / 48, apart)
    for column in range(3):
        weight -= triples.already[:, column] * grand_potential(triples.energies[:, column], mu, kt)
    return weight


def _divided_g(x: Floats, y: Floats, mu: Floats, kt: Floats) -> Floats:
    """(g_x - g_y)/(x - y)."""
    d = x - y
    near = np.abs(d) < NEARLY_EQUAL * kt
    middle = (x + y) / 2
    limit = fermi(middle, mu, kt) + fermi_derivatives(middle, mu, kt)[1] * d**2 / 24
    quotient = (grand_potential(x, mu, kt) - grand_potential(y, mu, kt)) / np.where(near, 1.0, d)
    return np.where(near, limit, quotient)


def to_lab(tensor: Floats, frame: Floats) -> Floats:
    """Spin components of the spin frame (2 or 3 of them, axis -2) to x, y, z."""
    result: Floats = np.einsum("bi,...bj->...ij", frame[: tensor.shape[-2]], tensor)
    return result
