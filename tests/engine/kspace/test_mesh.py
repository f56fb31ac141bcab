"""Meshes: complete, Gamma-centred, the nested one first."""

import numpy as np
import pytest

from aiida_dmi.engine import InputError
from aiida_dmi.engine.kspace.mesh import Mesh


@pytest.mark.parametrize(
    ("divisions", "ratio", "coarse"),
    [
        ((24, 24), 2, (12, 12)),
        ((15, 15), 3, (5, 5)),
        ((12, 18), 2, (6, 9)),
        ((9, 6), 3, (3, 2)),
        ((4, 6, 8), 2, (2, 3, 4)),
        ((25, 35), None, None),
        ((23, 23), None, None),
        ((2, 2), 2, (1, 1)),
        ((8, 9), None, None),
        ((1, 1), None, None),
        ((6, 1), None, None),
    ],
)
def test_nested_mesh(divisions, ratio, coarse):
    mesh = Mesh(divisions)
    assert mesh.ratio == ratio
    assert (None if mesh.coarse is None else mesh.coarse.divisions) == coarse


@pytest.mark.parametrize("divisions", [(6, 4), (5, 7), (4, 4, 2), (1, 1)])
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_batches_fill_the_mesh_once(divisions, size):
    mesh = Mesh(divisions)
    batches = mesh.batches(size)
    points = np.concatenate([batch.kpoints for batch in batches])
    assert points.shape == (mesh.size, 3)
    assert max(len(batch.kpoints) for batch in batches) <= size
    indices = np.rint(points[:, : len(divisions)] * divisions).astype(int)
    np.testing.assert_allclose(points[:, : len(divisions)], indices / np.array(divisions), atol=1e-15)
    assert (points[:, len(divisions) :] == 0).all()
    assert len({tuple(i) for i in indices}) == mesh.size
    assert (indices >= 0).all()
    assert (indices < divisions).all()


@pytest.mark.parametrize(
    ("divisions", "size", "lines"),
    [
        # Points on each line of every batch: the nested lines of 3 points two at a time, then 3 and 6 in turns.
        ((4, 6), 6, [[3, 3], [3], [6], [3], [6]]),
        ((5, 8), 8, [[8]] * 5),
        ((5, 8), 7, [[4]] * 10),
        ((3, 2), 100, [[2, 2, 2]]),
        ((3, 3, 3), 18, [[1], [8, 9], [9]]),
    ],
)
def test_batches_are_of_whole_lines_or_equal_pieces(divisions, size, lines):
    """A line in two batches is summed twice: `LatticeSum`."""
    found = [np.unique(batch.kpoints[:, 0], return_counts=True)[1].tolist() for batch in Mesh(divisions).batches(size)]
    assert found == lines


def test_nested_points_are_the_coarse_mesh_and_come_first():
    mesh = Mesh((6, 9))
    batches = mesh.batches(4)
    flags = [batch.nested for batch in batches]
    assert flags == sorted(flags, reverse=True)
    nested = np.concatenate([batch.kpoints for batch in batches if batch.nested])
    coarse = np.concatenate([batch.kpoints for batch in mesh.coarse.batches(100)])
    assert sorted(map(tuple, nested.round(12))) == sorted(map(tuple, coarse.round(12)))


@pytest.mark.parametrize(
    ("given", "dimension", "expected"),
    [(8, 2, (8, 8)), (8, 3, (8, 8, 8)), ((4, 6), 2, (4, 6)), ([3, 5, 7], 3, (3, 5, 7)), (np.int64(4), 2, (4, 4))],
)
def test_from_input(given, dimension, expected):
    assert Mesh.from_input(given, dimension).divisions == expected


@pytest.mark.parametrize(
    "given",
    [
        *(0, -4, (4,), (4, 4, 1), (4, 0), (4, 4.0), "44", (True, True), True, [], {}, {"a": 1}),
        *({4: 4, 6: 6}, {4, 6}, np.array(4.5), np.array([4.0, 4.0]), 10**400, (100_000, 100_000)),
    ],
)
def test_bad_mesh(given):
    with pytest.raises(InputError, match="mesh: "):
        Mesh.from_input(given, 2)


@pytest.mark.parametrize("given", [None, 24.0, 1j])
def test_mesh_that_is_no_sequence(given):
    with pytest.raises(InputError, match="mesh: "):
        Mesh.from_input(given, 2)
