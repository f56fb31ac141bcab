"""Eigenvalues and eigenvectors of Hermitian matrices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

LARGE = 96
"""Matrices of this size are diagonalised one by one, see `eigh`."""
BLOCK = 64
"""Columns of the reflections that LAPACK applies at once."""


def eigh(matrices: Complexes) -> tuple[Floats, Complexes]:
    """Eigenvalues, ascending, and eigenvectors of Hermitian matrices; only their upper triangles are read.

    As `numpy.linalg.eigh`, up to a sixth faster for large matrices: what LAPACK's zheevd asks for as working array
    leaves nothing for turning the eigenvectors back block by block, and it does it column by column then.

    Parameters
    ----------
    matrices : ndarray, shape (..., n, n)

    Returns
    -------
    values : ndarray, shape (..., n)
    vectors : ndarray, shape (..., n, n)
        In columns.
    """
    n = matrices.shape[-1]
    if n < LARGE:
        values, vectors = np.linalg.eigh(matrices, UPLO="U")
        return values, vectors
    values, vectors = np.empty(matrices.shape[:-1]), np.empty(matrices.shape, dtype=complex)
    for index in np.ndindex(matrices.shape[:-2]):
        # Rows are LAPACK's columns: it is given the transposed, that is the conjugate, and its lower triangle.
        values[index], conjugate, failed = lapack.zheevd(
            matrices[index].T, lower=1, lwork=n * (n + 2) + BLOCK * (n + BLOCK + 1)
        )
        if failed:
            raise np.linalg.LinAlgError("Eigenvalues did not converge")
        np.conj(conjugate, out=vectors[index])
    return values, vectors
