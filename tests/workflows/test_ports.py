"""What is set in a builder, read back."""

from aiida import orm

from aiida_dmi.workflows.dmi import DmiWorkChain
from aiida_dmi.workflows.ports import inputs_of


def test_inputs_of_a_builder(aiida_profile):
    """Without namespaces in which nothing is, however deep; nodes as they are."""
    builder = DmiWorkChain.get_builder()
    assert "relax" not in inputs_of(builder).get("wannier_model", {})
    parameters = orm.Dict({})
    builder["wannier_model"].scf.pw.parameters = parameters
    builder["metadata"].label = "a film"
    found = inputs_of(builder)
    assert found["wannier_model"]["scf"]["pw"]["parameters"] is parameters
    assert found["metadata"]["label"] == "a film"
    assert "relax" not in found["wannier_model"]
    assert "wannier_model" not in inputs_of(DmiWorkChain.get_builder())
