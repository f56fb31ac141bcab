"""Aliases of a mesh: which lattice vectors, their cosines, and what a symmetry makes of them."""

import dataclasses
import itertools

import numpy as np
import pytest

from aiida_dmi.engine.kspace.aliases import Aliases, nearest_aliases
from aiida_dmi.engine.kspace.mesh import Mesh
from aiida_dmi.engine.symmetry.groups import magnetic_point_group

HEXAGONAL = np.array([[2.8, 0.0, 0.0], [-1.4, 1.4 * np.sqrt(3), 0.0]])
SQUARE = 3.0 * np.eye(3)[:2]
LATTICES = {
    "hexagonal": (HEXAGONAL, (8, 8), 3),
    "hexagonal, 60 degrees": (HEXAGONAL @ np.diag([1, -1, 1]) * [-1, 1, 1], (8, 8), 3),
    "square": (SQUARE, (8, 8), 2),
    "rectangular mesh": (SQUARE, (6, 8), 2),
    "sheared square": (np.array([[1, 0], [3, 1]]) @ SQUARE, (8, 8), 2),
    "oblique": (np.array([[3.0, 0.0, 0.0], [0.5, 3.2, 0.0]]), (8, 8), 3),
    "cubic": (3.0 * np.eye(3), (4, 4, 4), 3),
    "fcc": (1.5 * (1 - np.eye(3)), (4, 4, 4), 6),
    "bcc": (1.5 * (1 - 2 * np.eye(3)), (4, 4, 4), 7),
}


@pytest.mark.parametrize("name", LATTICES)
def test_nearest_aliases_bound_the_wigner_seitz_cell(name):
    """As many pairs as the cell has pairs of faces; the middle of each is nearer to no other alias."""
    cell, divisions, pairs = LATTICES[name]
    found = nearest_aliases(np.array(divisions), cell)
    assert len(found) == pairs
    near = np.array(list(itertools.product(range(-6, 7), repeat=len(divisions)))) * divisions
    for vector in found:
        assert not (vector % divisions).any()
        distances = np.linalg.norm((near - vector / 2) @ cell, axis=1)
        assert (distances < np.linalg.norm(vector / 2 @ cell) * (1 + 1e-9)).sum() == 2


def test_way_to_an_alias():
    aliases = Aliases.of((40, 40), HEXAGONAL)
    assert len(aliases.ways) == 3
    for way in aliases.ways:
        assert (way.between, way.beyond) == (pytest.approx(0.225), pytest.approx(0.55))
        assert way.length == pytest.approx(40 * 2.8)
        for chosen, limits in ((way.near, (8, 10)), (way.far, (16, 20))):
            steps = np.abs(aliases.vectors[chosen]).max(axis=1)
            assert limits[0] == steps.min()
            assert steps.max() == limits[1]
        assert np.linalg.matrix_rank(aliases.vectors[np.append(way.near, way.far)]) == 1


@pytest.mark.parametrize("divisions", [(1, 1), (2, 2), (3, 1), (6, 6), (5, 3)])
def test_small_meshes_have_coefficients_too(divisions):
    for way in Aliases.of(divisions, SQUARE).ways:
        assert len(way.near) > 0
        assert len(way.far) > 0


def test_cosines_are_of_the_vectors():
    mesh = Mesh((6, 10))
    points = np.concatenate([batch.kpoints for batch in mesh.batches(7)])
    aliases = Aliases.of(mesh.divisions, SQUARE)
    expected = [[np.cos(2 * np.pi * (k[0] * r[0] + k[1] * r[1])) for k in points] for r in aliases.vectors]
    np.testing.assert_allclose(aliases.cosines(points), expected, atol=1e-12)


@pytest.mark.parametrize("direction", [(0, 0, 1), (1, 0, 0)])
def test_irreducible_points_give_the_coefficients_of_all(copt11, direction):
    """The mean over the group of F(M^T R) of the irreducible points is F(R) of the mesh, for X = cos and sin of k."""
    group = magnetic_point_group(dataclasses.replace(copt11, moments=np.array([0.4, 1.9])), [direction])
    mesh, cell = Mesh((18, 18)), copt11.cell[:2]
    aliases = Aliases.of(mesh.divisions, cell, group)
    whole = np.concatenate([batch.kpoints for batch in mesh.batches(100)])
    part = mesh.batches(1000, group)[0]
    assert len(group) > 1
    assert len(part.kpoints) < len(whole) / 1.8

    def symmetric(points):
        """A scalar of the lattice: exp of the sum of its cosines over the star of each k."""
        images = [points[:, :2] @ operation.reciprocal[:2, :2].T for operation in group]
        return np.mean([np.exp(np.cos(2 * np.pi * k[:, 0]) + np.sin(2 * np.pi * k[:, 1])) for k in images], axis=0)

    every = aliases.cosines(whole) @ symmetric(whole)
    reduced = aliases.cosines(part.kpoints) @ (part.weights * symmetric(part.kpoints))
    mean = np.mean([reduced[image] for image in aliases.images], axis=0)
    np.testing.assert_allclose(mean, every, atol=1e-9 * np.abs(every).max())
