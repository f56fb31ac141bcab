"""The whole chain through AiiDA with the real programs, smaller than the demo; and its failures."""

import json

import numpy as np
import pytest
import xarray as xr
from aiida import engine, orm
from aiida.manage.caching import enable_caching
from aiida.plugins import WorkflowFactory

from aiida_dmi.report.summary import as_text
from aiida_dmi.structures.bilayer import co_pt111

from .conftest import QUICK

DmiWorkChain = WorkflowFactory("dmi.dmi")

SMALL = {
    "scf": {"parameters": {"SYSTEM": {"ecutwfc": 30.0, "ecutrho": 120.0}}, "kpoints_mesh": [4, 4]},
    "wannierisation": {"kpoints_mesh": [4, 4], "retries": 1},
    "response": {"mesh": 48, "soi_scales": [0.5, 1.0], "fermi_shifts": [-0.5, 0.0, 0.5], "temperatures": [1500.0]},
    "bands": {"random_points": 2},
    # A 4x4 mesh at 30 Ry is no good model: its bands are tens of meV off.
    "quality": {
        "basis": 0.4,
        "bands": 100.0,
        "charge": 0.5,
        "moment": 0.5,
        "symmetry_residual": 0.2,
        "k_error": 0.3,
    },
    "check_spin_orbit": True,
}


def small_builder(codes, family, changes=None):
    """Inputs of the small run; `changes` replace some of the overrides."""
    return DmiWorkChain.get_builder_from_protocol(
        codes, co_pt111(1, 1), overrides={"pseudo_family": family.label, **SMALL, **(changes or {})}
    )


def cached(builder):
    """Run with what earlier runs computed."""
    with enable_caching():
        return engine.run_get_node(builder)[1]


def reports(node):
    """Everything that a process and those it called said."""
    return [log.message for n in (node, *node.called_descendants) for log in orm.Log.collection.get_logs_for(n)]


def pw_jobs(node):
    """The pw.x runs of a workchain."""
    return [n for n in node.called_descendants if n.process_label == "PwCalculation"]


@pytest.fixture(scope="module")
def finished(codes, pseudo_family) -> orm.WorkChainNode:
    """The small run, once."""
    _, node = engine.run_get_node(small_builder(codes, pseudo_family))
    return node


def test_from_slab_to_tensors(finished):
    assert finished.is_finished_ok, finished.exit_message
    result = finished.outputs.response.dataset
    assert result.D.dims == ("direction", "mask", "soi_scale", "temperature", "fermi_shift", "i", "j")
    assert result.D.attrs["units"] == "meV angstrom"
    point = result.sel(soi_scale=1.0, fermi_shift=0.0).squeeze()
    # C_3v: D_xy = -D_yx, D_xx = 0; a 4x4 ab-initio mesh breaks the symmetry of the functions by 16 %.
    d_yx = point.D.sel(i="y", j="x").item()
    assert abs(d_yx) > 1
    assert point.D.sel(i="x", j="y").item() == pytest.approx(-d_yx, rel=0.25)
    assert abs(point.D.sel(i="x", j="x").item()) < 0.02 * abs(d_yx)
    assert (point.D.sel(i="z") == 0).all()
    np.testing.assert_allclose(point.Q_1, -(point.a_I + point.a_II))


def test_headline_values(finished):
    summary = finished.outputs.output_parameters.get_dict()
    result = finished.outputs.response.dataset.sel(soi_scale=1.0, fermi_shift=0.0, i="y", j="x").squeeze()
    value = summary["values"]["D_yx"]
    assert value["meV_angstrom"] == pytest.approx(result.D.item(), rel=1e-12)
    assert value["meV_angstrom_error"] == pytest.approx(result.D_error.item(), rel=1e-12)
    assert value["mJ_per_m2"] == pytest.approx(value["pJ_per_m"] * 10 / 2.0432130552)
    assert 1.5 < summary["total_magnetization_bohr"] < 3.5
    assert summary["closure"] == pytest.approx(result.closure.item(), rel=1e-12)


def test_provenance_shows_every_step(finished):
    """From the number back to the slab."""
    steps = [node.process_label for node in finished.called_descendants]
    for label, count in {
        "scalar_relativistic_average": 2,
        "planned_projections": 1,
        "PwCalculation": 4,
        "Wannier90Calculation": 3,
        "OverlapsCalculation": 2,
        "WannierModelCalculation": 1,
        "assess_model": 1,
        "DmiCalculation": 1,
        "assess_response": 1,
        "headline": 1,
    }.items():
        assert steps.count(label) == count, (label, steps)
    query = orm.QueryBuilder().append(orm.Dict, filters={"uuid": finished.outputs.output_parameters.uuid}, tag="number")
    query.append(orm.StructureData, with_descendants="number", project="uuid")
    assert query.distinct().all(flat=True) == [finished.inputs.structure.uuid]


