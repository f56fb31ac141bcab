"""Relaxation before the scf: the bottom layer stays, the relaxed film is what all later steps see."""

import numpy as np
import pytest
from aiida import engine, orm

from aiida_dmi.structures.runs import film_of_run

from .conftest import jobs_of, said

# So loose that two steps will do: what is tested is who sees the film that comes out.
LOOSE = {
    "scf": {
        "parameters": {
            "SYSTEM": {"ecutwfc": 22.0, "ecutrho": 88.0, "degauss": 0.04},
            "ELECTRONS": {"conv_thr": 1e-5},
        },
        "kpoints_mesh": [3, 3],
    },
    "relax": {
        "fixed": ["Pt.1"],
        "parameters": {
            "CONTROL": {"forc_conv_thr": 0.03, "etot_conv_thr": 0.1, "nstep": 20},
            "ELECTRONS": {"conv_thr": 1e-5},
        },
    },
}


@pytest.fixture(scope="module")
def relaxed(quick_builder):
    """Through the whole chain, at a cutoff that is good for nothing else."""
    _, node = engine.run_get_node(quick_builder(LOOSE))
    return node


def test_bottom_layer_stays_and_the_magnet_moves(relaxed):
    assert relaxed.is_finished_ok, relaxed.exit_message
    before, after = relaxed.inputs.structure, relaxed.outputs.structure
    assert [site.kind_name for site in after.sites] == ["Pt", "Co"] == [site.kind_name for site in before.sites]
    moved = np.array([a.position for a in after.sites]) - np.array([b.position for b in before.sites])
    np.testing.assert_allclose(moved[0], 0, atol=1e-6)
    # Towards the substrate, by a sensible way.
    assert -0.5 < moved[1, 2] < -0.01
    np.testing.assert_allclose(moved[1, :2], 0, atol=1e-3)
    np.testing.assert_allclose(after.cell, before.cell)
    assert tuple(after.pbc) == (True, True, False)
    assert "relax: PwRelaxWorkChain" in said(relaxed)
    # Its runs of pw.x have the handlers of every other step.
    steps = {n.process_type for n in relaxed.called_descendants if n.process_label == "PwBaseWorkChain"}
    assert steps == {"aiida.workflows:dmi.pw_base"}


def test_t_follows_the_relaxed_film(relaxed):
    """mJ/m^2 are those of the film that was computed, in the run as in its report."""
    heights = [site.position[2] for site in relaxed.outputs.structure.sites]
    t = heights[1] - heights[0]
    assert relaxed.inputs.film["thickness_angstrom"] == pytest.approx(2.0432130552)
    assert t < 2.03
    assert relaxed.outputs.film["thickness_angstrom"] == pytest.approx(t)
    assert relaxed.outputs.output_parameters["thickness_angstrom"] == pytest.approx(t)
    assert film_of_run(relaxed).thickness == pytest.approx(t)
    values = relaxed.outputs.output_parameters["values"]["D_yx"]
    assert values["mJ_per_m2"] == pytest.approx(values["pJ_per_m"] / t * 10, rel=1e-6)


def test_every_later_step_sees_the_relaxed_film(relaxed):
    runs = {job.inputs.parameters["CONTROL"]["calculation"]: job for job in jobs_of(relaxed, "PwCalculation")}
    assert runs["relax"].inputs.settings["FIXED_COORDS"] == [[True] * 3, [False] * 3]
    after = relaxed.outputs.structure
    for calculation in ("scf", "nscf", "bands"):
        assert runs[calculation].inputs.structure.uuid == after.uuid
    np.testing.assert_allclose(
        relaxed.outputs.model.load().positions, [site.position for site in after.sites], atol=1e-6
    )


def test_thickness_is_the_relaxed_films(relaxed):
    """t, which turns D into mJ/m^2, is that of the atoms that were computed."""
    heights = [site.position[2] for site in relaxed.outputs.structure.sites]
    film, numbers = relaxed.outputs.film, relaxed.outputs.output_parameters
    assert film["thickness_angstrom"] == pytest.approx(heights[1] - heights[0], abs=1e-9)
    assert film["thickness_angstrom"] < relaxed.inputs.film["thickness_angstrom"] - 0.01
    assert numbers["thickness_angstrom"] == film["thickness_angstrom"]
    assert film.creator.process_label == "relaxed_film"
    assert film["layer"] == relaxed.inputs.film["layer"] == ["Pt.1", "Co.1"]


def test_relaxation_of_another_density_is_refused(relaxed, quick_builder):
    scf = next(
        job for job in jobs_of(relaxed, "PwCalculation") if job.inputs.parameters["CONTROL"]["calculation"] == "scf"
    )
    builder = quick_builder(LOOSE)
    builder.wannier_model.parent_folder = scf.outputs.remote_folder
    with pytest.raises(ValueError, match="parent_folder: given with relax; the density of another geometry"):
        engine.run(builder)


def test_atoms_that_are_not_there_cannot_be_fixed(quick_builder):
    with pytest.raises(ValueError, match=r"Pt\.2"):
        quick_builder({**LOOSE, "relax": {"fixed": ["Pt.2"]}})


def test_relaxation_that_fails_names_the_step(quick_builder):
    """One scf iteration is not enough: nothing is run on a film that was not relaxed."""
    builder = quick_builder(LOOSE)
    parameters = builder.wannier_model.relax.base_relax.pw.parameters.get_dict()
    parameters["ELECTRONS"]["electron_maxstep"] = 1
    builder.wannier_model.relax.base_relax.pw.parameters = orm.Dict(parameters)
    builder.wannier_model.relax.base_relax.max_iterations = orm.Int(1)
    _, node = engine.run_get_node(builder)
    assert node.exit_status == 401
    assert "step relax: pw.x failed" in node.exit_message
    assert {job.inputs.parameters["CONTROL"]["calculation"] for job in jobs_of(node)} == {"relax"}
