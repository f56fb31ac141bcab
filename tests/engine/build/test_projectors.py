"""Projectors on plane waves and their k gradients, on real pseudopotentials and random states."""

import dataclasses

import numpy as np
import pytest

from aiida_dmi.engine.build import Pseudopotential
from aiida_dmi.engine.build.projectors import Projectors
from aiida_dmi.engine.build.quantum_espresso import WaveFunctions
from aiida_dmi.engine.model.harmonics import direction_cosines, real_harmonics

CELL = np.array([[5.2, 0.3, 0.0], [2.4, 4.6, 0.1], [0.0, -0.2, 9.0]])
RECIPROCAL = 2 * np.pi * np.linalg.inv(CELL).T
VOLUME = abs(np.linalg.det(CELL))
CUTOFF = 5.5
STEP = 1e-3
KPOINTS = {"gamma": np.zeros(3), "general": np.array([0.13, -0.21, 0.08])}


def random_states(kpoint, bands=3):
    """Every plane wave below 5 1/bohr, G = 0 among them, with random coefficients that fall off."""
    grid = np.stack(np.indices((13, 13, 19)), axis=-1).reshape(-1, 3) - [6, 6, 9]
    length = np.linalg.norm(kpoint + grid @ RECIPROCAL, axis=1)
    miller = grid[length < 5.0]
    random = np.random.default_rng(2)
    coefficients = random.normal(size=(bands, len(miller), 2)) @ [1, 1j] / (1 + length[length < 5.0] ** 2)
    return WaveFunctions(kpoint, miller, coefficients, RECIPROCAL)


def differences(function, waves):
    """Central differences of function(waves) in the three components of k; the coefficients stay."""
    moved = [
        [function(dataclasses.replace(waves, kpoint=waves.kpoint + sign * STEP * axis)) for sign in (1, -1)]
        for axis in np.eye(3)
    ]
    return np.stack([(plus - minus) / (2 * STEP) for plus, minus in moved])


@pytest.fixture(scope="module", params=["Co", "Pt"])
def projectors(request, upf_folder):
    """l = 1, 2; platinum's file has l = 3 too."""
    return Projectors(Pseudopotential.read(upf_folder / f"{request.param}.UPF"), VOLUME, CUTOFF)


@pytest.fixture(scope="module", params=list(KPOINTS))
def waves(request):
    return random_states(KPOINTS[request.param])


@pytest.mark.parametrize("ell", [0, 1, 2, 3])
def test_direction_cosines(ell):
    """r_j/r Y_lm is made of l - 1 and l + 1 alone, and sum_j (r_j/r)^2 = 1."""
    vectors = np.random.default_rng(1).normal(size=(20, 3))
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    others = [other for other in (ell - 1, ell + 1) if other >= 0]
    expected = units.T[:, :, None] * real_harmonics(ell, vectors)
    found = sum(real_harmonics(other, vectors) @ direction_cosines(other, ell) for other in others)
    np.testing.assert_allclose(found, expected, atol=1e-13)
    complete = sum(np.einsum("jab,jac->bc", c, c) for c in (direction_cosines(other, ell) for other in others))
    np.testing.assert_allclose(complete, np.eye(2 * ell + 1), atol=1e-13)
    np.testing.assert_allclose(direction_cosines(ell, ell), 0, atol=1e-13)


def test_gradients_at_the_origin(projectors, waves):
    """With the atom at the origin there is no phase: the gradient is the derivative of the overlaps."""
    found = projectors.gradients(waves, np.zeros(3))
    expected = differences(lambda moved: projectors.overlaps(moved, np.zeros(3)), waves)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-6 * np.abs(expected).max())


def test_velocity_of_the_spin_orbit_operator(projectors, waves):
    """dV_k/dk in plane waves, wherever the atom sits: the phases that `gradients` keeps fixed cancel."""
    position = np.array([1.3, -0.4, 2.2])

    def interaction(moved):
        beta = projectors.overlaps(moved, position)
        return beta.conj().T @ projectors.coupling @ beta

    beta, gradient = projectors.overlaps(waves, position), projectors.gradients(waves, position)
    coupling = projectors.coupling
    found = gradient.conj().swapaxes(-1, -2)[:, None] @ (coupling @ beta)
    found = found + beta.conj().T @ (coupling @ gradient[:, None])
    expected = differences(interaction, waves)
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-6 * np.abs(expected).max())


def test_translation(projectors, waves):
    """Overlaps and gradients only take the phase of k when the atom moves by a lattice vector."""
    position = np.array([0.2, 0.5, 1.0])
    phase = np.exp(1j * waves.kpoint @ CELL[1])
    for method in (projectors.overlaps, projectors.gradients):
        np.testing.assert_allclose(method(waves, position + CELL[1]), phase * method(waves, position), atol=1e-12)


def test_gradients_turn_with_the_axes(projectors):
    """Turned by 90 degrees about z, (x, y) -> (y, -x): a vector in j, and the norms over m are the same."""
    waves = random_states(KPOINTS["general"], bands=1)
    turn = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    turned = dataclasses.replace(waves, kpoint=waves.kpoint @ turn, reciprocal=waves.reciprocal @ turn)
    before, after = (np.abs(projectors.gradients(w, np.zeros(3))[..., 0]) ** 2 for w in (waves, turned))
    np.testing.assert_allclose(after.sum(1), before.sum(1)[[1, 0, 2]], rtol=1e-9)


def test_no_projectors(upf_folder):
    """Without l > 0 nothing is projected; shapes stay."""
    pseudo = Pseudopotential.read(upf_folder / "Co.UPF")
    keep = [i for i, p in enumerate(pseudo.projectors) if p.ell == 0]
    bare = dataclasses.replace(
        pseudo, projectors=tuple(pseudo.projectors[i] for i in keep), coupling=pseudo.coupling[np.ix_(keep, keep)]
    )
    waves = random_states(KPOINTS["general"])
    empty = Projectors(bare, VOLUME, CUTOFF)
    assert empty.overlaps(waves, np.zeros(3)).shape == (0, 3)
    assert empty.gradients(waves, np.zeros(3)).shape == (3, 0, 3)
