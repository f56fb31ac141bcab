"""From atoms to AiiDA's structure, with kinds by element or by layer."""

from __future__ import annotations

from collections.abc import Sequence

import ase
from aiida import orm

from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.layers import Film, layer_kind


def structure_data(
    atoms: ase.Atoms, label: str, kinds: str = "element", magnets: Sequence[str] | None = None
) -> orm.StructureData:
    """A film's StructureData.

    Parameters
    ----------
    atoms : ase.Atoms
        The film, normal +z; an array `kinds` (names), where present, is kept as the kinds for `kinds='element'`.
    label : str
        Of the node.
    kinds : {'element', 'layer'}
        'element': one kind an element, the fewest species in pw.x. 'layer': one kind a layer (`layer_kind`), so that
        each can have its own starting moment. Spin-orbit masks by layer need no kinds of their own.
    magnets : sequence of str, optional
        Magnetic elements, needed to number the layers.

    Raises
    ------
    InputError
        If `kinds` is unknown or a layer's number does not fit into a kind.
    """
    check_kinds(kinds)
    symbols = atoms.get_chemical_symbols()
    if kinds == "layer":
        names = [layer_kind(name) for name in Film.of(atoms, magnets).names]
    else:
        names = atoms.arrays["kinds"].tolist() if "kinds" in atoms.arrays else symbols
    structure = orm.StructureData(cell=atoms.cell.tolist(), pbc=tuple(bool(periodic) for periodic in atoms.pbc))
    # The masses are ASE's: AiiDA's own table differs in the last digit, which would change every node's hash.
    for symbol, name, position, mass in zip(symbols, names, atoms.positions.tolist(), atoms.get_masses(), strict=True):
        structure.append_atom(symbols=symbol, name=name, position=position, mass=float(mass))
    structure.label = label
    return structure


def check_kinds(kinds: str) -> None:
    """Refuse what `structure_data` does not know."""
    if kinds not in ("element", "layer"):
        raise InputError(f"kinds: {kinds!r} was given, expected 'element' or 'layer'")
