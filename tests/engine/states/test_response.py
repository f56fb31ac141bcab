"""The kernels against the formulas written out: explicit spinors, double loops, sixty digits."""

import dataclasses
import decimal
from decimal import Decimal

import numpy as np
import pytest

from aiida_dmi.engine.constants import BOLTZMANN_EV, LOWEST_TEMPERATURE
from aiida_dmi.engine.model.operators import Operators, SpinOrbit
from aiida_dmi.engine.model.spin_frame import in_spin_frame, spin_frame
from aiida_dmi.engine.states.coefficients import (
    EVERY_ENERGY,
    Occupations,
    Pairs,
    Triples,
    berry_limit,
    energy_window,
    occupy,
    quotient_limit,
    slope_limit,
    splitting_threshold,
    triple_limit,
)
from aiida_dmi.engine.states.collinear import Collinear, Splittings
from aiida_dmi.engine.states.divided_differences import fermi, fermi_derivatives, grand_potential
from aiida_dmi.engine.states.spinors import band_energies, spinor, to_lab

from ..theory import dmi_and_spin_current, exact_weight, first_order_dmi, first_part, second_part

PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
DIRECTIONS = [(0, 0, 1), (0, 0, -1), (1, 0, 0), (0, 1, 0), (0.3, -1.2, 0.5), (-0.4, 0.2, -0.8)]


def occupied(coefficients, mu, kt):
    """Sums over the bands at arrays of mu and kT."""
    return occupy(coefficients, Occupations.of(coefficients.energies, np.asarray(mu), np.asarray(kt)))


# -- weights in sixty digits ---------------------------------------------------------------------------


def exact_quotient(lower, upper, mu, kt):
    """(f_n - f_m)/(E_n - E_m)."""
    with decimal.localcontext() as context:
        context.prec = 60
        e_n, e_m, mu, kt = (Decimal(float(x)) for x in (lower, upper, mu, kt))
        f = [1 / (1 + ((e - mu) / kt).exp()) for e in (e_n, e_m)]
        return float((f[0] - f[1]) / (e_n - e_m))


def pair_operators(lower, upper):
    """Two bands of opposite spin at one k point, whose torque and velocity elements are known."""
    half = np.array([lower, upper])
    hamiltonian = half.reshape(2, 1, 1, 1).astype(complex)
    velocity = np.zeros((2, 1, 1, 1, 1), dtype=complex)
    operators = Operators(hamiltonian, velocity, np.zeros_like(velocity), np.ones((1, 1, 1), dtype=complex))
    spin_orbit = SpinOrbit(np.zeros((3, 1, 1, 1), dtype=complex), np.zeros((3, 1, 1, 1, 1), dtype=complex))
    spin_orbit.velocity[1] = 1.0
    return operators, spin_orbit


@pytest.mark.parametrize("temperature", [LOWEST_TEMPERATURE, 0.03, 0.3, 10.0, 300.0, 1500.0])
@pytest.mark.parametrize("splitting", [1e-9, 1e-7, *(x * 10.0**n for n in range(-6, -1) for x in (1, 3)), 0.1])
def test_pair_weight(temperature, splitting):
    """D of two levels from the kernel is W_nm to 1e-6 of its largest size, on both sides of the threshold.

    D = 2 W Im[T v], T = (i/2)(E_n - E_m): dividing by the elements gives the kernel's own W. The limit form is
    right to (0.05)^4 2e-4 = 1e-9, the direct form loses eps E/d^2 = 1e-16/(4e-5)^2 = 1e-7 at the 10 K threshold.
    """
    kt = BOLTZMANN_EV * temperature
    threshold = splitting_threshold(temperature)
    middle = 0.37
    lower, upper = middle - splitting / 2, middle + splitting / 2
    d = upper - lower
    operators, spin_orbit = pair_operators(lower, upper)
    # The velocity alone is of order xi here: V = 0, so xi only scales it.
    dmi, _ = dmi_and_spin_current(operators, spin_orbit, 1.0, threshold)
    mu = middle + kt * np.array([-30.0, -8.0, -3.0, -1.5, -0.5, 0.5, 1.0, 2.0, 5.0, 12.0, 30.0])
    # T_x has the element (i/2)(E_n - E_m) = -(i/2) d between up (lower) and down, so D_x = 2 W (-d/2) = -W d.
    found = occupied(dmi, mu, np.full(len(mu), kt))[:, 0, 0] / -d
    exact = np.array([exact_weight(lower, upper, m, kt) for m in mu])
    scale = np.abs(exact).max()
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-6 * scale)
    if d < 0.1 * kt:
        assert scale == pytest.approx(0.0962 / kt**2 * d / 12, rel=0.1)  # the largest f'' is 0.0962/kT^2


