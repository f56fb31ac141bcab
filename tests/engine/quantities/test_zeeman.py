"""Spin misalignment and its energy in the spin-orbit field (Sec. III A)."""

import dataclasses

import numpy as np
import pytest

from aiida_dmi.engine import RashbaModel, compute
from aiida_dmi.engine.constants import HBAR2_OVER_2M
from aiida_dmi.engine.kspace.interpolation import Interpolation
from aiida_dmi.engine.maps.k_map import k_map

EVERYTHING = ["misalignment", "misalignment_band", "zeeman", "zeeman_band", "zeeman_field", "spin_orbit_field", "a_I"]


@pytest.mark.parametrize("exchange", [0.8, -0.8])
def test_misalignment_of_the_rashba_model(exchange):
    """Eqs. 60, 76: J_j = -s hbar v_j/(2 dE), exact for a rigid shift; s = 1 for the minority, whichever spin it is."""
    result = k_map(RashbaModel(0.0, exchange), 8, ["misalignment_band"], cutoff=0.6)
    velocity = 2 * HBAR2_OVER_2M * np.stack([result.kx, result.ky], axis=-1)
    expected = -result.spin_index.values[:, None] * velocity[:, None] / (2 * abs(exchange))
    np.testing.assert_allclose(result.misalignment_band, expected, atol=1e-12)
    assert np.abs(expected).max() > 1
    minority = result.attrs["minority"]
    assert minority == ("up" if exchange > 0 else "down")
    assert (result.spin_index == np.where(result.channel == minority, 1, -1)).all()


def test_figure_1():
    """For q < 0: minority electrons with v_x < 0 have S_y < 0, those with v_x > 0 S_y > 0; majority the opposite."""
    result = k_map(
        RashbaModel(0.0, 1.0), kpoints=[[-0.2, 0.0], [0.2, 0.0]], quantities=["misalignment_band"], cutoff=0.5
    )
    spin_y = -1.0 * result.misalignment_band.sel(j="x")  # q = -1
    minority, majority = (spin_y.values[:, result.spin_index.values == s][:, 0] for s in (1, -1))
    assert (np.sign(minority) == [-1, 1]).all()
    assert (np.sign(majority) == [1, -1]).all()


def test_misalignment_of_many_bands_with_a_rigid_shift(film):
    """Eq. 76 for a film of four functions a spin whose spins differ by 0.7 eV: every band with its own velocity."""
    shift = 0.7
    rigid = dataclasses.replace(film(3), exchange=np.full(4, shift / 2))
    result = k_map(rigid.model(), 5, ["misalignment_band", "misalignment"], temperature=1000.0)
    operators = Interpolation(rigid.model()).operators(result.k_fractional.values)
    _, states = np.linalg.eigh(operators.hamiltonian)
    velocity = np.einsum("skan,sdkab,skbn->sknd", states.conj(), operators.velocity, states).real
    expected = -np.concatenate([velocity[0], -velocity[1]], axis=1) / (2 * shift)
    np.testing.assert_allclose(result.misalignment_band, expected, atol=1e-10)
    # Eq. 80: odd in k, so nothing is left of the sum over the Brillouin zone.
    assert np.abs(result.misalignment).max() > 0.05
    np.testing.assert_allclose(result.misalignment.mean("k"), 0, atol=1e-12)


