"""Inputs of `dmi.completeness` by protocol, beside those of the model and the response that it belongs to."""

from __future__ import annotations

import copy
from typing import Any

from aiida import orm

from aiida_dmi.aiida_types import computer_of
from aiida_dmi.engine.integrate.settings import AUTOMATIC, SYMMETRISED
from aiida_dmi.structures.film import Film
from aiida_dmi.structures.slab import CheckedFilm
from aiida_dmi.workflows import scheduling
from aiida_dmi.workflows.codes import check_codes, needed
from aiida_dmi.workflows.estimate import FilmSize
from aiida_dmi.workflows.layout import Resources, asked_memory, completeness_layout, memory_of, size_of
from aiida_dmi.workflows.model_inputs import symmetric_mesh_of
from aiida_dmi.workflows.ports import Ports

SAME = ("soi_masks", "temperatures", "fermi_shifts")
"""Arguments of the response that the comparison has to hold."""


def completeness_ports(
    codes: dict[str, orm.AbstractCode],
    checked: CheckedFilm,
    model: Any,
    response: Ports,
    inputs: dict[str, Any],
    options: dict[str, Any] | None,
) -> Ports:
    """Inputs of `CompletenessWorkChain`, but for what the model's workchain gives.

    Parameters
    ----------
    codes : dict
        With `pp`.
    checked : CheckedFilm
    model, response : Ports
        Of `WannierModelWorkChain` and `DmiBaseWorkChain`: of the same film and run.
    inputs : dict
        From `load_protocol`.
    options : dict or None
        `metadata.options` of the parallel programs.

    Raises
    ------
    ValueError
        If there is no pp.x.
    """
    structure, film = checked
    ports = Ports()
    check_codes(codes, needed(inputs))
    # Its error is the change from the mesh of half as many points.
    ports.kpoints = symmetric_mesh_of(structure, inputs["completeness"], even=True)
    nscf = model.nscf.pw
    # A copy: the number of bands of the Wannier functions' own nscf follows from each try.
    parameters = copy.deepcopy(nscf.parameters.get_dict())
    parameters["SYSTEM"]["nbnd"] = size_of(structure, model).nscf_bands
    ports.nscf.pw.code = nscf.code
    ports.nscf.pw.parameters = orm.Dict(parameters)
    ports.nscf.pw.metadata.options = nscf.metadata.options
    ports.nscf.pw.parallelization = nscf.parallelization
    ports.potential.code = codes["pp"]
    ports.potential.metadata.options = {**scheduling.serial(options), **scheduling.one_thread()}
    asked = response.dmi.parameters.get_dict()
    level = "dft" if asked.get("fermi_level") == "dft" else "neutral"
    job = ports.completeness
    job.code = codes["engine"]
    parameters = {**{key: asked[key] for key in SAME if key in asked}, "fermi_level": level}
    parameters["soi_masks"] = _with_layers(asked.get("soi_masks"), film)
    if asked.get("symmetry") in (SYMMETRISED, AUTOMATIC):
        # What is compared has to be the model that is summed.
        parameters["symmetry"] = asked["symmetry"]
    job.parameters = orm.Dict(parameters)
    _lay_out(job, size_of(structure, model, ports.kpoints), options)
    return ports


def _with_layers(masks: dict[str, list[float]] | None, film: Film) -> dict[str, list[float]]:
    """The response's masks, and one for every layer, which costs nothing: where in the film the missing part arises."""
    found = dict(masks or {"all": [1.0] * len(film.names)})
    for layer in dict.fromkeys(film.names):
        weights = [float(name == layer) for name in film.names]
        if weights not in found.values():
            found[layer if layer not in found else f"layer {layer}"] = weights
    return found


def _lay_out(job: Ports, size: FilmSize, options: dict[str, Any] | None) -> None:
    """Processes and memory, with the reason as the job's description."""
    computer = computer_of(job.code)
    ranks, given = scheduling.processors(job.code, options), scheduling.ranks_given(options)
    processors = Resources(1, ranks, memory_of(computer), given=given)
    layout = completeness_layout(size, processors)
    # One task with a processor for every worker, as for the response.
    resources = {"num_machines": 1, "num_mpiprocs_per_machine": 1, "num_cores_per_mpiproc": layout.parts}
    job.metadata.options = {
        **asked_memory(layout, processors, layout.parts, computer.scheduler_type),
        **scheduling.serial(options),
        **scheduling.one_thread(),
        "resources": resources,
        "processes": layout.parts,
    }
    job.metadata.description = layout.words


def serves_both(model: Any, kpoints: orm.KpointsData) -> bool:
    """Whether the nscf run of a model's Wannier functions has the states that a comparison on a mesh wants.

    Its bands may still end too low: the workchain looks at them.

    Parameters
    ----------
    model : mapping
        Inputs of `WannierModelWorkChain`.
    kpoints : KpointsData
        The comparison's mesh.
    """
    accurate = model.nscf.pw.parameters.get_dict().get("ELECTRONS", {}).get("diago_full_acc", False)
    return bool(accurate and list(model.kpoints.get_kpoints_mesh()[0]) == list(kpoints.get_kpoints_mesh()[0]))
