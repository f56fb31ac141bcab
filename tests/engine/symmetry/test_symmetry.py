"""Magnetic groups of films and crystals that can be counted by hand; meshes and tensors under them."""

import dataclasses
import itertools
import sys
import time

import numpy as np
import pytest

from aiida_dmi.engine import InputError, WannierModel
from aiida_dmi.engine.symmetry.action import reduce_mesh, symmetrise_tensor, symmetry_residual
from aiida_dmi.engine.symmetry.groups import Operation, magnetic_point_group, space_group

X, Y, Z = (1, 0, 0), (0, 1, 0), (0, 0, 1)
SQUARE = np.diag([2.8, 2.8, 15.0])
RECTANGULAR = np.diag([2.8, 3.6, 15.0])
HOLLOW = np.array([[0.0, 0.0, 6.0], [1.4, 1.4, 4.5]])


def magnet(cell, symbols, positions, moments, periodic=(True, True, False)):
    """A structure with one function and no spin-orbit interaction: all that groups ask of a model."""
    one = np.ones((1, 1, 1), dtype=complex)
    return WannierModel(
        cell=np.array(cell, dtype=float),
        periodic=np.array(periodic),
        symbols=tuple(symbols),
        positions=np.array(positions, dtype=float),
        mesh=(1, 1, 1),
        kpoints=np.zeros((1, 3)),
        fermi_energy=0.0,
        electrons=1.0,
        centres=np.zeros((2, 1, 3)),
        hamiltonian=np.stack([one, one]),
        position=np.zeros((2, 1, 3, 1, 1), dtype=complex),
        overlap=one,
        projections=tuple(np.zeros((2, 1, 0, 1), dtype=complex) for _ in symbols),
        coupling=tuple(np.zeros((3, 0, 0), dtype=complex) for _ in symbols),
        moments=None if moments is None else np.array(moments, dtype=float),
    )


@pytest.fixture
def film(copt11):
    """Co/Pt(111) with moments."""
    return dataclasses.replace(copt11, moments=np.array([0.4, 1.9]))


def square_film():
    return magnet(SQUARE, ("Mn", "W"), HOLLOW, [3.0, 0.2])


def chequerboard():
    """Two opposite Mn on W: the cell of both, turned by 45 degrees against the square one."""
    cell = [[2.8, 2.8, 0], [2.8, -2.8, 0], [0, 0, 15]]
    return magnet(
        cell, ("Mn", "Mn", "W", "W"), [(0, 0, 6), (2.8, 0, 6), (1.4, 1.4, 4.5), (1.4, -1.4, 4.5)], [3, -3, 0, 0]
    )


def b20():
    """A chiral cubic crystal, space group P2_13, with all moments alike."""
    a, positions = 4.6, []
    for u in (0.137, 0.842):
        positions += [(u, u, u), (0.5 + u, 0.5 - u, -u), (-u, 0.5 + u, 0.5 - u), (0.5 - u, -u, 0.5 + u)]
    moments = [0.6] * 4 + [0.0] * 4
    return magnet(np.eye(3) * a, ("Mn",) * 4 + ("Si",) * 4, np.array(positions) * a, moments, (True, True, True))


def labels(group):
    return {(tuple(g.rotation.ravel()), g.time_reversal) for g in group}


# -- groups ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masks", [(), ([1, 1],), ([1, 0], [0, 1])])
def test_film_on_111(film, masks):
    """3m' for n along z: rotations as they are, mirrors with time reversal. Different atoms may have any weights."""
    group = magnetic_point_group(film, [Z], masks)
    assert len(group) == 6
    for g in group:
        assert g.time_reversal == (np.linalg.det(g.cartesian) < 0)
        np.testing.assert_allclose(g.cartesian @ Z, Z)
        np.testing.assert_array_equal(g.permutation, [0, 1])


def test_film_on_111_in_plane(film):
    """The mirror x -> -x keeps the axial n along x; for n along y, in the mirror, it needs time reversal."""
    for direction, time_reversal in ((X, False), (Y, True)):
        identity, mirror = magnetic_point_group(film, [direction])
        np.testing.assert_array_equal(identity.rotation, np.eye(3))
        np.testing.assert_allclose(mirror.cartesian, np.diag([-1, 1, 1]), atol=1e-8)
        assert mirror.time_reversal == time_reversal
    assert len(magnetic_point_group(film, [(1, 1, 0)])) == 1


