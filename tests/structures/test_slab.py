"""Films from slabs of pymatgen, ASE and StructureData."""

import ase.build
import numpy as np
import pytest
import spglib
from aiida import orm
from pymatgen.core import Lattice, Structure
from pymatgen.core.surface import SlabGenerator

from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.bilayer import film
from aiida_dmi.structures.intake import take_in
from aiida_dmi.structures.layers import layer_names
from aiida_dmi.structures.slab import film_from_ase, film_from_pymatgen, film_from_structure, film_of
from aiida_dmi.workflows import validation

pytestmark = pytest.mark.usefixtures("aiida_profile")


def atoms_of(structure):
    return structure.get_ase()


def neighbours(atoms, cutoff=4.5):
    """Sorted distances of all pairs nearer than the cutoff, with their elements: invariant under any rotation."""
    found = []
    for i in range(-3, 4):
        for j in range(-3, 4):
            shifted = atoms.positions + i * atoms.cell[0] + j * atoms.cell[1]
            for own, position in zip(atoms.symbols, atoms.positions, strict=True):
                for other, d in zip(atoms.symbols, np.linalg.norm(shifted - position, axis=1), strict=True):
                    if 0.1 < d < cutoff:
                        found.append((own, other, round(float(d), 6)))
    return sorted(found)


def tilted(atoms, seed=3):
    """The crystal turned as a whole, a vacuum vector that is not normal, atoms in any of their periodic images."""
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation *= np.linalg.det(rotation)
    cell = atoms.cell[:].copy()
    cell[2] += 0.37 * cell[0] - 0.21 * cell[1]
    if seed % 2:
        # Its normal a1 x a2 then points from the magnet to the substrate.
        cell[[0, 1]] = cell[[1, 0]]
    images = rng.integers(-2, 3, size=(len(atoms), 3)) @ cell
    turned = atoms.copy()
    turned.set_cell(cell @ rotation.T)
    turned.positions = (atoms.positions + images) @ rotation.T
    return turned


