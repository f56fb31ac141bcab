"""Spinor matrices from the blocks of the two spins, their eigenvalues, and products of their columns."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..model.operators import Operators, SpinOrbit

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]


def assemble(blocks: Complexes) -> Complexes:
    """Spinor matrix from its blocks up-up, up-down, down-down: (3, ..., n, n) -> (..., 2n, 2n)."""
    up, mixed, down = blocks
    n = up.shape[-1]
    result = np.empty((*up.shape[:-2], 2 * n, 2 * n), dtype=complex)
    result[..., :n, :n] = up
    result[..., :n, n:] = mixed
    result[..., n:, :n] = mixed.conj().swapaxes(-1, -2)
    result[..., n:, n:] = down
    return result


def spinor(diagonal: Complexes, spin_orbit: Complexes, xi: float, lower: bool = True) -> Complexes:
    """X + xi X^SOI as spinor matrices: (2, ..., n, n) and blocks (3, ..., n, n) -> (..., 2n, 2n).

    Without `lower` the down-up block, the adjoint of the up-down one, is left empty.
    """
    n = diagonal.shape[-1]
    result = np.empty((*diagonal.shape[1:-2], 2 * n, 2 * n), dtype=complex)
    up, mixed, down = result[..., :n, :n], result[..., :n, n:], result[..., n:, n:]
    scaled = spin_orbit if xi == 1 else spin_orbit * np.array(xi)
    np.add(diagonal[0], scaled[0], out=up)
    mixed[...] = scaled[1]
    np.add(diagonal[1], scaled[2], out=down)
    if lower:
        np.conj(mixed.swapaxes(-1, -2), out=result[..., n:, :n])
    return result


def dagger(matrix: Complexes) -> Complexes:
    """Adjoint of the matrices in the last two axes."""
    return np.conj(matrix).swapaxes(-1, -2)


def band_energies(operators: Operators, spin_orbit: SpinOrbit | None, xi: float) -> Floats:
    """Eigenvalues of Hbar + xi V, shape (k, 2n), eV; without spin_orbit those of Hbar, up then down."""
    return eigenvalues(operators.hamiltonian, None if spin_orbit is None else spin_orbit.interaction, xi)


def eigenvalues(hamiltonian: Complexes, interaction: Complexes | None, xi: float) -> Floats:
    """As `band_energies`, of Hbar (2, k, n, n) and V's blocks (3, k, n, n)."""
    if interaction is None:
        up, down = np.linalg.eigvalsh(hamiltonian)
        return np.concatenate([up, down], axis=-1)
    return np.asarray(np.linalg.eigvalsh(spinor(hamiltonian, interaction, xi)), dtype=np.float64)


def exchange_commutator(operators: Operators) -> Complexes:
    """(Hbar_u O - O Hbar_d)/2, the up-down block of [Hbar, sigma_x]/2: (k, n, n), eV."""
    if operators.commutator is not None:
        return operators.commutator
    h_up, h_down = operators.hamiltonian
    return np.asarray(0.5 * (h_up @ operators.overlap - operators.overlap @ h_down))


def real_products(left: Complexes, right: Complexes) -> Floats:
    """Re sum_m conj(a_mn) b_mn: (..., k, m, n), (d, k, m, n) -> (k, n, ..., d)."""
    # Re conj(a) b is the scalar product of (Re, Im) pairs: real arithmetic on the same memory.
    pairs = np.einsum("...kmx,dkmx->kx...d", left.view(float), right.view(float))
    return np.asarray(pairs[:, 0::2] + pairs[:, 1::2])


def real_products_by_row(left: Complexes, right: Complexes, rows: slice, columns: slice) -> Floats:
    """Re sum_n conj(a_mn) b_mn of some rows and columns: (..., k, m, n), (d, k, m, n) -> (k, m, ..., d)."""
    a, b = left[..., rows, columns], right[..., rows, columns]
    return np.moveaxis(np.vecdot(a.view(float)[..., None, :, :, :], b.view(float)), (-2, -1), (0, 1))


def to_lab(tensor: Floats, frame: Floats, axis: int = -2) -> Floats:
    """Spin components of the spin frame (2 or 3 of them, along one axis) to x, y, z."""
    components = np.moveaxis(tensor, axis, -1)
    result: Floats = np.moveaxis(components @ frame[: components.shape[-1]], -1, axis)
    return result
