"""Constants for micromagnetic programs: signs and sizes against energies of textures on a grid."""

import numpy as np
import pytest
import xarray as xr

from aiida_dmi.engine import InputError, RashbaModel, compute
from aiida_dmi.engine.output.micromagnetics import energy_current, lifshitz_constant, to_mumax3, to_ubermag
from aiida_dmi.engine.output.units import per_area, per_length, per_volume

AREA, VOLUME, THICKNESS = 6.5, 95.0, 8.1
MEV = 1.602176634e-22  # J
POINTS, LENGTH = 64, 200.0  # Angstrom


def result(dmi, direction=(0, 0, 1), error=0.01):
    """What compute returns, as far as an export looks at it."""
    dmi = np.asarray(dmi, dtype=float)
    n = np.asarray(direction) / np.linalg.norm(direction)
    size = {"cell_area": AREA} if dmi.shape[1] == 2 else {"cell_volume": VOLUME}
    dims = ("direction", "soi_scale", "i", "j")
    attrs = {"units": "meV angstrom", "long_name": "DMI"}
    return xr.Dataset(
        {
            "D": (dims, dmi[None, None], attrs),
            "D_error": (dims, np.full((1, 1, *dmi.shape), error), attrs),
            "direction_vector": (("direction", "i"), n[None]),
        },
        {
            "direction": ["some"],
            "soi_scale": [1.0],
            "i": list("xyz"),
            "j": list("xyz"[: dmi.shape[1]]),
        },
        size,
    )


def spiral(along, plane, q_sign=1):
    """m of a flat spiral with one period along an axis on a periodic grid, (POINTS, POINTS, POINTS or 1, 3)."""
    x = np.arange(POINTS) / POINTS * LENGTH
    phase = 2 * np.pi / LENGTH * q_sign * x
    shape = [1, 1, 1]
    shape[along] = POINTS
    m = np.zeros((*shape, 3))
    m[..., plane[0]] = np.sin(phase).reshape(shape)
    m[..., plane[1]] = np.cos(phase).reshape(shape)
    return m


def gradient(m):
    """dm_i/dr_j by central differences on the periodic grid, 1/Angstrom: (..., i, j)."""
    step = LENGTH / POINTS
    columns = []
    for axis in range(3):
        varies = m.shape[axis] > 1
        d = (np.roll(m, -1, axis) - np.roll(m, 1, axis)) / (2 * step)
        columns.append(d if varies else np.zeros_like(m))
    return np.stack(columns, axis=-1)


def definition(dmi_of_n, m):
    """Mean of sum_j D_j(m).(m x dm/dr_j), meV/Angstrom^2 per the cell's measure."""
    dm = gradient(m)
    total = 0.0
    for index in np.ndindex(m.shape[:-1]):
        dmi = dmi_of_n(m[index])
        for j in range(dmi.shape[1]):
            total += dmi[:, j] @ np.cross(m[index], dm[index][:, j])
    return total / np.prod(m.shape[:-1])


def ubermag_film(constant, m):
    """w = D (m.grad m_z - m_z div m)."""
    dm = gradient(m)
    w = np.einsum("...j,...j->...", m, dm[..., 2, :]) - m[..., 2] * np.einsum("...jj->...", dm)
    return constant * w.mean()


def curl(dm):
    return np.stack(
        [dm[..., 2, 1] - dm[..., 1, 2], dm[..., 0, 2] - dm[..., 2, 0], dm[..., 1, 0] - dm[..., 0, 1]], axis=-1
    )


def ubermag_bulk(constant, m):
    """w = D m.curl m."""
    return constant * (m * curl(gradient(m))).sum(-1).mean()


def mumax3_energy(constant, m, kind):
    """-(1/2) Msat m.B with the field of mumax3's kernels: neighbours' m times D/c, as cuda/dmi.cu and dmibulk.cu."""
    c = LENGTH / POINTS
    h = np.zeros_like(m)
    for axis in range(3 if kind == "Dbulk" else 2):
        if m.shape[axis] == 1:
            continue
        right, left = np.roll(m, -1, axis), np.roll(m, 1, axis)
        # which components the kernels couple: h[a] += D/c (m2[b] - m1[b]), h[b] -= D/c (m2[a] - m1[a])
        a, b = {"Dind": [(0, 2), (1, 2)], "Dbulk": [(1, 2), (2, 0), (0, 1)]}[kind][axis]
        h[..., a] += constant / c * (right[..., b] - left[..., b])
        h[..., b] -= constant / c * (right[..., a] - left[..., a])
    return -0.5 * (m * h).sum(-1).mean()


