"""What the intake decides, and that it is decided once: whatever a film comes as, builder, masks and t see the same."""

from __future__ import annotations

import ase
import ase.build
import numpy as np
import pytest
from aiida import orm

from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.bilayer import co_pt111, film
from aiida_dmi.structures.choices import Choices
from aiida_dmi.structures.film import Film
from aiida_dmi.structures.intake import MOST_KINDS, take_in, with_starting_moments
from aiida_dmi.structures.layers import layer_names, mask_weights, sites_of
from aiida_dmi.structures.slab import choices_of, film_from_ase, film_from_structure, film_of
from aiida_dmi.workflows.model_inputs import starting_moments

pytestmark = pytest.mark.usefixtures("aiida_profile")

HEXAGONAL = [2.7719, 2.7719, 16.0, 90, 90, 120]
TABLE = {"Cr": 3.0, "Mn": 4.0, "Fe": 3.0, "Co": 2.0, "Ni": 1.0}


def stacked(symbols, heights, cell=HEXAGONAL, pbc=(True, True, False)):
    """Atoms on the three sites of a hexagonal lattice in turn."""
    atoms = ase.Atoms(symbols, positions=np.zeros((len(heights), 3)), cell=cell, pbc=pbc)
    vectors = np.array(atoms.cell)
    thirds = np.array([[0, 0], [1 / 3, 2 / 3], [2 / 3, 1 / 3]])[np.arange(len(heights)) % 3]
    atoms.positions = thirds @ vectors[:2] + np.outer(heights, [0, 0, 1.0])
    return atoms


# -- which way is up -------------------------------------------------------------------------------------


@pytest.mark.parametrize("pbc", [(True, True, False), (True, True, True), (False, False, False)])
@pytest.mark.parametrize("stored", [False, True])
def test_the_magnet_below_is_turned_whatever_pbc_says(pbc, stored):
    """Co2/Pt1 with Co at 5.0 and 6.9, Pt at 9: t counts from the Pt."""
    node = orm.StructureData(ase=stacked("CoCoPt", [5.0, 6.9, 9.0], pbc=pbc))
    checked = film_of(node.store() if stored else node)
    assert checked.film.names == ("Co.2", "Co.1", "Pt.1")
    assert checked.film.normal == "+z from the substrate to the magnet"
    assert checked.film.thickness == pytest.approx(2.1 + 1.9)
    assert "turned over: the magnet lay below the substrate" in checked.film.decisions
    heights = [site.position[2] for site in checked.structure.sites]
    assert heights[2] < heights[1] < heights[0]
    assert film_of(checked.structure).structure.uuid == checked.structure.uuid


def test_one_magnetic_layer_below():
    """A single layer below a substrate has a distance to it, and is no free-standing one."""
    checked = film_of(orm.StructureData(ase=stacked("CoPtPt", [5.0, 7.0, 9.2])))
    assert checked.film.names == ("Co.1", "Pt.1", "Pt.2")
    assert checked.film.thickness == pytest.approx(2.0)


def test_a_film_that_lies_as_it_should_stays_the_node_it_is():
    for node in (co_pt111(1, 2), orm.StructureData(ase=stacked("PtPtCo", [2.0, 4.2, 6.2])).store()):
        checked = film_of(node)
        assert checked.structure is node
        assert checked.film.decisions == ()


@pytest.mark.parametrize("which", ["up", "down"])
def test_a_normal_that_is_said(which):
    """Against the substrate too: names, parts and t are those of the film the other way up, D has the other sign."""
    atoms = stacked("PtPtCoCo", [4.0, 6.2, 8.2, 10.1])
    plain, said = take_in(atoms), take_in(atoms, Choices(normal=which))
    assert said.film.names == plain.film.names == ("Pt.2", "Pt.1", "Co.1", "Co.2")
    assert said.film.thickness == pytest.approx(plain.film.thickness)
    for name in ("substrate", "magnet", "interface"):
        assert sites_of(said.film, name) == sites_of(plain.film, name)
    upwards = said.atoms.positions[3, 2] > said.atoms.positions[0, 2]
    assert upwards == (which == "up")
    assert said.film.normal == f"+z from the {'substrate to the magnet' if upwards else 'magnet to the substrate'}"


