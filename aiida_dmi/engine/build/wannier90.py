"""Wannier90's files of one spin channel, and the position matrices built from its overlaps."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .wannier90_files import file_text, into_window, read_eig, read_matrices, read_mmn, read_win, read_wout

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Complexes = npt.NDArray[np.complex128]


@dataclasses.dataclass(frozen=True)
class Channel:
    """One spin's Wannier functions.

    b = nearest neighbours of a k point, m = bands kept for the Wannier functions.

    Parameters
    ----------
    gauge : ndarray, shape (q, m, n), complex
        |W_n q> = sum_m |psi_m q> gauge[q, m, n]; U_dis U where there is disentanglement.
    energies : ndarray, shape (q, m)
        Of the kept bands, eV.
    kept : ndarray of int, shape (m,)
        Their numbers (from 0) among the nscf's bands.
    neighbours : ndarray of int, shape (q, b)
        Index of the k point q + b.
    shifts : ndarray of int, shape (q, b, 3)
        Reciprocal vector that brings it to q + b.
    overlaps : ndarray, shape (q, b, m, m), complex
        M_mn(q, b) = <u_m q|u_n q+b>.
    kpoints : ndarray, shape (q, 3)
    centres : ndarray, shape (n, 3)
        As wannier90.x prints them, Angstrom.
    spreads : ndarray, shape (n,)
        Angstrom^2.
    """

    gauge: Complexes
    energies: Floats
    kept: Integers
    neighbours: Integers
    shifts: Integers
    overlaps: Complexes
    kpoints: Floats
    centres: Floats
    spreads: Floats

    @classmethod
    def read(cls, seed: str | Path) -> Channel:
        """Read SEED.win, .wout, .eig, .mmn, _u.mat and, where there is disentanglement, _u_dis.mat.

        Raises
        ------
        InputError
            If a file is missing, truncated or does not fit the others, or wannier90.x did not finish.
        """
        seed = Path(seed)
        settings, excluded = read_win(file_text(seed, ".win"), seed)
        centres, spreads = read_wout(file_text(seed, ".wout"), seed)
        energies = read_eig(seed)
        neighbours, shifts, overlaps = read_mmn(seed)
        kpoints, rotation = read_matrices(seed, "_u.mat")
        if energies.shape != overlaps.shape[:1] + overlaps.shape[2:3] or len(kpoints) != len(energies):
            raise InputError(
                f"{seed}: .eig has {energies.shape} (k points, bands), .mmn {overlaps.shape[:1] + overlaps.shape[2:3]} "
                f"and _u.mat {len(kpoints)} k points; they must belong to one run"
            )
        points, bands = energies.shape
        functions = rotation.shape[-1]
        if rotation.shape != (points, functions, functions):
            raise InputError(f"{seed}_u.mat: matrices of shape {rotation.shape[1:]}, expected {(functions, functions)}")
        gauge = rotation
        if bands != functions:
            _, subspace = read_matrices(seed, "_u_dis.mat")
            if subspace.shape != (points, bands, functions):
                raise InputError(
                    f"{seed}_u_dis.mat: {subspace.shape} (k points, bands, functions) was found, expected "
                    f"{(points, bands, functions)}; it must belong to the run of the other files"
                )
            gauge = into_window(subspace, energies, settings) @ rotation
        error = float(np.abs(gauge.conj().swapaxes(-1, -2) @ gauge - np.eye(functions)).max())
        if not error <= 1e-5:
            raise InputError(f"{seed}: the gauge matrices are not unitary (off by {error:.1e}); run wannier90.x again")
        if len(centres) != functions:
            raise InputError(f"{seed}.wout: {len(centres)} Wannier centres, expected {functions}")
        total = bands + len(excluded)
        if excluded and max(excluded) > total:
            raise InputError(f"{seed}.win: exclude_bands names band {max(excluded)}, there are {total}")
        kept = np.array([b - 1 for b in range(1, total + 1) if b not in excluded], dtype=np.int64)
        return cls(gauge, energies, kept, neighbours, shifts, overlaps, kpoints, centres, spreads)

    def hamiltonian(self) -> Complexes:
        """Hbar(q) = gauge^+ E gauge, shape (q, n, n), eV."""
        result: Complexes = self.gauge.conj().swapaxes(-1, -2) @ (self.energies[:, :, None] * self.gauge)
        return result

    def wannier_overlaps(self) -> Complexes:
        """M(q, b) in the Wannier gauge, U(q)^+ M(q, b) U(q + b): shape (q, b, n, n)."""
        bra = self.gauge.conj().swapaxes(-1, -2)[:, None]
        result: Complexes = bra @ self.overlaps @ self.gauge[self.neighbours]
        return result


def neighbour_vectors(channel: Channel, cell: Floats) -> tuple[Floats, Floats]:
    """The vectors b (1/Angstrom) of every k point and their weights w_b with sum_b w_b b_i b_j = delta_ij.

    Parameters
    ----------
    channel : Channel
    cell : ndarray, shape (3, 3)
        Rows, Angstrom.

    Returns
    -------
    vectors : ndarray, shape (q, b, 3)
    weights : ndarray, shape (q, b)
        Angstrom^2; equal within a shell of equal |b|.
    """
    reciprocal = 2 * np.pi * np.linalg.inv(cell).T
    fractional = channel.kpoints[channel.neighbours] + channel.shifts - channel.kpoints[:, None]
    vectors = fractional @ reciprocal
    length = np.linalg.norm(vectors, axis=-1)
    shells = np.unique(np.round(length[0], 5))
    shell = np.abs(length[..., None] - shells).argmin(axis=-1)
    components = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]
    target = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    sums = np.array(
        [
            [(vectors[0, shell[0] == s, i] * vectors[0, shell[0] == s, j]).sum() for s in range(len(shells))]
            for i, j in components
        ]
    )
    solution = np.linalg.lstsq(sums, target, rcond=None)[0]
    weights = solution[shell]
    complete = np.einsum("qb,qbi,qbj->qij", weights, vectors, vectors)
    error = float(np.abs(complete - np.eye(3)).max())
    if not error <= 1e-4:
        raise InputError(f".mmn: its neighbours b do not satisfy sum w_b b b = 1 (off by {error:.1e}); run -pp again")
    return vectors, weights


def wannier_centres(overlaps: Complexes, vectors: Floats, weights: Floats) -> Floats:
    """Centres c_n = -(1/q) sum_qb w_b b Im ln M_nn(q, b), shape (n, 3), Angstrom.

    Parameters
    ----------
    overlaps : ndarray, shape (q, b, n, n)
        In the Wannier gauge.
    vectors : ndarray, shape (b, 3)
        1/Angstrom.
    weights : ndarray, shape (b,)
        Angstrom^2.
    """
    phases = np.angle(np.einsum("qbnn->qbn", overlaps))
    result: Floats = -np.einsum("b,bi,qbn->ni", weights, vectors, phases) / len(overlaps)
    return result


@dataclasses.dataclass(frozen=True)
class Gradient:
    """The finite-difference form of a spin's position operator: Wannier-gauge overlaps with common neighbours.

    Parameters
    ----------
    overlaps : ndarray, shape (q, b, n, n)
        M(q, b) in the Wannier gauge, the neighbours of every q in the same order.
    vectors : ndarray, shape (b, 3)
        1/Angstrom.
    weights : ndarray, shape (b,)
        Angstrom^2.
    centres : ndarray, shape (n, 3)
        Angstrom.
    """

    overlaps: Complexes
    vectors: Floats
    weights: Floats
    centres: Floats

    @classmethod
    def of(cls, channel: Channel, cell: Floats) -> Gradient:
        """From one spin's files and the cell (rows, Angstrom)."""
        overlaps, vectors, weights = _common_order(channel.wannier_overlaps(), *neighbour_vectors(channel, cell))
        return cls(overlaps, vectors, weights, wannier_centres(overlaps, vectors, weights))


