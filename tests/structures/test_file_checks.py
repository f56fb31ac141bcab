"""Structure files as other programs and people write them: what ASE passes over or takes for something else."""

from __future__ import annotations

import gzip

import ase
import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.choices import Choices
from aiida_dmi.structures.convert import atoms_of
from aiida_dmi.structures.files import slab_of_file
from aiida_dmi.structures.intake import take_in
from aiida_dmi.structures.slab import film_from_ase, film_from_pymatgen, film_of

CIF = """data_film
_cell_length_a 2.772
_cell_length_b 2.772
_cell_length_c 20.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
_symmetry_space_group_name_H-M '{group}'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
{sites}
"""
PURE = "Pt1 Pt 0 0 0.1 1\nCo1 Co 0.33333333 0.66666667 0.2 1"
MOMENTS = """loop_
_atom_site_moment{0}label
_atom_site_moment{0}crystalaxis_x
_atom_site_moment{0}crystalaxis_y
_atom_site_moment{0}crystalaxis_z
Co1 0 0 1.9
"""
POSCAR = """{title}
{scale}
2.772 0 0
-1.386 2.40062 0
0 0 20
{elements}2 1
{mode}
0 0 0.1 {names[0]}
0.33333333 0.66666667 0.213 {names[1]}
0.66666667 0.33333333 0.315 {names[2]}
"""
AFM = ase.Atoms(
    "W2Mn2",
    positions=[[0, 0, 5], [2.235, 2.235, 5], [2.235, 0, 6.6], [0, 2.235, 6.6]],
    cell=[4.47, 4.47, 20],
    pbc=True,
)
UP_AND_DOWN = [0.0, 0.0, 4.0, -4.0]


def cif(path, sites=PURE, more="", group="P 1"):
    path.write_text(CIF.format(group=group, sites=sites) + more)
    return str(path)


def poscar(path, title="film", scale="1.0", elements="Pt Co\n", mode="Direct", names=("", "", "")):
    path.write_text(POSCAR.format(title=title, scale=scale, elements=elements, mode=mode, names=names))
    return str(path)


def taken(path):
    slab = slab_of_file(str(path))
    return take_in(atoms_of(slab.structure), Choices.checked(slab.said)), slab.notes


# -- cif -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moments", [MOMENTS.format("."), MOMENTS.format("_"), MOMENTS.format("_").upper()])
@pytest.mark.parametrize("packed", [False, True])
def test_moments_in_a_cif_are_refused_however_they_are_written(moments, packed, tmp_path):
    path = tmp_path / "film.cif"
    cif(path, more=moments)
    if packed:
        path = tmp_path / "film.cif.gz"
        path.write_bytes(gzip.compress((tmp_path / "film.cif").read_bytes()))
    with pytest.raises(InputError, match=r"film\.cif.*a magnetic cif was given, .* \(--moment Mn=4\)"):
        slab_of_file(str(path))


@pytest.mark.parametrize("length", [12, 60, 150])
def test_a_packed_file_that_was_cut(length, tmp_path):
    cif(tmp_path / "film.cif")
    (tmp_path / "cut.cif.gz").write_bytes(gzip.compress((tmp_path / "film.cif").read_bytes())[:length])
    with pytest.raises(InputError, match=r"cut\.cif\.gz: (of no known format|cannot be read)"):
        slab_of_file(str(tmp_path / "cut.cif.gz"))


def test_a_magnetic_cif_in_another_encoding(tmp_path):
    """As the Bilbao server writes them."""
    (tmp_path / "film.mcif").write_bytes(
        (CIF.format(group="P 1", sites=PURE) + "_journal_volume '385\xd0386'\n" + MOMENTS.format(".")).encode("latin-1")
    )
    with pytest.raises(InputError, match="a magnetic cif was given"):
        slab_of_file(str(tmp_path / "film.mcif"))


def test_spins_in_the_names_of_species(tmp_path):
    """As pymatgen writes an antiferromagnet: ASE reads the elements alone."""
    structure = AseAtomsAdaptor.get_structure(AFM)
    structure.add_spin_by_site(UP_AND_DOWN)
    structure.to(str(tmp_path / "film.cif"))
    with pytest.raises(InputError, match="a magnetic cif was given"):
        slab_of_file(str(tmp_path / "film.cif"))


@pytest.mark.parametrize(
    ("sites", "name", "elements"),
    [
        (PURE.replace("Co1 Co", "Co1 CO"), "CO", "C or Co"),
        (PURE.replace("Pt1 Pt", "Pt1 PT"), "PT", "P or Pt"),
        (PURE.replace("Co1 Co", "FE1 FE2+"), "FE2[+]", "F or Fe"),
        (PURE + "\nO1 O 0.33333333 0.66666667 0.29 1\nHO1 HO 0.33333333 0.66666667 0.34 1", "HO", "H or Ho"),
    ],
)
def test_elements_in_capitals(sites, name, elements, tmp_path):
    with pytest.raises(InputError, match=f"an atom '{name}' was given, which may be {elements}; write its element"):
        slab_of_file(cif(tmp_path / "film.cif", sites))