def test_a_thick_cap_is_taken_for_the_substrate_and_that_is_said():
    """Three layers of MgO on two of W: whichever is meant can be said."""
    symbols, heights = ["W", "W", "Co", "Co"], [3.0, 4.6, 6.0, 7.4]
    atoms = ase.Atoms(symbols, positions=[[1.58 * (n % 2), 1.58 * (n % 2), z] for n, z in enumerate(heights)])
    for n in range(3):
        z = 9.5 + 2.1 * n
        atoms += ase.Atoms("MgO", positions=[[1.58 * (n % 2), 1.58 * (n % 2), z], [1.58 * (1 - n % 2)] * 2 + [z]])
    atoms.set_cell([3.16, 3.16, 28.0])
    atoms.pbc = True
    by_rule = take_in(atoms).film
    assert by_rule.elements("substrate") == ["Mg", "O"]
    assert by_rule.decisions[0] == "turned over: the magnet lay below the substrate"
    assert any(
        line.startswith("substrate by rule: Mg/O, 3 layers, and W, 2 layers, the cap") for line in by_rule.decisions
    )
    for said in ({"substrate": "W"}, {"normal": "up"}):
        film = take_in(atoms, Choices.checked(said)).film
        assert film.elements("substrate") == ["W"]
        assert not [line for line in film.decisions if "by rule" in line or "turned" in line]
    assert by_rule.thickness == pytest.approx(2.1 + 1.4)
    assert film.thickness == pytest.approx(1.4 + 1.4)


def adsorbed(layers, molecule):
    """Layers of a (2x2) fcc(111) film with a molecule on top."""
    atoms = ase.build.fcc111("Pt", (2, 2, len(layers)), a=3.92, vacuum=8.0)
    atoms.symbols = [symbol for symbol in layers for _ in range(4)]
    ase.build.add_adsorbate(atoms, molecule, 1.9, "ontop")
    return atoms


@pytest.mark.parametrize(
    ("layers", "molecule", "normal"),
    [
        (["Pt", "Pt", "Co"], "COH", "+z from the substrate to the magnet"),
        (["Pt", "Co"], "CO", "+z from the substrate to the magnet"),
        (["Pt", "Co", "Pt"], "O", "+z as given"),
        (["Co", "Co"], "O", "+z as given"),
    ],
)
def test_a_molecule_is_no_substrate(layers, molecule, normal):
    """Its atoms are more layers than the metal below the magnet has, a quarter full each."""
    atoms = adsorbed(layers, ase.Atoms(molecule, positions=np.outer(range(len(molecule)), [0, 0, 1.15])))
    checked = film_of(film_from_ase(atoms)).film
    assert checked.normal.startswith(normal)
    heights = np.array(checked.heights)
    metals = [site for site, symbol in enumerate(checked.symbols) if symbol in ("Pt", "Co")]
    assert heights[metals].max() < np.delete(heights, metals).min()


def test_what_was_said_of_a_film_holds_when_it_is_used():
    """Neither side the thicker one: the substrate once named, nothing says later that a rule decided."""
    atoms = stacked("PtPtCoIrIr", [3.0, 5.2, 7.2, 9.2, 11.3], cell=[2.77, 2.77, 26.0, 90, 90, 120])
    as_given = film_from_ase(atoms)
    assert any(line.startswith("neither side") for line in film_of(as_given).film.decisions)
    named = film_of(as_given, Choices(substrate="Ir")).film
    assert named.decisions[0].startswith("turned over")
    assert not any(line.startswith("neither side") for line in named.decisions)
    again = film_of(film_from_ase(atoms, substrate="Ir"))
    assert again.film.names == ("Ir.2", "Ir.1", "Co.1", "Pt.1", "Pt.2")
    assert again.film.normal == "+z from the substrate to the magnet"


# -- magnets and moments ---------------------------------------------------------------------------------