@pytest.mark.parametrize(
    ("cell", "directions", "order"),
    [
        (SQUARE, [Z], 8),
        (SQUARE, [(0, 0, -2)], 8),
        (SQUARE, [X], 4),
        (SQUARE, [(1, 1, 0)], 4),
        (SQUARE, [(1, 0, 1)], 2),
        (SQUARE, [(0.3, 0.2, 1)], 1),
        (SQUARE, [X, Y], 1 + 1),
        (SQUARE, [X, Z], 1 + 1),
        (RECTANGULAR, [Z], 4),
        (RECTANGULAR, [X], 4),
        (RECTANGULAR, [(1, 1, 0)], 2),
    ],
)
def test_c4v_and_c2v_films(cell, directions, order):
    """4m'm' and 2m'm' for n along z. Two directions share only what keeps both: C_2 for X, Y; a mirror for X, Z."""
    positions = HOLLOW.copy()
    positions[1, :2] = cell[0, 0] / 2, cell[1, 1] / 2
    group = magnetic_point_group(magnet(cell, ("Mn", "W"), positions, [3.0, 0.2]), directions)
    assert len(group) == order


def test_no_film_operation_turns_z():
    """A monolayer is its own image under z -> -z; nothing that turns the normal round is used."""
    group = magnetic_point_group(magnet(SQUARE, ("Mn",), [(0, 0, 3)], [3.0]), [Z])
    assert len(group) == 8
    assert all(g.cartesian[2, 2] == pytest.approx(1) for g in group)


def test_antiferromagnet():
    """The translation between a chequerboard's sublattices turns every moment: the identity with time reversal."""
    model = chequerboard()
    assert len(magnetic_point_group(model, [Z])) == 16
    assert len(magnetic_point_group(model, [X])) == 8
    identity = tuple(np.eye(3, dtype=int).ravel())
    assert (identity, True) in labels(magnetic_point_group(model, [(0.3, 0.2, 1)]))
    # SOI on one sublattice only: 4m'm' of the square around each Mn is left.
    assert len(magnetic_point_group(model, [Z], [[1, 0, 0, 0]])) == 8
    # Unequal moments: a ferrimagnet.
    ferrimagnet = dataclasses.replace(model, moments=np.array([3.0, -2.0, 0, 0]))
    assert len(magnetic_point_group(ferrimagnet, [Z])) == 8
    assert len(magnetic_point_group(dataclasses.replace(model, moments=np.array([3.0, -2.9, 0, 0])), [Z])) == 16


def test_bulk_crystal():
    """P2_13 has the rotations of 23; n along z leaves 2'2'2 and n along 111 the threefold axis."""
    model = b20()
    assert len(space_group(model)) == 12
    group = magnetic_point_group(model, [Z])
    assert sorted(g.time_reversal for g in group) == [False, False, True, True]
    assert len(magnetic_point_group(model, [(1, 1, 1)])) == 3


def test_without_moments_of_any_size_the_direction_still_counts():
    assert len(magnetic_point_group(magnet(SQUARE, ("Mn", "W"), HOLLOW, [0, 0]), [X])) == 4


def test_masks_and_couplings_tell_atoms_apart():
    """Two W in a doubled cell are exchanged by its translation unless weight, symbol or coupling differ."""
    cell = np.diag([5.6, 2.8, 15.0])
    positions = [(0, 0, 6), (2.8, 0, 6), (1.4, 1.4, 4.5), (4.2, 1.4, 4.5)]
    model = magnet(cell, ("Mn", "Mn", "W", "W"), positions, [3, 3, 0, 0])
    assert len(space_group(model)) == 8
    assert len(magnetic_point_group(model, [Z])) == 4
    # The mirror x -> -x exchanges the W about the first Mn; about a W it does not.
    assert len(magnetic_point_group(model, [Z], [[1, 1, 1, 0]])) == 4
    assert len(magnetic_point_group(model, [Z], [[1, 0, 1, 0]])) == 2
    doped = dataclasses.replace(model, coupling=(*model.coupling[:3], np.zeros((3, 1, 1), dtype=complex)),
        projections=(*model.projections[:3], np.zeros((2, 1, 1, 1), dtype=complex)))  # fmt: skip
    assert len(space_group(doped)) == 4


