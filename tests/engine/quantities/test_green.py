"""Eqs. 15 and 18 against the band forms: two implementations that share nothing but the operators."""

import itertools

import numpy as np
import pytest

from aiida_dmi.engine import RashbaModel
from aiida_dmi.engine.constants import BOLTZMANN_EV
from aiida_dmi.engine.kspace.interpolation import Interpolation
from aiida_dmi.engine.model.operators import Operators, SpinOrbit
from aiida_dmi.engine.quantities import green
from aiida_dmi.engine.states.coefficients import Occupations, occupy, splitting_threshold
from aiida_dmi.engine.states.collinear import Collinear, Splittings
from aiida_dmi.engine.states.divided_differences import fermi_derivatives
from aiida_dmi.engine.states.spinors import spinor

from ..theory import dmi_and_spin_current, first_order_dmi

DIRECTIONS = [(0, 0, 1), (0.4, -1.0, 0.7)]
TIGHT = 1e-12


def at(batch, k):
    """One k point of Operators or SpinOrbit."""
    return batch.part(slice(k, k + 1))


def occupied(coefficients, mu, kt):
    levels = np.array([mu]), np.array([kt])
    return occupy(coefficients, Occupations.of(coefficients.energies, *levels))[0]


def by_bands(operators, spin_orbit, xi, mu, kt):
    """D of each k point from the band form, shape (k, 2, d)."""
    threshold = splitting_threshold(kt / BOLTZMANN_EV)
    points = [(at(operators, k), at(spin_orbit, k)) for k in range(operators.overlap.shape[0])]
    return np.array([occupied(dmi_and_spin_current(*p, xi, threshold)[0], mu, kt) for p in points])


def first_order_by_bands(operators, spin_orbit, mu, kt):
    """D(1) of each k point from the band form."""
    threshold = splitting_threshold(kt / BOLTZMANN_EV)
    result = []
    for k in range(operators.overlap.shape[0]):
        bands = Collinear.of(at(operators, k))
        splittings = Splittings.of(bands, threshold)
        result.append(occupied(first_order_dmi(bands, splittings, at(spin_orbit, k)), mu, kt))
    return np.array(result)


def assert_agree(found, expected, accuracy):
    """Every k point by itself, against its largest component."""
    scale = np.abs(expected).max(axis=(1, 2), keepdims=True)
    assert (np.abs(found - expected) / scale).max() < accuracy


def prepared(model, direction, kpoints):
    """Operators and spin-orbit interaction at k points, all atoms."""
    source = model if isinstance(model, RashbaModel) else Interpolation(model)
    operators = source.operators(kpoints)
    columns = source.spin_orbit_columns(direction, np.ones(model.atoms))
    return operators, source.spin_orbit(columns, kpoints, operators)


@pytest.fixture(scope="module")
def kpoints():
    """Gamma and five points of no symmetry."""
    points = np.zeros((6, 3))
    points[1:, :2] = np.random.default_rng(4).random((5, 2))
    return points


@pytest.fixture(scope="module", params=DIRECTIONS, ids=str)
def cobalt_platinum(request, copt11, kpoints):
    """Co/Pt at a few k points, and its Fermi energy."""
    return *prepared(copt11, request.param, kpoints), copt11.fermi_energy


# -- the contour -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("accuracy", [1e-4, 1e-8, 1e-12])
@pytest.mark.parametrize("temperature", [10.0, 300.0, 1500.0, 20000.0])
def test_contour_integrates_a_fourth_order_pole(temperature, accuracy):
    """(1/2 pi) Re int dE g(E) i/(E - e + i0)^4 = f''(e)/12: three integrations by parts and Im 1/(x + i0)."""
    kt, mu = BOLTZMANN_EV * temperature, 0.3
    contour = green.Contour.around(mu, kt, 20.0, accuracy)
    for energy in mu + kt * np.array([-3.0, -1.0, 0.5, 2.0]):
        found = (contour.weights * (1j / (contour.points - energy) ** 4).real).sum()
        exact = fermi_derivatives(np.array(energy), mu, kt)[1] / 12
        assert found == pytest.approx(exact, rel=0, abs=10 * accuracy * 0.0962 / kt**2 / 12)