def test_pymatgen_slab_of_mn_on_tungsten():
    """SlabGenerator's W(001), Mn put underneath: the film comes out upright, as the builder makes it."""
    bulk = Structure(Lattice.cubic(3.165), ["W", "W"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    slab = SlabGenerator(bulk, (0, 0, 1), 5, 12, in_unit_planes=False, primitive=True, center_slab=True).get_slab()
    lowest = min(slab, key=lambda site: site.coords @ slab.normal)
    below = lowest.coords - 1.4825 * slab.normal + (slab.lattice.matrix[0] + slab.lattice.matrix[1]) / 2
    slab.append("Mn", below, coords_are_cartesian=True)
    structure = film_from_pymatgen(slab)
    layers = len(slab) - 1
    assert layer_names(structure) == [*[f"W.{n}" for n in range(layers, 0, -1)], "Mn.1"]
    assert validation.structure(structure) is None
    reference = film(f"Mn/W(001):1+{layers}")
    assert neighbours(atoms_of(structure)) == neighbours(atoms_of(reference))
    np.testing.assert_allclose(np.array(structure.cell)[:2], np.array(reference.cell)[:2], atol=1e-9)
    np.testing.assert_allclose(
        np.diff([site.position[2] for site in structure.sites]), [1.5825] * (layers - 1) + [1.4825], atol=1e-9
    )
    assert structure.creator.process_label == "orient_film"


def test_pymatgen_structure_file(tmp_path):
    """A file, with the vacuum along the first lattice vector."""
    atoms = atoms_of(film("Co/Pt(111):1+3"))
    cell, order = np.array(atoms.cell), [2, 0, 1]
    path = tmp_path / "slab.cif"
    Structure(cell[order], atoms.get_chemical_symbols(), atoms.positions, coords_are_cartesian=True).to(str(path))
    structure = film_from_pymatgen(Structure.from_file(path))
    assert layer_names(structure) == ["Pt.3", "Pt.2", "Pt.1", "Co.1"]
    found, expected = neighbours(atoms_of(structure)), neighbours(atoms)
    assert [pair[:2] for pair in found] == [pair[:2] for pair in expected]
    np.testing.assert_allclose([pair[2] for pair in found], [pair[2] for pair in expected], atol=1e-4)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", ["Co/Pt(111):2+4", "Mn/W(110):1+3", "Ir/Co/Re(0001):1+2+3"])
def test_turned_slabs_come_back(name, seed):
    """Whatever the frame, the film is the builder's: distances, layers, symmetry, and a right-handed upright cell."""
    original = atoms_of(film(name))
    structure = film_from_ase(tilted(original, seed))
    atoms = atoms_of(structure)
    assert layer_names(structure) == layer_names(original)
    assert neighbours(atoms) == neighbours(original)
    cell = atoms.cell[:]
    np.testing.assert_allclose(cell[0, 1:], 0.0, atol=1e-12)
    np.testing.assert_allclose([cell[1, 2], *cell[2, :2]], 0.0, atol=1e-12)
    assert cell[1, 1] > 0
    np.testing.assert_allclose(cell, original.cell[:], atol=1e-9)
    assert structure.pbc == (True, True, False)
    groups = [
        spglib.get_layergroup((a.cell[:], a.get_scaled_positions(), a.numbers), aperiodic_dir=2, symprec=1e-4).number
        for a in (original, atoms)
    ]
    assert groups[0] == groups[1]


def oriented(atoms):
    return take_in(atoms).atoms


def test_handedness_is_kept():
    """A chiral film stays what it is: turned over, not mirrored, since a mirror changes the sign of D."""
    cell = np.diag([4.0, 5.0, 25.0])
    positions = np.array([[0, 0, 5], [1.1, 0.6, 7], [2.3, 3.1, 9], [0.4, 2.2, 11.2]])
    film_up = ase.Atoms("PtAuIrCo", positions=positions, cell=cell, pbc=True)
    upside_down = film_up.copy()
    upside_down.positions = positions @ np.diag([1.0, -1.0, -1.0])
    mirrored = film_up.copy()
    mirrored.positions = positions @ np.diag([1.0, 1.0, -1.0])

    def handedness(atoms):
        """Triple product of three bonds, of nearest images in the plane: changes sign under a mirror alone."""
        steps = atoms.get_scaled_positions()[1:] - atoms.get_scaled_positions()[0]
        steps[:, :2] -= np.round(steps[:, :2])
        return np.linalg.det(steps @ atoms.cell[:])

    assert handedness(oriented(upside_down)) == pytest.approx(handedness(oriented(film_up)), abs=1e-6)
    assert handedness(oriented(mirrored)) == pytest.approx(-handedness(oriented(film_up)), abs=1e-6)
    assert abs(handedness(oriented(film_up))) > 1.0


def test_slab_across_the_cells_face():
    """Half of the slab below z = 0, wrapped to the top: put together again."""
    atoms = atoms_of(film("Co/Pt(111):2+4"))
    atoms.positions[:, 2] -= 9.0
    atoms.pbc = True
    atoms.wrap()
    structure = film_from_ase(atoms)
    assert layer_names(structure) == ["Pt.4", "Pt.3", "Pt.2", "Pt.1", "Co.1", "Co.2"]
    assert np.ptp([site.position[2] for site in structure.sites]) == pytest.approx(
        3 * 3.92 / 3**0.5 + 2.0432130552 + 1.9165
    )
    assert structure.cell[2][2] == pytest.approx(atoms.cell[2, 2])


def test_kinds_are_kept_or_numbered():
    """The user's own kinds stay unless layers are asked for."""
    slab = orm.StructureData(cell=np.diag([2.7, 2.7, 20.0]).tolist(), pbc=(True, True, True))
    for name, position in (("Co2", (0, 0, 2.0)), ("Ptx", (1.35, 1.35, 4.0)), ("Ptx", (0, 0, 6.0))):
        slab.append_atom(symbols=name[:2], name=name, position=position)
    slab.label = "my slab"
    kept = film_from_structure(slab, vacuum=12.0)
    assert [site.kind_name for site in kept.sites] == ["Ptx", "Ptx", "Co2"]
    assert kept.label == "my slab"
    assert kept.cell[2][2] == pytest.approx(16.0)
    assert [site.kind_name for site in film_from_structure(slab, kinds="layer").sites] == ["Pt2", "Pt1", "Co1"]
    assert kept.creator.inputs.slab.uuid == slab.uuid


def test_substrate_by_choice():
    """A cap as thick as the substrate: the film stays as it is given, and says so, until the substrate is named."""
    atoms = atoms_of(film("Ir/Co/Pt(111):2+1+2"))
    as_given = film_of(film_from_ase(atoms)).film
    assert as_given.names == ("Pt.2", "Pt.1", "Co.1", "Ir.1", "Ir.2")
    assert as_given.normal == "+z as given"
    assert "neither side of the magnet has more layers (Pt below, Ir above)" in as_given.decisions[0]
    assert layer_names(film_from_ase(atoms, substrate="Ir")) == ["Ir.2", "Ir.1", "Co.1", "Pt.1", "Pt.2"]
    assert layer_names(film_from_ase(atoms, substrate="Pt")) == ["Pt.2", "Pt.1", "Co.1", "Ir.1", "Ir.2"]
    with pytest.raises(InputError, match="substrate: 'W' was given, it is on neither side"):
        film_from_ase(atoms, substrate="W")


def slab_with(symbols, vacuum):
    """Layers of a square lattice and a vacuum, in Angstrom, above the highest."""
    positions = [[1.6 * (n % 2), 1.6 * (n % 2), 1.6 * n] for n in range(len(symbols))]
    return ase.Atoms(symbols, positions=positions, cell=[3.2, 3.2, 1.6 * (len(symbols) - 1) + vacuum], pbc=True)


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (slab_with(["W", "W", "W", "Mn"], 3.0), "empty space of .* 3.0 along a3 Angstrom was given, expected a film"),
        (ase.build.bulk("Co", cubic=True, crystalstructure="fcc", a=3.5), "expected a film: at least 6 along one"),
        (ase.Atoms("PtCo", positions=[[0, 0, 0], [0, 0, 2]], cell=[9, 9, 20], pbc=True), "less along the others"),
        (slab_with(["W", "W", "Ta"], 12.0), "no magnetic layer among W, Ta .* give `magnets`"),
        (slab_with(["Fe", "W", "W", "Mn"], 12.0), "two magnets with other layers in between"),
        (ase.build.fcc111("Pt", (1, 1, 2)), "three lattice vectors were expected"),
    ],
)
def test_refusals_are_one_line(atoms, message):
    with pytest.raises(InputError, match=message) as error:
        film_from_ase(atoms)
    assert "\n" not in str(error.value)