@pytest.mark.parametrize("moments", [{"Co": 1.9}, {"Co": 1.9, "Pt": 0.3}, {"Co": 0.5, "Pt": 2.0}])
def test_a_starting_moment_makes_no_element_magnetic(moments):
    """t and masks of Co/Pt(111) 1+3 are those of the Co, whatever the Pt starts with."""
    read = film_of(film("Co/Pt(111):1+3")).film
    assert starting_moments(read, moments, TABLE) == {"Pt": 0.0, **moments}
    assert read.thickness == pytest.approx(2.0432130552)
    assert mask_weights(read, {"i": ["Co", "Pt.1"], "m": "magnet"}) == {"i": [0.0, 0, 1, 1], "m": [0.0, 0, 0, 1]}


def test_moments_that_an_ase_structure_came_with():
    atoms = stacked("PtPtPtCo", [3.0, 5.2, 7.5, 9.5], cell=[2.77, 2.77, 24.0, 90, 90, 120])
    atoms.set_initial_magnetic_moments([0.0, 0.0, 0.3, 1.9])
    checked = film_of(film_from_ase(atoms)).film
    assert checked.magnets == ("Co",)
    assert checked.thickness == pytest.approx(2.0)
    assert checked.names == ("Pt.3", "Pt.2", "Pt.1", "Co.1")
    # They are the starting moments, where none are given.
    assert starting_moments(checked, None, TABLE) == {"Pt1": 0.0, "Pt2": 0.3, "Co": 1.9}
    assert starting_moments(checked, {"Co": 1.5}, TABLE)["Co"] == 1.5


def test_moments_for_one_of_two_magnets():
    """The others start with the table's; t is that of the whole magnet."""
    read = film_of(orm.StructureData(ase=stacked("PtPtCoNi", [3.0, 5.2, 7.2, 9.1]))).film
    assert starting_moments(read, {"Co": 1.7}, TABLE) == {"Pt": 0.0, "Co": 1.7, "Ni": 1.0}
    assert read.thickness == pytest.approx(2.0 + 1.9)
    layered = film_of(film("Co/Pt(111):3+2", kinds="layer")).film
    assert starting_moments(layered, {"Co.1": 1.7}, TABLE) == {
        "Pt2": 0.0, "Pt1": 0.0, "Co1": 1.7, "Co2": 2.0, "Co3": 2.0,
    }  # fmt: skip
    assert layered.thickness == pytest.approx(2.0432130552 + 2 * 1.9165)


@pytest.mark.parametrize(
    "make", [film_from_ase, lambda atoms, **said: film_from_structure(orm.StructureData(ase=atoms), **said)]
)
def test_named_magnets_are_remembered(make):
    """A seed of Cr below the Pt is none, also later: for the builder, and for what is made of the film."""
    atoms = stacked("CrPtPtCo", [3.0, 5.1, 7.4, 9.4], cell=[2.77, 2.77, 24.0, 90, 90, 120])
    made = make(atoms, magnets=["Co"], thickness=2.5)
    assert choices_of(made) == Choices(magnets=("Co",), thickness=2.5)
    assert layer_names(made) == ["Cr.1", "Pt.2", "Pt.1", "Co.1"]
    checked = film_of(made).film
    assert checked.names == ("Cr.1", "Pt.2", "Pt.1", "Co.1")
    assert (checked.magnets, checked.thickness) == (("Co",), 2.5)
    moments = starting_moments(checked, None, TABLE)
    assert moments == {"Cr": 0.0, "Pt": 0.0, "Co": 2.0}
    started = with_starting_moments(checked, take_in(atoms, Choices(magnets=("Co",))).atoms, moments)
    assert "Cr starts without a moment (--moment Cr=MU_B)" in started.decisions
    # What is said later goes before.
    assert film_of(made, Choices(normal="up", magnets=("Co", "Cr"))).film.magnets == ("Co", "Cr")


def antiferromagnet(down):
    """Mn2/W2 in c(2x2)."""
    positions = [[0, 0, 3], [2.2, 2.2, 3], [2.2, 0, 4.5], [0, 2.2, 4.5]]
    atoms = ase.Atoms("WWMnMn", positions=positions, cell=[4.4, 4.4, 18], pbc=True)
    atoms.set_initial_magnetic_moments([0, 0, 4.0, down])
    return atoms


