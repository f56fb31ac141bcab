"""What is no film here: one line that says what was given, what is expected and what to do; nothing is stored."""

from __future__ import annotations

import ase
import ase.build
import numpy as np
import pytest
from aiida import orm
from pymatgen.core import Lattice, Molecule, Structure
from pymatgen.electronic_structure.core import Magmom

from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.choices import Choices
from aiida_dmi.structures.slab import film_from_ase, film_from_pymatgen, film_from_structure, film_of

from .notation import read_films

pytestmark = pytest.mark.usefixtures("aiida_profile")

FILMS = {entry.name: entry for entry in read_films()}
BOHR = 0.529177


def slab(name="Co/Pt(111) 1+3"):
    return FILMS[name].atoms()


def moved(site, shift):
    atoms = slab()
    atoms.positions[site] += shift
    return atoms


def added(symbol, position):
    atoms = slab()
    atoms.append(symbol)
    atoms.positions[-1] = position
    return atoms


def scaled(factor, name="Co/Pt(111) 1+3"):
    atoms = slab(name)
    atoms.set_cell(np.array(atoms.cell) * factor, scale_atoms=True)
    return atoms


def with_cell(*changes, pbc=True):
    """Entries (row, column, value) of the cell."""
    atoms = slab()
    atoms.pbc = pbc
    cell = np.array(atoms.cell)
    for row, column, value in changes:
        cell[row, column] = value
    atoms.set_cell(cell)
    return atoms


def with_pbc(*pbc):
    atoms = slab()
    atoms.pbc = pbc
    return atoms


def with_moments(*moments):
    atoms = slab()
    atoms.set_initial_magnetic_moments(moments)
    return atoms


