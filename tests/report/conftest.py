"""A finished run in the database: a real response from a real model, and the inputs of a whole chain."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from aiida import engine, orm
from aiida.common.links import LinkType

from aiida_dmi.data.model import WannierModelData
from aiida_dmi.structures.bilayer import film
from aiida_dmi.workflows.dmi import DmiWorkChain

PARAMETERS = {
    "mesh": 6,
    "soi_scales": [0.5, 1.0],
    "fermi_shifts": [-0.4, 0.0, 0.4],
    "temperatures": [1500.0],
    "soi_masks": {"all": ["all"], "Co": ["Co"]},
}


@pytest.fixture(scope="session")
def finished(aiida_profile, codes, model_file) -> orm.WorkChainNode:
    """A DmiWorkChain that really ran, from the model of Co/Pt(111) 1+1."""
    builder = DmiWorkChain.get_builder_from_model(
        codes["engine"], WannierModelData(model_file.absolute()), overrides={"response": PARAMETERS, "force": True}
    )
    builder.thickness = orm.Float(2.0)
    builder.metadata.label = "Co/Pt test"
    _, node = engine.run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    return node


@pytest.fixture
def stored_inputs(aiida_profile, codes, pseudo_family):
    """A DmiWorkChain node with the inputs of a builder, not run; of an early version, nothing is recorded of them."""

    def make(recorded=False, **options) -> orm.WorkChainNode:
        structure = options.pop("structure", None) or film("Co/Pt(111):1+1")
        overrides = {"pseudo_family": pseudo_family.label, **options.pop("overrides", {})}
        builder = DmiWorkChain.get_builder_from_protocol(codes, structure, overrides=overrides, **options)
        node = orm.WorkChainNode(process_type="aiida.workflows:dmi.dmi")
        node.set_process_label("DmiWorkChain")
        if recorded:
            node.set_metadata_inputs({"origin": builder.origin})
        for label, datum in _flat(builder).items():
            node.base.links.add_incoming(datum.store(), LinkType.INPUT_WORK, label)
        return node.store()

    return make


def _flat(inputs: Mapping, path: str = "") -> dict[str, orm.Data]:
    """Ports and nodes; options of jobs are no nodes."""
    found = {}
    for key, value in inputs.items():
        if isinstance(value, orm.Data):
            found[f"{path}{key}"] = value
        elif isinstance(value, Mapping) and key != "metadata":
            found |= _flat(value, f"{path}{key}__")
    return found
