"""Geometry of bilayers against ASE's surface builders, neighbour distances and layer groups."""

import ase.build
import numpy as np
import pytest
import spglib
from ase.data import atomic_numbers, reference_states

from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.crystals import CRYSTALS, layer_spacing
from aiida_dmi.structures.geometry import bilayer, bulk_spacing

CO_PT = {
    "substrate": "Pt",
    "magnet": "Co",
    "facet": "fcc111",
    "lattice_constant": 3.92,
    "substrate_layers": 1,
    "magnet_layers": 1,
    "interface_spacing": 2.0432130552,
    "vacuum": 10.22,
}
# An fcc or hcp crystal of Pt (ideal c/a), a bcc one of W: substrate and film alike, so that ASE can build the whole.
CRYSTAL_SLABS = {
    "fcc111": ("Pt", 3.92, lambda a, n: ase.build.fcc111("Pt", (1, 1, n), a=a, vacuum=5.0)),
    "bcc001": ("W", 3.165, lambda a, n: ase.build.bcc100("W", (1, 1, n), a=a, vacuum=5.0)),
    "bcc110": ("W", 3.165, lambda a, n: ase.build.bcc110("W", (1, 1, n), a=a, vacuum=5.0)),
    "hcp0001": ("Re", 2.76, lambda a, n: ase.build.hcp0001("Re", (1, 1, n), a=a, c=a * (8 / 3) ** 0.5, vacuum=5.0)),
}


def homogeneous(facet, layers=3, **changes):
    """A film of one crystal: `layers` of substrate and as many of the same element as the magnet."""
    element, a, _ = CRYSTAL_SLABS[facet]
    spacing = bulk_spacing(facet, a)
    arguments = {
        "substrate": element,
        "magnet": element,
        "facet": facet,
        "lattice_constant": a,
        "substrate_layers": layers,
        "magnet_layers": layers,
        "interface_spacing": spacing,
        "magnet_spacing": spacing,
    }
    return bilayer(**{**arguments, **changes})


def distances(atoms, site=None):
    """Distances between an atom (default all) and all atoms and images nearer than 6 Angstrom, sorted."""
    sites = range(len(atoms)) if site is None else [site]
    found = []
    for i in range(-4, 5):
        for j in range(-4, 5):
            images = atoms.positions + i * atoms.cell[0] + j * atoms.cell[1]
            for own in sites:
                found += np.linalg.norm(images - atoms.positions[own], axis=1).tolist()
    return np.sort([distance for distance in found if 0.1 < distance < 6.0])


def layer_group(atoms):
    return spglib.get_layergroup(
        (atoms.cell[:], atoms.get_scaled_positions(), atoms.numbers), aperiodic_dir=2, symprec=1e-4
    )


def test_prototype_slab():
    """Cell and positions of the prototype's scf.in, to its ten digits."""
    atoms = bilayer(**CO_PT)
    cell = [[2.7718585823, 0, 0], [1.3859292911, 2.4004999479, 0], [0, 0, 12.2632130552]]
    np.testing.assert_allclose(atoms.cell[:], cell, atol=1e-9)
    np.testing.assert_allclose(atoms.positions, [[0, 1.6003332986, 5], [0, 0, 7.0432130552]], atol=1e-9)
    assert atoms.get_chemical_symbols() == ["Pt", "Co"]
    assert atoms.pbc.tolist() == [True, True, False]


@pytest.mark.parametrize("facet", CRYSTAL_SLABS)
def test_one_crystal_is_ases_slab(facet):
    """The same cell area, atoms and distances as ASE's own builder gives for six layers."""
    _, a, build = CRYSTAL_SLABS[facet]
    ours, theirs = homogeneous(facet), build(a, 6)
    area = [np.linalg.norm(np.cross(atoms.cell[0], atoms.cell[1])) for atoms in (ours, theirs)]
    assert area[0] == pytest.approx(area[1], abs=1e-9)
    assert len(ours) == len(theirs) == 6
    np.testing.assert_allclose(distances(ours), distances(theirs), atol=1e-6)