@pytest.mark.parametrize("down", [-4.0, -3.9, -3.7])
def test_antiferromagnets_are_refused_once_their_moments_are_known(down):
    checked = film_of(film_from_ase(antiferromagnet(down))).film
    assert sorted(checked.moments.values()) == [down, 0.0, 4.0]
    atoms = take_in(antiferromagnet(down)).atoms
    with pytest.raises(InputError, match=r"antiferromagnetic ones were given \(Mn1 \+4, Mn2 -.*give other moments"):
        with_starting_moments(checked, atoms, starting_moments(checked, None, TABLE))
    # Aligned by the user, it is a ferromagnet; what they say goes before what the structure came with.
    started = with_starting_moments(checked, atoms, starting_moments(checked, {"Mn": 4.0}, TABLE))
    assert started.order == "ferromagnetic"


def test_an_antiferromagnetic_seed_makes_no_antiferromagnet():
    """Four Mn below the Co, which cancel: the magnetisation that turns is that of the Co."""
    heights = [3.0, 5.1, 7.2, 9.3, 11.3]
    atoms = stacked(["Mn", "Mn", "Mn", "Mn", "Co"], heights, cell=[2.77, 2.77, 26.0, 90, 90, 120])
    atoms.set_initial_magnetic_moments([3.0, -3.0, 3.0, -3.0, 0.1])
    checked = film_of(film_from_ase(atoms, magnets=["Co"])).film
    assert checked.order == "ferromagnetic"
    assert sorted(checked.moments.values()) == [-3.0, 0.1, 3.0]


def test_ferrimagnets_are_taken():
    checked = film_of(film_from_ase(antiferromagnet(-2.0))).film
    assert checked.order == "ferrimagnetic"
    # What is induced against the magnet makes none.
    atoms = stacked("CuCuCo", [3.0, 5.2, 7.2])
    atoms.set_initial_magnetic_moments([0.0, -0.02, 1.8])
    assert film_of(film_from_ase(atoms)).film.order == "ferromagnetic"


@pytest.mark.parametrize(
    ("given", "started"),
    [
        ({"Co": -1.7}, {"Pt": 0.0, "Co": 1.7}),
        ({"Co": -1.7, "Pt": 0.2}, {"Pt": -0.2, "Co": 1.7}),
        ({"Co": 1.7, "Pt": -3.0}, {"Pt": -3.0, "Co": 1.7}),
    ],
)
def test_the_magnetisation_points_along_n(given, started):
    """Moments that all point down would fail the gate at the end, though D is the same."""
    checked = film_of(co_pt111(1, 2)).film
    atoms = co_pt111(1, 2).get_ase()
    atoms.set_array("kinds", np.array(checked.kinds))
    found = with_starting_moments(checked, atoms, starting_moments(checked, given, TABLE))
    assert found.moments == started
    assert any(line.startswith("all moments reversed") for line in found.decisions) == (given["Co"] < 0)


# -- kinds -----------------------------------------------------------------------------------------------


def test_kinds_by_layer_and_back():
    atoms = stacked("PtPtCoCo", [4.0, 6.2, 8.2, 10.1])
    layered = take_in(atoms, Choices(kinds="layer"))
    assert layered.film.kinds == ("Pt2", "Pt1", "Co1", "Co2")
    assert take_in(layered.atoms).film.kinds == layered.film.kinds
    assert take_in(layered.atoms, Choices(kinds="element")).film.kinds == ("Pt", "Pt", "Co", "Co")


def test_moments_go_with_their_atoms_into_new_kinds():
    atoms = stacked("PtPtCoCo", [4.0, 6.2, 8.2, 10.1])
    atoms.set_initial_magnetic_moments([0, 0, 1.2, 1.9])
    made = film_from_ase(atoms, kinds="layer")
    checked = film_of(made).film
    assert checked.moments == {"Pt2": 0.0, "Pt1": 0.0, "Co1": 1.2, "Co2": 1.9}
    with pytest.raises(InputError, match=r"kinds: by element Co would stand for moments of 1.2 and 1.9 mu_B"):
        film_of(made, Choices(kinds="element"))