def test_reports_in_plain_words(finished):
    said = "\n".join(reports(finished))
    for words in (
        "scf: PwBaseWorkChain",
        "44 bands on 4 of 16 k points, the others by time reversal and 3 operations of the film",
        "Wannier functions, try 1 of 2 at most: mesh 4x4, bands_per_function 1.75, frozen_window 2.0",
        "trial_functions atomic",
        "frozen window: up to 2.00 eV above the Fermi energy",
        "quality gate: passed",
    ):
        assert words in said
    # The window reaches what was asked for: 1.9999999999999996 is no cut.
    assert "were asked for" not in said


def test_quality_is_in_the_outputs(finished):
    quality = finished.outputs.quality.get_dict()
    assert quality["warnings"] == []
    numbers = quality["model"]
    # 30 Ry, of what SG15's Co needs.
    reference = finished.inputs.wannier_model.cutoffs["reference"]
    assert numbers["basis"]["value"] == pytest.approx(30 / reference, abs=1e-4)
    assert 5 < numbers["bands"]["value"] < 100
    assert numbers["bands"]["unit"] == "meV"
    assert 5 < numbers["spin_orbit_bands"]["value"] < 100
    assert 0.99 < numbers["spin_overlap"]["value"] <= 1
    assert numbers["time_reversal"]["value"] < 1e-4
    assert 1.5 < numbers["minimum_moment"]["value"] < 3.5
    assert quality["response"]["closure"]["value"] == pytest.approx(finished.outputs.output_parameters["closure"])


def test_model_node(finished):
    model = finished.outputs.model
    assert model.base.attributes.get("symbols") == ["Pt", "Co"]
    assert model.base.attributes.get("mesh") == [4, 4, 1]
    assert model.base.attributes.get("electrons") == 19
    assert model.base.attributes.get("time_reversal_error") < 1e-3
    loaded = model.load()
    # The scf's Fermi energy, not the nscf's.
    assert loaded.fermi_energy == pytest.approx(finished.outputs.scf_parameters["fermi_energy"])
    # Of the 4x4 mesh the rest is made by the film's operations, which stand in the inputs of the jobs and in the file.
    assert model.base.attributes.get("nscf_kpoints") == 4
    operations = model.creator.inputs.symmetry["operations"]
    assert json.loads(loaded.attributes["nscf_operations"]) == operations[1:]
    assert loaded.attributes["nscf_symmetry_residual"] < 1e-4


def test_from_a_finished_model_no_dft_is_run(finished, codes):
    builder = DmiWorkChain.get_builder()
    builder.model = finished.outputs.model
    builder.response.dmi.code = codes["engine"]
    builder.response.dmi.parameters = finished.inputs.response.dmi.parameters
    results, node = engine.run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    assert [n.process_label for n in node.called_descendants if isinstance(n, orm.CalcJobNode)] == ["DmiCalculation"]
    np.testing.assert_array_equal(results["response"].dataset.D, finished.outputs.response.dataset.D)


def test_what_the_functions_leave_out_is_put_back(finished, codes, pseudo_family):
    """D(1) in plane waves takes the place of the model's; D and Q change by the difference, D by xi times it."""
    node = cached(small_builder(codes, pseudo_family, {"completeness": {"kpoints_mesh": [4, 4]}}))
    assert node.is_finished_ok, node.exit_message
    before, after = (run.outputs.response.dataset for run in (finished, node))
    # One mesh, one nscf: the Wannier functions' states serve both.
    assert len(pw_jobs(node)) == len(pw_jobs(finished))
    exact = node.outputs.completeness.dataset
    assert list(exact["mask"].values) == ["all", "Pt.1", "Co.1"]
    exact = exact.sel(mask=["all"])
    missing = (exact.D_1 - exact.D_1_wannier).sel(i=["x", "y"])
    assert 0.01 < float(abs(missing).max() / abs(exact.D_1).max())
    assert exact.attrs["irreducible_points"] == 4
    for name, factor in (("D_1", 1.0), ("D", after.soi_scale), ("Q", -after.soi_scale)):
        change = (after[name] - before[name]).sel(i=["x", "y"])
        np.testing.assert_allclose(*xr.broadcast(change, factor * missing), atol=1e-9)
        np.testing.assert_array_equal(after[f"{name}_wannier"], before[name])
    np.testing.assert_allclose(after.a_I + after.a_II, after.D_1, atol=1e-9)
    summary, gate = node.outputs.output_parameters, node.outputs.quality["response"]
    point = after.sel(soi_scale=1.0, fermi_shift=0.0, i="y", j="x").squeeze()
    assert summary["values"]["D_yx"]["meV_angstrom"] == pytest.approx(float(point.D))
    assert summary["completeness"] == pytest.approx(float(point.completeness))
    shown = as_text(node)
    assert "of D(1); put back from plane waves, mesh 4x4" in shown
    assert "Wannier functions alone" in shown
    before_yx = summary["values_wannier"]["D_yx"]["meV_angstrom"]
    assert before_yx == pytest.approx(float(point.D_wannier))
    assert gate["completeness"]["value"] == pytest.approx(float(point.completeness))
    # The gate judges the response's mesh; the number carries the error of what was put back as well.
    assert gate["k_error"]["value"] < 0.3 * abs(float(point.D_error / point.D))


