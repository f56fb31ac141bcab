"""Band structures along paths."""

import numpy as np
import pytest

from aiida_dmi.engine import InputError, RashbaModel
from aiida_dmi.engine.constants import HBAR2_OVER_2M
from aiida_dmi.engine.maps.bands import bands, high_symmetry_path

A = 2.77


@pytest.mark.parametrize("angle", [60, 120])
def test_hexagonal_path(angle):
    """K is equally far from the three Gamma points around it, and |MK| = |GM| tan 30."""
    turn = np.radians(angle)
    cell = np.array([[A, 0, 0], [A * np.cos(turn), A * np.sin(turn), 0], [0, 0, 15]])
    path = dict(high_symmetry_path(cell))
    reciprocal = 2 * np.pi * np.linalg.inv(cell[:2, :2]).T
    m, k = (np.array(path[label]) @ reciprocal for label in "MK")
    side = 4 * np.pi / (np.sqrt(3) * A)
    assert np.linalg.norm(m) == pytest.approx(side / 2)
    assert np.linalg.norm(k) == pytest.approx(side / np.sqrt(3))
    assert np.linalg.norm(m - k) == pytest.approx(side / 2 * np.tan(np.pi / 6))
    distances = sorted(np.linalg.norm(k - np.array([i, j]) @ reciprocal) for i in range(-2, 3) for j in range(-2, 3))
    np.testing.assert_allclose(distances[:3], side / np.sqrt(3))


def test_other_lattices():
    assert [label for label, _ in high_symmetry_path(np.diag([A, A, 9]))] == ["G", "X", "M", "G"]
    assert [label for label, _ in high_symmetry_path(np.eye(3) * A, 3)] == ["G", "X", "M", "G", "R"]
    for cell in (np.diag([A, 1.1 * A, 9]), [[A, 0, 0], [0.3 * A, np.sqrt(0.91) * A, 0], [0, 0, 9]]):
        with pytest.raises(InputError, match="give a path"):
            high_symmetry_path(cell)


def test_rashba_bands():
    """E = hbar^2 k^2/2m +- sqrt((DeltaV/2)^2 + alpha^2 k^2), <sigma_z> = +-(DeltaV/2)/sqrt(...)."""
    alpha, exchange, cutoff = 0.8, 0.6, 0.5
    path = [("G", (0, 0)), ("X", (0.4, 0)), ("M", (0.4, 0.3))]
    result = bands(RashbaModel(alpha, exchange), path, 41, cutoff=cutoff)
    k = np.linalg.norm(result.k_fractional.values, axis=1) * 2 * cutoff
    root = np.sqrt((exchange / 2) ** 2 + (alpha * k) ** 2)
    with_soi = result.sel(soi_scale=1.0)
    np.testing.assert_allclose(with_soi.energy[:, 0], HBAR2_OVER_2M * k**2 - root, atol=1e-12)
    np.testing.assert_allclose(with_soi.energy[:, 1], HBAR2_OVER_2M * k**2 + root, atol=1e-12)
    np.testing.assert_allclose(with_soi.spin[:, 1], exchange / 2 / root, atol=1e-12)
    np.testing.assert_allclose(with_soi.spin[:, 0], -exchange / 2 / root, atol=1e-12)
    without = result.sel(soi_scale=0.0)
    np.testing.assert_allclose(without.energy[:, 1] - without.energy[:, 0], exchange)
    np.testing.assert_allclose(without.spin, np.broadcast_to([-1.0, 1.0], without.spin.shape))
    assert result.attrs["labels"] == ["G", "X", "M"]
    np.testing.assert_allclose(result.attrs["label_distances"], [0.0, 0.4, 0.7], atol=1e-12)
    assert result.distance.attrs["units"] == "1 / angstrom"
    np.testing.assert_allclose(result.distance[:20], k[:20], atol=1e-12)
    assert (np.diff(result.distance) > 0).all()


def test_direction_turns_the_spin():
    """Without exchange the Rashba states at k_x have their spin along -+y."""
    path = [("A", (0.1, 0)), ("B", (0.3, 0))]
    result = bands(RashbaModel(0.5, 0.0), path, 3, [1.0], direction=(0, 1, 0), cutoff=0.5)
    np.testing.assert_allclose(result.spin.isel(soi_scale=0), [[1, -1]] * 3, atol=1e-12)


def test_real_film(copt11):
    """Co/Pt: path from the cell; pure spins without SOI; a mask of zeros is xi = 0; energies of the file at Gamma."""
    result = bands(copt11, points=31)
    assert result.attrs["labels"] == ["G", "M", "K", "G"]
    assert result.sizes["band"] == 2 * copt11.functions
    assert set(np.unique(result.spin.sel(soi_scale=0.0))) == {-1.0, 1.0}
    assert np.abs(result.spin).max() <= 1 + 1e-12
    shift = np.abs(result.energy.sel(soi_scale=1.0) - result.energy.sel(soi_scale=0.0))
    assert 0.1 < float(shift.max()) < 1.0
    off = bands(copt11, points=31, soi_scales=[1.0], mask=[0.0, 0.0])
    np.testing.assert_allclose(off.energy[0], result.energy.sel(soi_scale=0.0), atol=1e-9)
    np.testing.assert_allclose(result.energy[:, 0], result.energy[:, -1], atol=1e-12)
    # At an ab-initio point, the file's own energies.
    gamma = int(np.flatnonzero(np.abs(copt11.kpoints).max(axis=1) < 1e-9)[0])
    own = np.sort(np.linalg.eigvalsh(copt11.hamiltonian[:, gamma]).ravel())
    np.testing.assert_allclose(result.energy.sel(soi_scale=0.0)[0], own, atol=1e-9)


def test_points_share_the_length(copt11):
    """Steps are nearly equal along the whole path, and the labels sit on their points."""
    result = bands(copt11, points=100, soi_scales=[0.0])
    steps = np.diff(result.distance)
    assert steps.max() < 1.1 * steps.min()
    np.testing.assert_allclose(result.distance[result.label != ""], result.attrs["label_distances"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": [("G", (0, 0))]}, "two or more"),
        ({"path": [("G", (0, 0)), ("G", (0, 0))]}, "two successive"),
        ({"path": [("G", (0, 0)), ("", (0.5, 0))]}, "labelled"),
        ({"path": "GMKG"}, "expected pairs"),
        ({"path": [("G", (0,)), ("M", (1,))]}, "expected pairs"),
        ({"points": 2}, "points: 2"),
        ({"points": True}, "points: True"),
        ({"soi_scales": []}, "soi_scales"),
        ({"mask": [1.0]}, "soi_masks"),
        ({"cutoff": 1.0}, "cutoff"),
    ],
)
def test_bad_input(copt11, arguments, message):
    with pytest.raises(InputError, match=message):
        bands(copt11, **arguments)


def test_rashba_needs_a_path():
    with pytest.raises(InputError, match="path: none"):
        bands(RashbaModel(0.1, 1.0), cutoff=0.5)


def test_a_path_whose_length_rounds_to_zero():
    with pytest.raises(InputError, match="path: G, X lie on one point, expected a path with a length"):
        bands(RashbaModel(0.5, 1.0), [("G", (0, 0)), ("X", (0.4, 0))], 5, cutoff=1e-300)
