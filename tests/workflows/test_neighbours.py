"""The mesh of the Wannier functions: changed, settled by Wannier90's settings, or refused before anything runs."""

import numpy as np
import pytest
from aiida import engine, orm
from aiida.plugins import WorkflowFactory

from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.bilayer import film
from aiida_dmi.workflows import neighbours

WannierModelWorkChain = WorkflowFactory("dmi.wannier_model")
ROUNDED = [[2.77186, 0, 0], [1.38594, 2.40050, 0], [0, 0, 16.0]]
TUNGSTEN = [[3.165, 0, 0], [0, 3.165, 0], [0, 0, 5 * 3.165]]


def test_nothing_to_choose():
    assert neighbours.choose([[2.5, 0, 0], [0, 2.5, 0], [0, 0, 16]], [6, 6, 1], {}, fixed=False) == ([6, 6, 1], {}, "")


def test_settings_before_another_mesh():
    choice = neighbours.choose(ROUNDED, [6, 6, 1], {}, fixed=True)
    assert choice.mesh == [6, 6, 1]
    assert choice.parameters == {"kmesh_tol": 1e-5}
    assert choice.words.startswith(
        "kmesh_tol = 1e-05: otherwise without neighbours for Wannier90 (not enough b vectors"
    )


def test_denser_mesh_where_none_was_asked_for():
    choice = neighbours.choose(TUNGSTEN, [10, 10, 1], {}, fixed=False)
    assert (choice.mesh, choice.parameters) == ([11, 11, 1], {})
    assert choice.words == (
        "mesh 11x11: 10x10 is without neighbours for Wannier90 (20 neighbours of a k point, Wannier90 keeps 12 at most)"
    )
    with pytest.raises(InputError, match=r"kpoints: 10x10 was given, .* give for instance 11x11, or a cell of another"):
        neighbours.choose(TUNGSTEN, [10, 10, 1], {}, fixed=True)


def test_no_mesh_at_all():
    """Settings that are given are kept: with them nothing closes."""
    with pytest.raises(InputError, match="and so are those slightly denser; give the cell to more digits"):
        neighbours.choose(ROUNDED, [6, 6, 1], {"search_shells": 1}, fixed=False)


@pytest.fixture
def tungsten(aiida_profile):
    """Mn/W(001) in a cell whose height is five times its side."""
    slab = film("Mn/W(001):1+1").get_ase()
    slab.cell[2, 2] = 5 * slab.cell[0, 0]
    return orm.StructureData(ase=slab)


def test_builder_settles_it(codes, pseudo_family, tungsten):
    def built(**wannierisation):
        overrides = {"pseudo_family": pseudo_family.label, "wannierisation": wannierisation}
        return WannierModelWorkChain.get_builder_from_protocol(codes, tungsten, overrides=overrides)

    builder = built(kpoints_distance=0.2)
    assert builder.kpoints.get_kpoints_mesh()[0] == [11, 11, 1]
    assert builder.wannier90.metadata.description.startswith("mesh 11x11: 10x10 is without neighbours")
    with pytest.raises(ValueError, match=r"kpoints: 10x10 was given"):
        built(kpoints_mesh=[10, 10])
    assert built(kpoints_mesh=[9, 9]).wannier90.metadata.description == ""


def test_a_cell_to_five_digits_is_set_to_its_lattice(codes, pseudo_family):
    """Nothing is left for the neighbours to settle."""
    slab = film("Co/Pt(111):1+1").get_ase()
    slab.set_cell(ROUNDED, scale_atoms=False)
    overrides = {"pseudo_family": pseudo_family.label, "wannierisation": {"kpoints_mesh": [6, 6]}}
    builder = WannierModelWorkChain.get_builder_from_protocol(codes, orm.StructureData(ase=slab), overrides=overrides)
    assert "kmesh_tol" not in builder.wannier90.parameters.get_dict()
    assert neighbours.refusal(builder.structure, builder.kpoints, {}) is None
    assert any(line.startswith("cell set to its hexagonal lattice") for line in builder.film["decisions"])


def test_ports_refuse_it_too(codes, pseudo_family, tungsten):
    """Inputs made by hand."""
    overrides = {"pseudo_family": pseudo_family.label, "wannierisation": {"kpoints_mesh": [9, 9]}}
    builder = WannierModelWorkChain.get_builder_from_protocol(codes, tungsten, overrides=overrides)
    mesh = orm.KpointsData()
    mesh.set_kpoints_mesh([10, 10, 1])
    builder.kpoints = mesh
    with pytest.raises(
        ValueError, match=r"kpoints: 10x10, a mesh without neighbours for Wannier90 .* give another mesh"
    ):
        engine.run(builder)
    slab = tungsten.get_ase()
    slab.set_cell(ROUNDED, scale_atoms=False)
    builder.structure = orm.StructureData(ase=slab)
    mesh = orm.KpointsData()
    mesh.set_kpoints_mesh([6, 6, 1])
    builder.kpoints = mesh
    with pytest.raises(ValueError, match=r"give kmesh_tol = 1e-05 in wannier90\.parameters"):
        engine.run(builder)


def test_films_by_name_close(aiida_profile):
    """The paper's films and the prototype's at the distances of the protocols: as they are, or it is said."""
    for name in ("Mn/W(001):1+9", "Co/Pt(111):3+10", "Co/Pt(111):1+1", "Mn/W(001):1+3"):
        structure = film(name)
        for distance in (0.44, 0.30, 0.22):
            lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(np.array(structure.cell)).T[:2], axis=1)
            mesh = [*(max(1, int(np.ceil(round(length / distance, 5)))) for length in lengths), 1]
            choice = neighbours.choose(structure.cell, mesh, {}, fixed=False)
            assert choice.mesh == mesh or choice.words
