"""Real spherical harmonics and the angular-momentum matrices in their basis."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from scipy.special import sph_harm_y

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]


def real_from_complex(ell: int) -> Complexes:
    """Unitary matrix C with Y_real[mu] = sum_m C[mu, m] Y_complex[m].

    Parameters
    ----------
    ell : int
        Angular momentum l.

    Returns
    -------
    ndarray, shape (2l + 1, 2l + 1), complex
        Rows mu = -l..l of the real harmonics (mu < 0: sine, mu > 0: cosine), columns m = -l..l
        of the complex ones with the Condon-Shortley phase.
    """
    matrix = np.zeros((2 * ell + 1, 2 * ell + 1), dtype=complex)
    matrix[ell, ell] = 1.0
    for m in range(1, ell + 1):
        sign = (-1) ** m
        # cosine: sqrt(2) (-1)^m Re Y_m, with Y_-m = (-1)^m conj(Y_m)
        matrix[ell + m, ell + m] = sign / np.sqrt(2)
        matrix[ell + m, ell - m] = 1 / np.sqrt(2)
        # sine: sqrt(2) (-1)^m Im Y_m
        matrix[ell - m, ell + m] = -1j * sign / np.sqrt(2)
        matrix[ell - m, ell - m] = 1j / np.sqrt(2)
    return matrix


def real_harmonics(ell: int, vectors: Floats) -> Floats:
    """Real spherical harmonics of the directions of `vectors`.

    Parameters
    ----------
    ell : int
        Angular momentum l.
    vectors : ndarray, shape (n, 3)
        Any length; a zero vector is taken along z (only l = 0 is then used with weight).

    Returns
    -------
    ndarray, shape (n, 2l + 1)
    """
    length = np.linalg.norm(vectors, axis=1)
    safe = np.where(length > 0, length, 1.0)
    theta = np.arccos(np.clip(np.where(length > 0, vectors[:, 2] / safe, 1.0), -1.0, 1.0))
    phi = np.arctan2(vectors[:, 1], vectors[:, 0])
    complex_harmonics = np.stack([sph_harm_y(ell, m, theta, phi) for m in range(-ell, ell + 1)], axis=1)
    result: Floats = np.ascontiguousarray((complex_harmonics @ real_from_complex(ell).T).real)
    return result


def angular_momentum(ell: int) -> Complexes:
    """Matrices <mu|L_alpha|mu'> of the angular momentum (units of hbar) between real harmonics.

    Parameters
    ----------
    ell : int
        Angular momentum l.

    Returns
    -------
    ndarray, shape (3, 2l + 1, 2l + 1), complex
        alpha = x, y, z; Hermitian, purely imaginary.
    """
    m = np.arange(-ell, ell + 1)
    raising = np.diag(np.sqrt(ell * (ell + 1) - m[:-1] * (m[:-1] + 1.0)), k=-1)
    lowering = raising.T
    in_complex = np.stack([(raising + lowering) / 2, (raising - lowering) / 2j, np.diag(m).astype(complex)])
    c = real_from_complex(ell)
    # <mu|L|mu'> = sum_mm' conj(C[mu, m]) <m|L|m'> C[mu', m']
    result: Complexes = c.conj() @ in_complex @ c.T
    return result


@functools.cache
def direction_cosines(left: int, right: int) -> Floats:
    """Matrices <l'm'|r_j/r|lm> of the unit vector between real harmonics, not zero for l' = l - 1 and l + 1.

    Integrated over the sphere by a product rule that is exact for polynomials of degree l + l' + 1.

    Parameters
    ----------
    left, right : int
        l' and l.

    Returns
    -------
    ndarray, shape (3, 2l' + 1, 2l + 1)
        j = x, y, z.
    """
    degree = left + right + 1
    heights, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    turns = 2 * np.pi * np.arange(degree + 1) / (degree + 1)
    z, phi = (grid.ravel() for grid in np.meshgrid(heights, turns, indexing="ij"))
    vectors = np.stack([np.sqrt(1 - z**2) * np.cos(phi), np.sqrt(1 - z**2) * np.sin(phi), z], axis=1)
    area = np.repeat(weights, len(turns)) * 2 * np.pi / len(turns)
    bras, kets = real_harmonics(left, vectors), real_harmonics(right, vectors)
    result: Floats = np.einsum("v,va,vj,vb->jab", area, bras, vectors, kets)
    return result
