"""Eigenstates of matrices small (numpy's own) and large (LAPACK with a larger working array)."""

import numpy as np
import pytest

from aiida_dmi.engine.states.eigenstates import LARGE, eigh


@pytest.mark.parametrize("n", [1, 5, LARGE - 1, LARGE, LARGE + 21])
def test_eigenstates(n):
    rng = np.random.default_rng(n)
    matrices = rng.normal(size=(2, 3, n, n)) + 1j * rng.normal(size=(2, 3, n, n))
    matrices = matrices + np.conj(np.swapaxes(matrices, -1, -2))
    kept = matrices.copy()
    values, vectors = eigh(matrices)
    np.testing.assert_array_equal(matrices, kept)
    scale = np.sqrt(n) * 1e-13
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrices), atol=10 * scale)
    np.testing.assert_allclose(matrices @ vectors, vectors * values[..., None, :], atol=100 * scale)
    overlap = np.conj(np.swapaxes(vectors, -1, -2)) @ vectors
    np.testing.assert_allclose(overlap, np.broadcast_to(np.eye(n), overlap.shape), atol=10 * scale)


@pytest.mark.parametrize("n", [4, LARGE])
def test_no_number_gives_no_number(n):
    """Never a finite energy from a matrix that is none: not a number, or an error."""
    try:
        values, _ = eigh(np.full((1, n, n), np.nan, dtype=complex))
    except np.linalg.LinAlgError:
        return
    assert np.isnan(values).all()
