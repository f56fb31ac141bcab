"""Which points of a mesh are computed, and how the others are made: lists alone, no wave functions."""

import numpy as np
import pytest

from aiida_dmi.engine import InputError
from aiida_dmi.engine.build.irreducible import (
    IDENTITY,
    Images,
    SpaceOperation,
    film_operations,
    gamma_centred,
    reduced,
    symmetric_divisions,
)

A, HEIGHT = 2.8, 15.0
HEXAGONAL = np.array([[A, 0, 0], [-A / 2, A * np.sqrt(3) / 2, 0], [0, 0, HEIGHT]])
SQUARE = np.diag([A, A, HEIGHT])
BILAYER = [[0, 0, 0.4], [1 / 3, 2 / 3, 0.55]]
"""fcc(111) 1+1: C_3v."""
# Rows are the new lattice vectors in the old ones.
CELLS = {
    "usual": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "left-handed": [[0, 1, 0], [1, 0, 0], [0, 0, 1]],
    "60 degrees": [[1, 1, 0], [0, 1, 0], [0, 0, 1]],
    "sheared": [[2, 1, 0], [1, 1, 0], [0, 0, 1]],
    "sheared and left-handed": [[3, 1, 0], [2, 1, 0], [0, 0, -1]],
}


def star(kpoints, operations):
    """All images of points under operations and time reversal, as whole steps of the mesh."""
    return [sign * kpoints @ g.reciprocal.T for g in operations for sign in (1, -1)]


@pytest.mark.parametrize(
    ("cell", "positions", "divisions", "count"),
    [
        (HEXAGONAL, BILAYER, (6, 6, 1), 7),
        (HEXAGONAL, BILAYER, (9, 9, 1), 12),
        (HEXAGONAL, BILAYER, (12, 12, 1), 19),
        (SQUARE, [[0, 0, 0.4], [0.5, 0.5, 0.55]], (8, 8, 1), 15),
        (SQUARE, [[0, 0, 0.4], [0.5, 0.5, 0.55]], (8, 6, 1), 20),
        (np.diag([A, 1.2 * A, HEIGHT]), [[0, 0, 0.4], [0.5, 0.5, 0.55]], (6, 6, 1), 16),
        # A mirror alone; nothing at all: of k and -k one.
        (HEXAGONAL, [[0, 0, 0.4], [1 / 3, 2 / 3, 0.5], [0.5, 0, 0.6]], (6, 6, 1), 13),
        (HEXAGONAL, [[0, 0, 0.4], [0.1, 0.3, 0.5], [0.55, 0.2, 0.6]], (6, 6, 1), 20),
        (HEXAGONAL, [[0, 0, 0.4], [0.1, 0.3, 0.5], [0.55, 0.2, 0.6]], (5, 5, 1), 13),
    ],
)
def test_counts_of_a_mesh(cell, positions, divisions, count):
    kpoints = gamma_centred(divisions)
    found = reduced(kpoints, film_operations(cell, positions, range(len(positions))))
    assert len(found.kept) == count
    assert found.weights.sum() == len(kpoints)
    assert (np.diff(found.kept) > 0).all()
    images = Images.of(kpoints, kpoints[found.kept], found.operations)
    assert images.operations == found.operations
    np.testing.assert_allclose(images.points(kpoints[found.kept]), kpoints, atol=1e-12)
    np.testing.assert_array_equal(np.bincount(images.origin), found.weights)


