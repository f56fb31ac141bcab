"""Between atoms and AiiDA's structures."""

from __future__ import annotations

from collections.abc import Sequence

import ase
import numpy as np
from aiida import orm

from aiida_dmi.engine.errors import InputError


def structure_data(atoms: ase.Atoms, label: str) -> orm.StructureData:
    """A film's StructureData.

    Parameters
    ----------
    atoms : ase.Atoms
        The film; an array `kinds` (names), where present, becomes the kinds.
    label : str
        Of the node.
    """
    symbols = atoms.get_chemical_symbols()
    names = atoms.arrays["kinds"].tolist() if "kinds" in atoms.arrays else symbols
    structure = orm.StructureData(cell=atoms.cell.tolist(), pbc=tuple(bool(periodic) for periodic in atoms.pbc))
    # The masses are ASE's: AiiDA's own table differs in the last digit, which would change every node's hash.
    for symbol, name, position, mass in zip(symbols, names, atoms.positions.tolist(), atoms.get_masses(), strict=True):
        structure.append_atom(symbols=symbol, name=name, position=position, mass=float(mass))
    structure.label = label
    return structure


def atoms_of(structure: orm.StructureData) -> ase.Atoms:
    """ASE's view of a StructureData, with the kinds as an array.

    Raises
    ------
    InputError
        If a kind is a mixture of elements or has vacancies.
    """
    for kind in structure.kinds:
        if len(kind.symbols) != 1 or kind.has_vacancies:
            parts = ", ".join(f"{symbol} {weight:g}" for symbol, weight in zip(kind.symbols, kind.weights, strict=True))
            raise InputError(partial_occupancy(f"kind {kind.name} ({parts})"))
    kinds = [site.kind_name for site in structure.sites]
    atoms = ase.Atoms(
        [structure.get_kind(kind).symbol for kind in kinds],
        positions=[site.position for site in structure.sites],
        cell=structure.cell,
        pbc=structure.pbc,
    )
    atoms.set_array("kinds", np.array(kinds))
    return atoms


def with_kinds(atoms: ase.Atoms, kinds: Sequence[str]) -> ase.Atoms:
    """The atoms with these names as their array `kinds`."""
    named: ase.Atoms = atoms.copy()
    # ASE writes into an array that is there, and cuts names to its width.
    named.arrays.pop("kinds", None)
    named.set_array("kinds", np.array(list(kinds)))
    return named


FULL = 1e-6
"""What an occupancy of a full site may differ from 1 by."""


def check_occupancies(atoms: ase.Atoms) -> None:
    """Refuse sites that ASE read as shared by several elements, or as not full.

    Raises
    ------
    InputError
    """
    for site in dict(atoms.info.get("occupancy") or {}).values():
        # A question mark or a dot, which cif has for what is not said, comes as text.
        if len(site) != 1 or any(
            isinstance(share, (int, float)) and abs(share - 1.0) > FULL for share in site.values()
        ):
            shares = ", ".join(f"{symbol} {share}" for symbol, share in site.items())
            raise InputError(partial_occupancy(f"a site of {shares}"))


def partial_occupancy(what: str) -> str:
    """What is said of sites that several elements share, or that are not full."""
    return (
        f"structure: {what} was given, expected one element on every site, in full; of a mixture make a virtual "
        "crystal (`structures.doping.dope`; `dopings: [{vca: ...}]` of a screen), or an ordered cell"
    )