def test_more_layers_than_species_of_pw():
    """The magnet's layers are kinds then, the others are not; where those are too many, it is refused."""
    thick = film_of(film("Co/Pt(111):3+10"), Choices(kinds="layer"))
    assert set(thick.film.kinds) == {"Pt", "Co1", "Co2", "Co3"}
    assert any(line.startswith("kinds by layer in the magnet alone") for line in thick.film.decisions)
    with pytest.raises(
        InputError, match=rf"kinds: 13 were given \(Pta, .*\), pw.x takes {MOST_KINDS}; use one an element"
    ):
        film_of(film("Co/Pt(111):3+10", kinds="layer"))
    assert set(film_of(film("Co/Pt(111):3+10", kinds="layer"), Choices(kinds="element")).film.kinds) == {"Co", "Pt"}


# -- layers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", [[2.77, 2.77, 20, 90, 90, 120], [2.77, 2.77, 20, 90, 90, 60]])
def test_layers_of_wrapped_atoms(cell):
    """Also of atoms that nobody took in: the film is in one piece, and `interface` has its two layers."""
    atoms = stacked("PtPtPtCo", [14.6, 16.8, 19.0, 1.2], cell=cell, pbc=True)
    assert layer_names(atoms) == ["Pt.3", "Pt.2", "Pt.1", "Co.1"]
    assert sites_of(atoms, "interface") == [2, 3]
    atoms.pbc = (True, True, False)
    checked = film_of(orm.StructureData(ase=atoms).store())
    assert checked.film.names == ("Pt.3", "Pt.2", "Pt.1", "Co.1")
    assert checked.film.thickness == pytest.approx(2.2)
    heights = [site.position[2] for site in checked.structure.sites]
    np.testing.assert_allclose(np.diff(heights), [2.2, 2.2, 2.2])
    assert "put together across the face of its cell" in checked.film.decisions


def test_layers_of_atoms_whose_normal_is_not_z():
    atoms = stacked("PtCo", [3.0, 5.0])
    atoms.rotate(90, "x", rotate_cell=True)
    with pytest.raises(InputError, match=r"do not lie in the xy plane, heights are no layers then; .*film_from_ase"):
        Film.of(atoms)
    assert take_in(atoms).film.names == ("Pt.1", "Co.1")


@pytest.mark.parametrize("buckling", [0.05, 0.25, 0.29, 0.31, 0.38])
def test_a_rumpled_layer_is_one(buckling):
    """c(2x2) Mn in the top layer of Cu, lifted: t does not jump from a layer's distance to the buckling."""
    positions = [[0, 0, 3], [1.8, 1.8, 3], [1.8, 0, 4.8], [0, 1.8, 4.8 + buckling]]
    film = take_in(ase.Atoms("CuCuCuMn", positions=positions, cell=[3.6, 3.6, 20], pbc=True)).film
    assert film.names == ("Cu.2", "Cu.2", "Cu.1", "Mn.1")
    assert film.thickness == pytest.approx(1.8 + buckling / 2)
    assert film.decisions == ()


@pytest.mark.parametrize(("buckling", "layers"), [(0.45, "one layer"), (0.55, "two layers")])
def test_where_noise_would_decide_it_is_said(buckling, layers):
    positions = [[0, 0, 3], [1.8, 1.8, 3], [1.8, 0, 4.8], [0, 1.8, 4.8 + buckling]]
    film = take_in(ase.Atoms("CuCuCuMn", positions=positions, cell=[3.6, 3.6, 20], pbc=True)).film
    assert f"Cu.1 and Mn.1, {buckling:.2f} Angstrom apart, are {layers}" in " ".join(film.decisions)
    # Half an angstrom is no thickness.
    assert (film.thickness is None) == (layers == "two layers")


@pytest.mark.parametrize("height", [11.6, 11.6 + 1e-9, 11.6 - 1e-9, 11.6 + 2e-15])
def test_a_distance_that_is_the_limit(height):
    """B on CoFe at half an Angstrom: one layer, in the decision on which way is up and afterwards."""
    film = take_in(stacked(["Ta", "Ta", "Co", "Fe", "B"], [5.0, 7.2, 9.4, 11.1, height])).film
    assert len(film.layers) == 4
    assert not film.elements("cap")
    assert not [line for line in film.decisions if "the cap" in line]