@pytest.mark.parametrize("name", CELLS)
def test_the_same_film_in_other_cells(name):
    """As many points and operations, each a symmetry of the places in space."""
    change = np.array(CELLS[name])
    cell = change @ HEXAGONAL
    positions = np.array(BILAYER) @ HEXAGONAL @ np.linalg.inv(cell)
    operations = film_operations(cell, positions, [1, 2])
    assert len(operations) == 6
    for operation in operations:
        turn = cell.T @ operation.matrix @ np.linalg.inv(cell.T)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
        moved = positions @ operation.matrix.T + np.array(operation.translation) - positions
        np.testing.assert_allclose(moved, np.rint(moved), atol=1e-9)
        # k.r is k'.r' of the turned ones: k and G turn as lattice planes do.
        np.testing.assert_array_equal(operation.reciprocal.T @ operation.matrix, np.eye(3))
    assert len(reduced(gamma_centred((6, 6, 1)), operations).kept) == 7


def test_kinds_are_different_atoms():
    """Two magnets of one element, but of two kinds with a moment each, are not exchanged."""
    positions = [[0, 0, 0.4], [0.5, 0, 0.55], [0, 0.5, 0.55], [0.5, 0.5, 0.4]]
    points = gamma_centred((8, 8, 1))
    alike, different = (
        len(reduced(points, film_operations(SQUARE, positions, kinds)).kept) for kinds in ([1, 2, 2, 1], [1, 1, 2, 2])
    )
    assert (alike, different) == (15, 25)


GLIDE = [[0.15, 0.13, 0.4], [0.85, 0.63, 0.4], [0.3, 0.4, 0.5], [0.7, 0.9, 0.5]]
"""(x, y, z) -> (-x, y + 1/2, z)."""


RECTANGLE = np.diag([3.0, 4.0, HEIGHT])


@pytest.mark.parametrize(
    ("part", "count"),
    [(1 / 2, 16), (1 / 2 + 5e-7, 16), (0.2, 20), (0.45, 20)],
)
def test_translations_that_pw_knows(part, count):
    """(x, y, z) -> (-x, y + part, z); twice the part has to be a lattice vector."""
    positions = np.array(GLIDE)
    positions[1::2, 1] += part - 0.5
    operations = film_operations(RECTANGLE, positions, [1, 1, 2, 2])
    of_film = [operation for operation in operations if operation.keeps_normal]
    glide = SpaceOperation(((-1, 0, 0), (0, 1, 0), (0, 0, 1)), (0.0, 0.5, 0.0))
    assert of_film == ([IDENTITY, glide] if count == 16 else [IDENTITY])
    assert len(reduced(gamma_centred((6, 6, 1)), operations).kept) == count


def test_translation_that_pw_does_not_know():
    """A mirror off the origin: the film has it, pw.x's density only as far as it is converged."""
    positions = np.array([[0.15, 0.05, 0.4], [0.85, 0.05, 0.5]])
    everything = film_operations(RECTANGLE, positions - [0, 0.05, 0], [1, 2])
    assert [one.rotation for one in everything if one.keeps_normal] == [
        IDENTITY.rotation, ((1, 0, 0), (0, -1, 0), (0, 0, 1)),
    ]  # fmt: skip
    assert film_operations(RECTANGLE, positions, [1, 2]) == (IDENTITY,)


def test_translations_are_exact():
    """The last digits of the atoms' places do not come in."""
    positions = np.array(GLIDE) + 1e-7 * np.random.default_rng(2).normal(size=(4, 3))
    operations = film_operations(RECTANGLE, positions, [1, 1, 2, 2])
    assert [one.translation for one in operations if one.keeps_normal] == [(0, 0, 0), (0, 0.5, 0)]


def test_a_supercell_turns_k_as_its_cell_does():
    """Its translations by old lattice vectors spare nothing and are left out, as pw.x does."""
    positions = [[(i + x) / 2, (j + y) / 2, z] for i in range(2) for j in range(2) for x, y, z in BILAYER]
    operations = film_operations(HEXAGONAL * [[2], [2], [1]], positions, [1, 2] * 4)
    assert len(operations) == 6
    assert not any(any(operation.translation) for operation in operations)