def test_elements_in_labels_alone(tmp_path):
    text = CIF.format(group="P 1", sites=PURE).replace("_atom_site_type_symbol\n", "")
    good, bad = tmp_path / "good.cif", tmp_path / "bad.cif"
    good.write_text(text.replace("Pt1 Pt", "Pt1").replace("Co1 Co", "CoA"))
    bad.write_text(text.replace("Pt1 Pt", "PT1").replace("Co1 Co", "CO1"))
    assert taken(good)[0].film.names == ("Pt.1", "Co.1")
    with pytest.raises(InputError, match="an atom 'PT1' was given, which may be P or Pt"):
        slab_of_file(str(bad))


@pytest.mark.parametrize("symbol", ["Co", "Co2+", "Co0+", "Co3"])
def test_names_with_more_than_the_element(symbol, tmp_path):
    film, _ = taken(cif(tmp_path / "film.cif", PURE.replace("Co1 Co", f"Co1 {symbol}")))
    assert film.film.names == ("Pt.1", "Co.1")


@pytest.mark.parametrize("occupancy", ["0", "0.0", "1.3", "-1"])
def test_sites_that_are_empty_or_fuller_than_full(occupancy, tmp_path):
    sites = f"{PURE}\nFe1 Fe 0.66666667 0.33333333 0.3 {occupancy}"
    with pytest.raises(InputError, match=r"a site of Fe .* expected one element on every site, in full"):
        slab_of_file(cif(tmp_path / "film.cif", sites))


@pytest.mark.parametrize("place", ["0.333 0.667", "0.33 0.67"])
def test_a_place_on_an_axis_with_few_digits(place, tmp_path):
    """The axis makes three atoms of one."""
    path = cif(tmp_path / "film.cif", PURE.replace("0.33333333 0.66666667", place), group="P 3 m 1")
    with pytest.raises(InputError, match=r"atoms \d \(Co\) and \d \(Co\) lie 0.0. .* more digits \(0.33333333\)"):
        taken(path)


def test_places_beyond_the_cell(tmp_path):
    path = cif(tmp_path / "film.cif", "Pt1 Pt 1 1 0.1 1\nCo1 Co 1.33333333 -0.33333333 0.2 1")
    film, _ = taken(path)
    plain, _ = taken(cif(tmp_path / "plain.cif"))
    assert np.allclose(film.atoms.positions, plain.atoms.positions)


# -- POSCAR ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"scale": "-133.09"},
        {"scale": "1.0 1.0 1.0"},
        {"elements": "Pt_pv Co_sv\n"},
        {"elements": "Pt/1a2b Co/3c4d\n"},
        {"names": ("Pt", "Pt", "Co")},
        {"names": ("Pt1", "# the second", "Co1")},
        {"mode": "Selective dynamics\nDirect", "names": ("F F F Pt", "T T T Pt", "T T T Co")},
    ],
)
def test_poscars_of_others(said, tmp_path):
    film, _ = taken(poscar(tmp_path / "POSCAR", **said))
    assert film.film.names == ("Pt.2", "Pt.1", "Co.1")
    assert film.film.thickness == pytest.approx(2.04, abs=1e-4)


def test_lengths_in_units_of_the_scale(tmp_path):
    (tmp_path / "POSCAR").write_text(
        "film\n2.772\n1 0 0\n-0.5 0.8660254 0\n0 0 7.215\nPt Co\n2 1\nCartesian\n"
        "0 0 0.7215\n0 0.57735 1.5368\n0.5 0.288675 2.2727\n"
    )
    film, _ = taken(tmp_path / "POSCAR")
    assert film.film.thickness == pytest.approx(2.772 * (2.2727 - 1.5368))
    assert film.film.area == pytest.approx(2.772**2 * np.sqrt(3) / 2, rel=1e-5)


def test_elements_of_the_title_are_said(tmp_path):
    film, notes = taken(poscar(tmp_path / "POSCAR", title="Pt Co", elements=""))
    assert film.film.names == ("Pt.2", "Pt.1", "Co.1")
    assert notes == ["POSCAR: the elements Pt Co are those of its title, there is no line of them"]


@pytest.mark.parametrize("title", ["In plane relaxed Pt Co", "No Pt Co", "Pt Pt Co", "Co Pt slab"])
def test_a_title_that_is_more_than_the_elements(title, tmp_path):
    """ASE takes indium of "In", nobelium of "No"."""
    with pytest.raises(InputError, match=r"names no elements above the numbers of atoms .* on a line of their own"):
        slab_of_file(poscar(tmp_path / "POSCAR", title=title, elements=""))


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        ("Direct", ("Pt", "Co", "Pt")),
        ("Selective dynamics\nDirect", ("F F F Pt", "T T T Co", "T T T Pt")),
        ("Selective dynamics\nDirect", ("Pt F F F", "Co T T T", "Pt T T T")),
    ],
)
def test_names_that_are_others_than_the_header_s(mode, names, tmp_path):
    with pytest.raises(InputError, match=r"line 1\d names an atom Co, which the numbers above make Pt; mend either"):
        slab_of_file(poscar(tmp_path / "POSCAR", mode=mode, names=names))


