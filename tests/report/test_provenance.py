"""The provenance by stages."""

from __future__ import annotations

from dataclasses import replace

import pytest
from aiida import orm
from aiida.common.links import LinkType

from aiida_dmi.data.response import DmiData
from aiida_dmi.engine import save_result
from aiida_dmi.plots.gallery import FIGURES, Case, draw, possible
from aiida_dmi.plots.provenance import plot_provenance, stages


def call(caller, node, label, link=LinkType.CALL_WORK):
    node.base.links.add_incoming(caller, link, label)
    node.store()
    node.set_process_state("finished")
    node.set_exit_status(0)
    return node


@pytest.fixture
def chain(aiida_profile, computer) -> orm.WorkChainNode:
    """Structure -> scf -> function -> wannier (fails), wannier (second try) -> output, by way of nested workchains."""
    structure = orm.StructureData(cell=[[2, 0, 0], [0, 2, 0], [0, 0, 9]])
    structure.append_atom(position=(0, 0, 0), symbols="Co")
    structure.store()
    top = orm.WorkChainNode()
    top.set_process_label("DmiWorkChain")
    top.base.links.add_incoming(structure, LinkType.INPUT_WORK, "structure")
    top.store()
    scf = orm.WorkChainNode()
    scf.set_process_label("PwBaseWorkChain")
    scf.base.links.add_incoming(structure, LinkType.INPUT_WORK, "pw__structure")
    call(top, scf, "scf")
    job = orm.CalcJobNode(computer=computer)
    job.set_process_label("PwCalculation")
    job.base.links.add_incoming(structure, LinkType.INPUT_CALC, "structure")
    call(scf, job, "iteration_01", LinkType.CALL_CALC)
    energy = orm.Dict({"fermi_energy": 1.0})
    energy.base.links.add_incoming(job, LinkType.CREATE, "output_parameters")
    energy.store()
    for number, status in ((1, 300), (2, 0)):
        tried = orm.WorkChainNode()
        tried.set_process_label("WannierFunctionsWorkChain")
        call(top, tried, f"iteration_{number:02d}")
        function = orm.CalcFunctionNode()
        function.set_process_label("wannier90_parameters")
        function.base.links.add_incoming(energy, LinkType.INPUT_CALC, "scf_parameters")
        call(tried, function, "CALL", LinkType.CALL_CALC)
        parameters = orm.Dict({"number": number})
        parameters.base.links.add_incoming(function, LinkType.CREATE, "result")
        parameters.store()
        wannier = orm.CalcJobNode(computer=computer)
        wannier.set_process_label("Wannier90Calculation")
        wannier.base.links.add_incoming(parameters, LinkType.INPUT_CALC, "parameters")
        call(tried, wannier, "wannier90_up", LinkType.CALL_CALC)
        wannier.set_exit_status(status)
    return top


def test_stages_are_steps_and_what_they_were_made_from(chain):
    found = stages(chain)
    names = {stage.pk: stage.name for stage in found}
    assert [stage.name for stage in found] == ["structure", "scf", "wannier90 up (try 1)", "wannier90 up (try 2)"]
    made_from = {stage.name: sorted(names[pk] for pk in stage.depends) for stage in found}
    # Through the calculation function, which is no stage.
    assert made_from == {
        "structure": [],
        "scf": ["structure"],
        "wannier90 up (try 1)": ["scf"],
        "wannier90 up (try 2)": ["scf"],
    }
    assert [stage.kind for stage in found] == ["data", "ok", "failed", "ok"]
    assert "exit 300" in found[2].detail


def test_picture_writes_the_stages(chain):
    plot = plot_provenance(chain)
    assert plot.table.columns["stage"] == ["structure", "scf", "wannier90 up (try 1)", "wannier90 up (try 2)"]
    texts = [text.get_text() for text in plot.axes[0].texts]
    assert "scf" in texts
    assert "wannier90 up (try 2)" in texts


def test_a_real_run_from_a_model(finished):
    found = {stage.name: stage for stage in stages(finished)}
    assert list(found) == ["Wannier model", "response", "D, Q, a(I), a(II)"]
    assert found["response"].depends == {found["Wannier model"].pk}
    assert found["D, Q, a(I), a(II)"].depends == {found["response"].pk}


def test_figures_that_are_possible_are_drawn(finished):
    case = Case.of(finished, mesh=4)
    names = possible(case)
    assert names == ["spin-orbit", "fermi-level", "masked", "k-map", "bands", "layers", "provenance"]
    for name in names:
        plot = draw(name, case)
        assert plot.caption
        assert plot.table.columns
        assert plot.table.notes


def test_masked_is_computed_where_the_result_has_one_mask(finished, tmp_path):
    case = Case.of(finished, mesh=4)
    save_result(case.result.isel(mask=[0]), tmp_path / "result.nc")
    case = replace(case, response=DmiData(tmp_path / "result.nc"))
    columns = draw("masked", case).table.columns
    # Of one layer each the interface is the whole film: the substrate's spin-orbit interaction is told.
    assert "a_I_yx, mask substrate (meV angstrom per cell)" in columns


def test_every_figure_says_what_it_lacks(aiida_profile):
    from aiida_dmi.engine.errors import InputError

    empty = Case("nothing")
    assert possible(empty) == []
    for name in FIGURES:
        with pytest.raises(InputError, match="nothing: "):
            draw(name, empty)
    with pytest.raises(InputError, match="figure: 'pie' was given, expected one of spin-orbit"):
        draw("pie", empty)
