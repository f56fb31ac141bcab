"""`DmiScreeningWorkChain`: a bounded set in one provenance tree, on an existing model."""

import pytest
from aiida import engine, orm
from aiida.plugins import WorkflowFactory

from aiida_dmi.screening.candidates import expand
from aiida_dmi.screening.spec import parse_spec

DmiScreeningWorkChain = WorkflowFactory("dmi.screening")


def builder_of(spec, codes, **inputs):
    builder = DmiScreeningWorkChain.get_builder()
    builder.spec = orm.Dict(spec)
    builder.codes = dict(codes)
    for name, value in inputs.items():
        builder[name] = value
    return builder


def test_one_tree_with_what_failed(model_node, codes, pseudo_family):
    model_node.store()
    spec = {
        "systems": [{"film": "Ni/Pt(111):1+1"}, {"model": model_node.uuid}],
        "overrides": {
            "pseudo_family": pseudo_family.label,
            "response": {"mesh": 8, "soi_scales": [1.0], "temperatures": [1500.0]},
            "quality": {"closure": None, "k_error": None, "symmetry_residual": None},
        },
        "shifts": [0.0],
    }
    _, node = engine.run_get_node(builder_of(spec, codes, max_active=orm.Int(1)))
    assert node.is_finished_ok, node.exit_message
    refused, good = node.outputs.table["rows"]
    assert (refused["state"], good["state"]) == ("refused", "finished")
    assert "lacks an element" in refused["message"]
    assert good["candidate"] == expand(parse_spec({"name": "x", **spec}))[1].key
    response = node.outputs.responses.c001
    point = response.dataset.D.sel(i="y", j="x").squeeze()
    assert good["D_yx_meV_angstrom"] == pytest.approx(point.item())
    assert {child.process_label for child in node.called} == {"build_bilayer", "DmiWorkChain", "screening_table"}
    # The table rests on the numbers themselves.
    query = orm.QueryBuilder().append(orm.Dict, filters={"id": node.outputs.table.pk}, tag="table")
    query.append(orm.Node, with_descendants="table", filters={"id": response.pk})
    assert query.count() == 1


def test_bad_specs_are_refused_before_anything_runs(codes, aiida_profile):
    with pytest.raises(ValueError, match="spec: sistems: unknown"):
        engine.run(builder_of({"sistems": []}, codes))
    with pytest.raises(ValueError, match="spec: film: Xx is not in the table"):
        engine.run(builder_of({"systems": [{"film": "Co/Xx(111):1+1"}]}, codes))
    spec = {"systems": [{"film": "Co/Pt(111):1+1"}]}
    with pytest.raises(ValueError, match="max_active: 0 given"):
        engine.run(builder_of(spec, codes, max_active=orm.Int(0)))
