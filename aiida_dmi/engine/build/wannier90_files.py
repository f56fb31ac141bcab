"""Reading Wannier90's files of one spin channel; what is truncated, out of order or no number is refused."""

from __future__ import annotations

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


def file_text(seed: Path, suffix: str) -> str:
    """Text of SEED and suffix; a file that is missing or empty is refused."""
    path = Path(f"{seed}{suffix}")
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); run wannier90.x and keep its files") from error
    if not text.strip():
        raise InputError(f"{path}: is empty; run wannier90.x again")
    return text


def _numbers(seed: Path, suffix: str, lines_skipped: int) -> Floats:
    text = file_text(seed, suffix)
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


def read_win(text: str, seed: Path) -> tuple[dict[str, float], set[int]]:
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


def read_wout(text: str, seed: Path) -> tuple[Floats, Floats]:
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


def read_eig(seed: Path) -> Floats:
    """SEED.eig: energies (q, bands), eV."""
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


def read_mmn(seed: Path) -> tuple[Integers, Integers, Complexes]:
    """SEED.mmn: neighbours (q, b), shifts (q, b, 3) and overlaps (q, b, bands, bands), as in `wannier90.Channel`."""
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


def read_matrices(seed: Path, suffix: str) -> tuple[Floats, Complexes]:
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


def into_window(subspace: Complexes, energies: Floats, settings: dict[str, float]) -> Complexes:
    """Rows of _u_dis.mat start at the first band of the outer window: move them to the band they stand for."""
    result = np.zeros_like(subspace)
    lowest, highest = settings.get("dis_win_min", -np.inf), settings.get("dis_win_max", np.inf)
    for q, own in enumerate(energies):
        inside = np.flatnonzero((own >= lowest) & (own <= highest))
        result[q, inside] = subspace[q, : len(inside)]
    return result
