"""Slabs from structure files: what the file says, nothing guessed, nothing dropped without a word."""

from __future__ import annotations

import itertools
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import ase
import ase.io
from aiida import orm
from ase.io.formats import UnknownFileTypeError, filetype

from aiida_dmi.engine.errors import InputError, brief
from aiida_dmi.structures.convert import check_occupancies, structure_data, with_kinds
from aiida_dmi.structures.file_checks import (
    UNREADABLE,
    check_names_of_cif,
    check_poscar,
    check_xyz,
    refuse_magnetic_cif,
)
from aiida_dmi.structures.moments import MOMENT_ARRAYS, with_moments

FRAME = re.compile(r"(?P<path>.+)@(?P<frame>-?\d+)")
PW_INPUT = "espresso-in"
XYZ = ("xyz", "extxyz")
CIF = ("cif", "mcif")
POSCAR = ("vasp",)
TAKEN = ("numbers", "positions", "initial_magmoms", *MOMENT_ARRAYS, "masses", "momenta", "spacegroup_kinds")
"""Arrays of ASE's atoms that are used, or of which a film has no use."""
LABEL = re.compile(r"^\s*(?!K_POINTS)([A-Za-z]{1,2}[0-9]?[_-]\S*)\s", re.MULTILINE | re.IGNORECASE)
"""A species of pw.x with a suffix, at the head of a line; not the card of k points."""
CARD = re.compile(r"^\s*(ATOMIC_SPECIES|ATOMIC_POSITIONS|CELL_PARAMETERS|K_POINTS)\b", re.MULTILINE | re.IGNORECASE)
FORMATS = "cif, POSCAR, xsf or extended xyz file, or an input of pw.x"


class Slab(NamedTuple):
    """A structure as it was given.

    Attributes
    ----------
    structure : StructureData
        Not turned, not stored.
    said : dict
        What it says of the film, as keys of `intake.Choices`.
    notes : list of str
        What of it is not taken over.
    """

    structure: orm.StructureData
    said: dict[str, Any]
    notes: list[str]


def structure_file(text: str) -> tuple[Path, int | None] | None:
    """File and frame of a text such as 'slab.cif' or 'run.xyz@3'; None where there is no such file."""
    try:
        if Path(text).is_file():
            return Path(text), None
        found = FRAME.fullmatch(text)
        if found and Path(found["path"]).is_file():
            return Path(found["path"]), int(found["frame"])
    except (OSError, ValueError):  # a name that is too long, or holds NUL
        return None
    return None


class FileContent(NamedTuple):
    """Atoms of a file with the array `kinds`, the moments of those kinds (mu_B), and what is not taken over."""

    atoms: ase.Atoms
    moments: dict[str, float]
    notes: list[str]


def slab_of_file(text: str, moments_given: bool = False) -> Slab:
    """The structure of a file; parameters and errors as `read_structure`."""
    content = read_structure(text, moments_given)
    found = structure_file(text)
    label = found[0].stem if found else ""
    said = {"moments": content.moments} if content.moments else {}
    return Slab(structure_data(content.atoms, label), said, content.notes)


def read_structure(text: str, moments_given: bool = False) -> FileContent:
    """The atoms of a file.

    Parameters
    ----------
    text : str
        Path of a file of pw.x (input) or of any format that ASE reads; with '@3' the frame 3, counted from 0.
    moments_given : bool
        Whether the user gives moments, so that those of the file do not count.

    Raises
    ------
    InputError
        If it cannot be read, holds several structures and none is named, or has sites that are shared or not full.
    """
    found = structure_file(text)
    if found is None:
        raise InputError(f"{text}: no such file; give a {FORMATS}")
    path, frame = found
    try:
        kind = filetype(str(path))
    except (UnknownFileTypeError, *UNREADABLE) as error:
        raise InputError(f"{path}: of no known format; give a {FORMATS}") from error
    if kind == PW_INPUT:
        atoms, notes = _pw_input(path, moments_given)
    else:
        atoms, notes = _by_ase(path, kind, frame)
    check_occupancies(atoms)
    if atoms.constraints:
        notes.append(f"{path.name}: which atoms are held is not taken over; a relaxation holds those of `relax: fixed`")
    named, moments, words = with_moments(atoms)
    return FileContent(named, moments, [*notes, *words])