def test_contour_is_short():
    """A spectrum of 40 eV takes 30 points at 300 K, 23 at 1500 K for 1e-8; the poles of f are never touched."""
    for temperature, most in ((300.0, 30), (1500.0, 23)):
        kt = BOLTZMANN_EV * temperature
        contour = green.Contour.around(1.0, kt, 40.0)
        assert len(contour.points) <= most
        assert contour.points.imag.min() > np.pi * kt
        assert (contour.weights > 0).all()
        np.testing.assert_array_equal(contour.points.real, 1.0)


def line_integral(operators, spin_orbit, xi, mu, kt):
    """Re int dE g F of Eq. 15 as it is printed, at one k point, shape (2, d): explicit spinors, the real contour.

    Along E + i eta with eta = pi kT/2, where g and the retarded G are analytic. It starts on the real axis below
    the spectrum: there F is imaginary and g real, so that what lies left of the start has no real part.
    """
    n = operators.overlap.shape[-1]
    hamiltonian = spinor(operators.hamiltonian, spin_orbit.interaction, xi)[0]
    velocity = spinor(operators.velocity, spin_orbit.velocity, xi)[:, 0]
    bare = spinor(operators.hamiltonian, 0 * spin_orbit.interaction, 0.0)[0]
    overlap, zero = operators.overlap[0], np.zeros((n, n))
    sigma = [np.block([[zero, c * overlap], [np.conj(c) * overlap.conj().T, zero]]) for c in (1, -1j)]
    torque = [0.5j * (bare @ s - s @ bare) for s in sigma]
    bottom, top = np.linalg.eigvalsh(hamiltonian)[0] - 0.3, mu + 40 * kt
    eta = np.pi * kt / 2
    corners = [bottom, *(np.linspace(bottom, top, int((top - bottom) / (2 * kt)) + 1) + 1j * eta)]
    x, w = np.polynomial.legendre.leggauss(24)
    total = np.zeros((2, len(velocity)))
    for a, b in itertools.pairwise(corners):
        for z, weight in zip((a + b) / 2 + (b - a) / 2 * x, (b - a) / 2 * w, strict=True):
            g = -kt * np.log1p(np.exp(-(z - mu) / kt)) if z.real > mu else z - mu - kt * np.log1p(np.exp((z - mu) / kt))
            inverse = np.linalg.inv(z * np.eye(2 * n) - hamiltonian)
            slope = -inverse @ inverse
            for i, t in enumerate(torque):
                for j, v in enumerate(velocity):
                    trace = np.trace(t @ inverse @ v @ slope - t @ slope @ v @ inverse)
                    total[i, j] += (weight * g * trace).real
    return total


def test_equation_15_as_printed(film):
    """Integrated along the real axis Eq. 15 is 2 pi times the band form; with 1/2 pi all three agree."""
    model = film(3).model()
    operators, spin_orbit = prepared(model, (0.2, 0.3, 1.0), np.array([[0.13, 0.41, 0.0]]))
    mu, kt = 0.1, BOLTZMANN_EV * 1500
    bands = by_bands(operators, spin_orbit, 1.0, mu, kt)[0]
    printed = line_integral(operators, spin_orbit, 1.0, mu, kt)
    closed = green.dmi_green(operators, spin_orbit, 1.0, mu, kt, TIGHT)[0]
    largest = np.abs(bands).max()
    np.testing.assert_allclose(printed, 2 * np.pi * bands, rtol=0, atol=1e-7 * 2 * np.pi * largest)
    np.testing.assert_allclose(closed, bands, rtol=0, atol=1e-7 * largest)
    np.testing.assert_allclose(closed, printed / (2 * np.pi), rtol=0, atol=1e-9 * largest)
    assert np.abs(printed - bands).max() > 5 * largest


# -- D -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("xi", [0.1, 1.0])
@pytest.mark.parametrize("temperature", [300.0, 1500.0])
def test_green_equals_bands(cobalt_platinum, temperature, xi):
    operators, spin_orbit, mu = cobalt_platinum
    kt = BOLTZMANN_EV * temperature
    found = green.dmi_green(operators, spin_orbit, xi, mu, kt)
    assert_agree(found, by_bands(operators, spin_orbit, xi, mu, kt), 1e-7)


