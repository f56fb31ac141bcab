"""wannier90's .nnkp file: what the overlaps are asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import InputError, brief
from .given import LARGEST
from .trial_functions import TrialFunction
from .wannier90_files import LARGEST_COUNT

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Nnkp:
    """Content of a .nnkp file.

    Parameters
    ----------
    cell : ndarray, shape (3, 3)
        Rows, Angstrom.
    kpoints : ndarray, shape (q, 3)
        In units of the reciprocal lattice vectors.
    functions : tuple of TrialFunction
    neighbours : ndarray of int, shape (q, b)
        Index (from 0) of the k point that stands for q + b.
    shifts : ndarray of int, shape (q, b, 3)
        Reciprocal vector that brings it to q + b.
    excluded : tuple of int
        Bands (from 0) that are left out.
    """

    cell: Floats
    kpoints: Floats
    functions: tuple[TrialFunction, ...]
    neighbours: Integers
    shifts: Integers
    excluded: tuple[int, ...]

    @classmethod
    def read(cls, path: str | Path) -> Nnkp:
        """Read the file that `wannier90.x -pp` writes.

        Raises
        ------
        InputError
            If it is missing or truncated, asks for what is not supported, or its numbers do not make sense.
        """
        path = Path(path)
        try:
            blocks = _blocks(path.read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            raise InputError(f"nnkp: {path} cannot be read ({error.strerror}); run wannier90.x -pp first") from error
        for name in ("spinor_projections", "auto_projections"):
            if name in blocks:
                raise InputError(
                    f"nnkp: {path} asks for {name}; list the projections of a collinear run in the .win file"
                )
        try:
            kpoints = _numbers("kpoints", *_counted(blocks, "kpoints"), 3)
            neighbours, shifts = _neighbours(blocks, len(kpoints))
            return cls(
                cell=_numbers("real_lattice", 3, _rows(blocks, "real_lattice"), 3),
                kpoints=kpoints,
                functions=_functions(blocks),
                neighbours=neighbours,
                shifts=shifts,
                excluded=_excluded(blocks),
            )
        except InputError as error:
            raise InputError(f"nnkp: {path}: {error}") from error
        except ValueError as error:
            raise InputError(f"nnkp: {path}: {error}; run wannier90.x -pp again") from error


def _blocks(text: str) -> dict[str, list[list[str]]]:
    """Rows of every `begin NAME ... end NAME`; a block without its end is left out."""
    blocks: dict[str, list[list[str]]] = {}
    name = ""
    rows: list[list[str]] = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["begin"]:
            name, rows = " ".join(words[1:]), []
        elif words == ["end", name]:
            blocks[name] = rows
        elif words:
            rows.append(words)
    return blocks


def _rows(blocks: dict[str, list[list[str]]], name: str) -> list[list[str]]:
    if name not in blocks:
        raise ValueError(f"block {name} is missing or has no end")
    return blocks[name]


def _counted(blocks: dict[str, list[list[str]]], name: str) -> tuple[int, list[list[str]]]:
    """The number that a block starts with, and the rows after it."""
    rows = _rows(blocks, name)
    if not rows or len(rows[0]) != 1 or not rows[0][0].isdecimal():
        raise ValueError(f"block {name} does not start with a number of entries")
    return int(rows[0][0]), rows[1:]


def _numbers(name: str, expected: int, rows: list[list[str]], columns: int) -> Floats:
    """Rows of finite numbers, shape (expected, columns)."""
    if len(rows) != expected or any(len(row) != columns for row in rows):
        raise ValueError(f"block {name} is not {expected} rows of {columns} numbers")
    try:
        numbers = np.array(rows, dtype=float).reshape(expected, columns)
    except ValueError as error:
        raise ValueError(f"block {name} holds what is not a number ({brief(error)})") from error
    if not (np.abs(numbers) < LARGEST).all():
        raise ValueError(f"block {name} holds numbers that are not finite, or not below {LARGEST:g}")
    return numbers


def _whole(name: str, numbers: Floats) -> Integers:
    if (numbers != np.rint(numbers)).any() or (np.abs(numbers) > LARGEST_COUNT).any():
        raise ValueError(f"block {name} holds what is no whole number of this size")
    return numbers.astype(np.int64)


def _functions(blocks: dict[str, list[list[str]]]) -> tuple[TrialFunction, ...]:
    """Two rows a function: centre, l, mr, r; zaxis, xaxis, zona."""
    count, rows = _counted(blocks, "projections")
    if count == 0:
        raise ValueError("block projections is empty; list projections in the .win file")
    sites = _numbers("projections", count, rows[::2], 6)
    axes = _numbers("projections", count, rows[1::2], 7)
    quantum_numbers = _whole("projections", sites[:, 3:])
    return tuple(
        TrialFunction(
            centre=tuple(site[:3].tolist()),
            ell=int(ell),
            mr=int(mr),
            radial=int(radial),
            zaxis=tuple(own[:3].tolist()),
            xaxis=tuple(own[3:6].tolist()),
            zona=float(own[6]),
        )
        for site, (ell, mr, radial), own in zip(sites, quantum_numbers, axes, strict=True)
    )


def _neighbours(blocks: dict[str, list[list[str]]], points: int) -> tuple[Integers, Integers]:
    """Number of neighbours, then for each k point as many rows: k, neighbour, reciprocal vector."""
    count, rows = _counted(blocks, "nnkpts")
    if points == 0 or count == 0:
        raise ValueError("no k points or no neighbours are listed")
    table = _whole("nnkpts", _numbers("nnkpts", points * count, rows, 5)).reshape(points, count, 5)
    if (table[..., 0] != np.arange(1, points + 1)[:, None]).any():
        raise ValueError("block nnkpts does not go through the k points in order")
    if table[..., 1].min() < 1 or table[..., 1].max() > points:
        raise ValueError(f"block nnkpts names a neighbour that is none of the {points} k points")
    return table[..., 1] - 1, table[..., 2:]


def _excluded(blocks: dict[str, list[list[str]]]) -> tuple[int, ...]:
    bands = _whole("exclude_bands", _numbers("exclude_bands", *_counted(blocks, "exclude_bands"), 1)).ravel()
    if (bands < 1).any():
        raise ValueError(f"block exclude_bands names band {bands.min()}; bands count from 1")
    return tuple(sorted({int(band) - 1 for band in bands}))