def test_shared_sites_are_refused():
    alloy = Structure(np.diag([2.7, 2.7, 20.0]), [{"Co": 0.5, "Fe": 0.5}, "Pt"], [[0, 0, 0.2], [0.5, 0.5, 0.1]])
    with pytest.raises(InputError, match="one element on every site, in full; of a mixture make a virtual crystal"):
        film_from_pymatgen(alloy)


def test_thin_vacuum_is_refused():
    with pytest.raises(InputError, match=r"vacuum: 2\.0 was given, expected 6 Angstrom or more"):
        film_from_ase(slab_with(["W", "W", "Mn"], 12.0), vacuum=2.0)


def test_one_node_for_one_film():
    """Order of the atoms, -0.0, the cell they are given in and pbc are the description's, not the film's."""
    slab = ase.Atoms(
        "PtPtCo",
        positions=[[0, 0, 5], [0, 1.600415, 7.26], [1.386, 0.8002075, 9.3]],
        cell=[[2.772, 0, 0], [-1.386, 2.4006224, 0], [0, 0, 20]],
        pbc=(True, True, False),
    )
    negative, wrapped, periodic = slab.copy(), slab.copy(), slab.copy()
    negative.positions[0, :2] = -0.0
    wrapped.positions[1] += slab.cell[0]
    periodic.pbc = True
    found = {
        film_from_ase(given).base.caching.compute_hash()
        for given in (slab, slab[[2, 0, 1]], negative, wrapped, periodic)
    }
    assert len(found) == 1
