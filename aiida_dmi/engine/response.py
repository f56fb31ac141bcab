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

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from .constants import BOLTZMANN_EV
from .interpolation import Operators, SpinOrbit

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

NEARLY_EQUAL = 0.05
"""Pairs closer than this times kT use the limit form: its error is (0.05)^4 * 2e-4 there."""
SMALLEST_SPLITTING = 1e-5
"""... and pairs closer than this (eV) at any temperature, where the direct form loses digits."""


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


# -- eigenstates -------------------------------------------------------------------------------------


def assemble(blocks: Complexes) -> Complexes:
    """Spinor matrix from its blocks up-up, up-down, down-down: (3, ..., n, n) -> (..., 2n, 2n)."""
    up, mixed, down = blocks
    lower = mixed.conj().swapaxes(-1, -2)
    return np.concatenate(
        [np.concatenate([up, mixed], axis=-1), np.concatenate([lower, down], axis=-1)],
        axis=-2,
    )


def spinor_blocks(diagonal: Complexes, spin_orbit: Complexes, xi: float) -> Complexes:
    """Blocks of X + xi X^SOI where X, shape (2, ...), is diagonal in spin."""
    return np.stack([diagonal[0] + xi * spin_orbit[0], xi * spin_orbit[1], diagonal[1] + xi * spin_orbit[2]])


def band_energies(operators: Operators, spin_orbit: SpinOrbit | None, xi: float) -> Floats:
    """Eigenvalues of Hbar + xi V, shape (k, 2n), eV; without spin_orbit those of Hbar, up then down."""
    if spin_orbit is None:
        up, down = np.linalg.eigvalsh(operators.hamiltonian)
        return np.concatenate([up, down], axis=-1)
    blocks = spinor_blocks(operators.hamiltonian, spin_orbit.interaction, xi)
    return np.asarray(np.linalg.eigvalsh(assemble(blocks)), dtype=np.float64)


# -- coefficients ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Nearly degenerate pairs of one batch: energies (pairs,) and the antisymmetric elements (pairs, ...)."""

    lower: Floats
    upper: Floats
    elements: Floats


@dataclasses.dataclass(frozen=True)
class Coefficients:
    """What one batch contributes before occupations are known.

    Parameters
    ----------
    energies : ndarray, shape (k, bands)
    of_f, of_g : ndarray, shape (k, bands, ...)
        Coefficients of f_n and g_n; of_g None where no g enters.
    pairs : Pairs or None
        What nearly equal energies contribute, to be weighted by `pair_weight`.
    """

    energies: Floats
    of_f: Floats
    of_g: Floats | None
    pairs: Pairs | None

    def divided(self, number: float) -> Coefficients:
        """Every coefficient divided by `number`."""
        return Coefficients(
            self.energies,
            self.of_f / number,
            None if self.of_g is None else self.of_g / number,
            None if self.pairs is None else dataclasses.replace(self.pairs, elements=self.pairs.elements / number),
        )


