"""What must hold exactly, on random tight-binding films without any symmetry, and the definition of D itself."""

import dataclasses

import numpy as np
import pytest

from aiida_dmi.engine import compute
from aiida_dmi.engine.constants import BOLTZMANN_EV, EV

PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
OBLIQUE = [(0, 0, 1), (1, 0, 0), (0, 1, 0), (1, 1, 0.3), (-0.4, 0.2, 0.9)]
FIXED = {"fermi_level": "dft", "temperatures": [2000.0]}
TENSORS = ("D", "Q", "a_I", "a_II", "D_1", "Q_1")


def plain(tensor):
    return tensor.squeeze(drop=True).values


# -- D(1) = a(I) + a(II) ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_first_order_dmi_is_the_spin_current(film, seed):
    """D(1) = a(I) + a(II) of the converged sum (Eqs. 40, 41): not on a given mesh, to nine digits at 2000 K on 32x32.

    Along n, where there is no D(1), a itself vanishes in the same way.
    """
    model = film(seed).model()
    errors, along = [], []
    for mesh in (6, 12, 32):
        result = compute(model, mesh, directions=[(0.3, -0.2, 1.0)], **FIXED)
        n = result.direction_vector.values[0]
        d_1, a = plain(result.D_1), plain(result.a_I + result.a_II)
        normal = np.eye(3) - np.outer(n, n)
        errors.append(np.abs(normal @ (a - d_1)).max() / np.abs(d_1).max())
        along.append(np.abs(n @ a).max() / np.abs(d_1).max())
    for values in (errors, along):
        assert values[0] > 1e-3
        assert values[1] < 1e-3
        assert values[2] < 1e-8


def test_without_one_position_matrix_the_identity_fails(film):
    """The test above can fail: with positions that break time reversal the sum converges elsewhere."""
    random_film = film(1)
    model = random_film.model()
    broken = model.position + 0.04j * np.array([[0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1], [0, 0, -1, 0]])
    with pytest.warns(UserWarning, match="position breaks time reversal"):
        model = random_film.model(position=broken)
    result = compute(model, 24, **FIXED)
    d_1, a = plain(result.D_1)[:2], plain(result.a_I + result.a_II)[:2]
    assert np.abs(d_1 - a).max() > 1e-3 * np.abs(d_1).max()


@pytest.mark.parametrize("direction", [(0, 0, 1), (0.5, 0.7, -0.2)])
def test_first_order_is_the_slope_in_xi(film, direction):
    """(D(xi) - D(-xi))/2xi = D(1) and (Q(xi) - Q(-xi))/2xi = Q(1) on any mesh; xi^2 (V/kT)^2 ~ 1e-4 at xi = 0.005."""
    xi = 0.005
    result = compute(film(4).model(), 6, soi_scales=[-xi, xi], directions=[direction], **FIXED)
    for name in ("D", "Q"):
        slope = plain(result[name].sel(soi_scale=xi) - result[name].sel(soi_scale=-xi)) / (2 * xi)
        first = plain(result[f"{name}_1"])
        np.testing.assert_allclose(slope, first, atol=2e-4 * np.abs(first).max())
    np.testing.assert_allclose(plain(result.Q_1), -plain(result.a_I + result.a_II), rtol=1e-12)


# -- exact on any mesh -----------------------------------------------------------------------------------


def test_dmi_along_the_magnetisation_vanishes(film):
    """D.n = 0: the torque has no component along n. Q.n is not an identity."""
    result = compute(film(5).model(), 6, soi_scales=[0.3, 1.0], directions=OBLIQUE, **FIXED)
    for name in ("D", "D_1"):
        along = (result[name] * result.direction_vector).sum("i")
        np.testing.assert_allclose(along.values, 0, atol=1e-12 * np.abs(result[name].values).max())
    assert np.abs((result.Q * result.direction_vector).sum("i").values).max() > 1e-3 * np.abs(result.Q.values).max()


