"""What structure files say and ASE's readers pass over, or take for something else: refused in one line, or noted."""

from __future__ import annotations

import lzma
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from ase.io.cif import parse_cif
from ase.io.formats import open_with_compression

from aiida_dmi.engine.errors import InputError, brief

COLUMNS = re.compile(r":[A-Z]:(\d+)")
MAGNETIC_CIF = re.compile(r"_atom_site_(fourier_)?moment|_space_group_(symop_)?magn|[,\s]spin=")
"""What ASE leaves out: moments, in columns or in the names that pymatgen gives to species, and symmetry operations
without which most of the atoms are missing."""
CAPITALS = re.compile(r"[A-Z]{2}(?![a-z])")
"""Names that ASE cuts after the first letter: CO is carbon to it, PT phosphorus."""

UNREADABLE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)
"""What opening and unpacking a file raise."""


def text_of(path: Path) -> str:
    """The text of a file that may be compressed.

    Raises
    ------
    InputError
        If it cannot be unpacked.
    """
    try:
        with open_with_compression(str(path), "rb") as file:
            return str(file.read().decode("utf-8", errors="replace"))
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot be read ({brief(error, 200)})") from error


def check_xyz(path: Path) -> None:
    """Refuse an xyz file that counts more atoms or columns than it has: ASE would look for them for ever.

    Raises
    ------
    InputError
    """
    lines = text_of(path).splitlines()
    start = 0
    while start < len(lines):
        try:
            count = int(lines[start])
        except ValueError:
            return
        if count < 0 or start + 2 + count > len(lines):
            raise InputError(f"{path}: line {start + 1} counts {count} atoms, the file ends before; mend it")
        columns = sum(int(number[:9]) for number in COLUMNS.findall(lines[start + 1]))
        if columns > max(map(len, lines[start + 2 : start + 2 + count]), default=0):
            raise InputError(f"{path}: line {start + 2} counts {columns} columns, the atoms have fewer; mend it")
        start += 2 + count


def refuse_magnetic_cif(path: Path) -> None:
    """An antiferromagnet would start as a ferromagnet, and without its magnetic symmetry lack atoms.

    Names of items are the same in small letters and capitals, and with a dot after their category or without.

    Raises
    ------
    InputError
    """
    if ".mcif" in (suffix.lower() for suffix in path.suffixes) or MAGNETIC_CIF.search(
        text_of(path).lower().replace(".", "_")
    ):
        raise InputError(
            f"{path}: a magnetic cif was given, whose moments and symmetry are not read; write all its atoms as a "
            "plain cif or POSCAR, and give the moments in mu_B (--moment Mn=4)"
        )


def check_names_of_cif(path: Path) -> None:
    """Refuse names of atoms in which ASE sees the first letter alone.

    Raises
    ------
    InputError
        Naming the first of them.
    """
    for name in _names_of_cif(path):
        if CAPITALS.match(name) and name[:2].capitalize() in chemical_symbols:
            raise InputError(
                f"{path}: an atom {name!r} was given, which may be {name[0]} or {name[:2].capitalize()}; write its "
                "element with a small second letter (_atom_site_type_symbol)"
            )


def _names_of_cif(path: Path) -> Iterator[str]:
    """Names that ASE takes the elements from: the type symbols where there are some, else the labels."""
    with open_with_compression(str(path), "rb") as file:
        for block in parse_cif(file):
            for key in ("_atom_site_type_symbol", "_atom_site_label"):
                if key in block:
                    names = block[key]
                    yield from map(str, names if isinstance(names, list) else [names])
                    break


def check_poscar(path: Path) -> list[str]:
    """Refuse what VASP's format leaves open and ASE decides by itself; notes on where the elements come from.

    Raises
    ------
    InputError
        If the elements are on no line of their own and the title is more than they, if the names behind the positions
        are others, or if a left-handed cell is to be scaled to a volume (ASE would mirror it).
    """
    lines = [line.split() for line in text_of(path).split("\n")]
    if len(lines) < 8 or not lines[5]:
        return []
    cell = np.array([line[:3] for line in lines[2:5]], dtype=float)
    if float(lines[1][0]) < 0 and np.linalg.det(cell) < 0:
        raise InputError(
            f"{path}: a left-handed cell with a volume (line 2) was given; give the scale as a positive number"
        )
    notes = []
    if lines[5][0].isdigit():
        # The words of the title, of which ASE takes any that read as elements, "In" or "No" among them.
        elements, counts, first = lines[0], _counts(lines[5]), 6
        if len(elements) != len(counts) or not set(elements) <= set(chemical_symbols[1:]):
            raise InputError(
                f"{path}: names no elements above the numbers of atoms (line 6), and its title is more than their "
                "list; write them on a line of their own"
            )
        notes.append(f"{path.name}: the elements {' '.join(elements)} are those of its title, there is no line of them")
    else:
        elements, counts, first = lines[5], _counts(lines[6]), 7
    _check_names_behind(
        path, lines, first, [n for n, count in zip(elements, counts, strict=False) for _ in range(count)]
    )
    return notes


def _counts(words: list[str]) -> list[int]:
    """Numbers of atoms, up to a comment."""
    counts: list[int] = []
    for word in words:
        if not word.isdigit():
            break
        counts.append(int(word))
    return counts


def _check_names_behind(path: Path, lines: list[list[str]], first: int, names: list[str]) -> None:
    """Refuse a list of atoms whose names are not those of the header: somebody sorted one and not the other."""
    selective = bool(lines[first]) and lines[first][0][0] in "sS"
    start = first + 1 + selective
    for number, (name, words) in enumerate(zip(names, lines[start:], strict=False), start + 1):
        behind = [word for word in words[3:] if not (selective and word.strip(".")[:1] in "TtFf")]
        element = re.split("[_/]", name)[0]
        if behind and behind[0] in chemical_symbols[1:] and behind[0] != element:
            raise InputError(
                f"{path}: line {number} names an atom {behind[0]}, which the numbers above make {element}; mend either"
            )
