"""Nearest images in any cell: the same lattice described by other vectors gives the same images, and the same D."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_dmi.engine import compute
from aiida_dmi.engine.kspace.images import nearest_distances, nearest_images, reduced
from aiida_dmi.engine.kspace.interpolation import Interpolation

from ..conftest import random_film

TENSORS = ("D", "Q", "a_I", "a_II", "D_1")
HEXAGONAL = np.array([[2.77, 0.0, 0.0], [-1.385, 2.399, 0.0], [0.0, 0.0, 16.0]])
PLAIN = np.eye(3, dtype=int)


def sheared(*steps):
    """Unimodular integers: vector `to` plus so many times vector `other`, one step after the other."""
    result = PLAIN.copy()
    for to, other, times in steps:
        result[to] += times * result[other]
    return result


# A film's third vector may lean as well: over the vacuum nothing is exchanged.
shears = st.lists(
    st.tuples(st.sampled_from([(0, 1), (1, 0), (2, 0), (2, 1)]), st.integers(-9, 9)).map(lambda s: (*s[0], s[1])),
    min_size=1,
    max_size=3,
).map(lambda steps: sheared(*steps))


def test_reduced_vectors_span_the_lattice():
    for shear in (sheared((1, 0, 7)), sheared((1, 0, -50), (0, 1, 3)), sheared((2, 0, 4), (1, 0, 10**6))):
        short = reduced(np.diag([4, 6, 1]), shear @ HEXAGONAL)
        assert abs(round(np.linalg.det(short))) == 24
        assert (np.abs(short / [4, 6, 1] - np.rint(short / [4, 6, 1])) < 1e-12).all()
        lengths = np.linalg.norm(short @ shear @ HEXAGONAL, axis=1)
        assert sorted(lengths) == pytest.approx(sorted([4 * 2.77, 6 * 2.77 * 0.8819, 16.0]), rel=0.05)


def in_plain_vectors(found, shear):
    """Vectors in units of the sheared cell, in those of the plain one, with their shares."""
    vectors, share = found
    plain = vectors @ shear
    order = np.lexsort(plain.T)
    return plain[order], share[order]


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    shears.filter(lambda s: (s[2] == [0, 0, 1]).all()),
    st.sampled_from([(3, 3), (4, 4), (5, 5), (6, 6)]),
    st.integers(0, 99),
)
def test_images_do_not_depend_on_the_vectors(shear, mesh, seed):
    """Square meshes of the plain and of the sheared cell have one supercell; functions lie in any cell."""
    centres = np.random.default_rng(seed).uniform(-12, 12, (3, 3))
    plain = nearest_images(HEXAGONAL, (*mesh, 1), centres)
    other = nearest_images(shear @ HEXAGONAL, (*mesh, 1), centres)
    (vectors, share), (same, shares) = in_plain_vectors(plain, PLAIN), in_plain_vectors(other, shear)
    np.testing.assert_array_equal(vectors, same)
    np.testing.assert_array_equal(share, shares)


@pytest.mark.parametrize("times", [3, 4, 7, 12, -5])
def test_against_all_images_that_could_be_meant(times):
    """Nothing is nearer: by brute force, in cells sheared by more than the old search went."""
    cell, mesh = sheared((1, 0, times)) @ HEXAGONAL, (3, 4, 1)
    centres = np.random.default_rng(3).uniform(-4, 4, (3, 3))
    vectors, share = nearest_images(cell, mesh, centres)
    found = {tuple(v): s for v, s in zip(vectors, share, strict=True)}
    span = np.array(list(itertools.product(range(-60, 61), range(-8, 9), range(-1, 2))))
    for base in np.ndindex(*mesh):
        candidates = np.array(base) + span * mesh
        for i, j in np.ndindex(3, 3):
            distance = np.linalg.norm(candidates @ cell + centres[j] - centres[i], axis=1)
            near = candidates[distance < distance.min() + 1e-4]
            assert all(found[tuple(vector)][i, j] == pytest.approx(1 / len(near)) for vector in near)
    np.testing.assert_allclose(share.sum(axis=0), np.prod(mesh))


def test_thin_supercells():
    """Far more cells along one direction than along another: not sheared, and beyond two of the short ones."""
    cell, mesh = np.diag([2.0, 9.0, 30.0]), (1, 5, 1)
    vectors, share = nearest_images(cell, mesh, np.array([[0.0, 0, 0], [13.0, 0, 0]]))
    assert {tuple(v) for v, s in zip(vectors, share, strict=True) if s[0, 1] and v[1] == 0} == {(-6, 0, 0), (-7, 0, 0)}


@settings(deadline=None, max_examples=30, derandomize=True)
@given(shears, st.integers(0, 99))
def test_distances(shear, seed):
    separation = np.random.default_rng(seed).uniform(-30, 30, (2, 4, 3))
    plain = nearest_distances(separation, HEXAGONAL)
    np.testing.assert_allclose(nearest_distances(separation, shear @ HEXAGONAL), plain, rtol=1e-9)
    # 30 Angstrom along both are 18 of the first vectors and 13 of the second: one goes against the other.
    steps = np.array(list(itertools.product(range(-19, 20), range(-14, 15), range(-3, 4)))) @ HEXAGONAL
    exact = np.linalg.norm(separation[..., None, :] + steps, axis=-1).min(axis=-1)
    np.testing.assert_allclose(plain, exact, rtol=1e-9)


# -- the tensors -----------------------------------------------------------------------------------------


def described_by(film, shear):
    """The same film in another cell: R = v A = (v S^-1) (S A)."""
    inverse = np.rint(np.linalg.inv(shear)).astype(int)
    return dataclasses.replace(film, cell=shear @ film.cell, vectors=film.vectors @ inverse)


def same_tensors(one, other):
    for name in TENSORS:
        scale = float(np.abs(one[name]).max())
        assert scale > 0.01
        np.testing.assert_allclose(other[name], one[name], rtol=0, atol=1e-8 * scale, err_msg=name)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(shears, st.integers(0, 999), st.sampled_from([5, 6]))
def test_tensors_do_not_depend_on_the_vectors(shear, seed, mesh):
    """Co on Pt does not know by which vectors its lattice is described; D of a cell sheared by 4 a was another one."""
    film = random_film(seed, functions=2)
    axes = {"temperatures": [900.0], "soi_scales": [0.7], "directions": [(0.3, -0.2, 1)]}
    plain = compute(film.model((mesh, mesh, 1)), 6, **axes)
    same_tensors(plain, compute(described_by(film, shear).model((mesh, mesh, 1)), 6, **axes))


@pytest.mark.parametrize("shear", [sheared((1, 0, 4)), sheared((0, 1, -7)), sheared((1, 0, 3), (0, 1, 2))])
def test_a_real_film(copt11, shear):
    """Co/Pt(111), whose functions reach as far as its 6 x 6 mesh does and share the images at its edge."""
    other = dataclasses.replace(copt11, cell=shear @ copt11.cell, kpoints=copt11.kpoints @ shear.T)
    assert np.abs(Interpolation(other).vectors).max() > 6
    axes = {"temperatures": [1500.0], "soi_scales": [1.0]}
    same_tensors(compute(copt11, 12, **axes), compute(other, 12, **axes))


def test_symmetry_of_a_sheared_cell(copt11):
    """Turned operations, reduced mesh and symmetrised model: those of the plain cell."""
    shear = sheared((1, 0, 5))
    plain = dataclasses.replace(copt11, moments=np.array([0.4, 1.9]))
    other = dataclasses.replace(plain, cell=shear @ plain.cell, kpoints=plain.kpoints @ shear.T)
    axes = {"temperatures": [1500.0], "symmetry": True}
    same_tensors(compute(plain, 6, **axes), compute(other, 6, **axes))