def _by_ase(path: Path, kind: str, frame: int | None) -> tuple[ase.Atoms, list[str]]:
    """One structure of a file, and ASE's warnings."""
    if kind in XYZ:
        check_xyz(path)
    if kind in CIF:
        refuse_magnetic_cif(path)
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            frames = ase.io.read(path, index=":")
    except Exception as error:  # ASE's readers raise whatever their formats bring up
        why = brief(error, 200) or type(error).__name__
        raise InputError(f"{path}: ASE cannot read it ({why}); give a {FORMATS}") from error
    frames = frames if isinstance(frames, list) else [frames]
    if not frames:
        raise InputError(f"{path}: holds no structure; give a {FORMATS}")
    if frame is None and len(frames) > 1:
        raise InputError(
            f"{path}: holds {len(frames)} structures, expected one; name one of them, from {path}@0 to "
            f"{path}@{len(frames) - 1} (the last: {path}@-1)"
        )
    if frame is not None and not -len(frames) <= frame < len(frames):
        raise InputError(f"{path}@{frame}: the file holds {len(frames)} structures, counted from 0")
    atoms = frames[frame or 0]
    notes = [
        f"{path.name}: {brief(warning.message, 200)}" for warning in said if issubclass(warning.category, UserWarning)
    ]
    if kind in CIF:
        check_names_of_cif(path)
    if kind in POSCAR:
        notes += check_poscar(path)
    if left := [name for name in atoms.arrays if name not in TAKEN]:
        notes.append(f"{path.name}: not taken over: {', '.join(sorted(left))}")
    return atoms, notes


def _pw_input(path: Path, moments_given: bool) -> tuple[ase.Atoms, list[str]]:
    """The structure of an input file of pw.x, its species as kinds.

    ASE gives all species of an element the moment of the last one, and so makes a ferromagnet of an antiferromagnet.
    """
    from qe_tools.parsers import PwInputFile

    try:
        text, labels = _plain_labels(path.read_text(encoding="utf-8"))
        content = PwInputFile(text, validate_species_names=False)
        structure, system = content.structure, content.namelists.get("SYSTEM", {})
        kinds = [labels.get(str(name), str(name)) for name in structure["atom_names"]]
        symbols = [_symbol(kind) for kind in kinds]
        atoms = ase.Atoms(symbols, positions=structure["positions"], cell=structure["cell"], pbc=True)
    except Exception as error:  # as ASE's readers
        raise InputError(f"{path}: no input of pw.x that can be read ({brief(error, 200)}); give a cif") from error
    if len(atoms) != system.get("nat"):
        raise InputError(
            f"{path}: {len(atoms)} positions were read where nat = {system.get('nat')}; write every atom on a line of "
            "its own, as a label and three numbers"
        )
    atoms = with_kinds(atoms, kinds)
    names = structure["species"]["names"]
    start = {
        labels.get(str(name), str(name)): float(system.get(f"starting_magnetization({n})", 0.0))
        for n, name in enumerate(names, 1)
    }
    if not moments_given and min(start.values(), default=0.0) < 0 < max(start.values(), default=0.0):
        raise InputError(
            f"{path}: starting magnetisations of both signs ({start}), which pw.x counts in parts of the valence "
            "electrons; give moments in mu_B (--moment Mn1=4 --moment Mn2=-3)"
        )
    notes = [f"{path.name}: only the atoms are taken over; its other settings are the protocol's"]
    return atoms, notes


def _plain_labels(text: str) -> tuple[str, dict[str, str]]:
    """An input of pw.x without comments, its labels letters and digits; and the labels that it had.

    At a label such as Fe_up, or at a comment behind the numbers, the parser ends its list of atoms without a word.
    Cards in small letters, which pw.x takes, it does not find.
    """
    text = CARD.sub(lambda card: card[0].upper(), re.sub(r"!.*", "", text))
    found = dict.fromkeys(match[1] for match in LABEL.finditer(text))
    words = set(text.split())
    labels: dict[str, str] = {}
    for label in found:
        symbol = re.split("[_-]", label)[0]
        plain = next(name for n in itertools.count(1) if (name := f"{symbol}{n}") not in words | set(labels))
        labels[plain] = label
        text = re.sub(rf"^(\s*){re.escape(label)}(?=\s)", rf"\g<1>{plain}", text, flags=re.MULTILINE)
    return text, labels


def _symbol(kind: str) -> str:
    """Element of a species of pw.x: its name may go on after the symbol, as Fe1 and Fe_up do."""
    found = re.match(r"([A-Za-z][a-z]?)(?![a-z])", kind)
    symbol = found[1].capitalize() if found else ""
    if symbol not in ase.data.chemical_symbols[1:]:
        raise ValueError(f"species {kind} begins with no element")
    return symbol
