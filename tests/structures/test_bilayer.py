"""Slabs against the prototype's input and against geometry."""

import numpy as np
import pytest

from aiida_dmi.structures.bilayer import co_pt111, fcc111_bilayer

ARGUMENTS = {
    "substrate": "Pt",
    "magnet": "Co",
    "lattice_constant": 3.92,
    "substrate_layers": 1,
    "magnet_layers": 1,
    "interface_spacing": 2.0432130552,
    "magnet_spacing": 2.0432130552,
    "height": 12.2632130552,
}


def test_prototype_slab():
    """Cell and positions of the prototype's scf.in, to its ten digits."""
    atoms = fcc111_bilayer(**ARGUMENTS)
    cell = [[2.7718585823, 0, 0], [1.3859292911, 2.4004999479, 0], [0, 0, 12.2632130552]]
    np.testing.assert_allclose(atoms.cell[:], cell, atol=1e-9)
    np.testing.assert_allclose(atoms.positions, [[0, 1.6003332986, 5], [0, 0, 7.0432130552]], atol=1e-9)
    assert atoms.get_chemical_symbols() == ["Pt", "Co"]
    assert atoms.pbc.tolist() == [True, True, False]


def test_fcc_stacking_keeps_nearest_neighbours():
    """Substrate layers: twelve neighbours at a/sqrt(2) in the middle of five layers."""
    atoms = fcc111_bilayer(**{**ARGUMENTS, "substrate_layers": 5, "height": 30.0})
    distances = []
    for i in range(-2, 3):
        for j in range(-2, 3):
            shifted = atoms.positions[:5] + i * atoms.cell[0] + j * atoms.cell[1]
            distances += np.linalg.norm(shifted - atoms.positions[2], axis=1).tolist()
    near = [d for d in distances if 0.1 < d < 3.92 / np.sqrt(2) + 0.01]
    assert len(near) == 12
    np.testing.assert_allclose(near, 3.92 / np.sqrt(2), atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"magnet_layers": 0}, "layers"),
        ({"interface_spacing": -1.0}, "interface_spacing"),
        ({"height": 10.0}, "height: 10.0"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        fcc111_bilayer(**{**ARGUMENTS, **change})


@pytest.mark.usefixtures("aiida_profile")
def test_preset_is_in_the_provenance():
    structure = co_pt111(magnet_layers=2, substrate_layers=3)
    assert structure.get_formula() == "Co2Pt3"
    assert structure.pbc == (True, True, False)
    parameters = structure.creator.inputs.parameters.get_dict()
    assert parameters["lattice_constant"] == 3.92
    assert structure.creator.process_label == "build_fcc111_bilayer"
    # 10.22 Angstrom of vacuum as in the prototype.
    heights = [site.position[2] for site in structure.sites]
    assert structure.cell[2][2] - (max(heights) - min(heights)) == pytest.approx(10.22 + 2.0432130552 - 2.0432130552)