def test_the_reversed_magnet(film):
    """Spin up and down exchanged: every tensor stays, as the same film with its magnetisation reversed."""
    model = film(2).model()
    exchanged = dataclasses.replace(
        model,
        centres=model.centres[::-1],
        hamiltonian=model.hamiltonian[::-1],
        position=model.position[::-1],
        overlap=model.overlap.conj().swapaxes(-1, -2),
        projections=tuple(part[::-1] for part in model.projections),
        gradients=None if model.gradients is None else tuple(part[::-1] for part in model.gradients),
    )
    first, second = (compute(given, 12, directions=OBLIQUE, **FIXED) for given in (model, exchanged))
    for name in TENSORS:
        assert np.allclose(first[name].values, second[name].values, atol=1e-9 * np.abs(first[name].values).max()), name


def test_even_in_the_magnetisation(film):
    """D, Q and a of n and of -n are the same on a mesh that holds -k with every k."""
    directions = [sign * np.array(n) for n in OBLIQUE for sign in (1, -1)]
    result = compute(film(6).model(), 6, directions=directions, **FIXED)
    for name in TENSORS:
        values = result[name].values
        np.testing.assert_allclose(values[::2], values[1::2], atol=1e-9 * np.abs(values).max())


def test_odd_under_inversion_of_the_structure(film):
    """Film and mirror image through a point: every tensor changes sign."""
    one = film(7)
    here, there = (compute(f.model(), 6, directions=OBLIQUE, **FIXED) for f in (one, one.inverted()))
    for name in TENSORS:
        largest = np.abs(here[name].values).max()
        assert largest > 0.1
        np.testing.assert_allclose(there[name].values, -here[name].values, atol=1e-9 * largest)


def test_zero_exchange_splitting_leaves_no_dmi(film):
    """Without exchange the torque is zero; a(I) and a(II) cancel once the sum is converged (but are not zero)."""
    result = compute(film(8, exchange=0.0).model(), 24, directions=OBLIQUE, **FIXED)
    scale = np.abs(result.a_I.values).max()
    assert scale > 0.1
    np.testing.assert_allclose(result.D.values, 0, atol=1e-12 * scale)
    np.testing.assert_allclose(result.D_1.values, 0, atol=1e-12 * scale)
    np.testing.assert_allclose(result.Q_1.values, 0, atol=1e-4 * scale)


def test_no_spin_orbit_interaction_leaves_nothing(film):
    result = compute(film(9, spin_orbit=0.0).model(), 6, **FIXED)
    for name in TENSORS[:1] + TENSORS[2:]:
        np.testing.assert_allclose(result[name].values, 0, atol=1e-10)
    assert np.isnan(result.closure.item())


@pytest.mark.parametrize("angle", [0.5, np.pi / 2, 2.0])
def test_turning_the_film_turns_the_tensors(film, angle):
    """Film, spin-orbit interaction and n turned about z by any angle: T'_ij = R_ia R_jb T_ab."""
    one = film(10)
    other, turn = one.rotated(angle)
    here = compute(one.model(), 6, directions=OBLIQUE, **FIXED)
    there = compute(other.model(), 6, directions=[turn @ np.array(n, dtype=float) for n in OBLIQUE], **FIXED)
    for name in TENSORS:
        turned = np.einsum("ia,jb,...ab->...ij", turn, turn[:2, :2], here[name].values)
        np.testing.assert_allclose(there[name].values, turned, atol=1e-9 * np.abs(turned).max())


def test_energy_zero_does_not_matter(film):
    """Hbar and mu moved together by 3 eV."""
    one = film(11)
    model = one.model()
    lifted = one.model(
        hamiltonian=model.hamiltonian + 3.0 * np.eye(one.functions), fermi_energy=model.fermi_energy + 3.0
    )
    here, there = (compute(m, 6, **FIXED) for m in (model, lifted))
    for name in TENSORS:
        np.testing.assert_allclose(there[name].values, here[name].values, atol=1e-8 * np.abs(here[name].values).max())


# -- the definition: F = sum_j D_j.(n x dn/dr_j) ------------------------------------------------------------