def test_a_wide_window_is_cut_to_what_the_bands_allow(finished, codes, pseudo_family):
    """40 eV would hold more states than functions: the window ends where the bands end."""
    assert finished.is_finished_ok
    wide = {"wannierisation": {**SMALL["wannierisation"], "frozen_window": 40.0, "retries": 0}}
    # What comes after the window is another test's.
    wide |= {"quality": {**SMALL["quality"], "bands": 1.0}, "check_spin_orbit": False}
    node = cached(small_builder(codes, pseudo_family, wide))
    assert "DmiCalculation" not in [n.process_label for n in node.called_descendants]
    assert any("40 eV were asked for: above it there are more states than functions" in line for line in reports(node))
    window = next(n for n in node.called_descendants if n.process_label == "wannier90_parameters").outputs.result
    bands = next(
        job.outputs.output_band.get_bands()
        for job in pw_jobs(node)
        if job.inputs.parameters["CONTROL"]["calculation"] == "nscf"
        and job.inputs.parameters["SYSTEM"].get("nspin") == 2
    )
    frozen = (bands[..., 8:] <= window["dis_froz_max"]).sum(axis=-1)
    assert frozen.max() == 18


def test_a_denser_mesh_then_the_gate_names_quantity_value_and_remedy(finished, codes, pseudo_family):
    """Bands to 1 meV cannot be had at 30 Ry: they are right on the mesh, so a denser one; then it says what failed."""
    assert finished.is_finished_ok
    strict = {"quality": {**SMALL["quality"], "bands": 1.0}}
    node = cached(small_builder(codes, pseudo_family, strict))
    assert node.exit_status == 401
    child = next(n for n in node.called if n.process_label == "WannierModelWorkChain")
    assert child.exit_status == 430
    assert "bands = " in child.exit_message
    assert "expected at most 1; try more bands" in child.exit_message
    assert node.outputs.quality["model"]["bands"]["passed"] is False
    assert any("meV at its points; next: mesh 8x8 in place of 4x4" in line for line in reports(node))
    assert any("try 2 of 2 at most: mesh 8x8" in line for line in reports(node))
    choices = [n for n in node.called_descendants if n.process_label == "next_choice"]
    assert len(choices) == 1
    assert "quality" in choices[0].inputs
    steps = [n.process_label for n in node.called_descendants]
    assert steps.count("WannierFunctionsWorkChain") == 2
    assert steps.count("PwCalculation") == 5
    assert "DmiCalculation" not in steps


def test_force_goes_on_with_a_warning(finished, codes, pseudo_family):
    assert finished.is_finished_ok
    strict = {"quality": {**SMALL["quality"], "bands": 1.0, "closure": 1e-6}, "force": True}
    node = cached(small_builder(codes, pseudo_family, strict))
    assert node.is_finished_ok, node.exit_message
    warnings = node.outputs.quality["warnings"]
    assert [line.partition(" = ")[0] for line in warnings] == ["bands", "closure"]
    assert any("goes on by force" in line for line in reports(node))


def test_response_that_fails_its_gate_is_kept(finished, codes):
    builder = DmiWorkChain.get_builder_from_model(
        codes["engine"],
        finished.outputs.model,
        overrides={"response": SMALL["response"], "quality": {"closure": 1e-6, "k_error": 0.3}},
    )
    node = cached(builder)
    assert node.exit_status == 430
    assert "quality gate of the response: closure = " in node.exit_message
    assert "expected at most 1e-06; try a denser response mesh" in node.exit_message
    np.testing.assert_array_equal(node.outputs.response.dataset.D, finished.outputs.response.dataset.D)


