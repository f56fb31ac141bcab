"""Inputs of `dmi.completeness` by protocol, beside those of the model and the response that it belongs to."""

from __future__ import annotations

from typing import Any

from aiida import orm

from aiida_dmi.engine.integrate.settings import AUTOMATIC, SYMMETRISED
from aiida_dmi.workflows import scheduling
from aiida_dmi.workflows.layout import size_of
from aiida_dmi.workflows.model_inputs import symmetric_mesh_of
from aiida_dmi.workflows.ports import Ports

SAME = ("soi_masks", "temperatures", "fermi_shifts")
"""Arguments of the response that the comparison has to hold."""


def completeness_ports(
    codes: dict[str, orm.AbstractCode],
    structure: orm.StructureData,
    model: Any,
    response: Ports,
    inputs: dict[str, Any],
) -> Ports:
    """Inputs of `CompletenessWorkChain`, but for what the model's workchain gives.

    Parameters
    ----------
    codes : dict
        With `pp`.
    structure : StructureData
    model, response : Ports
        Of `WannierModelWorkChain` and `DmiBaseWorkChain`: of the same film and run.
    inputs : dict
        From `load_protocol`.
    """
    ports = Ports()
    ports.kpoints = symmetric_mesh_of(structure, inputs["completeness"])
    nscf = model.nscf.pw
    parameters = nscf.parameters.get_dict()
    parameters["SYSTEM"] |= {"nbnd": size_of(structure, model).nscf_bands}
    ports.nscf.pw.code = nscf.code
    ports.nscf.pw.parameters = orm.Dict(parameters)
    ports.nscf.pw.metadata.options = nscf.metadata.options
    ports.nscf.pw.parallelization = nscf.parallelization
    ports.potential.code = codes["pp"]
    ports.potential.metadata.options = {**scheduling.serial(None), **scheduling.one_thread()}
    asked = response.dmi.parameters.get_dict()
    level = "dft" if asked.get("fermi_level") == "dft" else "neutral"
    job = ports.completeness
    job.code = codes["engine"]
    parameters = {**{key: asked[key] for key in SAME if key in asked}, "fermi_level": level}
    if asked.get("symmetry") in (SYMMETRISED, AUTOMATIC):
        # What is compared has to be the model that is summed.
        parameters["symmetry"] = asked["symmetry"]
    job.parameters = orm.Dict(parameters)
    job.metadata.options = dict(response.dmi.metadata.options)
    return ports
