"""Structure files: what they say is taken over, what is not is said, what is no structure is refused in one line."""

from __future__ import annotations

import ase
import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from pymatgen.core import Structure

from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.choices import Choices
from aiida_dmi.structures.convert import atoms_of
from aiida_dmi.structures.files import slab_of_file
from aiida_dmi.structures.intake import take_in

CELL = [2.772, 2.772, 20.0, 90, 90, 120]
ATOMS = ase.Atoms(
    "PtPtCo",
    scaled_positions=[[0, 0, 0.1], [1 / 3, 2 / 3, 0.213], [2 / 3, 1 / 3, 0.315]],
    cell=CELL,
    pbc=True,
)
CIF = """data_{name}
_cell_length_a 2.772
_cell_length_b 2.772
_cell_length_c 20.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
{sites}
"""
PW = """&CONTROL
 calculation = 'scf'
/
&SYSTEM
 ibrav = {ibrav}, nat = {nat}, ntyp = 2, ecutwfc = 60, {system}
/
&ELECTRONS
/
ATOMIC_SPECIES
{species}
ATOMIC_POSITIONS {units}
{positions}
K_POINTS automatic
6 6 1 0 0 0
{cell}
"""
PW_CELL = "CELL_PARAMETERS angstrom\n2.772 0 0\n1.386 2.40062 0\n0 0 20"
PLAIN = {
    "ibrav": 0,
    "nat": 3,
    "system": "nspin = 2",
    "species": "Pt 195.08 Pt.upf\nCo 58.93 Co.upf",
    "units": "angstrom",
    "positions": "Pt 0 0 2\nPt 1.386 0.80021 4.26\nCo 0 0 6.3",
    "cell": PW_CELL,
}
PURE = "Pt1 Pt 0 0 0.1 1\nCo1 Co 0.333333 0.666667 0.2 1"


def write(path, text):
    path.write_text(text)
    return str(path)


def taken(path, **options):
    """The film of a file."""
    slab = slab_of_file(str(path), **options)
    return take_in(atoms_of(slab.structure), Choices.checked(slab.said)), slab


# -- what they say ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("cif", "slab.cif"),
        ("vasp", "POSCAR"),
        ("vasp", "CONTCAR.relaxed"),
        ("xsf", "slab.xsf"),
        ("extxyz", "slab.xyz"),
        ("json", "slab.json"),
        ("traj", "slab.traj"),
        ("gen", "slab.gen"),
        ("res", "slab.res"),
        ("aims", "geometry.in"),
        ("abinit-in", "abinit.in"),
    ],
)
def test_formats(kind, name, tmp_path):
    ase.io.write(tmp_path / name, ATOMS, format=kind)
    film, slab = taken(tmp_path / name)
    assert film.film.names == ("Pt.2", "Pt.1", "Co.1")
    assert film.film.thickness == pytest.approx(0.102 * 20, abs=1e-4)
    assert slab.structure.label == (tmp_path / name).stem
    assert not slab.structure.is_stored


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"positions": "Pt 0 0 2 0 0 0\nPt 1.386 0.80021 4.26 1 1 1\nCo 0 0 6.3 1 1 1"},
        {"positions": "Pt 0.d0 0 2.0D0 ! the lowest\nPt 1.386 0.80021 4.26 !\nCo 0 0 6.3"},
        {"units": "(bohr)", "positions": "Pt 0 0 3.7795\nPt 2.6192 1.5122 8.0502\nCo 0 0 11.9053"},
        {
            "units": "crystal",
            "positions": "Pt 0 0 0.1\nPt 0.333333333 0.333333333 0.213\nCo 0 0 0.315",
        },
        {
            "ibrav": 4,
            "system": "A = 2.772, C = 20.0",
            "units": "crystal",
            "positions": "Pt 0 0 0.1\nPt 0.333333333 0.666666667 0.213\nCo 0 0 0.315",
            "cell": "",
        },
        {
            "ibrav": 4,
            "system": "celldm(1) = 5.23832, celldm(3) = 7.21501",
            "units": "crystal",
            "positions": "Pt 0 0 0.1\nPt 0.333333333 0.666666667 0.213\nCo 0 0 0.315",
            "cell": "",
        },
        {"species": "pt 195.08 Pt.upf\nco 58.93 Co.upf", "positions": "pt 0 0 2\npt 1.386 0.80021 4.26\nco 0 0 6.3"},
    ],
)
def test_inputs_of_pw(changes, tmp_path):
    film, slab = taken(write(tmp_path / "scf.in", PW.format(**PLAIN | changes)))
    assert film.film.names == ("Pt.2", "Pt.1", "Co.1")
    assert film.film.thickness == pytest.approx(2.04, abs=1e-3)
    assert film.film.area == pytest.approx(2.772**2 * 3**0.5 / 2, rel=1e-4)
    assert "only the atoms are taken over" in slab.notes[0]