def film_tensor(d):
    """D(n) = d (1 - n n^T) E."""
    form = np.array([[0.0, -1.0], [1.0, 0.0], [0.0, 0.0]])
    return lambda n: d * (np.eye(3) - np.outer(n, n)) @ form


FILM_SPIRALS = [(0, (0, 2), 1), (0, (0, 2), -1), (1, (1, 2), 1), (0, (1, 2), 1), (0, (0, 1), 1)]


@pytest.mark.parametrize(("along", "plane", "q_sign"), FILM_SPIRALS)
def test_film(along, plane, q_sign):
    """The same energy of cycloids (and none of helices) from D itself and from each program's own expression."""
    d = 7.3
    m = spiral(along, plane, q_sign)
    given = result(film_tensor(d)([0, 0, 1]))
    # meV*A per cell times 1/A: meV per cell; J/m^2 times 1/m: J/m^3; 1 A = 1e-10 m
    exact = definition(film_tensor(d), m) * MEV / (AREA * THICKNESS * 1e-30)
    for constant, energy in (
        (to_ubermag(given, THICKNESS), ubermag_film),
        (to_mumax3(given, THICKNESS), lambda value, m: mumax3_energy(value, m, "Dind")),
    ):
        assert energy(constant.value, m) * 1e10 == pytest.approx(exact, rel=1e-10, abs=1e-3)
    if plane == (0, 2):
        # F = q D_yx: right-handed cycloids (q > 0) cost energy for D_yx > 0
        assert np.sign(exact) == q_sign
        assert exact == pytest.approx(q_sign * 2 * np.pi / LENGTH * d * MEV / (AREA * THICKNESS * 1e-30), rel=5e-3)


@pytest.mark.parametrize(("along", "plane"), [(0, (1, 2)), (1, (2, 0)), (2, (0, 1)), (2, (1, 0)), (0, (0, 2))])
def test_bulk(along, plane):
    """Helices along x, y, z of both hands, and a cycloid that has no energy."""
    d = -4.1
    m = spiral(along, plane)
    given = result(d * np.diag([1.0, 1.0, 0.0]))
    exact = definition(lambda n: d * (np.eye(3) - np.outer(n, n)), m) * MEV / (VOLUME * 1e-30)
    for constant, energy in (
        (to_ubermag(given), ubermag_bulk),
        (to_mumax3(given), lambda value, m: mumax3_energy(value, m, "Dbulk")),
    ):
        assert energy(constant.value, m) * 1e10 == pytest.approx(exact, rel=1e-10, abs=1e-3)
    assert (abs(exact) > 1e3) == (along not in plane)


def test_numbers_and_words():
    """D_yx = 10 meV*A on 6.5 A^2 and 8.1 A: 3.043 mJ/m^2; ubermag's sign is the opposite one."""
    given = result([[0, -10.0], [10.0, 0], [0, 0]], error=0.5)
    mumax, ubermag = to_mumax3(given, THICKNESS), to_ubermag(given, THICKNESS)
    expected = per_area(given.D.sel(i="y", j="x"), AREA, THICKNESS).item() * 1e-3
    assert mumax.value == pytest.approx(expected)
    assert mumax.value == pytest.approx(3.0431e-3, rel=1e-4)
    assert ubermag.value == -mumax.value
    assert mumax.error == pytest.approx(mumax.value * 0.05)
    assert (mumax.unit, mumax.parameter, mumax.residual, mumax.thickness) == ("J/m2", "Dind", 0.0, THICKNESS)
    assert "8.1 Angstrom" in mumax.convention
    assert "6.5 Angstrom^2" in mumax.convention
    bulk = to_ubermag(result(np.diag([10.0, 10.0, 0])))
    assert bulk.value == pytest.approx(-10 / VOLUME * 16.02177e-3, rel=1e-6)
    assert bulk.thickness is None
    assert "95 Angstrom^3" in bulk.convention


@pytest.mark.parametrize("direction", [(0, 0, 1), (1, 0, 0), (0.3, -0.4, 0.7)])
def test_any_direction_gives_the_constant(direction):
    n = np.asarray(direction) / np.linalg.norm(direction)
    assert lifshitz_constant(film_tensor(3.0)(n), direction) == pytest.approx((3.0, 0.0), abs=1e-12)
    assert lifshitz_constant(2.0 * (np.eye(3) - np.outer(n, n)), direction) == pytest.approx((2.0, 0.0), abs=1e-12)