@pytest.mark.parametrize(
    ("facet", "neighbours", "distance"),
    [
        ("fcc111", 12, 3.92 / 2**0.5),
        ("bcc001", 8, 3.165 * 3**0.5 / 2),
        ("bcc110", 8, 3.165 * 3**0.5 / 2),
        ("hcp0001", 12, 2.76),
    ],
)
def test_coordination_within_the_slab(facet, neighbours, distance):
    near = [d for d in distances(homogeneous(facet), site=2) if d < distance + 0.01]
    assert len(near) == neighbours
    np.testing.assert_allclose(near, distance, atol=1e-9)


@pytest.mark.parametrize(
    ("facet", "substrate", "group", "magnet_layers"),
    [
        ("fcc111", "Pt", "p3m1", 1),
        ("fcc111", "Pt", "p3m1", 3),
        ("hcp0001", "Re", "p3m1", 2),
        ("bcc001", "W", "p4mm", 1),
        ("bcc001", "W", "p4mm", 2),
        # The layers of bcc(110) are centred rectangles; the point group is C2v as for pmm2.
        ("bcc110", "W", "cmm2", 1),
        ("bcc110", "W", "cmm2", 2),
    ],
)
def test_layer_group(facet, substrate, group, magnet_layers):
    """The magnet on one side takes away inversion and the horizontal mirror, and nothing else."""
    atoms = bilayer(
        substrate=substrate,
        magnet="Co",
        facet=facet,
        lattice_constant=CRYSTALS[substrate].a,
        substrate_layers=4,
        magnet_layers=magnet_layers,
        interface_spacing=1.9,
        magnet_spacing=1.8,
    )
    assert layer_group(atoms).international == group


def test_stacking_of_the_magnet():
    """On the site of the third layer below (fcc) or of the second (hcp); one choice a layer."""
    hollow = {}
    for stacking in ("fcc", "hcp"):
        atoms = bilayer(**{**CO_PT, "substrate_layers": 4, "stacking": stacking})
        columns = [np.allclose(atoms.positions[4, :2], atoms.positions[i, :2]) for i in range(4)]
        hollow[stacking] = [i for i, same in enumerate(columns) if same]
    assert hollow == {"fcc": [1], "hcp": [2]}
    mixed = bilayer(
        **{**CO_PT, "substrate_layers": 4, "magnet_layers": 3, "magnet_spacing": 1.9, "stacking": ["fcc", "hcp", "fcc"]}
    )
    in_plane = mixed.positions[:, :2]
    np.testing.assert_allclose(in_plane[5], in_plane[3], atol=1e-9)
    assert not np.allclose(in_plane[6], in_plane[4])
    # A hexagonal substrate alternates by itself.
    rhenium = homogeneous("hcp0001").positions[:, :2]
    np.testing.assert_allclose(rhenium[2:], rhenium[:-2], atol=1e-9)


def test_spacings_run_from_the_interface():
    atoms = bilayer(
        **{**CO_PT, "substrate_layers": 3, "magnet_layers": 3},
        substrate_spacing=[2.2, 2.3],
        magnet_spacing=[1.8, 1.9],
    )
    np.testing.assert_allclose(np.diff(atoms.positions[:, 2]), [2.3, 2.2, 2.0432130552, 1.8, 1.9], atol=1e-12)
    assert atoms.cell[2, 2] - np.ptp(atoms.positions[:, 2]) == pytest.approx(10.22)


def test_strain_stretches_the_plane_only():
    free, strained = bilayer(**CO_PT), bilayer(**CO_PT, strain=[0.02, -0.01])
    np.testing.assert_allclose(strained.cell[:], free.cell[:] * [1.02, 0.99, 1.0], atol=1e-12)
    np.testing.assert_allclose(strained.positions, free.positions * [1.02, 0.99, 1.0], atol=1e-12)
    np.testing.assert_allclose(bilayer(**CO_PT, strain=0.02).cell[:2], 1.02 * free.cell[:2], atol=1e-12)
    # One axis longer than the other leaves a single mirror of C3v.
    assert layer_group(strained).number != layer_group(free).number


def test_substitutions_replace_named_layers():
    atoms = bilayer(
        **{**CO_PT, "substrate_layers": 3, "magnet_layers": 2, "magnet_spacing": 1.9},
        substitutions={"Pt.1": "Ir", "Co.2": "Fe"},
    )
    assert atoms.get_chemical_symbols() == ["Pt", "Pt", "Ir", "Co", "Fe"]
    whole = bilayer(**{**CO_PT, "substrate_layers": 3}, substitutions={"Pt.1-2": "Au"})
    assert whole.get_chemical_symbols() == ["Pt", "Au", "Au", "Co"]