def test_species_of_pw_are_kinds(tmp_path):
    """Also those with a suffix, at which the parser would end the list of atoms; pw.x itself cuts their names."""
    changes = {
        "nat": 4,
        "species": "W 183.8 W.upf\nMn_up 54.9 Mn.upf\nMn_dn 54.9 Mn.upf",
        "positions": "W 0 0 2\nW 2.2 2.2 2\nMn_up 2.2 0 3.5\nMn_dn 0 2.2 3.5",
        "cell": "CELL_PARAMETERS angstrom\n4.4 0 0\n0 4.4 0\n0 0 18",
    }
    film, slab = taken(write(tmp_path / "scf.in", PW.format(**PLAIN | changes).replace("ntyp = 2", "ntyp = 3")))
    assert film.film.kinds == ("W", "W", "Mn1", "Mn2")
    assert [note for note in slab.notes if "Mn_up is named Mn1: pw.x keeps three letters" in note]


def test_moments_of_an_antiferromagnetic_input_are_asked_for(tmp_path):
    """They count in valence electrons; all aligned, as ASE reads them, it would be a ferromagnet."""
    changes = {
        "nat": 4,
        "system": "nspin = 2, starting_magnetization(2) = 0.3, starting_magnetization(3) = -0.3",
        "species": "W 183.8 W.upf\nMn1 54.9 Mn.upf\nMn2 54.9 Mn.upf",
        "positions": "W 0 0 2\nW 2.2 2.2 2\nMn1 2.2 0 3.5\nMn2 0 2.2 3.5",
        "cell": "CELL_PARAMETERS angstrom\n4.4 0 0\n0 4.4 0\n0 0 18",
    }
    path = write(tmp_path / "scf.in", PW.format(**PLAIN | changes))
    with pytest.raises(InputError, match=r"of both signs .* give moments in mu_B \(--moment Mn1=4 --moment Mn2=-3\)"):
        slab_of_file(path)
    assert slab_of_file(path, moments_given=True).structure.get_kind_names() == ["W", "Mn1", "Mn2"]


def test_moments_of_a_file(tmp_path):
    atoms = ATOMS.copy()
    atoms.set_initial_magnetic_moments([0.0, 0.3, 1.9])
    ase.io.write(tmp_path / "start.xyz", atoms, format="extxyz")
    film, _ = taken(tmp_path / "start.xyz")
    assert film.film.moments == {"Pt1": 0.0, "Pt2": 0.3, "Co": 1.9}
    # A moment makes no element a magnet.
    assert film.film.magnets == ("Co",)
    assert film.film.thickness == pytest.approx(2.04, abs=1e-4)


def test_moments_of_a_calculation(tmp_path):
    """Those of one element that differ by what a calculation leaves start as one, and that is said."""
    atoms = ATOMS.repeat((2, 2, 1))
    found = np.where(atoms.symbols == "Co", 1.9, 0.05) + 0.04 * np.sin(np.arange(len(atoms)))
    atoms.calc = SinglePointCalculator(atoms, magmoms=found, energy=-1.0)
    ase.io.write(tmp_path / "run.xyz", atoms, format="extxyz")
    film, slab = taken(tmp_path / "run.xyz")
    assert sorted(set(film.film.kinds)) == ["Co", "Pt"]
    assert film.film.moments["Co"] == pytest.approx(found[atoms.symbols == "Co"].mean(), abs=1e-3)
    assert any(note.startswith("moments of 4 atoms Co") and "start as one" in note for note in slab.notes)