@pytest.mark.parametrize("temperature", [10.0, 300.0, 1500.0])
@pytest.mark.parametrize("depth", [1.0, 10.0])
def test_deep_pairs_leave_no_noise(temperature, depth):
    """Occupied pairs far below mu cancel between f and g: what rounding leaves is 1e-5 of a pair at mu.

    eps depth/d^2 at the smallest directly summed splitting against f'' d/12.
    """
    kt = BOLTZMANN_EV * temperature
    threshold = splitting_threshold(temperature)
    d = 1.01 * threshold
    operators, spin_orbit = pair_operators(-depth, -depth + d)
    dmi, _ = dmi_and_spin_current(operators, spin_orbit, 1.0, threshold)
    assert not len(dmi.berry.lower)
    found = occupied(dmi, [0.0], [kt])[0, 0, 0] / -d
    noise = found - exact_weight(-depth, -depth + d, 0.0, kt)
    assert abs(noise) < 1e-5 * abs(exact_weight(kt, kt + d, 0.0, kt))


def exact_slope(lower, upper, mu, kt):
    """(g_n - g_m)/(E_n - E_m)."""
    with decimal.localcontext() as context:
        context.prec = 60
        e_n, e_m, mu, kt = (Decimal(float(x)) for x in (lower, upper, mu, kt))
        g = [-kt * (1 + (-(e - mu) / kt).exp()).ln() for e in (e_n, e_m)]
        return float((g[0] - g[1]) / (e_n - e_m))


@pytest.mark.parametrize("temperature", [LOWEST_TEMPERATURE, 0.03, 0.3, 10.0, 300.0, 1500.0])
@pytest.mark.parametrize("part", [1e-3, 1e-2, 0.1, 0.5, 1.0])
@pytest.mark.parametrize(
    ("limit", "exact", "scale"),
    [(quotient_limit, exact_quotient, 0.25), (slope_limit, exact_slope, 1.0)],
)
def test_limits_of_quotients(temperature, part, limit, exact, scale):
    """(f_n - f_m)/(E_n - E_m) and (g_n - g_m)/(E_n - E_m) below the threshold, to 1e-8 of f' or f.

    What comes next in the series is f^(5) d^4/1920 and f^(4) d^4/1920: 1e-9 at d = kT/20.
    """
    kt = BOLTZMANN_EV * temperature
    splitting = part * 0.999 * splitting_threshold(temperature)
    lower, upper = np.array([0.2]), np.array([0.2 + splitting])
    pairs = Pairs(lower, upper, np.ones((1, 1, 1)), np.zeros(1, dtype=int))
    mu = 0.2 + kt * np.array([-10.0, -3.0, -1.0, 0.3, 2.0, 7.0])
    found = limit(pairs, mu[:, None], np.full((len(mu), 1), kt))[:, 0]
    expected = [exact(lower[0], upper[0], m, kt) for m in mu]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8 * (scale / kt if scale < 1 else scale))


def exact_triple(energies, mu, kt):
    """g[x, y, z]."""
    with decimal.localcontext() as context:
        context.prec, context.Emax = 60, decimal.MAX_EMAX
        x, y, z, mu, kt = (Decimal(float(e)) for e in (*energies, mu, kt))
        g_x, g_y, g_z = (-kt * (1 + (-(e - mu) / kt).exp()).ln() for e in (x, y, z))
        return float(((g_x - g_y) / (x - y) - (g_y - g_z) / (y - z)) / (x - z))