def test_caps_stand_on_the_magnet():
    caps = [
        {"element": "Ir", "layers": 2, "interface_spacing": 2.1, "spacing": 2.2},
        {"element": "Au", "interface_spacing": 2.4},
    ]
    atoms = bilayer(**{**CO_PT, "substrate_layers": 2}, caps=caps)
    assert atoms.get_chemical_symbols() == ["Pt", "Pt", "Co", "Ir", "Ir", "Au"]
    np.testing.assert_allclose(np.diff(atoms.positions[2:, 2]), [2.1, 2.2, 2.4], atol=1e-12)
    # fcc throughout: three layers on, the same column.
    np.testing.assert_allclose(atoms.positions[3:, :2], atoms.positions[:3, :2], atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"facet": "fcc001"}, "facet: 'fcc001' was given, expected one of fcc111"),
        ({"magnet_layers": 0}, "magnet_layers: 0 was given"),
        ({"substrate_layers": 1.5}, "substrate_layers: 1.5 was given"),
        ({"interface_spacing": -1.0}, "interface_spacing: -1.0 was given"),
        ({"magnet_layers": 2}, "magnet_spacing: None was given"),
        ({"magnet_layers": 3, "magnet_spacing": [1.9]}, "magnet_spacing: 1 numbers were given, expected one, or one"),
        ({"vacuum": 4.0}, "vacuum: 4.0 was given, expected 6 Angstrom or more"),
        ({"strain": 2.0}, "strain: 2.0 was given"),
        ({"stacking": "bcc"}, "stacking: 'bcc' was given, expected 'fcc' or 'hcp'"),
        ({"stacking": ["fcc", "fcc"]}, "stacking: 2 were given"),
        ({"facet": "bcc001", "stacking": "hcp"}, "bcc001 leaves no choice"),
        ({"magnet": "Xx"}, "element: 'Xx' was given"),
        ({"caps": [{"symbol": "Ir"}]}, "caps: .* expected a mapping with `element`"),
        ({"caps": [{"element": "Ir"}]}, "caps: Ir: interface_spacing: None was given"),
        ({"substitutions": {"Pt.2": "Ir"}}, r"substitutions: 'Pt.2' is no part of this film; .* layers Co.1, Pt.1"),
        ({"substitutions": {"Pt": "Ir", "Pt.1": "Au"}}, "'Pt' and 'Pt.1' name the same layer"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(InputError, match=message):
        bilayer(**{**CO_PT, **change})


@pytest.mark.parametrize("element", sorted(set(CRYSTALS) - {"Mn"}))
def test_lattice_constants_are_ases(element):
    """ASE's table (Ashcroft and Mermin) is independent of ours and rounded to 0.01 Angstrom."""
    reference = reference_states[atomic_numbers[element]]
    crystal = CRYSTALS[element]
    assert crystal.lattice == reference["symmetry"]
    assert crystal.a == pytest.approx(reference["a"], abs=0.011)
    if crystal.lattice == "hcp":
        assert crystal.c / crystal.a == pytest.approx(reference["c/a"], abs=0.004)


@pytest.mark.parametrize(("facet", "element"), [("fcc111", "Pt"), ("bcc001", "W"), ("bcc110", "W")])
def test_spacing_estimate_reproduces_the_crystal(facet, element):
    a = CRYSTALS[element].a
    assert layer_spacing(element, element, facet, a) == pytest.approx(bulk_spacing(facet, a), abs=1e-4)


def test_spacing_estimate_keeps_bond_lengths():
    """Co above Pt: the bond is the sum of the radii, 2.7719/2 + 2.4968/2 Angstrom."""
    spacing = layer_spacing("Pt", "Co", "fcc111", 3.92)
    atoms = bilayer(**{**CO_PT, "interface_spacing": spacing})
    assert distances(atoms)[0] == pytest.approx(2.6343, abs=2e-4)
    with pytest.raises(InputError, match="does not touch in a lattice of 7"):
        layer_spacing("Pt", "Co", "fcc111", 7.0)
