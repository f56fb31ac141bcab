"""Three periodic directions: a synthetic B20-like crystal (P2_13, point group 23) of s and p orbitals."""

import itertools

import numpy as np
import pytest

from aiida_dmi.engine import WannierModel, compute
from aiida_dmi.engine.maps.bands import bands
from aiida_dmi.engine.maps.k_map import k_map
from aiida_dmi.engine.output.micromagnetics import to_mumax3, to_ubermag
from aiida_dmi.engine.output.units import per_volume

A = 4.0  # Angstrom
DIRECTIONS = [(0, 0, 1), (1, 0, 0), (0, 1, 0)]
SWEEP = {"directions": DIRECTIONS, "fermi_level": "dft", "temperatures": [3000.0]}


def angular_momentum():
    """(L_a)_bc = -i eps_abc in p_x, p_y, p_z."""
    result = np.zeros((3, 3, 3), dtype=complex)
    for a, b, c in itertools.permutations(range(3)):
        result[a, b, c] = -1j * np.linalg.det(np.eye(3)[[a, b, c]])
    return result


def between_sites(d):
    """Slater-Koster hopping from s, p_x, p_y, p_z at 0 to the same at d, a function of |d| and the direction alone."""
    distance = np.linalg.norm(d)
    unit = d / distance
    sigma = np.outer(unit, unit)
    hopping = np.zeros((4, 4))
    hopping[0, 0] = -0.8
    hopping[0, 1:], hopping[1:, 0] = 0.9 * unit, -0.9 * unit
    hopping[1:, 1:] = 1.6 * sigma - 0.5 * (np.eye(3) - sigma)
    return hopping * np.exp(-(distance - 2.4) / 0.6)


def crystal(u, spin_orbit=0.2, exchange=1.0, mesh=3, dipole=0.3):
    """Sites 4a of P2_13: (u, u, u) and its images under the screw axes; the threefold axes permute x, y, z.

    s and p orbitals on every site, `dipole` = <s|x|p_x> in Angstrom, SOI lambda/2 L.sigma: the operators have the
    symmetry of the sites by construction. -u is the mirror image; u = 0 an fcc lattice.
    """
    sites = A * (np.array([(u, u, u), (0.5 + u, 0.5 - u, -u), (-u, 0.5 + u, 0.5 - u), (0.5 - u, -u, 0.5 + u)]) % 1.0)
    n = 16
    kpoints = np.stack(np.indices((mesh,) * 3), axis=-1).reshape(-1, 3) / mesh
    hamiltonian = np.zeros((len(kpoints), n, n), dtype=complex)
    hamiltonian[:, np.arange(0, n, 4), np.arange(0, n, 4)] = -2.0
    for vector in itertools.product(range(-2, 3), repeat=3):
        phase = np.exp(2j * np.pi * kpoints @ np.array(vector))[:, None, None]
        for i, j in np.ndindex(4, 4):
            d = sites[j] + A * np.array(vector) - sites[i]
            # Six neighbours; well inside the Wigner-Seitz cell of the 3x3x3 supercell (6 Angstrom).
            if 1e-6 < np.linalg.norm(d) < 3.6:
                hamiltonian[:, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4] += phase * between_sites(d)
    centres = np.repeat(sites, 4, axis=0)
    position = np.zeros((len(kpoints), 3, n, n), dtype=complex)
    position[:, :, np.arange(n), np.arange(n)] = centres.T
    projections = []
    for site in range(4):
        own = np.zeros((2, len(kpoints), 3, n), dtype=complex)
        for axis in range(3):
            s, p = 4 * site, 4 * site + 1 + axis
            own[:, :, axis, p] = 1
            position[:, axis, s, p] = position[:, axis, p, s] = dipole
        projections.append(own)
    split = exchange / 2 * np.eye(n)
    return WannierModel(
        cell=A * np.eye(3),
        periodic=np.array([True, True, True]),
        symbols=("Mn",) * 4,
        positions=sites,
        mesh=(mesh,) * 3,
        kpoints=kpoints,
        fermi_energy=-0.2,
        electrons=15.0,
        centres=np.stack([centres] * 2),
        hamiltonian=np.stack([hamiltonian + split, hamiltonian - split]),
        position=np.stack([position] * 2),
        overlap=np.broadcast_to(np.eye(n, dtype=complex), hamiltonian.shape).copy(),
        projections=tuple(projections),
        coupling=(spin_orbit * angular_momentum() / 2,) * 4,
    )


U = 0.137  # as in MnSi


@pytest.fixture(scope="module")
def chiral():
    return compute(crystal(U), 8, **SWEEP)


def test_shape(chiral):
    assert list(chiral.j.values) == ["x", "y", "z"]
    assert chiral.D.sizes["j"] == 3
    assert chiral.attrs["mesh"] == [8, 8, 8]
    assert chiral.attrs["cell_volume"] == pytest.approx(A**3)
    assert chiral.D.attrs["units"] == "meV angstrom"


