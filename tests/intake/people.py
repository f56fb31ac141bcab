"""Films as people have them: how they lie in their cell, and in which form they come."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from aiida import orm
from pymatgen.io.ase import AseAtomsAdaptor

from aiida_dmi.structures.choices import Choices
from aiida_dmi.structures.files import slab_of_file
from aiida_dmi.structures.film import Film
from aiida_dmi.structures.slab import film_from_ase, film_from_pymatgen, film_of, read_film

# -- how they lie in their cell: every one keeps the order of the atoms, and turns, never mirrors ----------


def upright(atoms: ase.Atoms) -> ase.Atoms:
    return atoms.copy()


def wrapped(atoms: ase.Atoms) -> ase.Atoms:
    """Half of it below z = 0, put back at the top of the cell."""
    found = atoms.copy()
    found.positions[:, 2] -= np.mean(found.positions[:, 2])
    found.wrap()
    return found


def vacuum_first(atoms: ase.Atoms) -> ase.Atoms:
    """The vacuum along a1."""
    found = atoms.copy()
    found.set_cell(np.array(atoms.cell)[[2, 0, 1]])
    return found


def left_handed(atoms: ase.Atoms) -> ase.Atoms:
    """a1 and a2 exchanged."""
    found = atoms.copy()
    found.set_cell(np.array(atoms.cell)[[1, 0, 2]])
    return found


def sheared(atoms: ase.Atoms) -> ase.Atoms:
    """a2 + 2 a1, and a vacuum vector that leans over."""
    found = atoms.copy()
    cell = np.array(atoms.cell)
    cell[1] += 2 * cell[0]
    cell[2] += 0.4 * cell[0] - 0.3 * cell[1]
    found.set_cell(cell)
    return found


def tumbled(atoms: ase.Atoms) -> ase.Atoms:
    """The crystal turned as a whole, every atom in another of its images."""
    generator = np.random.default_rng(len(atoms))
    rotation, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    rotation *= np.linalg.det(rotation)
    found = atoms.copy()
    images = generator.integers(-2, 3, size=(len(atoms), 3)) @ np.array(atoms.cell)
    found.set_cell(np.array(atoms.cell) @ rotation.T)
    found.positions = (atoms.positions + images) @ rotation.T
    return found


def on_its_head(atoms: ase.Atoms) -> ase.Atoms:
    """Turned by 180 degrees about x."""
    turn = np.diag([1.0, -1.0, -1.0])
    found = atoms.copy()
    found.set_cell(np.array(atoms.cell) @ turn)
    found.positions = atoms.positions @ turn
    return found


def vacuum_downwards(atoms: ase.Atoms) -> ase.Atoms:
    """The lattice vector across the vacuum against the normal."""
    found = atoms.copy()
    found.set_cell(np.array(atoms.cell) * [[1.0], [1.0], [-1.0]])
    return found


THE_RIGHT_WAY_UP = (upright, wrapped, vacuum_first, left_handed, sheared, tumbled)
ANY_WAY_UP = (*THE_RIGHT_WAY_UP, on_its_head, vacuum_downwards)

# -- in which form they come: each reads the film with what is said of it ----------------------------------

Reader = Callable[[ase.Atoms, dict, Path], Film]


def _file(name: str, write: Callable[[ase.Atoms, Path], None]) -> Reader:
    def read(atoms: ase.Atoms, said: dict, folder: Path) -> Film:
        path = folder / name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write(atoms, path)
        slab = slab_of_file(str(path))
        return read_film(slab.structure, Choices.checked({**slab.said, **said})).film

    return read


def _by_ase(kind: str) -> Callable[[ase.Atoms, Path], None]:
    return lambda atoms, path: ase.io.write(path, atoms, format=kind)


def _by_pymatgen(atoms: ase.Atoms, path: Path) -> None:
    AseAtomsAdaptor.get_structure(atoms).to(str(path), fmt="cif")


def _pw_input(atoms: ase.Atoms, path: Path) -> None:
    symbols = list(dict.fromkeys(atoms.get_chemical_symbols()))
    lines = ["&CONTROL", "  calculation = 'scf'", "/", "&SYSTEM", "  ibrav = 0"]
    lines += [
        f"  nat = {len(atoms)}, ntyp = {len(symbols)}",
        "  ecutwfc = 60, nspin = 2 ! collinear",
        "/",
        "&ELECTRONS",
        "/",
        "ATOMIC_SPECIES",
    ]
    lines += [f"{symbol} 1.0 {symbol}.upf" for symbol in symbols] + ["CELL_PARAMETERS angstrom"]
    lines += [" ".join(f"{x:.8f}" for x in vector) for vector in atoms.cell] + ["ATOMIC_POSITIONS angstrom"]
    lines += [f"{atom.symbol} " + " ".join(f"{x:.8f}" for x in atom.position) for atom in atoms]
    path.write_text("\n".join([*lines, "K_POINTS automatic", "8 8 1 0 0 0", ""]))


def _from_ase(pbc: tuple[bool, bool, bool] | bool) -> Reader:
    def read(atoms: ase.Atoms, said: dict, folder: Path) -> Film:
        atoms.pbc = pbc
        made = film_from_ase(atoms, **{key: value for key, value in said.items() if key != "moments"})
        # The builder sorts the atoms: as they were given they stand in the slab that it made the film of.
        sorted_film = film_of(made).film
        unsorted = read_film(made.creator.inputs.slab, Choices.checked(said)).film
        assert sorted(sorted_film.names) == sorted(unsorted.names)
        assert sorted_film.thickness == (None if unsorted.thickness is None else _near(unsorted.thickness))
        return unsorted

    return read


def _near(value: float) -> object:
    return pytest.approx(value, abs=1e-9)


def _from_pymatgen(atoms: ase.Atoms, said: dict, folder: Path) -> Film:
    structure = AseAtomsAdaptor.get_structure(atoms)
    made = film_from_pymatgen(structure, **{key: value for key, value in said.items() if key != "moments"})
    return read_film(made.creator.inputs.slab, Choices.checked(said)).film


def _structure_data(pbc: tuple[bool, bool, bool]) -> Reader:
    def read(atoms: ase.Atoms, said: dict, folder: Path) -> Film:
        atoms.pbc = pbc
        return read_film(orm.StructureData(ase=atoms), Choices.checked(said)).film

    return read


def _stored_structure_data(atoms: ase.Atoms, said: dict, folder: Path) -> Film:
    checked = film_of(orm.StructureData(ase=atoms).store(), Choices.checked(said))
    again = film_of(checked.structure, Choices.checked(said))
    assert again.structure.uuid == checked.structure.uuid
    assert (again.film.names, again.film.decisions) == (checked.film.names, checked.film.decisions)
    return checked.film


FORMS: dict[str, Reader] = {
    "cif": _file("slab.cif", _by_ase("cif")),
    "POSCAR": _file("POSCAR", _by_ase("vasp")),
    "xsf": _file("slab.xsf", _by_ase("xsf")),
    "extended xyz": _file("slab.xyz", _by_ase("extxyz")),
    "pw.x input": _file("scf.in", _pw_input),
    "pymatgen's cif": _file("slab.cif", _by_pymatgen),
    "StructureData": _structure_data((True, True, True)),
    "StructureData, pbc False": _structure_data((False, False, False)),
    "ASE's json": _file("slab.json", _by_ase("json")),
}
STORED: dict[str, Reader] = {
    "ASE": _from_ase(True),
    "ASE, pbc False": _from_ase(False),
    "pymatgen": _from_pymatgen,
    "stored StructureData": _stored_structure_data,
}
"""Those of which a film is made in the database: half a second each."""
