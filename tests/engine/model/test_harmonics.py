"""Real spherical harmonics and angular momentum."""

import numpy as np
import pytest

from aiida_dmi.engine.model.harmonics import angular_momentum, real_from_complex, real_harmonics

ELLS = [0, 1, 2, 3]


def sphere():
    """Directions and weights that integrate polynomials up to degree 15 on the unit sphere exactly."""
    cosine, weight = np.polynomial.legendre.leggauss(8)
    phi = np.arange(16) * 2 * np.pi / 16
    cosine, phi = (x.ravel() for x in np.meshgrid(cosine, phi, indexing="ij"))
    sine = np.sqrt(1 - cosine**2)
    vectors = np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine], axis=1)
    return vectors, np.repeat(weight, 16) * 2 * np.pi / 16


def test_orthonormal():
    """All harmonics up to l = 3 together, and any length of the vector."""
    vectors, weights = sphere()
    harmonics = np.concatenate([real_harmonics(ell, 2.5 * vectors) for ell in ELLS], axis=1)
    np.testing.assert_allclose(harmonics.T @ (weights[:, None] * harmonics), np.eye(16), atol=1e-13)


def test_closed_forms():
    """mu = -l..l: y, z, x for l = 1; xy, yz, 3z^2 - 1, xz, x^2 - y^2 for l = 2, with positive signs."""
    vectors, _ = sphere()
    x, y, z = vectors.T
    np.testing.assert_allclose(real_harmonics(0, vectors)[:, 0], 1 / np.sqrt(4 * np.pi))
    np.testing.assert_allclose(
        np.abs(real_harmonics(1, vectors)), np.abs(np.sqrt(3 / (4 * np.pi)) * np.stack([y, z, x], axis=1)), atol=1e-14
    )
    d = np.sqrt(15 / (4 * np.pi)) * np.stack(
        [x * y, y * z, (3 * z**2 - 1) / np.sqrt(12), x * z, (x**2 - y**2) / 2], axis=1
    )
    found = real_harmonics(2, vectors)
    np.testing.assert_allclose(np.abs(found), np.abs(d), atol=1e-13)


def test_zero_vector_is_finite():
    assert np.isfinite(real_harmonics(3, np.zeros((1, 3)))).all()


@pytest.mark.parametrize("ell", ELLS)
def test_transformation_is_unitary(ell):
    c = real_from_complex(ell)
    np.testing.assert_allclose(c @ c.conj().T, np.eye(2 * ell + 1), atol=1e-15)


@pytest.mark.parametrize("ell", ELLS)
def test_angular_momentum_algebra(ell):
    """[L_x, L_y] = i L_z and cyclic, L^2 = l(l + 1); Hermitian and, between real functions, imaginary."""
    lx, ly, lz = matrices = angular_momentum(ell)
    for a, b, c in ((lx, ly, lz), (ly, lz, lx), (lz, lx, ly)):
        np.testing.assert_allclose(a @ b - b @ a, 1j * c, atol=1e-13)
    np.testing.assert_allclose(lx @ lx + ly @ ly + lz @ lz, ell * (ell + 1) * np.eye(2 * ell + 1), atol=1e-13)
    np.testing.assert_allclose(matrices, matrices.conj().swapaxes(-1, -2), atol=1e-15)
    np.testing.assert_allclose(matrices.real, 0, atol=1e-15)


@pytest.mark.parametrize("ell", [1, 2, 3])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_angular_momentum_turns_the_harmonics(ell, axis):
    """-i (r x grad) Y by a small turn: Y(R^-1 r) = exp(-i angle L) Y; the harmonics and L are of one convention."""
    vectors, weights = sphere()
    angle = 1e-4
    first, second = np.roll(np.arange(3), -axis)[1:]
    turn = np.eye(3)
    turn[first, first] = turn[second, second] = np.cos(angle)
    turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
    here = real_harmonics(ell, vectors)
    # R^-1 r: rows times R; minus the opposite turn gives the derivative to second order.
    slope = (real_harmonics(ell, vectors @ turn) - real_harmonics(ell, vectors @ turn.T)) / (2 * angle)
    matrix = here.T @ (weights[:, None] * (1j * slope))
    np.testing.assert_allclose(matrix, angular_momentum(ell)[axis], atol=1e-7)