@pytest.mark.parametrize("name", ["D", "Q", "D_1", "a_I", "a_II"])
def test_mean_over_directions_is_isotropic(chiral, name):
    """Averaged over n = x, y, z a rank-2 tensor of point group 23 is a number times the unit tensor, on any mesh."""
    mean = chiral[name].mean("direction").squeeze(drop=True).values
    np.testing.assert_allclose(mean, np.trace(mean) / 3 * np.eye(3), atol=1e-9)
    # a(II) is antisymmetric in i, j (Eq. 72: a gradient of the potential), of which this symmetry leaves nothing.
    assert abs(mean[0, 0]) > 1.0 or name == "a_II"


def test_along_z(chiral):
    """T.n = 0 leaves D_xx and D_yy for n = z, off-diagonal elements vanish by the screw axes."""
    for name in ("D", "D_1"):
        tensor = chiral[name].sel(direction="0,0,1").squeeze(drop=True).values
        np.testing.assert_allclose(tensor - np.diag(np.diag(tensor)), 0, atol=1e-9)
        assert abs(tensor[2, 2]) < 1e-12
    # To first order in SOI D = d (1 - n n^T): V is a vector operator in spin space and orbitals know nothing of n.
    first = chiral.D_1.sel(direction="0,0,1").squeeze(drop=True).values
    assert first[0, 0] == pytest.approx(first[1, 1], rel=1e-9)
    # Beyond it point group 23, which has no fourfold axis, allows D_xx != D_yy.
    full = chiral.D.sel(direction="0,0,1").squeeze(drop=True).values
    assert full[0, 0] == pytest.approx(full[1, 1], rel=0.02)
    assert abs(full[0, 0] - full[1, 1]) > 1e-4
    # The threefold axis maps n = z on n = x: D_xx(z) = D_yy(x) = D_zz(y).
    turned = [chiral.D.sel(direction=n, i=i, j=i).item() for n, i in (("0,0,1", "x"), ("1,0,0", "y"), ("0,1,0", "z"))]
    np.testing.assert_allclose(turned, turned[0], rtol=1e-9)


def test_first_order_is_the_spin_current(chiral):
    """D(1) = a(I) + a(II) (Eqs. 40, 41) in three dimensions."""
    assert float(chiral.closure.max()) < 2e-3
    difference = np.abs(chiral.D_1 + chiral.Q_1)
    normal = difference.sel(direction="0,0,1", i=["x", "y"])
    assert float(normal.max()) < 2e-3 * float(np.abs(chiral.D_1).max())
    # Along n it is a(I) + a(II) alone that goes to zero with the mesh.
    assert float(difference.sel(direction="0,0,1", i="z").max()) < 0.1 * float(np.abs(chiral.D_1).max())


def test_mirror_image(chiral):
    mirrored = compute(crystal(-U), 8, **SWEEP)
    for name in ("D", "Q", "D_1", "a_I", "a_II"):
        np.testing.assert_allclose(mirrored[name], -chiral[name], atol=1e-9)


def test_achiral():
    """u = 0: an fcc lattice of inversion centres."""
    result = compute(crystal(0.0), 6, **SWEEP)
    for name in ("D", "Q", "D_1", "a_I", "a_II"):
        np.testing.assert_allclose(result[name], 0, atol=1e-9)


def test_no_spin_orbit_no_dmi():
    result = compute(crystal(U, spin_orbit=0.0), 4, **SWEEP)
    np.testing.assert_allclose(result.D, 0, atol=1e-12)


def test_export(chiral):
    """D_ubermag(T) = -D, in mJ/m^2 of the cell's volume."""
    d = 0.5 * float(chiral.D.sel(direction="0,0,1").squeeze().values.trace())
    constant = to_ubermag(chiral, direction="0,0,1")
    assert constant.value == pytest.approx(-d / A**3 * 16.02177e-3, rel=1e-6)
    assert constant.residual < 0.02
    assert to_mumax3(chiral, direction="1,0,0").value == pytest.approx(constant.value, rel=1e-9)
    in_millijoule = per_volume(chiral.D, chiral.attrs["cell_volume"]).sel(direction="0,0,1")
    diagonal = np.diag(in_millijoule.squeeze().values)
    assert diagonal[:2].mean() == pytest.approx(-1e3 * constant.value, rel=1e-6)


def test_resolved_in_three_dimensions(chiral):
    model = crystal(U)
    result = k_map(model, 8, ["D", "a_I"], temperature=3000.0)
    np.testing.assert_allclose(result.D.mean("k"), chiral.D.sel(direction="0,0,1").squeeze(drop=True), atol=1e-8)
    np.testing.assert_allclose(result.a_I.mean("k"), chiral.a_I.sel(direction="0,0,1").squeeze(drop=True), atol=1e-8)
    assert "kz" in result.coords
    assert bands(model, points=41).attrs["labels"] == ["G", "X", "M", "G", "R"]