def spiral_grand_potential(film, cells, axis, plane, sign, temperature, points):
    """Grand potential per cell (eV) of a spiral with one turn over `cells` cells along lattice vector `axis`.

    The exchange field of every function points along n at its own centre, with phi = q.r and n = (sin phi, 0, cos phi)
    (plane 'zx') or (0, sin phi, cos phi) ('zy'); hoppings and spin-orbit interaction stay in the lattice frame.
    The k points resolve the small cell's zone with `points` x `points` for any number of cells.
    """
    size = 2 * film.functions
    wave = sign * 2 * np.pi * np.linalg.inv(film.cell)[:, axis] / cells
    count = [points, points]
    count[axis] //= cells
    grid = np.stack(np.indices(count), axis=-1).reshape(-1, 2) / np.array(count)
    spin_orbit = sum(np.kron(PAULI[alpha], film.spin_orbit[alpha]) for alpha in range(3))
    matrices = np.zeros((len(grid), cells, size, cells, size), dtype=complex)
    for cell in range(cells):
        phi = (film.centres + cell * film.cell[axis]) @ wave
        sine, zero, cosine = np.sin(phi), np.zeros_like(phi), np.cos(phi)
        n = (sine, zero, cosine) if plane == "zx" else (zero, sine, cosine)
        exchange = sum(np.kron(PAULI[i], np.diag(film.exchange * n[i])) for i in range(3))
        matrices[:, cell, :, cell] += spin_orbit + exchange
        for vector, hopping in zip(film.vectors, film.hopping, strict=True):
            turns, target = divmod(cell + vector[axis], cells)
            across = vector[:2].copy()
            across[axis] = turns  # lattice vectors of the supercell
            phase = np.exp(2j * np.pi * grid @ across)
            matrices[:, cell, :, target] += phase[:, None, None] * np.kron(np.eye(2), hopping)
    energies = np.linalg.eigvalsh(matrices.reshape(len(grid), cells * size, cells * size))
    kt = BOLTZMANN_EV * temperature
    return -kt * np.logaddexp(0, (film.fermi_energy - energies) / kt).sum() / len(grid) / cells


@pytest.mark.parametrize(("axis", "plane"), [(0, "zx"), (1, "zx"), (1, "zy")])
@pytest.mark.parametrize("seed", [21, 23])
def test_energy_of_a_spin_spiral(film, seed, axis, plane):
    """dF/dq of a supercell's spiral is the average over its plane of D_y.q (zx) or -D_x.q (zy): four digits and sign.

    For n = (sin phi, 0, cos phi), n x dn/dphi = e_y; for (0, sin phi, cos phi) it is -e_x. The slope of the part
    odd in q is even in q: a parabola in q^2 through three wavelengths is taken at q = 0.
    The centres sit anywhere in the cell, so a wrong sign or origin of the position matrices would show.
    """
    temperature, points = 2000.0, 24
    one = film(seed, on_centres=True)
    slopes, waves = [], []
    for cells in (8, 12, 24):
        plus, minus = (spiral_grand_potential(one, cells, axis, plane, sign, temperature, points) for sign in (1, -1))
        waves.append(2 * np.pi * np.linalg.norm(np.linalg.inv(one.cell)[:, axis]) / cells)
        slopes.append(EV * (plus - minus) / (2 * waves[-1]))
    slope = np.polyfit(np.square(waves), slopes, 2)[-1]

    # D is even in n: half the circle holds all of it, and equal steps integrate its few harmonics exactly.
    angles = np.arange(12) * np.pi / 12
    sine, zero = np.sin(angles), np.zeros(12)
    circle = np.stack([sine, zero, np.cos(angles)] if plane == "zx" else [zero, sine, np.cos(angles)], axis=1)
    result = compute(one.model(), points, directions=circle, temperatures=[temperature], fermi_level="dft")
    average = plain(result.D.mean("direction"))
    wave = np.linalg.inv(one.cell)[:2, axis]
    component = average[1] if plane == "zx" else -average[0]
    expected = component @ (wave / np.linalg.norm(wave))
    assert abs(expected) > 0.1
    assert slope == pytest.approx(expected, rel=2e-4)