def dmi_and_spin_current(
    operators: Operators, spin_orbit: SpinOrbit, xi: float, threshold: float
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

    Returns
    -------
    dmi, current : Coefficients
        Trailing axes: spin component (2 for D, for D.n = 0; 3 for Q), direction j; eV*Angstrom.
    """
    n = operators.overlap.shape[-1]
    h_up, h_down = operators.hamiltonian
    overlap = operators.overlap
    energies, states = np.linalg.eigh(assemble(spinor_blocks(operators.hamiltonian, spin_orbit.interaction, xi)))
    up, down = states[..., :n, :], states[..., n:, :]
    velocity = assemble(spinor_blocks(operators.velocity, spin_orbit.velocity, xi))
    v_states = velocity @ states  # (d, k, 2n, 2n)
    v_bands = states.conj().swapaxes(-1, -2) @ v_states

    # Torque T = (i/2)[Hbar, sigma]: with tau = (i/2)(H_u O - O H_d), T_x has the up-down block tau and
    # T_y the block -i tau, so with X = U_u^+ tau U_d between bands T_x = X + X^+, T_y = -i X + i X^+.
    tau = 0.5j * (h_up @ overlap - overlap @ h_down)
    torque = up.conj().swapaxes(-1, -2) @ (tau @ down)
    dmi = _berry_coefficients(energies, torque, v_bands, threshold)

    # Q_ij = (1/4) sum_n f_n <n|{sigma_i, hbar v_j}|n> = (1/2) sum_n f_n Re <sigma_i n|hbar v_j n>
    flipped_up, flipped_down = overlap @ down, overlap.conj().swapaxes(-1, -2) @ up
    upper = np.einsum("kab,dkab->kbd", flipped_up.conj(), v_states[..., :n, :])
    lower = np.einsum("kab,dkab->kbd", flipped_down.conj(), v_states[..., n:, :])
    along = np.einsum("kab,dkab->kbd", up.conj(), v_states[..., :n, :])
    along -= np.einsum("kab,dkab->kbd", down.conj(), v_states[..., n:, :])
    # sigma_y|n> = (-i O U_d, i O^+ U_u)
    spin = np.stack([(upper + lower).real, (lower - upper).imag, along.real], axis=-2)
    return dmi, Coefficients(energies, 0.5 * spin, None, None)


def _berry_coefficients(energies: Floats, torque: Complexes, v_bands: Complexes, threshold: float) -> Coefficients:
    """D_ij = sum_nm W_nm Im[T_i,nm (hbar v_j)_mn] with the antisymmetric weight W_nm.

        W_nm = (1/2) { (f_n + f_m)/(E_m - E_n) + 2 (g_n - g_m)/(E_m - E_n)^2 }.

    Im[T_nm v_mn] is antisymmetric too, so D = sum_n f_n sum_m Y_nm/(E_m - E_n) + g_n sum_m 2 Y_nm/(E_m - E_n)^2.
    With c_nm = X_nm v_mn: Y_x = Im(c_nm - c_mn), Y_y = -Re(c_nm - c_mn).
    """
    difference = energies[:, None, :] - energies[:, :, None]
    near = np.abs(difference) < threshold
    inverse = np.where(near, 0.0, 1.0 / np.where(near, 1.0, difference))
    product = torque * v_bands.conj()  # (d, k, n, m); v_mn = conj(v_nm)
    first = product * inverse
    second = first * inverse
    of_f = first.sum(-1) + first.sum(-2)
    of_g = 2 * (second.sum(-1) - second.sum(-2))
    k, lower, upper = np.nonzero(np.triu(near, 1))
    antisymmetric = product[:, k, lower, upper] - product[:, k, upper, lower]
    pairs = Pairs(energies[k, lower], energies[k, upper], _cartesian_torque(antisymmetric))
    return Coefficients(energies, _cartesian_torque(of_f), _cartesian_torque(of_g), pairs)


def _cartesian_torque(values: Complexes) -> Floats:
    """Complex sums of c_nm, axes (d, ...), to real ones (..., component x and y of the spin frame, d)."""
    moved = np.moveaxis(values, 0, -1)
    return np.stack([moved.imag, -moved.real], axis=-2)


def first_order_dmi(operators: Operators, spin_orbit: SpinOrbit, step: float, threshold: float) -> Coefficients:
    """D(1) = dD/dxi at xi = 0, from the torque form (Eq. 2) itself.

    To first order only the spin-flip part of V enters (T flips the spin, vbar does not), and with that part
    alone D(-xi) = -D(xi) exactly: sigma_z turns H(xi) into H(-xi) and T into -T. So D(step)/step is right
    to second order in `step` at the cost of one diagonalisation.

    Parameters
    ----------
    step : float
        Dimensionless, small against kT / (strength of V).

    Returns
    -------
    Coefficients
        As `dmi_and_spin_current`'s first.
    """
    flip = np.array([0.0, 1.0, 0.0])
    interaction = spin_orbit.interaction * flip[:, None, None, None]
    velocity = spin_orbit.velocity * flip[:, None, None, None, None]
    dmi, _ = dmi_and_spin_current(operators, SpinOrbit(interaction, velocity), step, threshold)
    return dmi.divided(step)


@dataclasses.dataclass(frozen=True)
class Collinear:
    """Eigenstates of Hbar, up and down apart, and what the first order needs between them.

    Parameters
    ----------
    energies : ndarray, shape (2, k, n)
    states : ndarray, shape (2, k, n, n)
    overlap : ndarray, shape (k, n, n)
        <n up|m down>.
    velocity : ndarray, shape (2, d, k, n, n)
        hbar vbar between the bands of one spin.
    """

    energies: Floats
    states: Complexes
    overlap: Complexes
    velocity: Complexes

    @classmethod
    def of(cls, operators: Operators) -> Collinear:
        """Diagonalise Hbar at a batch of k points."""
        energies, states = np.linalg.eigh(operators.hamiltonian)
        bras = states.conj().swapaxes(-1, -2)
        overlap = bras[0] @ operators.overlap @ states[1]
        velocity = bras[:, None] @ operators.velocity @ states[:, None]
        return cls(energies, states, overlap, velocity)


def decomposition(bands: Collinear, spin_orbit: SpinOrbit, threshold: float) -> tuple[Coefficients, Coefficients]:
    """a(I) (Eq. 22) and a(II) (Eq. 23) from Hbar's eigenstates.

    Parameters
    ----------
    bands : Collinear
    spin_orbit : SpinOrbit
        V and v^SOI of one direction and mask.
    threshold : float
        Splitting below which (f_n - f_m)/(E_n - E_m) is taken as its limit, eV.

    Returns
    -------
    first, second : Coefficients
        Bands: up, then down; trailing axes spin component (3), direction j; eV*Angstrom.
    """
    bra_up, bra_down = bands.states.conj().swapaxes(-1, -2)
    up, down = bands.states
    v_up, v_down = bands.velocity
    overlap = bands.overlap
    mixed = bra_up @ spin_orbit.interaction[1] @ down
    # {sigma_x, vbar} between up n and down m is Z = v_u O + O v_d, {sigma_y, vbar} is -i Z, and both orders
    # of (n, m) count: 2 Re[Z conj(V)] and 2 Im[Z conj(V)].
    product = (v_up @ overlap + overlap @ v_down) * mixed.conj()
    flip = 2 * np.stack([product.real, product.imag])  # (spin component, d, k, n up, m down)
    # {sigma_z, vbar} = +-2 vbar within one spin.
    along_up = 2 * (v_up * (bra_up @ spin_orbit.interaction[0] @ up).conj()).real
    along_down = -2 * (v_down * (bra_down @ spin_orbit.interaction[2] @ down).conj()).real
    e_up, e_down = bands.energies
    parts = [
        _difference_quotient(e_up, e_down, flip, threshold),
        _difference_quotient(e_up, e_up, along_up[None], threshold),
        _difference_quotient(e_down, e_down, along_down[None], threshold),
    ]
    first = _collect(parts, bands.energies)

    # a(II): {sigma_x, v}_uu = v_ud O^+ + h.c., {sigma_y, v}_uu = i v_ud O^+ + h.c.,
    #        {sigma_x, v}_dd = O^+ v_ud + h.c., {sigma_y, v}_dd = i O^+ v_ud + h.c., {sigma_z, v} = +-2 v.
    v_uu, v_ud, v_dd = spin_orbit.velocity
    between = bra_up @ v_ud @ down
    on_up = np.einsum("dknm,knm->knd", between, overlap.conj())
    on_down = np.einsum("dknm,knm->kmd", between, overlap.conj())
    z_up = np.einsum("kan,dkab,kbn->knd", up.conj(), v_uu, up, optimize=True).real
    z_down = -np.einsum("kan,dkab,kbn->knd", down.conj(), v_dd, down, optimize=True).real
    spin_up = np.stack([on_up.real, -on_up.imag, z_up], axis=-2)
    spin_down = np.stack([on_down.real, -on_down.imag, z_down], axis=-2)
    of_f = -0.25 * 2 * np.concatenate([spin_up, spin_down], axis=1)
    return first, Coefficients(first.energies, of_f, None, None)


def _difference_quotient(
    left: Floats, right: Floats, elements: Floats, threshold: float
) -> tuple[Floats, Floats, Pairs]:
    """sum_nm (f_n - f_m)/(E_n - E_m) G_nm, as coefficients of f_n, of f_m and the pairs of nearly equal energies.

    Returns
    -------
    of_left, of_right : ndarray, shape (k, n, component, d)
    pairs : Pairs
        Elements (pairs, component, d), to be weighted by f'.
    """
    difference = left[:, :, None] - right[:, None, :]
    near = np.abs(difference) < threshold
    inverse = np.where(near, 0.0, 1.0 / np.where(near, 1.0, difference))
    quotient = elements * inverse
    of_left = np.moveaxis(quotient.sum(-1), (0, 1), (-2, -1))
    of_right = -np.moveaxis(quotient.sum(-2), (0, 1), (-2, -1))
    k, n, m = np.nonzero(near)
    pairs = Pairs(left[k, n], right[k, m], np.moveaxis(elements[:, :, k, n, m], -1, 0))
    return of_left, of_right, pairs


def _collect(parts: list[tuple[Floats, Floats, Pairs]], energies: Floats) -> Coefficients:
    """a(I)'s coefficients over up, then down bands, with components x, y (flip) and z (within a spin)."""
    (flip_up, flip_down, flip), (uu_left, uu_right, uu), (dd_left, dd_right, dd) = parts
    of_up = np.concatenate([flip_up, uu_left + uu_right], axis=-2)
    of_down = np.concatenate([flip_down, dd_left + dd_right], axis=-2)

    def padded(pairs: Pairs, before: int, after: int) -> Floats:
        return np.pad(pairs.elements, ((0, 0), (before, after), (0, 0)))

    pairs = Pairs(
        np.concatenate([flip.lower, uu.lower, dd.lower]),
        np.concatenate([flip.upper, uu.upper, dd.upper]),
        -0.25 * np.concatenate([padded(flip, 0, 1), padded(uu, 2, 0), padded(dd, 2, 0)]),
    )
    joined = np.concatenate([energies[0], energies[1]], axis=-1)
    return Coefficients(joined, -0.25 * np.concatenate([of_up, of_down], axis=1), None, pairs)


# -- sums --------------------------------------------------------------------------------------------


def occupy(coefficients: Coefficients, mu: Floats, kt: Floats) -> Floats:
    """Sum over k and bands for many chemical potentials and temperatures.

    Parameters
    ----------
    coefficients : Coefficients
    mu, kt : ndarray, shape (m,)
        Chemical potential and k_B T of each evaluation, eV.

    Returns
    -------
    ndarray, shape (m, ...)
        Trailing axes as the coefficients'; eV*Angstrom (not divided by the number of k points).
    """
    energies = coefficients.energies.ravel()
    trailing = coefficients.of_f.shape[2:]
    columns, rows = mu[:, None], kt[:, None]
    result = fermi(energies, columns, rows) @ coefficients.of_f.reshape(len(energies), -1)
    if coefficients.of_g is not None:
        result += grand_potential(energies, columns, rows) @ coefficients.of_g.reshape(len(energies), -1)
    pairs = coefficients.pairs
    if pairs is not None and len(pairs.lower):
        weight = _berry_limit if coefficients.of_g is not None else _quotient_limit
        result += weight(pairs, columns, rows) @ pairs.elements.reshape(len(pairs.lower), -1)
    return result.reshape(len(mu), *trailing)


def _berry_limit(pairs: Pairs, mu: Floats, kt: Floats) -> Floats:
    """2 W_nm for nearly equal energies, both orders of the pair: W = f'' d/12 + f'''' d^3/480, d = E_m - E_n."""
    _, second, _, fourth = fermi_derivatives((pairs.lower + pairs.upper) / 2, mu, kt)
    d = pairs.upper - pairs.lower
    return 2 * (second * d / 12 + fourth * d**3 / 480)


def _quotient_limit(pairs: Pairs, mu: Floats, kt: Floats) -> Floats:
    """(f_n - f_m)/(E_n - E_m) for nearly equal energies: f' + f''' d^2/24, at the middle."""
    first, _, third, _ = fermi_derivatives((pairs.lower + pairs.upper) / 2, mu, kt)
    return first + third * (pairs.upper - pairs.lower) ** 2 / 24


def to_lab(tensor: Floats, frame: Floats) -> Floats:
    """Spin components of the spin frame (2 or 3 of them, axis -2) to x, y, z."""
    result: Floats = np.einsum("bi,...bj->...ij", frame[: tensor.shape[-2]], tensor)
    return result