def test_pw2wannier90_gives_the_same(quick_builder):
    """The other way to the overlaps, which has hydrogenic functions only: D to 1 %, on however coarse a mesh."""
    hydrogenic = {"wannierisation": {**QUICK["wannierisation"], "trial_functions": "hydrogenic"}}
    changes = (hydrogenic, {"overlaps": "pw2wannier90"})
    by_engine, node = (cached(quick_builder(change)) for change in changes)
    for one in (by_engine, node):
        assert one.is_finished_ok, one.exit_message
    steps = [n.process_label for n in node.called_descendants]
    assert steps.count("Pw2wannier90Calculation") == 2
    assert "OverlapsCalculation" not in steps
    ours, theirs = (n.outputs.response.dataset.D.values for n in (by_engine, node))
    assert np.abs(ours - theirs).max() < 0.01 * np.abs(theirs).max()


def test_starts_from_a_finished_scf(finished, codes, pseudo_family):
    scf = next(n for n in pw_jobs(finished) if n.inputs.parameters["CONTROL"]["calculation"] == "scf")
    builder = small_builder(codes, pseudo_family)
    builder.wannier_model.parent_folder = scf.outputs.remote_folder
    node = cached(builder)
    assert node.is_finished_ok, node.exit_message
    kinds = [job.inputs.parameters["CONTROL"]["calculation"] for job in pw_jobs(node)]
    assert sorted(kinds) == ["bands", "nscf", "nscf"]
    builder.structure = co_pt111(1, 2)
    with pytest.raises(ValueError, match="parent_folder: the scf of StructureData"):
        engine.run(builder)


def test_masks_by_name_run_only_the_response(finished, codes):
    builder = DmiWorkChain.get_builder_from_model(
        codes["engine"],
        finished.outputs.model,
        overrides={
            "response": {**SMALL["response"], "soi_masks": {"magnet": ["Co"], "interface": ["Co", "Pt.1"]}},
            "quality": {"symmetry_residual": None, "closure": None, "k_error": None},
        },
    )
    assert builder.response.dmi.parameters["soi_masks"] == {"magnet": [0.0, 1.0], "interface": [1.0, 1.0]}
    node = cached(builder)
    assert node.is_finished_ok, node.exit_message
    result = node.outputs.response.dataset
    np.testing.assert_allclose(result.D.sel(mask="interface"), finished.outputs.response.dataset.D.sel(mask="all"))
    assert [n.process_label for n in node.called_descendants if isinstance(n, orm.CalcJobNode)] == ["DmiCalculation"]
    with pytest.raises(ValueError, match="'Ir' is no part of this film; it has elements Co, Pt"):
        DmiWorkChain.get_builder_from_model(
            codes["engine"], finished.outputs.model, overrides={"response": {"soi_masks": {"x": ["Ir"]}}}
        )


def test_model_of_another_structure_is_refused(finished, codes):
    builder = DmiWorkChain.get_builder_from_model(codes["engine"], finished.outputs.model)
    builder.structure = co_pt111(1, 2)
    with pytest.raises(ValueError, match="model: of Pt Co, the structure has Pt Pt Co"):
        engine.run(builder)
    moved = finished.inputs.structure.get_ase()
    moved.positions[1, 2] += 0.1
    builder.structure = orm.StructureData(ase=moved)
    with pytest.raises(ValueError, match=r"model: of another structure \(positions differ by 0\.100"):
        engine.run(builder)


def test_failing_scf_names_the_step(codes, pseudo_family):
    """One iteration is not enough to converge."""
    changes = {
        "scf": {"parameters": {"SYSTEM": {"ecutwfc": 15.0, "ecutrho": 60.0}, "ELECTRONS": {"electron_maxstep": 1}}}
    }
    changes["scf"]["kpoints_mesh"] = [1, 1]
    builder = small_builder(codes, pseudo_family, changes)
    builder.wannier_model.scf.max_iterations = orm.Int(1)
    _, node = engine.run_get_node(builder)
    assert node.exit_status == 401
    assert "step scf: pw.x failed" in node.exit_message


def test_model_job_refuses_an_incomplete_nscf(finished, codes, tmp_path):
    """A nscf folder without wave functions: the engine's one line reaches the exit message."""
    model = next(n for n in finished.called_descendants if n.process_label == "WannierModelCalculation")
    builder = model.get_builder_restart()
    (tmp_path / "out" / "aiida.save").mkdir(parents=True)
    builder.nscf = orm.RemoteData(computer=codes["engine"].computer, remote_path=str(tmp_path))
    _, node = engine.run_get_node(builder)
    assert node.exit_status == 320
    assert "data-file-schema.xml cannot be read" in node.exit_message