@pytest.mark.parametrize("temperature", [LOWEST_TEMPERATURE, 0.03, 0.3, 10.0, 300.0])
@pytest.mark.parametrize("distances", [(1.0, 0.9), (0.5, 0.01), (0.3, 0.2), (1e-2, 3e-3), (1e-3, 1e-3)])
@pytest.mark.parametrize("middle", [0.2, -9.0])
def test_weight_of_three_near_levels(temperature, distances, middle):
    """Chains and triples below the threshold, at and far below the Fermi level: to 1e-6 of the largest weight."""
    kt, threshold = BOLTZMANN_EV * temperature, splitting_threshold(temperature)
    energies = middle + np.cumsum([0.0, *distances]) * 0.999 * threshold
    triple = Triples(energies[None, [1, 0, 2]], np.zeros((1, 3)), np.ones((1, 1)), np.zeros(1, dtype=int))
    mu = 0.2 + kt * np.array([-8.0, -2.0, -0.4, 0.0, 1.0, 3.0, 20.0])
    found = triple_limit(triple, mu[:, None], np.full((len(mu), 1), kt))[:, 0]
    expected = [exact_triple(energies, m, kt) for m in mu]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 / (8 * kt))  # f'/2 at mu


def test_limit_of_equal_energies_is_the_derivative():
    kt, energy = 0.03, np.array([0.1])
    pairs = Pairs(energy, energy, np.ones((1, 1, 1)), np.zeros(1, dtype=int))
    mu = np.array([[0.05], [0.12]])
    f = fermi(energy, mu, kt)
    np.testing.assert_allclose(quotient_limit(pairs, mu, np.full((2, 1), kt)), -f * (1 - f) / kt, rtol=1e-12)
    np.testing.assert_allclose(slope_limit(pairs, mu, np.full((2, 1), kt)), f, rtol=1e-12)
    np.testing.assert_allclose(berry_limit(pairs, mu, np.full((2, 1), kt)), 0, atol=1e-15)


def test_fermi_derivatives_against_differences():
    """First to fourth derivative against central differences of the one before."""
    kt, mu = 0.05, 0.1
    energy, step = np.linspace(-0.3, 0.5, 41), 1e-5

    def series(e):
        return (fermi(e, mu, kt), *fermi_derivatives(e, mu, kt))

    plus, minus, middle = series(energy + step), series(energy - step), series(energy)
    for order in range(1, 5):
        numerical = (plus[order - 1] - minus[order - 1]) / (2 * step)
        np.testing.assert_allclose(middle[order], numerical, atol=1e-6 * np.abs(middle[order]).max())


def test_grand_potential_derivative_is_f():
    kt, step = 0.03, 1e-5
    energy = np.linspace(-1.0, 1.0, 41)
    slope = (grand_potential(energy + step, 0.1, kt) - grand_potential(energy - step, 0.1, kt)) / (2 * step)
    np.testing.assert_allclose(slope, fermi(energy, 0.1, kt), atol=1e-7)


def test_occupations_do_not_overflow():
    energy = np.array([-1e3, 0.0, 1e3])
    with np.errstate(all="raise", under="ignore"):
        f = fermi(energy, 0.0, 1e-4)
        g = grand_potential(energy, 0.0, 1e-4)
        both = Occupations.of(energy[None], np.array([0.0]), np.array([1e-4]))
    np.testing.assert_allclose([both.f[0], both.g[0]], [f, g])
    np.testing.assert_allclose(f, [1.0, 0.5, 0.0])
    np.testing.assert_allclose(g, [-1e3, -1e-4 * np.log(2), 0.0])


# -- the formulas with explicit spinor matrices --------------------------------------------------------