def test_film_that_can_be_turned_over():
    """Inversion and what else turns the normal spares nothing here, and is not used."""
    positions = [[0, 0, 0.4], [1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.6]]
    operations = film_operations(HEXAGONAL, positions, [1, 2, 1])
    assert len(operations) == 12
    found = reduced(gamma_centred((6, 6, 1)), operations)
    assert len(found.kept) == 7
    assert all(operation.keeps_normal for operation in found.operations)


def test_operations_that_the_mesh_lacks_are_left_out():
    operations = film_operations(HEXAGONAL, BILAYER, [1, 2])
    points = gamma_centred((6, 4, 1))
    found = reduced(points, operations)
    assert len(found.operations) < 6
    assert found.weights.sum() == 24
    for images in star(points, found.operations):
        steps = images * [6, 4, 1]
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-9)


@pytest.mark.parametrize(
    ("given", "expected"),
    [([9, 10, 1], [10, 10, 1]), ([10, 9, 1], [10, 10, 1]), ([6, 6, 1], [6, 6, 1]), ([6, 12, 1], [6, 12, 1])],
)
def test_mesh_of_a_rhombus_by_unequal_vectors(given, expected):
    """bcc(110): mirrors take a2 to a1 - a2, so that a mesh by distances alone lacks them."""
    cell = np.array([[A, 0, 0], [A / 2, A / np.sqrt(2), 0], [0, 0, HEIGHT]])
    operations = film_operations(cell, [[0, 0, 0.4], [0.5, 0, 0.55]], [1, 2])
    assert len(operations) == 4
    found = symmetric_divisions(given, operations)
    assert found == expected
    for images in star(gamma_centred(found), operations):
        steps = images * found
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-9)


def test_mesh_of_axes_that_no_operation_mixes():
    operations = film_operations(RECTANGLE, GLIDE, [1, 1, 2, 2])
    assert symmetric_divisions([5, 7, 1], operations) == [5, 7, 1]
    assert symmetric_divisions([5, 7, 1], film_operations(HEXAGONAL, BILAYER, [1, 2])) == [7, 7, 1]


def test_no_group_is_refused():
    turn = next(g for g in film_operations(HEXAGONAL, BILAYER, [1, 2]) if np.trace(g.matrix) == 0)
    with pytest.raises(InputError, match=r"^operations: they are no group"):
        reduced(gamma_centred((6, 6, 1)), [turn])


def test_list_without_minus_k():
    with pytest.raises(InputError, match=r"^kpoints: \(0.250000, 0.000000, 0.000000\) is listed without -k"):
        reduced(np.array([[0, 0, 0], [0.25, 0, 0]]))


def test_record_and_back():
    for operation in film_operations(RECTANGLE, GLIDE, [1, 1, 2, 2]):
        assert SpaceOperation.from_mapping("operation", operation.record()) == operation


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("mirror", "a mapping with rotation"),
        ({"rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}, "a mapping with rotation"),
        ({"rotation": [[1, 0, 0], [0, 1, 0]], "translation": [0, 0, 0]}, "a mapping with rotation"),
        ({"rotation": [[1, 0, 0], [0, 1, 0], 3], "translation": [0, 0, 0]}, "a mapping with rotation"),
        ({"rotation": [[1.5, 0, 0], [0, 1, 0], [0, 0, 1]], "translation": [0, 0, 0]}, "a mapping with rotation"),
        ({"rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "translation": [0, 0, "x"]}, "a mapping with rotation"),
        ({"rotation": [[1, 0, 0], [0, 2, 0], [0, 0, 1]], "translation": [0, 0, 0]}, "its determinant 1 or -1"),
        ({"rotation": [[1, 0, 0], [1, 0, 0], [0, 0, 1]], "translation": [0, 0, 0]}, "its determinant 1 or -1"),
    ],
)
def test_what_is_no_operation(given, message):
    with pytest.raises(InputError, match=f"^operations: entry 1: .*{message}"):
        SpaceOperation.from_mapping("operations: entry 1", given)
