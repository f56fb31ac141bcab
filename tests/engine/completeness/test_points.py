"""Which stored points stand for the mesh: irreducible, one of each pair, complete; how their tensors are turned."""

import dataclasses

import numpy as np
import pytest

from aiida_dmi.engine import InputError
from aiida_dmi.engine.completeness.points import MeshPoints, spatial_operations


def listed(save, kpoints):
    return dataclasses.replace(save, kpoints=np.asarray(kpoints, dtype=float))


FULL = np.array([(i / 4, j / 4, 0.0) for i in range(4) for j in range(4)])
HALF = [(i / 4, j / 4, 0) for i in range(3) for j in range(4) if i in (1, 2) or j < 3]


@pytest.mark.parametrize(
    "kpoints", [None, FULL, FULL - np.array([1, 2, 0]), HALF], ids=["pw.x", "complete", "shifted", "pairs"]
)
def test_six_points_stand_for_sixteen(tiny, tiny_model, kpoints):
    save = tiny.save() if kpoints is None else listed(tiny.save(), kpoints)
    points = MeshPoints.of(save, tiny_model)
    assert points.mesh.divisions == (4, 4)
    assert len(points.operations) == 8
    assert sorted(points.weights) == [1, 1, 2, 4, 4, 4]
    assert points.nested.tolist() == [True] * 3 + [False] * 3
    assert points.weights[points.nested].sum() == 4
    assert (np.rint(save.kpoints[points.places[:3]] * 2) == save.kpoints[points.places[:3]] * 2).all()


def test_without_moments_the_identity_is_left(tiny, tiny_model):
    bare = dataclasses.replace(tiny_model, moments=None)
    assert len(spatial_operations(bare)) == 1
    points = MeshPoints.of(listed(tiny.save(), FULL), bare)
    assert len(points.places) == 10
    assert points.weights.sum() == 16


def test_turned_keeps_what_the_symmetry_allows(tiny, tiny_model):
    """C_4v: an axial and a polar index leave one antisymmetric number an atom."""
    points = MeshPoints.of(tiny.save(), tiny_model)
    random = np.random.default_rng(1).normal(size=(5, 2, 3, 2))
    turned = points.turned(random)
    allowed = np.zeros_like(random)
    allowed[..., 1, 0] = (random[..., 1, 0] - random[..., 0, 1]) / 2
    allowed[..., 0, 1] = -allowed[..., 1, 0]
    np.testing.assert_allclose(turned, allowed, atol=1e-12)


@pytest.mark.parametrize(
    ("kpoints", "words"),
    [
        (FULL[1:], r"15 k points lie on a mesh of 4, but none stands for \(0.000000, 0.000000\)"),
        (FULL[[0, 1, 2]], "lie on a mesh of .1, 4., which lacks the film's symmetry"),
        (FULL + np.array([0, 0.0012345, 0]), "lie on no Gamma-centred mesh"),
        (FULL + np.array([0, 0, 0.25]), "leave the film's plane"),
    ],
)
def test_no_mesh(tiny, tiny_model, kpoints, words):
    with pytest.raises(InputError, match=f"nscf: .*{words}"):
        MeshPoints.of(listed(tiny.save(), kpoints), tiny_model)