def test_a_vicinal_surface_has_no_thickness():
    """Rows a third of an angstrom above each other: no chain that swallows the film, and no t of a terrace."""
    rows = 12
    cell = [2.77, 2.4 * rows, 26.0]
    heights = [4 + 0.2 * n for n in range(rows)]
    positions = [[1.385 * (n % 2), 2.4 * n, z] for n, z in enumerate(heights)]
    upper = [[x + 1.385, y + 0.8, z + 2.2] for x, y, z in positions]
    film = take_in(ase.Atoms("Pt12Co12", positions=positions + upper, cell=cell, pbc=True)).film
    assert film.thickness is None
    assert film.thickness_rule.startswith("not defined: layers that run into each other; give `thickness`")
    assert any(line.startswith("layers run into each other") for line in film.decisions)
    assert len(film.layers) > 2
    assert max(np.ptp([film.heights[site] for site in layer]) for layer in film.layers) <= 1.0


# -- cells -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", [3, 4, 5])
@pytest.mark.parametrize("angle", [60, 120])
def test_hexagonal_cells_of_few_digits(digits, angle):
    atoms = stacked("PtPtCo", [4.0, 6.2, 8.2], cell=[2.7719, 2.7719, 20.0, 90, 90, angle])
    atoms.set_cell(np.round(np.array(atoms.cell), digits), scale_atoms=True)
    taken = take_in(atoms)
    a1, a2 = taken.atoms.cell[0], taken.atoms.cell[1]
    assert np.linalg.norm(a1) == pytest.approx(np.linalg.norm(a2), abs=1e-12)
    assert abs(a1 @ a2 / (a1 @ a1)) == pytest.approx(0.5, abs=1e-12)
    assert any(line.startswith("cell set to its hexagonal lattice (rounded by up to") for line in taken.film.decisions)


def test_two_digits_are_taken_as_a_strain_and_that_is_said():
    atoms = stacked("PtPtCo", [4.0, 6.2, 8.2])
    atoms.set_cell(np.round(np.array(atoms.cell), 2), scale_atoms=True)
    film = take_in(atoms).film
    (line,) = [line for line in film.decisions if line.startswith("cell hexagonal but for")]
    assert "taken as strained; if it is not, give it with more digits" in line
    # A strain of some per cent is one.
    strained = film_of(co_pt111(1, 2, strain=[0.03, 0.0])).film
    assert not any("hexagonal" in line for line in strained.decisions)


def test_a_square_cell_and_an_oblique_one():
    square = ase.Atoms(
        "WWMn", positions=[[0, 0, 4], [1.58, 1.58, 5.6], [0, 0, 7.1]], cell=[3.165, 3.1652, 20], pbc=True
    )
    assert any("cell set to its square lattice" in line for line in take_in(square).film.decisions)
    oblique = square.copy()
    oblique.set_cell([[3.165, 0, 0], [0.7, 3.4, 0], [0, 0, 20]])
    assert take_in(oblique).film.decisions == ()


def test_axes_that_were_turned_are_said():
    """D_yx is of the film's x and y: whoever gave them finds them in the dry run."""
    atoms = stacked("PtPtCo", [4.0, 6.2, 8.2], pbc=True)
    assert take_in(atoms).film.decisions == ()
    atoms.rotate(30, "z", rotate_cell=True)
    assert take_in(atoms).film.decisions == ("axes: x along the given a1",)
    atoms.rotate(90, "x", rotate_cell=True)
    atoms.set_cell(np.array(atoms.cell)[[2, 0, 1]])
    assert take_in(atoms).film.decisions == ("axes: x along the given a2, the vacuum lay along a1",)
    # As StructureData with pbc (T, T, F) in the xy plane it stays where it is, x and all.
    turned = stacked("PtPtCo", [4.0, 6.2, 8.2])
    turned.rotate(30, "z", rotate_cell=True)
    assert not take_in(turned).changed


def test_lattice_vectors_none_of_which_crosses_the_vacuum():
    """a1 + a3 for a1: the same crystal."""
    atoms = stacked("PtPtCo", [4.0, 6.2, 8.2], pbc=True)
    cell = np.array(atoms.cell)
    cell[0] += cell[2]
    atoms.set_cell(cell)
    film = take_in(atoms).film
    assert film.names == ("Pt.2", "Pt.1", "Co.1")
    assert any(line.startswith("lattice vectors replaced by the shortest ones") for line in film.decisions)
