"""The magnetic Rashba model (Eq. 84) against its closed forms (physics.md: T = 0, m = m_e)."""

import numpy as np
import pytest

from aiida_dmi.engine import RashbaModel, compute
from aiida_dmi.engine.constants import HBAR2_OVER_2M

# At T > 0 the closed form D ~ DeltaV^2/4 - mu^2 becomes its thermal mean: mu^2 + (pi kT)^2/3, a relative change of
# 4e-5 at 20 K for DeltaV = 1 eV, mu = 0. The mesh must resolve the Fermi circles, kT/(hbar v) = 0.0017 eV/2.8 eV A =
# 6e-4/A; averaged over the circle a step of 3e-3/A does to 1e-4. The cutoff only has to hold every occupied state,
# k_F = sqrt(mu + DeltaV/2)/sqrt(3.81) = 0.36/A, a little more with SOI.
KELVIN = 20.0
MESH = 400
PAIR = {"quantities": ["D", "Q"]}
"""Where the first order is not looked at."""


def element(tensor, i="y", j="x"):
    return tensor.sel(i=i, j=j).squeeze(drop=True).values


@pytest.mark.parametrize(
    ("alpha", "d_yx", "q_yx", "cutoff"), [(0.1, 0.261082, -0.261539, 0.5), (1.0, 2.567342, -3.112122, 0.6)]
)
def test_table(alpha, d_yx, q_yx, cutoff):
    result = compute(RashbaModel(alpha, 1.0), MESH, temperatures=[KELVIN], cutoff=cutoff, **PAIR)
    assert element(result.D) == pytest.approx(d_yx, rel=3e-4)
    assert element(result.Q) == pytest.approx(q_yx, rel=3e-4)
    # C_4v with n along z
    assert element(result.D, "x", "y") == pytest.approx(-element(result.D), rel=1e-10)
    assert element(result.Q, "x", "y") == pytest.approx(-element(result.Q), rel=1e-10)
    for i, j in (("x", "x"), ("y", "y"), ("z", "x"), ("z", "y")):
        assert abs(element(result.D, i, j)) < 1e-9
    assert result.D.attrs["units"] == "meV / angstrom"


@pytest.fixture(scope="module")
def shifted():
    """mu across the window in which one band is filled and beyond it, to first order in alpha."""
    shifts = [-0.4, -0.2, 0.0, 0.2, 0.4, 0.8]
    return compute(
        RashbaModel(0.3, 1.0), 600, soi_scales=[0.01], fermi_shifts=shifts, temperatures=[KELVIN], cutoff=0.7
    )


def test_first_order_against_mu(shifted):
    """D_yx = (alpha m/4 pi hbar^2 DeltaV)(DeltaV^2/4 - mu^2): 2.6108 meV/A per eV A at mu = 0; 0 with both filled."""
    mu = shifted.fermi_shift.values
    exact = np.where(np.abs(mu) < 0.5, 1e3 / (8 * np.pi * HBAR2_OVER_2M) * (0.25 - mu**2), 0.0)
    per_alpha = element(shifted.D) / (0.3 * 0.01)
    assert per_alpha[mu == 0] == pytest.approx(2.6108, rel=3e-4)
    np.testing.assert_allclose(per_alpha, exact, atol=3e-4 * exact.max())
    np.testing.assert_allclose(element(shifted.D_1) / 0.3, exact, atol=3e-4 * exact.max())


def test_ratio_of_the_two_parts(shifted):
    """a(I)/a(II) = -(1/2 + mu/DeltaV), and their sum is D(1)."""
    inside = shifted.sel(fermi_shift=slice(-0.4, 0.4))
    ratio = element(inside.a_I) / element(inside.a_II)
    np.testing.assert_allclose(ratio, -(0.5 + inside.fermi_shift.values), atol=1e-3)
    total = element(shifted.a_I + shifted.a_II)
    np.testing.assert_allclose(total, element(shifted.D_1), atol=3e-4 * np.abs(total).max())


def test_both_bands_filled_leave_no_dmi():
    """mu > DeltaV/2 at alpha = 1: D = 0 exactly, while Q stays (third order in alpha)."""
    result = compute(RashbaModel(1.0, 0.4), 400, fermi_shifts=[0.6], temperatures=[50.0], cutoff=0.7, **PAIR)
    assert abs(element(result.D)) < 3e-4 * abs(element(result.Q))
    assert element(result.Q) < -0.5


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_without_exchange(alpha):
    """DeltaV = 0: Q_x = -(m^2 alpha^3/6 pi hbar^4) e_y (Eq. 87) for any mu > 0, D = 0."""
    result = compute(RashbaModel(alpha, 0.0), 400, fermi_shifts=[0.3, 0.6], temperatures=[50.0], cutoff=0.75, **PAIR)
    exact = -1e3 * alpha**3 / (6 * np.pi * (2 * HBAR2_OVER_2M) ** 2)
    np.testing.assert_allclose(element(result.Q), exact, rtol=3e-4)
    np.testing.assert_allclose(element(result.Q, "x", "y"), -exact, rtol=3e-4)
    np.testing.assert_allclose(result.D.values, 0, atol=1e-12)


def test_mass_is_a_unit_of_length():
    """k -> k sqrt(m) with alpha k kept maps one mass onto another; D ~ d^2k dE/dk then scales with sqrt(m)."""
    heavy = compute(RashbaModel(0.1, 1.0), 200, temperatures=[300.0], cutoff=0.6)
    light = compute(RashbaModel(0.1 * np.sqrt(2), 1.0, mass=0.5), 200, temperatures=[300.0], cutoff=0.6 / np.sqrt(2))
    for name in ("D", "Q", "a_I", "a_II", "D_1"):
        np.testing.assert_allclose(light[name].values, heavy[name].values / np.sqrt(2), atol=1e-10)


def test_direction_in_the_plane():
    """n along x: D_xj = 0 and, by the mirror x -> -x, D_yx alone is left; n along y is that turned by 90 degrees."""
    directions = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    result = compute(RashbaModel(0.3, 1.0), 200, temperatures=[300.0], directions=directions, cutoff=0.7, **PAIR)
    along_x, along_y, along_z = (result.D.isel(direction=d).squeeze(drop=True).values for d in range(3))
    # Nearly what n along z gives: to first order in alpha the tensor projected on the plane normal to n.
    assert along_x[1, 0] == pytest.approx(along_z[1, 0], rel=1e-3)
    others = along_x.copy()
    others[1, 0] = 0.0
    np.testing.assert_allclose(others, 0, atol=1e-12)
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(along_y, turn @ along_x @ turn[:2, :2].T, atol=1e-10)


def test_electrons_per_area():
    """Two parabolas: n = m (mu +- DeltaV/2)/(2 pi hbar^2) summed over the filled ones."""
    result = compute(RashbaModel(0.1, 1.0), 400, fermi_shifts=[0.0, 0.8], temperatures=[50.0], cutoff=0.75, **PAIR)
    density = 1 / (4 * np.pi * HBAR2_OVER_2M)
    np.testing.assert_allclose(result.electrons.squeeze().values, [0.5 * density, 1.6 * density], rtol=2e-3)