@pytest.mark.parametrize("height", [0.0, 5.0, 10.2, 14.9, -3.0])
def test_film_cut_by_its_cell(height):
    """The group does not depend on where along z the film sits, nor on a tilted third vector."""
    cell = SQUARE.copy()
    cell[2] = (0.4, 0.3, 15.0)
    fractional = (HOLLOW + np.array([0, 0, height])) @ np.linalg.inv(cell)
    fractional[:, 2] %= 1.0
    assert len(magnetic_point_group(magnet(cell, ("Mn", "W"), fractional @ cell, [3.0, 0.2]), [Z])) == 8


def test_film_without_vacuum_is_not_a_crystal():
    """Two equal layers half a cell apart: as a crystal they would be related by a translation along z."""
    model = magnet(np.diag([2.8, 2.8, 4.0]), ("Mn", "Mn"), [(0, 0, 0), (0, 0, 2)], [3, 3])
    assert len(space_group(model)) == 8
    assert all(g.translation[2] == 0 for g in space_group(model))


def test_distorted_film():
    """0.01 Angstrom is a distortion, and symmetry within a tolerance of 0.1; rotations are orthogonal anyhow."""
    positions = [HOLLOW[0], (1.41, 1.4 * 1.0005, 4.5)]
    model = magnet(SQUARE * [1, 1.0005, 1], ("Mn", "W"), positions, [3.0, 0.2])
    assert len(magnetic_point_group(model, [Z])) == 2
    group = magnetic_point_group(model, [Z], tolerance=0.1)
    assert len(group) == 8
    for g in group:
        np.testing.assert_allclose(g.cartesian @ g.cartesian.T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("model", [square_film(), chequerboard(), b20()], ids=["square", "chequerboard", "b20"])
@pytest.mark.parametrize("directions", [[Z], [X], [(1, 1, 1)], [X, Y]])
def test_groups_are_closed(model, directions):
    group = magnetic_point_group(model, directions)
    found = labels(group)
    assert len(found) == len(group)
    np.testing.assert_array_equal(group[0].rotation, np.eye(3))
    assert not group[0].time_reversal
    for g, h in itertools.product(group, repeat=2):
        assert (tuple((g.rotation @ h.rotation).ravel()), g.time_reversal != h.time_reversal) in found
        product = g.cartesian @ h.cartesian
        same = [f for f in group if np.array_equal(f.rotation, g.rotation @ h.rotation)]
        np.testing.assert_allclose(same[0].cartesian, product, atol=1e-12)


def test_operations_move_atoms(film):
    for model in (film, chequerboard(), b20()):
        for g in space_group(model):
            moved = model.positions @ g.cartesian.T + g.translation - model.positions[g.permutation]
            cells = moved @ np.linalg.inv(model.cell)
            np.testing.assert_allclose(cells, np.rint(cells), atol=1e-6)


def test_missing_moments(copt11):
    with pytest.raises(InputError, match="moments"):
        magnetic_point_group(copt11, [Z])


def test_missing_spglib(film, monkeypatch):
    monkeypatch.setitem(sys.modules, "spglib", None)
    with pytest.raises(InputError, match="pip install spglib"):
        magnetic_point_group(film, [Z])


def test_atoms_on_one_another():
    with pytest.raises(InputError, match="atoms lie on one another"):
        space_group(magnet(SQUARE, ("Mn", "Mn"), [(0, 0, 1), (0, 0, 1)], [1, 1]))


# -- meshes ----------------------------------------------------------------------------------------------


def star(point, group, divisions):
    """Images of a mesh point, through Cartesian vectors: independent of the integer matrices."""
    return {tuple(np.rint(g.reciprocal[:2, :2] @ point).astype(int) % divisions) for g in group}


@pytest.mark.parametrize("direction", [Z, X, (0.3, 0.2, 1)])
@pytest.mark.parametrize("divisions", [(1, 1), (6, 6), (7, 7)])
def test_stars_of_the_mesh(film, direction, divisions):
    group = magnetic_point_group(film, [direction])
    indices, weights = reduce_mesh(divisions, group)
    assert weights.sum() == np.prod(divisions)
    everything = set()
    for index, weight in zip(indices, weights, strict=True):
        images = star(np.array(np.unravel_index(index, divisions)), group, divisions[0])
        assert len(images) == weight
        assert not everything & images
        everything |= images


def test_reciprocal_matrices_are_cartesian_rotations(film):
    """k is polar: its fractional matrix is the Cartesian rotation in the reciprocal lattice, -1 with time reversal."""
    reciprocal = np.linalg.inv(film.cell).T
    for g in magnetic_point_group(film, [Z]):
        k = np.array([0.21, 0.34, 0.0])
        turned = g.cartesian @ (k @ reciprocal) * (-1 if g.time_reversal else 1)
        np.testing.assert_allclose((g.reciprocal @ k) @ reciprocal, turned, atol=1e-10)


def test_large_mesh(film):
    """262144 points: 43947 irreducible ones under 3m', in a fraction of a second, in the same order every time."""
    group = magnetic_point_group(film, [Z])
    start = time.perf_counter()
    indices, weights = reduce_mesh((512, 512), group)
    assert time.perf_counter() - start < 2
    assert weights.sum() == 512**2
    assert len(indices) == 43947
    assert (np.diff(indices) > 0).all()
    np.testing.assert_array_equal(indices, reduce_mesh((512, 512), group[:1] + group[:0:-1])[0])


def test_three_dimensional_mesh():
    """k goes to (-x, -y, z), (-x, y, z), (x, -y, z): (512 + 32 + 128 + 128)/4 stars, by their fixed points."""
    group = magnetic_point_group(b20(), [Z])
    indices, weights = reduce_mesh((8, 8, 8), group)
    assert weights.sum() == 512
    assert len(indices) == 200


def test_mesh_without_the_symmetry(film):
    """A threefold axis needs equal divisions; the mirrors of a rectangle take any."""
    with pytest.raises(InputError, match=r"mesh: \(12, 8\) lacks the symmetry"):
        reduce_mesh((12, 8), magnetic_point_group(film, [Z]))
    positions = [HOLLOW[0], (1.4, 1.8, 4.5)]
    group = magnetic_point_group(magnet(RECTANGULAR, ("Mn", "W"), positions, [3, 0]), [Z])
    assert reduce_mesh((12, 8), group)[1].sum() == 96


# -- tensors ---------------------------------------------------------------------------------------------


def test_tensors_of_c3v(film):
    """n along z leaves D_yx = -D_xy alone of D; a mirror y, z with n along x leaves D_yx, D_zx and D_xy."""
    tensor = np.random.default_rng(1).normal(size=(4, 3, 2))
    group = magnetic_point_group(film, [Z])
    average = symmetrise_tensor(tensor, group)
    np.testing.assert_allclose(average[:, 1, 0], -average[:, 0, 1])
    np.testing.assert_allclose(average[:, 1, 0], (tensor[:, 1, 0] - tensor[:, 0, 1]) / 2)
    np.testing.assert_allclose(average[:, [0, 1, 2, 2], [0, 1, 0, 1]], 0, atol=1e-14)
    in_plane = symmetrise_tensor(tensor, magnetic_point_group(film, [X]))
    expected = tensor * np.array([[0, 1], [1, 0], [1, 0]])
    np.testing.assert_allclose(in_plane, expected, atol=1e-14)


def test_tensors_of_c2v_and_of_the_bulk():
    positions = [HOLLOW[0], (1.4, 1.8, 4.5)]
    group = magnetic_point_group(magnet(RECTANGULAR, ("Mn", "W"), positions, [3, 0]), [Z])
    tensor = np.arange(1.0, 7.0).reshape(3, 2)
    np.testing.assert_allclose(symmetrise_tensor(tensor, group), tensor * [[0, 1], [1, 0], [0, 0]], atol=1e-14)
    bulk = symmetrise_tensor(np.arange(1.0, 10.0).reshape(3, 3), magnetic_point_group(b20(), [Z]))
    np.testing.assert_allclose(bulk, np.diag([1.0, 5.0, 9.0]), atol=1e-12)


def test_residual(film):
    group = magnetic_point_group(film, [Z])
    tensor = np.random.default_rng(2).normal(size=(3, 2))
    allowed = symmetrise_tensor(tensor, group)
    np.testing.assert_allclose(symmetrise_tensor(allowed, group), allowed, atol=1e-14)
    stack = np.stack([allowed, tensor - allowed, np.zeros((3, 2)), tensor])
    part = np.linalg.norm(tensor - allowed) / np.linalg.norm(tensor)
    np.testing.assert_allclose(symmetry_residual(stack, group), [0, 1, 0, part], atol=1e-14)


def test_operation_is_a_plain_record():
    identity = Operation(np.eye(3, dtype=int), np.eye(3), True, np.arange(1), np.zeros(3))
    np.testing.assert_array_equal(identity.reciprocal, -np.eye(3))
    np.testing.assert_array_equal(identity.axial, np.eye(3))
