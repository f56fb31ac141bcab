"""Meshes: complete, Gamma-centred, in batches of lines."""

import numpy as np
import pytest

from aiida_dmi.engine import InputError
from aiida_dmi.engine.kspace.mesh import Mesh


@pytest.mark.parametrize(
    ("divisions", "factor", "expected"),
    [((24, 24), 1.1, (27, 27)), ((24, 24), 2, (48, 48)), ((6, 10), 1.5, (9, 15)), ((7, 7, 7), 1.0, (7, 7, 7))],
)
def test_grown(divisions, factor, expected):
    assert Mesh(divisions).grown(factor).divisions == expected


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
        # Points on each line of every batch.
        ((4, 6), 6, [[6]] * 4),
        ((4, 6), 13, [[6, 6]] * 2),
        ((5, 8), 8, [[8]] * 5),
        ((5, 8), 7, [[4]] * 10),
        ((3, 2), 100, [[2, 2, 2]]),
        ((3, 3, 3), 18, [[9, 9], [9]]),
    ],
)
def test_batches_are_of_whole_lines_or_equal_pieces(divisions, size, lines):
    """A line in two batches is summed twice: `LatticeSum`."""
    found = [np.unique(batch.kpoints[:, 0], return_counts=True)[1].tolist() for batch in Mesh(divisions).batches(size)]
    assert found == lines


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