class Naive:
    """One k point with spinors and Pauli matrices written out; numpy's eigh picks chi's phases at random."""

    def __init__(self, seed, direction, functions=3, degenerate=False):
        self.random = np.random.default_rng(seed)
        self.n, self.d = functions, 2
        axis = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
        down, up = np.linalg.eigh(np.tensordot(axis, PAULI, axes=1))[1].T
        phases = np.exp(2j * np.pi * self.random.uniform(size=2))
        self.chi = np.array([up * phases[0], down * phases[1]])
        self.direction = direction
        self.bare = [self.hermitian() for _ in range(2)]
        if degenerate:
            # Equal energies between the spins and within one, at levels where the occupation is partial.
            for spin, levels in enumerate(([-0.1, 0.1, 0.1], [-0.1, 0.1, 0.4])):
                unitary = np.linalg.qr(self.hermitian())[0]
                self.bare[spin] = unitary @ np.diag(levels) @ unitary.conj().T
        self.velocity = [[self.hermitian() for _ in range(2)] for _ in range(self.d)]
        self.overlap = np.eye(functions) + 0.3 * self.matrix()
        self.blocks, self.velocity_blocks = self.spin_orbit(), [self.spin_orbit() for _ in range(self.d)]

    def matrix(self):
        return self.random.normal(size=(self.n, self.n)) + 1j * self.random.normal(size=(self.n, self.n))

    def hermitian(self):
        matrix = self.matrix()
        return (matrix + matrix.conj().T) / 2

    def spin_orbit(self):
        """W_alpha in the spin blocks up-up, up-down, down-down."""
        return np.array(
            [
                [self.hermitian() for _ in range(3)],
                [self.matrix() for _ in range(3)],
                [self.hermitian() for _ in range(3)],
            ]
        )

    # What the kernels take
    def operators(self):
        arrays = np.array(self.bare)[:, None], np.array(self.velocity).swapaxes(0, 1)[:, :, None]
        return Operators(*arrays, np.zeros_like(arrays[1]), self.overlap[None])

    def spin_orbit_operators(self):
        frame = spin_frame(self.direction)
        velocity = np.array([in_spin_frame(blocks, frame) for blocks in self.velocity_blocks])
        return SpinOrbit(in_spin_frame(self.blocks, frame)[:, None], velocity.swapaxes(0, 1)[:, :, None])

    # What the formulas take
    def spinor(self, blocks):
        """sum_alpha <chi_s|sigma_alpha|chi_s'> W_alpha,ss' as a 2n x 2n matrix."""
        upper, middle, lower = blocks
        between = np.einsum("sa,iab,tb->ist", self.chi.conj(), PAULI, self.chi)
        uu, ud, dd = (
            np.tensordot(between[:, s, t], w, axes=1) for s, t, w in ((0, 0, upper), (0, 1, middle), (1, 1, lower))
        )
        return np.block([[uu, ud], [ud.conj().T, dd]])

    def diagonal(self, pair):
        zero = np.zeros((self.n, self.n))
        return np.block([[pair[0], zero], [zero, pair[1]]])

    def sigma(self, i):
        blocks = np.array([[np.eye(self.n)], [self.overlap], [np.eye(self.n)]])
        between = np.einsum("sa,ab,tb->st", self.chi.conj(), PAULI[i], self.chi)
        uu, ud, dd = between[0, 0] * blocks[0, 0], between[0, 1] * blocks[1, 0], between[1, 1] * blocks[2, 0]
        return np.block([[uu, ud], [ud.conj().T, dd]])

    def dmi(self, xi, mu, kt):
        """Eqs. 2, 11, 12 in the antisymmetric form."""
        bare = self.diagonal(self.bare)
        energies, u = np.linalg.eigh(bare + xi * self.spinor(self.blocks))
        result = np.zeros((3, self.d))
        for i, j in np.ndindex(3, self.d):
            torque = u.conj().T @ (0.5j * (bare @ self.sigma(i) - self.sigma(i) @ bare)) @ u
            velocity = self.diagonal(self.velocity[j]) + xi * self.spinor(self.velocity_blocks[j])
            v = u.conj().T @ velocity @ u
            for n, m in np.ndindex(2 * self.n, 2 * self.n):
                if abs(energies[m] - energies[n]) > 1e-10:
                    weight = exact_weight(energies[n], energies[m], mu, kt)
                    result[i, j] += weight * (torque[n, m] * v[m, n]).imag
        return result

    def spin_current(self, xi, mu, kt):
        """Eq. 5."""
        energies, u = np.linalg.eigh(self.diagonal(self.bare) + xi * self.spinor(self.blocks))
        f = 1 / (1 + np.exp((energies - mu) / kt))
        result = np.zeros((3, self.d))
        for i, j in np.ndindex(3, self.d):
            velocity = self.diagonal(self.velocity[j]) + xi * self.spinor(self.velocity_blocks[j])
            current = self.sigma(i) @ velocity + velocity @ self.sigma(i)
            result[i, j] = (f * np.einsum("an,ab,bn->n", u.conj(), current, u).real).sum() / 4
        return result

    def decomposition(self, mu, kt):
        """Eqs. 22, 23."""
        energies, u = np.linalg.eigh(self.diagonal(self.bare))
        f = 1 / (1 + np.exp((energies - mu) / kt))
        interaction = u.conj().T @ self.spinor(self.blocks) @ u
        first, second = np.zeros((2, 3, self.d))
        for i, j in np.ndindex(3, self.d):
            sigma, bare_v, soi_v = self.sigma(i), self.diagonal(self.velocity[j]), self.spinor(self.velocity_blocks[j])
            current = u.conj().T @ (sigma @ bare_v + bare_v @ sigma) @ u
            for n, m in np.ndindex(2 * self.n, 2 * self.n):
                if abs(energies[n] - energies[m]) > 1e-10:
                    quotient = exact_quotient(energies[n], energies[m], mu, kt)
                else:
                    quotient = -f[n] * (1 - f[n]) / kt
                first[i, j] -= quotient * (current[n, m] * interaction[m, n]).real / 4
            of_soi = u.conj().T @ (sigma @ soi_v + soi_v @ sigma) @ u
            second[i, j] = -(f * np.diag(of_soi).real).sum() / 4
        return first, second