def test_a_left_handed_cell_of_a_volume(tmp_path):
    """ASE would mirror its atoms."""
    path = tmp_path / "POSCAR"
    poscar(path, scale="-133.09")
    lines = path.read_text().splitlines()
    lines[2], lines[3] = lines[3], lines[2]
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match="a left-handed cell with a volume"):
        slab_of_file(str(path))


# -- moments under other names ---------------------------------------------------------------------------


def with_calculator():
    atoms = AFM.copy()
    atoms.calc = SinglePointCalculator(atoms, magmoms=UP_AND_DOWN)
    return atoms


def with_array(name):
    atoms = AFM.copy()
    atoms.set_array(name, np.array(UP_AND_DOWN))
    return atoms


def of_pymatgen(name):
    structure: Structure = AseAtomsAdaptor.get_structure(AFM)
    structure.add_site_property(name, UP_AND_DOWN)
    return structure


@pytest.mark.usefixtures("aiida_profile")
@pytest.mark.parametrize(
    "film",
    [
        lambda: film_from_ase(with_calculator()),
        lambda: film_from_ase(with_array("magmom")),
        lambda: film_from_ase(with_array("magnetic_moments")),
        lambda: film_from_pymatgen(of_pymatgen("magmom")),
        lambda: film_from_pymatgen(of_pymatgen("final_magmom")),
        lambda: film_from_pymatgen(AseAtomsAdaptor.get_structure(with_calculator())),
    ],
)
def test_antiferromagnets_keep_their_moments(film):
    found = film_of(film()).film
    assert found.order == "antiferromagnetic"
    assert found.moments == {"W": 0.0, "Mn1": 4.0, "Mn2": -4.0}


@pytest.mark.parametrize("column", ["magmom", "magmoms", "initial_magmoms", "magnetic_moments"])
def test_columns_of_moments(column, tmp_path):
    rows = [
        f"{symbol} {' '.join(map(str, place))} {moment}"
        for symbol, place, moment in zip(AFM.get_chemical_symbols(), AFM.positions, UP_AND_DOWN, strict=True)
    ]
    head = f'Lattice="4.47 0 0 0 4.47 0 0 0 20" Properties=species:S:1:pos:R:3:{column}:R:1 pbc="T T F"'
    (tmp_path / "film.xyz").write_text("\n".join(["4", head, *rows, ""]))
    film, _ = taken(tmp_path / "film.xyz")
    assert film.film.order == "antiferromagnetic"


def test_columns_that_are_not_taken_over_are_said(tmp_path):
    atoms = AFM.copy()
    atoms.set_tags([0, 0, 1, 2])
    atoms.set_array("spins", np.ones((4, 3)))
    ase.io.write(tmp_path / "film.xyz", atoms, format="extxyz", columns=["symbols", "positions", "tags", "spins"])
    assert taken(tmp_path / "film.xyz")[1] == ["film.xyz: not taken over: spins, tags"]


@pytest.mark.usefixtures("aiida_profile")
def test_kinds_come_back_from_pymatgen():
    from aiida import orm

    atoms = AFM.copy()
    atoms.set_tags([0, 0, 1, 2])
    structure = orm.StructureData(ase=atoms).get_pymatgen()
    film = film_from_pymatgen(structure)
    assert [site.kind_name for site in film.sites] == ["W", "W", "Mn1", "Mn2"]


# -- pw.x ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("card", [str, str.lower])
@pytest.mark.parametrize(
    ("system", "unit"),
    [("ibrav = 4, A = 2.772, C = 20", 2.772), ("ibrav = 4, celldm(1) = 5.23832, celldm(3) = 7.215007", 2.772)],
)
def test_inputs_of_pw_in_units_of_the_lattice(system, unit, card, end, tmp_path):
    """The unit alat is that of `ibrav`, not a vector's length."""
    places = [("Pt", 0, 0, 2), ("Pt", 0, 1.60041, 4.26), ("Co", 1.386, 0.80021, 6.3)]
    lines = [
        "&control", "/", "&system", f"{system}, nat = 3, ntyp = 2, ecutwfc = 60", "/", "&electrons", "/",
        card("ATOMIC_SPECIES"), "Pt 195.08 Pt.upf", "Co 58.93 Co.upf", card("ATOMIC_POSITIONS alat"),
        *(f"{name} {x / unit:.8f} {y / unit:.8f} {z / unit:.8f}" for name, x, y, z in places),
        card("K_POINTS automatic"), "6 6 1 0 0 0", "",
    ]  # fmt: skip
    (tmp_path / "scf.in").write_bytes(end.join(lines).encode())
    film, _ = taken(tmp_path / "scf.in")
    assert film.film.names == ("Pt.2", "Pt.1", "Co.1")
    assert film.film.thickness == pytest.approx(2.04, abs=1e-4)