REFUSED = {
    "two atoms on one place": (
        lambda: added("Co", slab().positions[-1]),
        {},
        r"atoms 4 \(Co\) and 5 \(Co\) lie 0.00 Ang",
    ),
    "on one place but for a lattice vector": (
        lambda: added("Co", slab().positions[-1] + 3 * np.array(slab().cell[0])),
        {},
        "lie 0.00 Angstrom apart",
    ),
    "both faces of the cell": (
        lambda: added("Pt", slab().positions[0] + np.array(slab().cell[2])),
        {},
        "lie 0.00 Angst",
    ),
    "nearly on one another": (lambda: added("Fe", slab().positions[-1] + [0.2, 0, 0.3]), {}, "expected at least 1.5"),
    "hydrogen in an atom": (
        lambda: added("H", slab().positions[-1] + [0, 0, 0.5]),
        {},
        r"\(H\) lie 0.50 Angstrom apart",
    ),
    "nanometres": (lambda: scaled(0.1), {}, "lie on their own images; give lengths in Angstrom"),
    "bohr": (
        lambda: scaled(1 / BOHR),
        {},
        "no two atoms are nearer than 1.45 times .*; give lengths in Angstrom",
    ),
    "bohr, an oxide": (lambda: scaled(1 / BOHR, "Fe/MgO(001)"), {}, "these may be in bohr"),
    "metres": (lambda: scaled(1e-10), {}, "three lattice vectors were expected"),
    "NaN in a position": (lambda: moved(1, np.nan), {}, "positions that are no finite lengths"),
    "an infinite position": (lambda: moved(1, np.inf), {}, "positions that are no finite lengths"),
    "NaN in the cell": (lambda: with_cell((0, 0, np.nan)), {}, "lattice vectors that are no finite lengths"),
    "light years": (lambda: moved(1, [0, 0, 1e17]), {}, "positions that are no finite lengths"),
    "no cell": (lambda: ase.Atoms("PtCo", positions=[[0, 0, 0], [0, 0, 2]]), {}, "no lattice vectors were given"),
    "two lattice vectors": (
        lambda: with_cell((2, 2, 0.0)),
        {},
        "three lattice vectors were expected, some are missing",
    ),
    "lattice vectors in one plane": (lambda: with_cell((2, 2, 0.0), (2, 0, 9.0)), {}, "three lattice vectors were exp"),
    "no atoms": (lambda: ase.Atoms(cell=np.diag([3, 3, 20.0]), pbc=True), {}, "no atoms were given"),
    "a ghost": (lambda: added("X", slab().positions[-1] + [0, 0, 2.0]), {}, "without a chemical element"),
    "bulk": (
        lambda: ase.build.bulk("Co", crystalstructure="fcc", a=3.5, cubic=True),
        {},
        "a slab in place of a bulk crystal",
    ),
    "a bulk alloy": (lambda: ase.build.bulk("FePt", crystalstructure="cesiumchloride", a=2.9), {}, "expected a film"),
    "hardly any vacuum": (
        lambda: with_cell((2, 2, 6.6 + 5.9)),
        {},
        r"5.9 along a3 Angstrom .* expected a film: at least 6",
    ),
    "hardly any vacuum, pbc": (
        lambda: with_cell((2, 2, 6.6 + 3.0), pbc=(True, True, False)),
        {},
        r"3.0 along a3 Angstrom was given, expected at least 6 along a3, along which it does not repeat",
    ),
    "a wire": (lambda: with_cell((1, 0, 0.0), (1, 1, 15.0)), {}, "and less along the others"),
    "a molecule in a box": (
        lambda: ase.Atoms("PtCo", positions=[[5, 5, 5], [5, 5, 7]], cell=np.diag([12, 12, 12.0])),
        {},
        "expected a film",
    ),
    "pbc of a wire": (lambda: with_pbc(True, False, False), {}, r"does not repeat along a2 and a3 \(pbc\)"),
    "pbc against the vacuum": (
        lambda: with_pbc(False, True, True),
        {},
        "expected at least 6 along a1, along which it does",
    ),
    "no magnet": (lambda: ase.build.fcc111("Pt", (1, 1, 4), a=3.92, vacuum=8.0), {}, r"give `magnets` \(--magnets\)"),
    "a rare earth that nobody named": (
        lambda: slab("Gd/W(110)"),
        {},
        r"looked for Cr, Mn, Fe, Co, Ni\); give `magnets`",
    ),
    "two magnets": (
        lambda: slab("Co/Pt on a Cr seed"),
        {},
        r"upwards: Cr / Pt / Pt / Co\).*--magnets.*--normal up or down",
    ),
    "a multilayer": (lambda: slab("[Co/Pt2]2"), {}, "to take all of them as one multilayer"),
    "two septuple layers": (
        lambda: slab("MnBi2Te4, two septuple layers"),
        {},
        "two magnets with other layers in between",
    ),
    "a magnet that is not there": (slab, {"magnets": ["Fe"]}, "magnets: Fe is not in the film, which has Co, Pt"),
    "no element": (slab, {"magnets": ["Cobalt"]}, r"magnets: \['Cobalt'\] was given, expected elements"),
    "lower case": (slab, {"magnets": "co"}, "magnets: 'co' was given, expected elements, such as"),
    "no magnets": (slab, {"magnets": []}, r"magnets: \[\] was given"),
    "a substrate that is not there": (slab, {"substrate": "W"}, "it is on neither side of the magnet"),
    "a substrate on both sides": (
        lambda: slab("Pt2/Co/Pt2, fcc"),
        {"substrate": "Pt"},
        r"it is on both sides .* \(--normal up or down\)",
    ),
    "the magnet as substrate": (slab, {"substrate": "Co"}, "it is on neither side of the magnet"),
    "two words on which way is up": (slab, {"substrate": "Pt", "normal": "up"}, "normal: given beside substrate"),
    "a normal along x": (slab, {"normal": "x"}, "normal: 'x' was given, expected up or down"),
    "no thickness": (slab, {"thickness": 0}, "thickness: 0 was given, expected a positive number of Angstrom"),
    "a thickness in words": (slab, {"thickness": "thin"}, "thickness: 'thin' was given"),
    "a thickness that is none": (slab, {"thickness": float("nan")}, "thickness: nan was given"),
    "a thickness of true": (slab, {"thickness": True}, "thickness: True was given"),
    "little vacuum": (slab, {"vacuum": 3.0}, r"vacuum: 3.0 was given, expected 6 Angstrom or more"),
    "endless vacuum": (slab, {"vacuum": 1e9}, "vacuum: 1000000000.0 was given"),
    "kinds by atom": (slab, {"kinds": "atom"}, "kinds: 'atom' was given, expected 'element' or 'layer'"),
    "eleven kinds": (lambda: slab("Co/Pt(111) 3+4").repeat((2, 1, 1)), "each", "kinds: 14 were given .* pw.x takes 10"),
    "moments that are vectors": (
        lambda: with_moments(*[[0, 0.5, 1.0]] * 4),
        {},
        "moments: vectors were given, expected one",
    ),
    "moments that are none": (lambda: with_moments(0, 0, 0, np.nan), {}, "moments: numbers that are not finite"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_no_film(case):
    make, said, message = REFUSED[case]
    before = orm.QueryBuilder().append(orm.Node).count()
    atoms = make()
    if said == "each":
        atoms.set_array("kinds", np.array([f"{s}{chr(97 + n)}" for n, s in enumerate(atoms.get_chemical_symbols())]))
        said = {}
    with pytest.raises(InputError, match=message) as error:
        film_from_ase(atoms, **said)
    assert "\n" not in str(error.value)
    assert orm.QueryBuilder().append(orm.Node).count() == before


@pytest.mark.parametrize(
    ("species", "message"),
    [
        (
            [{"Co": 0.6, "Fe": 0.4}, "Pt"],
            r"shared or not full \(.*Co.?0.6.*\)",
        ),
        (["Co", {"Pt": 0.6, "Ir": 0.4}], "shared or not full"),
        ([{"Co": 0.5}, "Pt"], "shared or not full"),
    ],
)
def test_disordered_structures_of_pymatgen(species, message):
    structure = Structure(Lattice.tetragonal(2.7, 20.0), species, [[0, 0, 0.2], [0.5, 0.5, 0.1]])
    with pytest.raises(InputError, match=message) as error:
        film_from_pymatgen(structure)
    assert "of a mixture make a virtual crystal" in str(error.value)


@pytest.mark.parametrize(
    ("moments", "found"),
    [
        ([1.9, 0.3], {"Co": 1.9, "Pt": 0.3}),
        ([Magmom(1.9), Magmom(-0.1)], {"Co": 1.9, "Pt": -0.1}),
        ([Magmom(1.9, saxis=[1, 0, 0]), 0.0], {"Co": 1.9, "Pt": 0.0}),
        ([[0, 0, 1.9], [0, 0, 0.0]], {"Co": 1.9, "Pt": 0.0}),
        ([None, None], {}),
        ([Magmom([1.9, 0.0, 0.0]), Magmom([-1.9, 0.0, 0.0])], None),
        ([[1.9, 0, 0], [0, 0, 0.0]], None),
        (["up", "down"], None),
        ([float("nan"), 0.0], None),
    ],
)
def test_moments_of_pymatgen(moments, found):
    """One number an atom; vectors along one axis are, others would all end along z."""
    lattice = Lattice.tetragonal(2.7, 20.0)
    places = [[0, 0, 0.2], [0.5, 0.5, 0.1]]
    structure = Structure(lattice, ["Co", "Pt"], places, site_properties={"magmom": moments})
    if found is not None:
        assert film_of(film_from_pymatgen(structure)).film.moments == found
        return
    with pytest.raises(InputError, match=r"^moments: .* (expected one number an atom|not finite)"):
        film_from_pymatgen(structure)


@pytest.mark.parametrize(
    ("make", "given", "message"),
    [
        (film_from_pymatgen, Molecule(["Co"], [[0, 0, 0]]), "Molecule was given, expected a Structure or Slab"),
        (film_from_ase, None, "NoneType was given, expected ASE's Atoms"),
        (film_from_ase, Structure(Lattice.cubic(3), ["Co"], [[0, 0, 0]]), "Structure was given, expected ASE's Atoms"),
        (film_from_structure, ase.Atoms("Co"), "Atoms was given, expected a StructureData"),
    ],
)
def test_something_else(make, given, message):
    with pytest.raises(InputError, match=message):
        make(given)


@pytest.mark.parametrize(
    ("symbols", "weights", "message"),
    [
        (["Co", "Fe"], [0.6, 0.4], r"kind x \(Co 0.6, Fe 0.4\)"),
        (["Co"], [0.5], r"kind x \(Co 0.5\)"),
        (["Co", "Pt"], [0.3, 0.2], r"kind x \(Co 0.3, Pt 0.2\)"),
    ],
)
@pytest.mark.parametrize("stored", [False, True])
def test_kinds_of_mixtures(symbols, weights, message, stored):
    node = orm.StructureData(cell=np.diag([2.7, 2.7, 20.0]).tolist(), pbc=(True, True, False))
    node.append_atom(symbols="Pt", position=(0, 0, 5.0), name="Pt")
    node.append_atom(symbols=symbols, weights=weights, position=(1.35, 1.35, 7.0), name="x")
    if stored:
        node.store()
    with pytest.raises(InputError, match=message) as error:
        film_of(node)
    assert "of a mixture make a virtual crystal" in str(error.value)


def test_hubbard_parameters_are_not_lost_on_the_way():
    """A film that lies as it should keeps them; one that would be turned is refused."""
    from aiida_quantumespresso.data.hubbard_structure import HubbardStructureData

    atoms = slab()
    with pytest.raises(InputError, match=r"Hubbard parameters .* they would be lost on the way"):
        film_of(HubbardStructureData.from_structure(orm.StructureData(ase=atoms)))
    atoms.pbc = (True, True, False)
    lying = HubbardStructureData.from_structure(film_of(orm.StructureData(ase=atoms)).structure)
    assert film_of(lying).structure is lying


def test_a_choice_that_nobody_knows():
    with pytest.raises(InputError, match="film: magnet is unknown; expected some of magnets, substrate, normal"):
        Choices.checked({"magnet": "Co"})