def evaluate(coefficients, case, mu, kt):
    return to_lab(occupied(coefficients, [mu], [kt])[0], spin_frame(case.direction))


def first_order_terms(case, threshold):
    """Coefficients of D(1), a(I), a(II)."""
    operators, spin_orbit = case.operators(), case.spin_orbit_operators()
    bands = Collinear.of(operators)
    splittings = Splittings.of(bands, threshold)
    return (
        first_order_dmi(bands, splittings, spin_orbit),
        first_part(bands, splittings, spin_orbit),
        second_part(bands, splittings, spin_orbit),
    )


CASES = [
    pytest.param(
        direction, degenerate, id=f"{','.join(map(str, direction))}-{'degenerate' if degenerate else 'generic'}"
    )
    for direction in DIRECTIONS
    for degenerate in (False, True)
]


@pytest.mark.parametrize(("direction", "degenerate"), CASES)
@pytest.mark.parametrize("temperature", [300.0, 5000.0])
def test_dmi_and_spin_current(direction, degenerate, temperature):
    """D and Q with the tensor in the lattice frame. With SOI or (xi = 0) exactly degenerate levels."""
    case, kt = Naive(3, direction, degenerate=degenerate), BOLTZMANN_EV * temperature
    threshold = splitting_threshold(temperature)
    for xi in (0.0, 0.7):
        parts = dmi_and_spin_current(case.operators(), case.spin_orbit_operators(), xi, threshold)
        expected = case.dmi(xi, 0.11, kt), case.spin_current(xi, 0.11, kt)
        for coefficients, exact in zip(parts, expected, strict=True):
            assert np.abs(exact).max() > 1e-3 or xi == 0.0
            found = evaluate(coefficients, case, 0.11, kt)
            np.testing.assert_allclose(found, exact, rtol=0, atol=1e-8 * max(1.0, np.abs(exact).max()))


@pytest.mark.parametrize(("direction", "degenerate"), CASES)
@pytest.mark.parametrize("temperature", [300.0, 5000.0])
def test_decomposition(direction, degenerate, temperature):
    """a(I) and a(II), degenerate levels in one spin and across the spins included."""
    case, kt = Naive(5, direction, degenerate=degenerate), BOLTZMANN_EV * temperature
    threshold = splitting_threshold(temperature)
    _, *parts = first_order_terms(case, threshold)
    for coefficients, exact in zip(parts, case.decomposition(0.11, kt), strict=True):
        assert np.abs(exact).max() > 1e-2
        found = evaluate(coefficients, case, 0.11, kt)
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-8 * np.abs(exact).max())


@pytest.mark.parametrize(("direction", "degenerate"), CASES)
@pytest.mark.parametrize("temperature", [300.0, 5000.0])
def test_first_order_dmi(direction, degenerate, temperature):
    """D(1) against central differences of the naive D(xi), with degenerate levels of Hbar too.

    Two steps extrapolate xi^2 (V/kT)^2 away; rounding of the eigenstates, 1e-15 over the splitting 1e-3 kT that V
    opens, over the step leaves 1e-7.
    """
    case, kt = Naive(7, direction, degenerate=degenerate), BOLTZMANN_EV * temperature
    found, *_ = first_order_terms(case, splitting_threshold(temperature))
    step = 2e-3 * kt

    def slope(xi):
        return (case.dmi(xi, 0.11, kt) - case.dmi(-xi, 0.11, kt)) / (2 * xi)

    exact = (4 * slope(step) - slope(2 * step)) / 3
    np.testing.assert_allclose(evaluate(found, case, 0.11, kt), exact, rtol=0, atol=1e-6 * np.abs(exact).max())