def test_other_symmetries_are_refused():
    """C_2v (D_xy != -D_yx), a bulk tensor with D_xy; what is forbidden counts in the error."""
    with pytest.raises(InputError, match=r"off D_yx = -D_xy alone \(C_nv\) by 0\.32"):
        to_mumax3(result([[0, -5.0], [10.0, 0], [0, 0]]), THICKNESS)
    with pytest.raises(InputError, match="one constant does not describe it"):
        to_ubermag(result([[10.0, 3, 0], [-3, 10, 0], [0, 0, 0]]))
    slightly = to_mumax3(result([[0, -9.8], [10.2, 0], [0, 0]], error=0.0), THICKNESS)
    assert slightly.value == pytest.approx(to_mumax3(result([[0, -10], [10, 0], [0, 0]]), THICKNESS).value)
    assert slightly.error / slightly.value == pytest.approx(0.02 * np.sqrt(2))
    assert to_mumax3(result([[0, -5.0], [10.0, 0], [0, 0]]), THICKNESS, tolerance=0.5).residual > 0.3
    assert to_ubermag(result(np.zeros((3, 2))), THICKNESS).value == 0.0


def test_from_compute(copt11):
    """The Co/Pt film: the sweep point is chosen by its labels, and refused if it is not one point."""
    given = compute(copt11, 24, soi_scales=[0.5, 1.0], temperatures=[3000.0])
    d_yx, d_xy = (given.D.sel(soi_scale=1.0, i=i, j=j).item() for i, j in (("y", "x"), ("x", "y")))
    constant = to_mumax3(given, 2.0, soi_scale=1.0)
    expected = (d_yx - d_xy) / 2 / copt11.area / 2.0 * 16.02177e-3
    assert constant.value == pytest.approx(expected, rel=1e-6)
    assert constant.error > 0
    with pytest.raises(InputError, match="several values of soi_scale"):
        to_mumax3(given, 2.0)
    with pytest.raises(InputError, match="not in the result"):
        to_mumax3(given, 2.0, soi_scale=0.7)
    with pytest.raises(InputError, match="not in the result"):
        to_mumax3(given, 2.0, soi=1.0)


def test_bad_input():
    film, bulk = result(film_tensor(1.0)([0, 0, 1])), result(np.diag([1.0, 1, 0]))
    for thickness in (None, 0.0, np.nan):
        with pytest.raises(InputError, match="thickness"):
            to_ubermag(film, thickness)
    with pytest.raises(InputError, match="a bulk magnet takes none"):
        to_mumax3(bulk, 3.0)
    with pytest.raises(InputError, match="no cell_area"):
        to_mumax3(compute(RashbaModel(0.1, 1.0), 16, cutoff=0.5), 3.0)
    with pytest.raises(InputError, match="no D in it"):
        to_mumax3(film.drop_vars("D"), 3.0)
    with pytest.raises(InputError, match="shape"):
        lifshitz_constant(np.zeros((2, 2)), (0, 0, 1))
    for value in (0.0, -1.0, np.nan):
        with pytest.raises(InputError, match=r"^volume: .* positive number of Angstrom\^3"):
            per_volume(bulk.D, value)
        with pytest.raises(InputError, match=r"^area: "):
            per_length(film.D, value)
        with pytest.raises(InputError, match=r"^area: "):
            per_area(film.D, value, 3.0)
    for arguments in (((0, 0, 1), (1, 0)), ((0, 0, 0), (1, 0, 0))):
        with pytest.raises(InputError):
            energy_current(film.D, *arguments)
    with pytest.raises(InputError, match="j missing"):
        energy_current(film.D.sel(j="x"), (0, 0, 1), (1, 0, 0))


def test_per_volume():
    converted = per_volume(result(np.diag([1.0, 1, 0])).D, 1.0)
    assert converted.sel(i="x", j="x").item() == pytest.approx(16.02177, rel=1e-6)
    assert converted.attrs["units"] == "mJ / m^2"
    assert converted.attrs["volume_angstrom3"] == 1.0


def test_energy_current_moves_the_energy():
    """Eqs. 74, 77, 82: for n(r - w t), dn/dt = -w.grad n and J_j = w_l D_j.(n x dn/dr_l) carries F with w."""
    rng = np.random.default_rng(1)
    n, slope = np.array([0.0, 0.6, 0.8]), rng.normal(size=3)
    slope -= n * (n @ slope)
    dmi = result(rng.normal(size=(3, 2))).D
    speed = 1e12  # Angstrom/s along x
    current = energy_current(dmi, n, -speed * slope)
    energy = (dmi.values[0, 0, :, 0] * np.cross(n, slope)).sum()
    assert current.sel(j="x").item() == pytest.approx(speed * energy)
    assert current.dims == ("direction", "soi_scale", "j")
    assert current.attrs["units"] == "meV angstrom / s"
    # Along n nothing turns.
    np.testing.assert_allclose(energy_current(dmi, n, 5 * n), 0, atol=1e-12)