def test_frames_are_named(tmp_path):
    other = ATOMS.copy()
    other.positions[2, 2] += 0.1
    ase.io.write(tmp_path / "run.xyz", [ATOMS, other], format="extxyz")
    path = str(tmp_path / "run.xyz")
    with pytest.raises(InputError, match=rf"holds 2 structures, expected one; .* {path}@0 to {path}@1 .* {path}@-1"):
        slab_of_file(path)
    for frame, t in ((0, 2.04), (1, 2.14), (-1, 2.14), (-2, 2.04)):
        assert taken(f"{path}@{frame}")[0].film.thickness == pytest.approx(t, abs=1e-4)
    with pytest.raises(InputError, match="@2: the file holds 2 structures, counted from 0"):
        slab_of_file(f"{path}@2")


def test_atoms_that_are_held_are_not_taken_over_and_that_is_said(tmp_path):
    atoms = ATOMS.copy()
    atoms.set_constraint(FixAtoms([0]))
    ase.io.write(tmp_path / "POSCAR", atoms, format="vasp")
    _, slab = taken(tmp_path / "POSCAR")
    assert slab.notes == ["POSCAR: which atoms are held is not taken over; a relaxation holds those of `relax: fixed`"]


@pytest.mark.parametrize("occupancy", ["1", "1.000", "1.0(2)", "?", "."])
def test_full_sites(occupancy, tmp_path):
    sites = PURE.replace(" 0.2 1", f" 0.2 {occupancy}")
    film, _ = taken(write(tmp_path / "slab.cif", CIF.format(name="x", sites=sites)))
    assert film.film.names == ("Pt.1", "Co.1")


# -- what is refused -------------------------------------------------------------------------------------

SHARED = r"expected one element on every site, in full; of a mixture make a virtual crystal"
SITES = {
    "Co 0.6, Fe 0.4": ("Pt1 Pt 0 0 0.1 1\nCo1 Co 0.33 0.66 0.2 0.6\nFe1 Fe 0.33 0.66 0.2 0.4", "Co 0.6, Fe 0.4"),
    "Pt 0.6, Ir 0.4": ("Pt1 Pt 0 0 0.1 0.6\nIr1 Ir 0 0 0.1 0.4\nCo1 Co 0.33 0.66 0.2 1", "Pt 0.6, Ir 0.4"),
    "Co 0.5 alone": ("Pt1 Pt 0 0 0.1 1\nCo1 Co 0.33 0.66 0.2 0.5", "Co 0.5"),
    "Co beside Fe, half each": ("Pt1 Pt 0 0 0.1 1\nCo1 Co 0.33 0.66 0.2 .5\nFe1 Fe 0.33 0.66 0.24 .5", "0.5"),
    "a little missing": ("Pt1 Pt 0 0 0.1 0.98\nCo1 Co 0.33 0.66 0.2 1", "Pt 0.98"),
    "hydrogen now and then": ("Pt1 Pt 0 0 0.1 1\nCo1 Co 0.33 0.66 0.2 1\nH1 H 0.33 0.66 0.28 0.25", "H 0.25"),
}


@pytest.mark.parametrize("sites", SITES)
def test_shared_sites(sites, tmp_path):
    text, shares = SITES[sites]
    with pytest.raises(InputError, match=rf"a site of {shares}.*{SHARED}|a site of .*{shares}.*{SHARED}"):
        slab_of_file(write(tmp_path / "slab.cif", CIF.format(name="x", sites=text)))