@pytest.mark.parametrize(
    ("up", "down"),
    [
        ([0.0, 0.3, 0.302], [0.003, 0.301, 1.0]),  # pairs and a triple across the spins
        ([0.2, 0.201, 0.2025], [0.2005, 0.8, 0.8015]),  # four levels together
        ([0.2, 0.2, 0.203], [0.2, 0.6, 0.6]),  # exactly equal ones among them
        ([0.0, 0.003, 1.0], [0.007, 0.6, 0.9]),  # a chain: each near to the next, the ends apart
    ],
)
def test_threshold_does_not_matter(up, down):
    """The same levels with the threshold above and below their splittings: limit forms against direct ones.

    kT = 0.1 eV: splittings of 1e-3 eV lose eps/d^2 = 1e-10 (eps/d^3 = 1e-7 where three levels meet) directly, and
    the limits at 5e-3 eV are right to (0.05)^4 2e-4 = 1e-9.
    """
    case, kt = Naive(11, (0.2, 0.5, 0.7)), 0.1
    case.bare = [np.diag(levels).astype(complex) for levels in (up, down)]
    results = []
    for threshold in (1e-5, 4.9e-3):
        dmi, _ = dmi_and_spin_current(case.operators(), case.spin_orbit_operators(), 0.0, threshold)
        terms = (dmi, *first_order_terms(case, threshold))
        results.append([evaluate(coefficients, case, 0.21, kt) for coefficients in terms])
    for one, other, tolerance in zip(*results, (1e-8, 1e-6, 1e-8, 1e-12), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * max(np.abs(one).max(), 1.0))


@pytest.mark.parametrize("mu", [0.1, 0.2, 0.41])
@pytest.mark.parametrize("full", [0, 2])
def test_nearly_equal_levels_of_a_mixed_velocity(full, mu):
    """Pairs within kT/20 beside full bands, at two k points: the limit form of D against sixty digits.

    V = 0 keeps the levels where they are, and v^SOI between the spins gives the pairs a weight; without it D is 0 and
    so is every pair's element. The two lowest levels are full at both points where `full` is 2. As the torque holds
    E_n - E_m, the pairs are no more than 1e-5 of D, so they are compared without the rest of it.
    """
    kt, threshold = 0.1, 4.9e-3
    window = (-2.0, np.inf) if full else EVERY_ENERGY
    levels = [([-3.0, 0.2, 0.203], [-2.5, 0.201, 0.6]), ([-2.8, 0.1, 0.5], [-2.7, 0.102, 0.501])]
    cases = [Naive(seed, (0.2, 0.5, 0.7)) for seed in (31, 37)]
    for case, (up, down) in zip(cases, levels, strict=True):
        case.bare = [np.diag(spin).astype(complex) for spin in (up, down)]
        case.blocks = np.zeros_like(case.blocks)
    each = [(case.operators(), case.spin_orbit_operators()) for case in cases]
    operators = Operators(
        *(
            np.concatenate([getattr(o, name) for o, _ in each], axis=axis)
            for name, axis in (("hamiltonian", 1), ("velocity", 2), ("position", 2), ("overlap", 0))
        )
    )
    spin_orbit = SpinOrbit(
        np.concatenate([s.interaction for _, s in each], axis=1), np.concatenate([s.velocity for _, s in each], axis=2)
    )
    dmi, _ = dmi_and_spin_current(operators, spin_orbit, 1.0, threshold, window)
    # Of 6 bands, so near: 3 pairs among (0.2, 0.201, 0.203) at the first point, 2 at the second.
    assert sorted(dmi.berry.point) == [0, 0, 0, 1, 1]
    assert dmi.berry.elements.shape == (5, 2, 2)
    frame = spin_frame((0.2, 0.5, 0.7))
    weights = np.array([1.0, 3.0])
    occupations = Occupations.of(dmi.energies, np.array([mu]), np.array([kt]), weights)
    found, rest = (
        to_lab(occupy(coefficients, occupations)[0], frame)
        for coefficients in (dmi, dataclasses.replace(dmi, berry=None))
    )
    exact = sum(w * case.dmi(1.0, mu, kt) for w, case in zip(weights, cases, strict=True))
    pairs = exact - rest
    assert 1e-6 < np.abs(pairs).max() < 1e-4 * np.abs(exact).max()
    np.testing.assert_allclose(found - rest, pairs, rtol=0, atol=1e-5 * np.abs(pairs).max())