def position_matrices(gradient: Gradient, kpoints: Floats, cell: Floats, images: Integers, share: Floats) -> Complexes:
    """A(q) = sum_R exp(iqR) <0i|r|Rj> from the overlaps, with midpoint phases (physics.md).

    A_ij(R) = i sum_b w_b b exp(i b.(c_i + c_j - R)/2) M_ij(R; b),  M(R; b) = (1/q) sum_q exp(-iqR) M(q, b),
    R the nearest image, the centres on the diagonal.

    M_ij(R; b) = <0i|exp(-ib.(r - R))|Rj>, so with x = (c_i + c_j + R)/2, the point midway between the two
    functions, the phase turns it into <0i|exp(-ib.(r - x))|Rj>: the finite difference measures r from there.
    The result is Hermitian and does not depend on where the slab sits in the cell.

    Parameters
    ----------
    gradient : Gradient
    kpoints : ndarray, shape (q, 3)
    cell : ndarray, shape (3, 3)
        Rows, Angstrom.
    images, share : ndarray, shapes (R, 3), (R, n, n)
        Nearest images, the same for both spins and for the interpolation (from the mean of their centres).

    Returns
    -------
    ndarray, shape (q, 3, n, n), complex
        Angstrom.
    """
    cartesian = images @ cell
    to_lattice = np.exp(-2j * np.pi * images @ kpoints.T) / len(kpoints)
    middle = (gradient.centres[:, None, :] + gradient.centres[None, :, :]) / 2
    lattice = np.zeros((len(images), 3, *share.shape[1:]), dtype=complex)
    for b, weight, overlap in zip(gradient.vectors, gradient.weights, gradient.overlaps.swapaxes(0, 1), strict=True):
        phase = np.exp(1j * (middle @ b)[None] - 0.5j * (cartesian @ b)[:, None, None])
        moved = phase * np.tensordot(to_lattice, overlap, axes=1)
        lattice += 1j * weight * b[None, :, None, None] * moved[:, None]
    lattice *= share[:, None]
    # On the diagonal of R = 0 the centres stand for themselves: measured from the midpoint they are zero.
    n = np.arange(len(gradient.centres))
    home = np.flatnonzero((images == 0).all(axis=1))[0]
    lattice[home][:, n, n] = gradient.centres.T
    position = np.tensordot(np.exp(2j * np.pi * kpoints @ images.T), lattice, axes=1)
    # A_ji(-R) is the same sum with b -> -b, so this only removes the rounding of the files.
    result: Complexes = (position + position.conj().swapaxes(-1, -2)) / 2
    return result


def _common_order(overlaps: Complexes, vectors: Floats, weights: Floats) -> tuple[Complexes, Floats, Floats]:
    """The neighbours of every k point in the order of the first one's: .mmn lists them as it finds them."""
    reference = vectors[0]
    ordered = np.empty_like(overlaps)
    for q, own in enumerate(vectors):
        distance = np.linalg.norm(own[None] - reference[:, None], axis=-1)
        order = distance.argmin(axis=1)
        if not distance.min(axis=1).max() <= 1e-5:
            raise InputError(f".mmn: k point {q + 1} has other neighbours than the first; run wannier90.x -pp again")
        ordered[q] = overlaps[q, order]
    return ordered, reference, weights[0]