def test_pymatgens_files_of_alloys(tmp_path):
    """As pymatgen writes them."""
    alloy = Structure(np.diag([2.7, 2.7, 20.0]), [{"Co": 0.5, "Fe": 0.5}, "Pt"], [[0, 0, 0.2], [0.5, 0.5, 0.1]])
    alloy.to(str(tmp_path / "alloy.cif"))
    with pytest.raises(InputError, match=SHARED):
        slab_of_file(str(tmp_path / "alloy.cif"))


MAGNETIC = """loop_
_atom_site_moment.label
_atom_site_moment.crystalaxis_x
_atom_site_moment.crystalaxis_y
_atom_site_moment.crystalaxis_z
Co1 0 0 1.9
"""
FORMATS = "give a cif, POSCAR, xsf or extended xyz file, or an input of pw.x"
BROKEN = {
    "empty.cif": (b"", FORMATS),
    "empty": (b"", FORMATS),
    "bytes.cif": (bytes(range(256)) * 4, FORMATS),
    "bytes.dat": (bytes(range(256)) * 4, FORMATS),
    "letter.txt": (b"Dear colleagues,\n", FORMATS),
    "a.py": (b"import ase\n", FORMATS),
    "POSCAR": (b"my slab\n1.0\n2.7 0 0\n0 2.7 0\n0 0 20\n1 2\nDirect\n0 0 .1\n0 0 .2\n0 0 .3\n", FORMATS),
    "many.xyz": (b"99999999999999999999\n\nPt 0 0 0\nCo 0 0 2\n", "line 1 counts 99999999999999999999 atoms"),
    "more.xyz": (b"99_999_999_999\n\nPt 0 0 0\nCo 0 0 2\n", "line 1 counts 99999999999 atoms"),
    "wide.xyz": (
        b'1\nLattice="3 0 0 0 3 0 0 0 20" Properties=species:S:1:pos:R:99999999\nCo 0 0 2\n',
        "line 2 counts 100000000 columns, the atoms have fewer",
    ),
    "second.xyz": (b"1\n\nCo 0 0 0\n3\n\nCo 0 0 2\n", "line 4 counts 3 atoms, the file ends before"),
    "atoms.xyz": (b"2\n\nPt 0 0 0\nCo 0 0 2\n", None),
    "two.cif": (
        CIF.format(name="x", sites=PURE).encode() + CIF.format(name="y", sites=PURE).encode(),
        "holds 2 structures",
    ),
    "magnetic.cif": ((CIF.format(name="x", sites=PURE) + MAGNETIC).encode(), r"a magnetic cif .* \(--moment Mn=4\)"),
    "magnetic.mcif": (CIF.format(name="x", sites=PURE).encode(), r"a magnetic cif .* \(--moment Mn=4\)"),
    "cut.in": (PW.format(**PLAIN)[:150].encode(), "no input of pw.x that can be read"),
    "count.in": (PW.format(**PLAIN | {"nat": 4}).encode(), "3 positions were read where nat = 4"),
    "sum.in": (
        PW.format(**PLAIN | {"units": "crystal", "positions": "Pt 0 0 0\nPt 1/3 1/3 0.1\nCo 0 0 0.2"}).encode(),
        "1 positions were read where nat = 3",
    ),
    "group.in": (PW.format(**PLAIN | {"units": "crystal_sg"}).encode(), "no input of pw.x that can be read"),
    "where.in": (PW.format(**PLAIN | {"units": ""}).encode(), "no input of pw.x that can be read"),
    "digit.in": (PW.format(**PLAIN).replace("Pt ", "1Pt ").encode(), "no input of pw.x that can be read"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_files_that_hold_no_structure(name, tmp_path):
    content, message = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    if message is None:
        with pytest.raises(InputError, match=r"no lattice vectors were given, expected three; .* extended xyz"):
            taken(tmp_path / name)
        return
    with pytest.raises(InputError, match=message) as error:
        slab_of_file(str(tmp_path / name))
    assert name in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["nothing.cif", "", ".", "a\0b", "x" * 5000, "slab.cif@one", "/dev/null"])
def test_names_that_are_no_files(name):
    with pytest.raises(InputError, match=f"no such file; {FORMATS}"):
        slab_of_file(name)