@pytest.mark.parametrize("axis", [0, 1])
def test_misalignment_against_the_spiral_hamiltonian(film, axis):
    """Eq. 49 diagonalised: <sigma_i>/2 of Hbar - (q/4){sigma_i, hbar vbar_x} over q, i = x or y, small q."""
    model = film(5).model()
    kpoints = np.array([[0.13, 0.29, 0.0], [-0.4, 0.21, 0.0]])
    operators = Interpolation(model).operators(kpoints)
    n = model.functions
    sigma = np.kron([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]]][axis], np.eye(n))
    zero = np.zeros((len(kpoints), n, n))
    hamiltonian, velocity = (
        np.block([[up, zero], [zero, down]]) for up, down in (operators.hamiltonian, operators.velocity[:, 0])
    )
    q = 1e-4
    spins = []
    for sign in (1, -1):
        _, states = np.linalg.eigh(hamiltonian - sign * q / 4 * (sigma @ velocity + velocity @ sigma))
        spins.append(0.5 * np.einsum("kan,ab,kbn->kn", states.conj(), sigma, states).real)
    slope = (spins[0] - spins[1]) / (2 * q)
    result = k_map(model, kpoints=kpoints, quantities=["misalignment_band"])
    ours = np.take_along_axis(
        result.misalignment_band.sel(j="x").values, np.argsort(result.energy.values, axis=1), axis=1
    )
    np.testing.assert_allclose(ours, slope, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("direction", [(0, 0, 1), (0.3, -0.2, 1.0), (1, 0, 0)])
def test_energy_in_the_spin_orbit_field_is_a_one(film, direction):
    """Eq. 66 = a(I) at every k, normal to n, also where spin-up and spin-down bands cross."""
    result = k_map(film(2).model(), 12, EVERYTHING, temperature=2000.0, direction=direction, mask=[1.0, 0.4])
    n = np.array(direction) / np.linalg.norm(direction)
    normal = np.eye(3) - np.outer(n, n)
    np.testing.assert_allclose(normal @ result.zeeman.values, normal @ result.a_I.values, atol=1e-9)
    assert np.abs(result.a_I).max() > 10


def test_bands_add_up(film):
    """sum_n f_n of the band-resolved quantities is their sum where no energies are nearly equal."""
    result = k_map(film(2).model(), kpoints=[[0.11, 0.37], [0.3, -0.2]], quantities=EVERYTHING, temperature=300.0)
    energies = np.sort(result.energy.values, axis=1)
    assert np.diff(energies, axis=1).min() > 0.05 * 0.026
    f = 1 / (1 + np.exp((result.energy - result.attrs["mu"]) / (8.617333262e-5 * 300)))
    np.testing.assert_allclose((f * result.misalignment_band).sum("band"), result.misalignment, atol=1e-12)
    np.testing.assert_allclose((f * result.zeeman_band).sum("band"), result.zeeman, atol=1e-9)


def test_along_n_the_fermi_surface_is_missing(film):
    """Eq. 66 leaves out n = m: along n it is a(I) less -(1/4) sum_n f' {sigma_n, v}_nn V_nn."""
    model = film(2).model()
    result = k_map(model, 4, ["zeeman", "a_I", "spin_orbit_field"], temperature=2000.0)
    operators = Interpolation(model).operators(result.k_fractional.values)
    _, states = np.linalg.eigh(operators.hamiltonian)
    velocity = np.einsum("skan,sdkab,skbn->sknd", states.conj(), operators.velocity, states).real
    velocity = np.concatenate([velocity[0], velocity[1]], axis=1)
    f = 1 / (1 + np.exp((result.energy.values - 0.1) / (8.617333262e-5 * 2000)))
    slope = -f * (1 - f) / (8.617333262e-5 * 2000)
    # {sigma_z, v}_nn V_nn = (+-2 v_n)(+-W_z,nn)
    own = -0.25 * np.einsum("kn,kn,knd->kd", slope, 2 * result.spin_orbit_field.sel(i="z").values, velocity)
    np.testing.assert_allclose(result.a_I.sel(i="z") - result.zeeman.sel(i="z"), own, atol=1e-9)


def test_rashba_field():
    """Eqs. 62, 64: mu_B Omega = alpha (k_y, -k_x, 0) for both spins, and Eq. 65 is exact."""
    alpha, exchange = 0.02, 1.0
    result = k_map(RashbaModel(alpha, exchange), 50, EVERYTHING, cutoff=0.6, temperature=300.0)
    field = 1e3 * alpha * np.stack([result.ky, -result.kx, 0 * result.kx], axis=-1)
    for band in range(2):
        np.testing.assert_allclose(result.spin_orbit_field[:, band], field, atol=1e-12)
    for name in ("zeeman", "zeeman_field"):
        np.testing.assert_allclose(result[name], result.a_I, atol=1e-12)
    # Eq. 65 term by term: q a_yx = sum f alpha k_x s hbar v_x/dE
    f = 1 / (1 + np.exp(result.energy.values / (8.617333262e-5 * 300)))
    kx = result.kx.values[:, None]
    s = result.spin_index.values
    measure = (1.2 / (2 * np.pi)) ** 2
    expected = 1e3 * measure * (f * alpha * kx * s * 2 * HBAR2_OVER_2M * kx / exchange).sum(axis=1)
    np.testing.assert_allclose(result.zeeman.sel(i="y", j="x"), expected, atol=1e-12)
    total = compute(RashbaModel(alpha, exchange), 50, cutoff=0.6)
    assert result.zeeman.mean("k").sel(i="y", j="x").item() == pytest.approx(
        total.a_I.sel(i="y", j="x").item(), rel=1e-10
    )


def test_turning_n_round_reverses_k(film):
    """Integrands at direction -n and -k are those at n and k; J does not know the direction."""
    model = film(4).model()
    points = np.array([[0.11, 0.27], [0.4, -0.13]])
    names = ["D", "Q", "a_I", "a_II", "zeeman", "misalignment", "misalignment_band"]
    along = k_map(model, kpoints=points, quantities=names, direction=(0.2, 0.5, 1.0))
    opposite = k_map(model, kpoints=-points, quantities=names, direction=(-0.2, -0.5, -1.0))
    here = k_map(model, kpoints=points, quantities=names, direction=(-0.2, -0.5, -1.0))
    for name in names[:5]:
        np.testing.assert_allclose(opposite[name], along[name], atol=1e-8)
        # a(II)'s integrand is even in k, and so in n, by itself.
        assert np.abs(here[name] - along[name]).max() > 1e-3 or name == "a_II"
    np.testing.assert_allclose(here.misalignment_band, along.misalignment_band, atol=1e-12)


def test_field_is_odd_and_masked(copt11):
    """A real film: the field of collinear bands is odd in k, halves with the mask, and vanishes without SOI."""
    points = np.array([[0.1, 0.23], [-0.1, -0.23]])
    names = ["spin_orbit_field", "misalignment_band"]
    whole, half, none = (k_map(copt11, kpoints=points, quantities=names, mask=[w, w]) for w in (1.0, 0.5, 0.0))
    field = whole.spin_orbit_field.values
    # Time reversal of the collinear channels holds to 1e-5 .. 1e-3 in the file.
    np.testing.assert_allclose(field[1], -field[0], atol=0.5)
    assert np.abs(field).max() > 50
    np.testing.assert_allclose(half.spin_orbit_field, field / 2, atol=1e-9)
    np.testing.assert_allclose(none.spin_orbit_field, 0, atol=1e-12)
    assert whole.attrs["minority"] == "down"