def test_band_energies():
    case = Naive(13, (1, 2, 3))
    exact = np.linalg.eigvalsh(case.diagonal(case.bare) + 0.7 * case.spinor(case.blocks))
    found = band_energies(case.operators(), case.spin_orbit_operators(), 0.7)[0]
    np.testing.assert_allclose(found, exact, atol=1e-12)
    bare = band_energies(case.operators(), None, 0.0)[0]
    np.testing.assert_allclose(np.sort(bare), np.linalg.eigvalsh(case.diagonal(case.bare)), atol=1e-12)


def test_occupy_every_potential_at_once():
    """Many (mu, kT) in one call are the same as one by one."""
    case = Naive(17, (0, 0, 1))
    dmi, current = dmi_and_spin_current(case.operators(), case.spin_orbit_operators(), 1.0, 1e-3)
    mu, kt = np.array([-0.2, 0.0, 0.3]), np.array([0.02, 0.1, 0.05])
    for coefficients in (dmi, current):
        together = occupied(coefficients, mu, kt)
        single = [occupied(coefficients, mu[i : i + 1], kt[i : i + 1])[0] for i in range(3)]
        np.testing.assert_allclose(together, single, rtol=1e-12)


@pytest.mark.parametrize("degenerate", [False, True])
@pytest.mark.parametrize("shifts", [(-9.0,), (-0.4, 0.0, 0.4), (0.11,), (9.0,)])
def test_window(shifts, degenerate):
    """Leaving out empty bands and pairs of full ones changes nothing, wherever the chemical potentials lie."""
    case, kt = Naive(19, (0.3, 1.0, -0.2), degenerate=degenerate), 2e-3
    mu, threshold = np.array(shifts), splitting_threshold(kt / BOLTZMANN_EV)
    window = energy_window(mu, np.full(len(mu), kt))
    operators, spin_orbit = case.operators(), case.spin_orbit_operators()
    for xi in (0.0, 1.0):
        whole = dmi_and_spin_current(operators, spin_orbit, xi, threshold)
        part = dmi_and_spin_current(operators, spin_orbit, xi, threshold, window)
        bands = [coefficients.energies.shape[1] for coefficients in (*whole, *part)]
        assert bands[2] == bands[3] == np.sum(whole[0].energies[0] <= window[1])
        for every, some in zip(whole, part, strict=True):
            expected = occupied(every, mu, np.full(len(mu), kt))
            np.testing.assert_allclose(
                occupied(some, mu, np.full(len(mu), kt)), expected, rtol=0, atol=1e-11 * max(1, np.abs(expected).max())
            )


@pytest.mark.parametrize("degenerate", [False, True])
@pytest.mark.parametrize("shifts", [(-9.0,), (-0.4, 0.0, 0.4), (0.11,), (9.0,)])
def test_window_of_first_order(shifts, degenerate):
    """The same for a(I) and a(II), wherever the chemical potentials lie."""
    case, kt = Naive(23, (0.3, 1.0, -0.2), degenerate=degenerate), 2e-3
    mu, threshold = np.array(shifts), splitting_threshold(kt / BOLTZMANN_EV)
    window = energy_window(mu, np.full(len(mu), kt))
    bands = Collinear.of(case.operators())
    splittings = Splittings.of(bands, threshold)
    arguments = bands, splittings, case.spin_orbit_operators()
    for quantity in (first_part, second_part):
        expected = occupied(quantity(*arguments), mu, np.full(len(mu), kt))
        found = occupied(quantity(*arguments, window), mu, np.full(len(mu), kt))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * max(1, np.abs(expected).max()))


def test_upper_half_is_enough_for_the_eigenstates():
    """What `spinor` leaves empty is not read."""
    case = Naive(29, (0, 1, 1))
    arguments = case.operators().hamiltonian, case.spin_orbit_operators().interaction, 0.7
    whole, upper = spinor(*arguments), spinor(*arguments, lower=False)
    np.testing.assert_array_equal(whole, whole.conj().swapaxes(-1, -2))
    upper[..., case.n :, : case.n] = np.nan
    exact = np.linalg.eigvalsh(case.diagonal(case.bare) + 0.7 * case.spinor(case.blocks))
    np.testing.assert_allclose(np.linalg.eigvalsh(upper, UPLO="U")[0], exact, atol=1e-12)