@pytest.mark.parametrize(("accuracy", "bound"), [(1e-3, 1e-3), (1e-6, 1e-6), (1e-10, 1e-8)])
def test_accuracy_is_kept(cobalt_platinum, accuracy, bound):
    """As asked for; the band form itself is good to 1e-8 or so."""
    operators, spin_orbit, mu = cobalt_platinum
    kt = BOLTZMANN_EV * 300
    found = green.dmi_green(operators, spin_orbit, 1.0, mu, kt, accuracy)
    assert_agree(found, by_bands(operators, spin_orbit, 1.0, mu, kt), bound)


@pytest.mark.parametrize("temperature", [300.0, 1500.0])
@pytest.mark.parametrize("mu", [-0.3, 0.0, 0.4])
def test_rashba(temperature, mu):
    """At the edge of both bands and between them; far above the bottom of either nothing is left."""
    model = RashbaModel(alpha=0.8, exchange=1.0).with_cutoff(0.5)
    grid = np.stack(np.meshgrid(np.arange(12), np.arange(12)), axis=-1).reshape(-1, 2) / 12
    operators, spin_orbit = prepared(model, (0, 0, 1), np.pad(grid, ((0, 0), (0, 1))))
    kt = BOLTZMANN_EV * temperature
    found = green.dmi_green(operators, spin_orbit, 1.0, mu, kt)
    expected = by_bands(operators, spin_orbit, 1.0, mu, kt)
    # Points far above mu carry exp(-E/kT) and no digits: what counts is the sum's size.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


def test_no_exchange_no_dmi(film):
    """Torque and D vanish without exchange splitting, whatever V is."""
    operators, spin_orbit = prepared(film(5, exchange=0.0).model(), (0, 0, 1), np.array([[0.2, 0.1, 0.0]]))
    assert np.abs(green.dmi_green(operators, spin_orbit, 1.0, 0.1, 0.1)).max() < 1e-12


# -- D(1) --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [300.0, 1500.0])
def test_first_order_is_the_derivative(cobalt_platinum, temperature):
    """Eq. 18 against the central difference of Eq. 15 in xi, extrapolated once."""
    operators, spin_orbit, mu = cobalt_platinum
    kt = BOLTZMANN_EV * temperature
    step = 0.05 * kt

    def slope(xi):
        up, down = (green.dmi_green(operators, spin_orbit, x, mu, kt, TIGHT) for x in (xi, -xi))
        return (up - down) / (2 * xi)

    expected = (4 * slope(step / 2) - slope(step)) / 3
    assert_agree(green.first_order_green(operators, spin_orbit, mu, kt, TIGHT), expected, 1e-7)


@pytest.mark.parametrize("temperature", [300.0, 1500.0])
def test_first_order_equals_bands(cobalt_platinum, temperature):
    operators, spin_orbit, mu = cobalt_platinum
    kt = BOLTZMANN_EV * temperature
    found = green.first_order_green(operators, spin_orbit, mu, kt)
    assert_agree(found, first_order_by_bands(operators, spin_orbit, mu, kt), 1e-6)


def test_first_order_needs_the_spin_flip_part_only(film):
    """T flips the spin and vbar does not: V's blocks within a spin drop out of D(1)."""
    operators, spin_orbit = prepared(film(6).model(), (1, 0, 0.5), np.array([[0.2, 0.1, 0.0], [0.4, 0.3, 0.0]]))
    flip = np.array([0.0, 1.0, 0.0])
    part = SpinOrbit(
        spin_orbit.interaction * flip[:, None, None, None], spin_orbit.velocity * flip[:, None, None, None, None]
    )
    whole = green.first_order_green(operators, spin_orbit, 0.1, 0.1, TIGHT)
    np.testing.assert_allclose(green.first_order_green(operators, part, 0.1, 0.1, TIGHT), whole, atol=1e-12)


def test_bounds_do_not_depend_on_the_zero_of_energy(film):
    """Shifting H and mu together changes nothing but rounding."""
    operators, spin_orbit = prepared(film(7).model(), (0, 0, 1), np.array([[0.3, 0.2, 0.0]]))
    shifted = Operators(
        operators.hamiltonian + 40 * np.eye(4), operators.velocity, operators.position, operators.overlap
    )
    a = green.dmi_green(operators, spin_orbit, 1.0, 0.1, 0.05)
    b = green.dmi_green(shifted, spin_orbit, 1.0, 40.1, 0.05)
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-10 * np.abs(a).max())
