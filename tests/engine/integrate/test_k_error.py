"""The error of a mean over a mesh from its Fourier coefficients, on integrands whose converged mean is known."""

import numpy as np
import pytest

from aiida_dmi.engine import RashbaModel
from aiida_dmi.engine.constants import HBAR2_OVER_2M
from aiida_dmi.engine.integrate.k_error import RESOLVED, band_speeds, fastest, k_error, thermal_decay
from aiida_dmi.engine.kspace.aliases import Aliases

SQUARE = np.eye(3)[:2]


def of_mesh(integrand, n, thermal=0.0):
    """Mean over n x n points, and its KError; the integrand is a tensor of one axis."""
    k = np.zeros((n * n, 3))
    k[:, :2] = np.indices((n, n)).reshape(2, -1).T / n
    values = integrand(k[:, :2])
    aliases = Aliases.of((n, n), SQUARE)
    coefficients = np.tensordot(aliases.cosines(k), values, axes=1) / n**2
    mean = values.mean(axis=0)
    return mean, k_error(coefficients, aliases, 1, mean, np.full(2, thermal))


def poisson(r):
    """sum_R r^|R| exp(2 pi i k R) in each direction: mean 1, coefficients r^(|R_1| + |R_2|)."""

    def kernel(k):
        one = (1 - r**2) / (1 - 2 * r * np.cos(2 * np.pi * k) + r**2)
        return one[:, 0] * one[:, 1]

    return kernel


@pytest.mark.parametrize("n", [30, 45, 64])
def test_covers_and_is_near_the_error(n):
    """F(R) = r^|R|: the error is 4 r^N, what is reported 4 r^((0.4 + 2.44 0.2) N): E_2 at 0.4 N, E_1 at 0.2 N."""
    kernel = poisson(0.8)
    mean, found = of_mesh(lambda k: np.stack([kernel(k), -2 * kernel(k)], axis=1), n)
    true = np.abs(mean - [1.0, -2.0])
    assert (found.error >= true).all()
    assert (found.error < 0.8 ** (-0.13 * n - 4) * true).all()


def test_a_small_component_has_the_tensors_decay():
    """Its near coefficients vanish by chance: alone it would not seem to fall at all."""
    kernel = poisson(0.7)

    def integrand(k):
        return np.stack([kernel(k), 1e-3 * np.cos(2 * np.pi * 18 * k[:, 0])], axis=1)

    _, found = of_mesh(integrand, 40)
    assert np.isfinite(found.error).all()
    assert found.error[1] > 0


def test_a_step_is_not_resolved():
    """Coefficients of a Fermi surface at T = 0 hardly fall: no number is given."""
    _, found = of_mesh(lambda k: (np.cos(2 * np.pi * k).sum(axis=1) > 0.3).astype(float)[:, None], 48)
    assert np.isnan(found.error).all()
    assert found.growth(np.array([1.0])) == 2.0


def test_a_mesh_that_the_fastest_band_outruns_is_not_resolved():
    """However fast the coefficients seem to fall; the next mesh is one on which that band's would have fallen."""
    kernel = poisson(0.6)
    _, found = of_mesh(lambda k: kernel(k)[:, None], 40, thermal=0.7)
    assert np.isnan(found.error).all()
    assert 0.7 ** found.growth(np.array([1.0])) == pytest.approx(RESOLVED)
    _, slow = of_mesh(lambda k: kernel(k)[:, None], 40, thermal=0.5)
    _, fast = of_mesh(lambda k: kernel(k)[:, None], 40, thermal=0.0)
    assert slow.error > 10 * fast.error


def test_fastest_band_near_the_fermi_level():
    """Free electrons: E = k^2/2m at mu = E has the speed hbar^2 k/m; away from mu nothing counts."""
    model = RashbaModel(0.0, 0.0).with_cutoff(1.0)
    k = np.zeros((400, 3))
    k[:, :2] = np.indices((20, 20)).reshape(2, -1).T / 20
    energies, speeds = band_speeds(model.operators(k))
    assert energies.shape == speeds.shape == (400, 2)
    np.testing.assert_allclose(speeds, 2 * np.sqrt(HBAR2_OVER_2M * energies), atol=1e-12)
    assert fastest(energies, speeds, 2.0, 0.01) == pytest.approx(2 * np.sqrt(HBAR2_OVER_2M * 2.0), rel=0.06)
    assert fastest(energies, speeds, -1.0, 0.01) == 0.0
    way = Aliases.of((40, 40), 0.5 * SQUARE).ways[0]
    assert (way.length, way.between) == (20.0, pytest.approx(0.225))
    assert thermal_decay([way], 2.0, 0.01)[0] == pytest.approx(np.exp(-np.pi * 0.01 * 4.5 / 2))
    assert thermal_decay([way], 0.0, 0.01)[0] == 0.0


def test_rounding_is_no_lack_of_resolution():
    """What is converged to the last digit, and what vanishes, has an error, next to none."""
    for integrand in (
        lambda k: np.exp(np.cos(2 * np.pi * k).sum(axis=1))[:, None],
        lambda k: np.zeros((len(k), 1)),
        lambda k: np.ones((len(k), 1)),
    ):
        mean, found = of_mesh(integrand, 90)
        assert found.error[0] <= 1e-10 * max(1.0, abs(mean[0]))


def test_growth_leads_to_what_is_allowed():
    kernel = poisson(0.8)
    _, found = of_mesh(lambda k: kernel(k)[:, None], 30)
    allowed = found.error / 100
    growth = found.growth(allowed)
    assert found.growth(2 * found.error) == 1.0
    _, finer = of_mesh(lambda k: kernel(k)[:, None], int(np.ceil(30 * growth)) + 1)
    assert 0.1 * allowed < finer.error < 1.6 * allowed
