"""Wannier90's files of one spin channel, and the position matrices built from its overlaps."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import InputError, brief
from .given import LARGEST

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Complexes = npt.NDArray[np.complex128]

SUFFIXES = (".win", ".wout", ".eig", ".mmn", "_u.mat", "_u_dis.mat")
"""Of the files that `Channel.read` reads."""
COMPLETE = "All done: wannier90 exiting"
LARGEST_COUNT = 10**6
"""No run has as many bands, k points or neighbours; a larger number in a file is a damaged one."""


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
        settings, excluded = _read_win(_text(seed, ".win"), seed)
        centres, spreads = _read_wout(_text(seed, ".wout"), seed)
        energies = _read_eig(seed)
        neighbours, shifts, overlaps = _read_mmn(seed)
        kpoints, rotation = _read_matrices(seed, "_u.mat")
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
            _, subspace = _read_matrices(seed, "_u_dis.mat")
            if subspace.shape != (points, bands, functions):
                raise InputError(
                    f"{seed}_u_dis.mat: {subspace.shape} (k points, bands, functions) was found, expected "
                    f"{(points, bands, functions)}; it must belong to the run of the other files"
                )
            gauge = _into_window(subspace, energies, settings) @ rotation
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


# -- files ---------------------------------------------------------------------------------------------


def _text(seed: Path, suffix: str) -> str:
    path = Path(f"{seed}{suffix}")
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); run wannier90.x and keep its files") from error
    if not text.strip():
        raise InputError(f"{path}: is empty; run wannier90.x again")
    return text


def _numbers(seed: Path, suffix: str, lines_skipped: int) -> Floats:
    text = _text(seed, suffix)
    for _ in range(lines_skipped):
        _, _, text = text.partition("\n")
    try:
        numbers = np.array(text.split(), dtype=float)
    except ValueError as error:
        raise InputError(
            f"{seed}{suffix}: holds what is not a number ({brief(error)}); run wannier90.x again"
        ) from error
    bad = np.count_nonzero(~(np.abs(numbers) < LARGEST))
    if bad:
        raise InputError(
            f"{seed}{suffix}: holds {bad} numbers that are not finite, or not below {LARGEST:g}; run wannier90.x again"
        )
    return numbers


def _counts(seed: Path, suffix: str, numbers: Floats) -> list[int]:
    """The three numbers of bands, k points or functions that a file starts with."""
    if len(numbers) < 3:
        raise _truncated(seed, suffix, len(numbers), 3)
    counts = numbers[:3]
    if (counts != np.rint(counts)).any() or counts.min() < 1 or counts.max() > LARGEST_COUNT:
        given = " ".join(f"{count:g}" for count in counts)
        raise InputError(f"{seed}{suffix}: starts with {given}, expected three positive whole numbers; run again")
    return [int(count) for count in counts]


def _truncated(seed: Path, suffix: str, found: int, expected: int) -> InputError:
    return InputError(f"{seed}{suffix}: holds {found} numbers, expected {expected}; it is truncated, run again")


def _read_win(text: str, seed: Path) -> tuple[dict[str, float], set[int]]:
    """Outer window and excluded bands (numbers from 1) as the run was told."""
    settings: dict[str, float] = {}
    excluded: set[int] = set()
    for raw in text.splitlines():
        line = re.split(r"[!#]", raw, maxsplit=1)[0].strip().lower()
        match = re.match(r"(dis_win_min|dis_win_max)\s*[=:\s]\s*(\S+)", line)
        if match:
            settings[match[1]] = _energy(seed, match[1], match[2])
        match = re.match(r"exclude_bands\s*[=:\s]\s*(.+)", line)
        if match:
            for first, last in re.findall(r"(\d+)(?:\s*-\s*(\d+))?", match[1]):
                if len(last or first) > len(str(LARGEST_COUNT)) or int(last or first) > LARGEST_COUNT:
                    raise InputError(
                        f"{seed}.win: exclude_bands = {brief(match[1])}: no run has as many bands; correct it"
                    )
                excluded |= set(range(int(first), int(last or first) + 1))
    if "num_wann" not in text.lower():
        raise InputError(f"{seed}.win: has no num_wann; give the input file that wannier90.x ran with")
    return settings, excluded


def _energy(seed: Path, key: str, text: str) -> float:
    try:
        value = float(text.replace("d", "e"))  # Fortran writes 1.0d1
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise InputError(
            f"{seed}.win: {key} = {brief(text)} was given, expected a number in eV; run wannier90.x with one"
        )
    return value


def _read_wout(text: str, seed: Path) -> tuple[Floats, Floats]:
    """Centres (Angstrom) and spreads (Angstrom^2) of the final state."""
    if COMPLETE not in text:
        raise InputError(
            f"{seed}.wout: does not end with '{COMPLETE}'; the run stopped early, see its end for the reason"
        )
    final = text.rpartition("Final State")[2]
    rows = re.findall(r"WF centre and spread\s+\d+\s+\(([^)]*)\)\s+(\S+)", final)
    try:
        centres = np.array([[float(x) for x in centre.split(",")] for centre, _ in rows])
        spreads = np.array([float(spread) for _, spread in rows])
    except ValueError as error:
        raise InputError(f"{seed}.wout: unreadable Wannier centres ({brief(error)})") from error
    if not ((np.abs(centres) < LARGEST).all() and (np.abs(spreads) < LARGEST).all()):
        raise InputError(
            f"{seed}.wout: holds Wannier centres or spreads that are not finite, or not below {LARGEST:g}; "
            "run wannier90.x again"
        )
    return centres.reshape(-1, 3), spreads


def _read_eig(seed: Path) -> Floats:
    numbers = _numbers(seed, ".eig", 0)
    if len(numbers) % 3:
        raise _truncated(seed, ".eig", len(numbers), len(numbers) // 3 * 3 + 3)
    rows = numbers.reshape(-1, 3)
    # The last row tells how many there are; rows run through the bands of one k point after the other.
    bands, points, _ = _counts(seed, ".eig", np.array([*rows[-1, :2], 1.0]))
    if len(rows) != bands * points:
        raise _truncated(seed, ".eig", len(numbers), 3 * bands * points)
    table = rows.reshape(points, bands, 3)
    in_order = (table[..., 0] == np.arange(1, bands + 1)) & (table[..., 1] == np.arange(1, points + 1)[:, None])
    if not in_order.all():
        raise InputError(f"{seed}.eig: its bands and k points are not in order; write it again with pw2wannier90.x")
    return np.ascontiguousarray(table[..., 2])


def _read_mmn(seed: Path) -> tuple[Integers, Integers, Complexes]:
    numbers = _numbers(seed, ".mmn", 1)
    bands, points, count = _counts(seed, ".mmn", numbers)
    per_block = 5 + 2 * bands**2
    if len(numbers) != 3 + points * count * per_block:
        raise _truncated(seed, ".mmn", len(numbers), 3 + points * count * per_block)
    blocks = numbers[3:].reshape(points, count, per_block)
    heads = blocks[..., :5]
    if (heads[..., 0] != np.arange(1, points + 1)[:, None]).any():
        raise InputError(f"{seed}.mmn: its k points are not in order; it does not belong to this mesh")
    whole = (heads == np.rint(heads)) & (np.abs(heads) <= LARGEST_COUNT)
    neighbours = heads[..., 1]
    if not whole.all() or neighbours.min() < 1 or neighbours.max() > points:
        bad = np.flatnonzero((~whole.all(axis=-1) | (neighbours < 1) | (neighbours > points)).ravel())[0]
        given = " ".join(f"{x:g}" for x in heads.reshape(-1, 5)[bad])
        raise InputError(
            f"{seed}.mmn: names the neighbour {given}, expected a k point from 1 to {points} and three whole numbers; "
            "run pw2wannier90.x again"
        )
    values = blocks[..., 5:].reshape(points, count, bands, bands, 2)
    # Columns of M run slowest in the file: M_mn with m fastest.
    overlaps = (values[..., 0] + 1j * values[..., 1]).swapaxes(-1, -2)
    integers = heads.astype(np.int64)
    return integers[..., 1] - 1, integers[..., 2:], np.ascontiguousarray(overlaps)


def _read_matrices(seed: Path, suffix: str) -> tuple[Floats, Complexes]:
    """_u.mat or _u_dis.mat: k points (q, 3) and matrices (q, rows, functions)."""
    numbers = _numbers(seed, suffix, 1)
    points, functions, rows = _counts(seed, suffix, numbers)
    per_point = 3 + 2 * rows * functions
    if len(numbers) != 3 + points * per_point:
        raise _truncated(seed, suffix, len(numbers), 3 + points * per_point)
    blocks = numbers[3:].reshape(points, per_point)
    values = blocks[:, 3:].reshape(points, functions, rows, 2)
    if not np.abs(values).max(initial=0.0) <= 1 + 1e-5:
        raise InputError(f"{seed}{suffix}: an element is larger than 1, the matrices are not unitary; run again")
    return blocks[:, :3], np.ascontiguousarray((values[..., 0] + 1j * values[..., 1]).swapaxes(-1, -2))


def _into_window(subspace: Complexes, energies: Floats, settings: dict[str, float]) -> Complexes:
    """Rows of _u_dis.mat start at the first band of the outer window: move them to the band they stand for."""
    result = np.zeros_like(subspace)
    lowest, highest = settings.get("dis_win_min", -np.inf), settings.get("dis_win_max", np.inf)
    for q, own in enumerate(energies):
        inside = np.flatnonzero((own >= lowest) & (own <= highest))
        result[q, inside] = subspace[q, : len(inside)]
    return result
