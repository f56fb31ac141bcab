"""The Green-function form of the Dzyaloshinskii-Moriya interaction (Eqs. 15 and 18): an independent second route.

No eigenstates, no pairs of bands, no limit forms: only inverses (z - H)^-1. With hbar v in eV*Angstrom and
G(z) = (z - H)^-1 in 1/eV, Eq. 15 reads per k point

    D_ij = (1/2 pi) Re int dE g(E) F_ij(E + i0),    F_ij = Tr[T_i G v_j dG/dE - T_i dG/dE v_j G].

The paper's prefactor 1/hbar is 2 pi too large against its Eqs. 2, 11 and 12 (physics.md); Eq. 18 is right.

The contour. F is analytic in the upper half plane and falls off as z^-4 (its z^-3 terms cancel); g is analytic on
either side of the line Re z = mu, where from the n-th pole z_n = mu + i omega_n of f on, omega_n = (2n + 1) pi kT,
n = 0, 1, .., its two sides differ:

    g_left(mu + iy) - g_right(mu + iy) = 2 pi i kT N(y),    N(y) the number of omega_n below y.

g grows as z on the left and vanishes on the right, so g F falls off as z^-3 and the real axis left of mu can be
turned by a large arc, which contributes nothing, into the left side of that line, the real axis right of mu into
its right side. The bottom of the spectrum never appears. What remains is real arithmetic on a smooth function:

    D_ij = kT int_0^inf dy N(y) Re F_ij(mu + iy) = kT sum_n int_(omega_n)^inf dy Re F_ij(mu + iy).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh_tridiagonal

from ..model.operators import Operators, SpinOrbit
from ..states.coefficients import Occupations
from ..states.spinor_states import SpinorStates
from ..states.spinors import assemble, spinor
from .quantity import FiniteOrder

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

ACCURACY = 1e-8
"""Relative error that the number of contour points is chosen for."""
STEPS = 400
"""Steps of N(y) that are resolved; beyond them N(y) = y/(2 pi kT) on average, wrong by 1e-2/STEPS^3 of the rest."""


@dataclasses.dataclass(frozen=True)
class Contour:
    """Points z on the line Re z = mu and real weights: kT int dy N(y) Re F(mu + iy) = sum_p weights_p Re F(z_p).

    Parameters
    ----------
    points : ndarray, shape (p,), complex
        eV.
    weights : ndarray, shape (p,)
        eV^2.
    """

    points: Complexes
    weights: Floats

    @classmethod
    def around(cls, mu: float, kt: float, width: float, accuracy: float = ACCURACY) -> Contour:
        """One Gauss rule for the staircase N(y), for spectra within `width` of mu.

        The poles of F(mu + iy) lie at y = i(mu - E), |E - mu| <= width. With y = width/sinh(s) infinity becomes
        s = 0, pi kT becomes s = S = arsinh(width/pi kT), and all these poles lie on Im s = pi/2 (mod pi):
        a polynomial in s converges as rho^-m with m points a factor rho^2, rho = exp(arsinh(pi/S)). The powers of
        y that F falls off with are divided out by (1 + y^2/width^2)^2 and put into the weight.

        Parameters
        ----------
        mu, kt : float
            Chemical potential and k_B T, eV.
        width : float
            At least the largest |E - mu| of the spectrum, eV; a bound that is too large by 2 costs a point or two.
        accuracy : float
            Relative error asked for.
        """
        lowest = math.pi * kt
        # For spectra narrower than kT the poles stay away by themselves; s must only keep its direction.
        width = max(width, 2 * lowest)
        span = math.asinh(width / lowest)
        # Near the line of poles F grows like a power of width/kT: one such factor was measured.
        digits = math.log(1 / accuracy) + math.log(width / lowest)
        count = math.ceil(digits / (2 * math.asinh(math.pi / span))) + 1
        s, measure = _staircase(kt, width, 2 * count)
        nodes, weights = _gauss(s, measure, count)
        y = width / np.sinh(nodes)
        return cls(np.asarray(mu + 1j * y, dtype=np.complex128), kt * weights * (1 + (y / width) ** 2) ** 2)


def _staircase(kt: float, width: float, degree: int) -> tuple[Floats, Floats]:
    """Discrete measure in s equal to N(y) dy/(1 + y^2/width^2)^2 for polynomials of `degree` in s.

    Step n is integrated by itself. Behind the last one N(y) is replaced by y/(2 pi kT), from the point of that step,
    1/sqrt(12) past its middle, where the two have the same integral to second order in kT.
    """
    step = 2 * math.pi * kt
    edges = width / ((np.arange(STEPS + 1) + 0.5) * step)
    edges[-1] = width / ((STEPS + 1 / math.sqrt(12)) * step)
    edges = np.arcsinh(edges)
    nodes, weights = np.polynomial.legendre.leggauss(degree)
    # Steps narrow quickly in s: far fewer points do for the later ones.
    few_nodes, few_weights = np.polynomial.legendre.leggauss(max(4, degree // 4))
    parts = []
    for n, (upper, lower) in enumerate(itertools.pairwise(edges)):
        x, w = (nodes, weights) if n < 8 else (few_nodes, few_weights)
        parts.append((lower + (upper - lower) * (x + 1) / 2, (upper - lower) / 2 * w, np.full(len(x), n + 1.0)))
    tail = edges[-1] * (nodes + 1) / 2
    parts.append((tail, edges[-1] / 2 * weights, width / np.sinh(tail) / step))
    s, ds, number = (np.concatenate(column) for column in zip(*parts, strict=True))
    # dy = width cosh/sinh^2 ds, 1 + y^2/width^2 = cosh^2/sinh^2
    return s, number * ds * width * np.sinh(s) ** 2 / np.cosh(s) ** 3


def _gauss(nodes: Floats, weights: Floats, count: int) -> tuple[Floats, Floats]:
    """Gauss rule of `count` points for a discrete measure: Lanczos, then Golub and Welsch."""
    total = weights.sum()
    basis = [np.sqrt(weights / total)]
    diagonal, off = np.empty(count), np.empty(count)
    for j in range(count):
        vector = nodes * basis[j]
        diagonal[j] = basis[j] @ vector
        # Orthogonalised against all of them, twice: the three-term recurrence alone loses it.
        for _ in range(2):
            vector = vector - np.asarray(basis).T @ (np.asarray(basis) @ vector)
        off[j] = np.linalg.norm(vector)
        basis.append(vector / off[j])
    points, states = eigh_tridiagonal(diagonal, off[:-1])
    return points, total * states[0] ** 2


def dmi_green(
    operators: Operators, spin_orbit: SpinOrbit, xi: float, mu: float, kt: float, accuracy: float = ACCURACY
) -> Floats:
    """D of H = Hbar + xi V from Green functions (Eq. 15 with the prefactor 1/2 pi).

    Parameters
    ----------
    operators, spin_orbit
        At a batch of k points.
    xi : float
        Scale of the spin-orbit interaction.
    mu, kt : float
        Chemical potential and k_B T, eV.
    accuracy : float
        Relative error that the contour is chosen for.

    Returns
    -------
    ndarray, shape (k, 2, d)
        Components along e_1, e_2 of the spin frame (D.n = 0); eV*Angstrom, of each k point by itself; the sum
        over k is that of `dmi.Dmi`.

    Notes
    -----
    dG/dE = -G^2, so with X_i = G T_i G the trace is F_ij = Tr([X_i, G] v_j).
    """
    hamiltonian = spinor(operators.hamiltonian, spin_orbit.interaction, xi)
    velocity = spinor(operators.velocity, spin_orbit.velocity, xi)
    torque = _torque(operators)

    def integrand(green: Complexes) -> Floats:
        dressed = green @ torque @ green
        return _traces(_commutator(dressed, green), velocity)

    return _integrate(integrand, hamiltonian, mu, kt, accuracy)


def first_order_green(
    operators: Operators, spin_orbit: SpinOrbit, mu: float, kt: float, accuracy: float = ACCURACY
) -> Floats:
    """D(1) = dD/dxi at xi = 0 from Green functions of Hbar (Eq. 18), exact in xi.

    Parameters
    ----------
    operators, spin_orbit
        At a batch of k points.
    mu, kt : float
        Chemical potential and k_B T, eV.
    accuracy : float
        Relative error that the contour is chosen for.

    Returns
    -------
    ndarray, shape (k, 2, d)
        As `dmi_green`.

    Notes
    -----
    dG = G V G and dX_i = G V X_i + X_i V G, hence

        F(1)_ij = Tr([G V X_i + X_i V G, G] vbar_j + [X_i, G V G] vbar_j + [X_i, G] v_j^SOI):

    Eq. 18's six terms with four Green functions and V, and its two with v^SOI, after cyclic permutation.
    """
    zero = np.zeros_like(spin_orbit.interaction)
    hamiltonian = spinor(operators.hamiltonian, zero, 0.0)
    velocity = spinor(operators.velocity, np.zeros_like(spin_orbit.velocity), 0.0)
    interaction, soi_velocity = assemble(spin_orbit.interaction), assemble(spin_orbit.velocity)
    torque = _torque(operators)

    def integrand(green: Complexes) -> Floats:
        left, right = green @ interaction, interaction @ green
        dressed = green @ torque @ green
        change = _commutator(left @ dressed + dressed @ right, green) + _commutator(dressed, left @ green)
        return _traces(change, velocity) + _traces(_commutator(dressed, green), soi_velocity)

    return _integrate(integrand, hamiltonian, mu, kt, accuracy)


def _integrate(
    integrand: Callable[[Complexes], Floats], hamiltonian: Complexes, mu: float, kt: float, accuracy: float
) -> Floats:
    """Sum of weights_p Re F[G(z_p)] over the contour."""
    identity = np.eye(hamiltonian.shape[-1])
    # The largest row sum of |H - mu| bounds every |E - mu| without diagonalising.
    width = float(np.abs(hamiltonian - mu * identity).sum(axis=-1).max())
    contour = Contour.around(mu, kt, width, accuracy)
    parts = [
        weight * integrand(np.linalg.inv(z * identity - hamiltonian))
        for z, weight in zip(contour.points, contour.weights, strict=True)
    ]
    return np.asarray(np.sum(parts, axis=0), dtype=np.float64)


def _torque(operators: Operators) -> Complexes:
    """T_i = (i/2)[Hbar, sigma_i] along e_1 and e_2, shape (2, k, 2n, 2n), eV: off-diagonal in spin.

    Up-down block tau = (i/2)(H_u O - O H_d) of T_x, -i tau of T_y.
    """
    h_up, h_down = operators.hamiltonian
    tau = 0.5j * (h_up @ operators.overlap - operators.overlap @ h_down)
    zero = np.zeros_like(tau)
    return np.stack([assemble(np.stack([zero, factor * tau, zero])) for factor in (1, -1j)])


def _commutator(left: Complexes, right: Complexes) -> Complexes:
    return np.asarray(left @ right - right @ left)


def _traces(matrices: Complexes, velocity: Complexes) -> Floats:
    """Re Tr[M_i v_j], shape (k, 2, d)."""
    return np.asarray(np.einsum("ikab,jkba->kij", matrices, velocity, optimize=True).real, dtype=np.float64)


class GreenDmi(FiniteOrder):
    """D from Green functions on a complex contour: an independent second way, some twenty times slower."""

    name = "D"
    title = "Dzyaloshinskii-Moriya interaction, Green functions (Eq. 15)"
    method = "green"

    def coefficients(self, states: SpinorStates) -> SpinorStates:
        """There are none: a Green function knows no bands."""
        return states

    def summed(self, coefficients: SpinorStates, occupations: Occupations) -> Floats:
        """Each chemical potential has a contour of its own; components e_1 and e_2 of the spin frame."""
        return np.stack(
            [
                np.tensordot(occupations.weights, self.integrand(coefficients, float(mu), float(kt)), axes=1)
                for mu, kt in zip(occupations.mu, occupations.kt, strict=True)
            ],
            axis=occupations.weights.ndim - 1,
        )

    def integrand(self, coefficients: SpinorStates, mu: float, kt: float) -> Floats:
        """See `dmi_green`."""
        return dmi_green(coefficients.operators, coefficients.spin_orbit, coefficients.xi, mu, kt)


QUANTITIES = (GreenDmi(),)
