"""Inputs of a response by protocol: what is computed of a model, and how the job is laid out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm

from aiida_dmi.aiida_types import computer_of
from aiida_dmi.calculations.functions import FUNCTIONS_PER_ORBITAL
from aiida_dmi.calculations.quality import RESPONSE
from aiida_dmi.calculations.response import DmiCalculation
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.choices import Choices
from aiida_dmi.structures.film import Film
from aiida_dmi.structures.layers import mask_weights
from aiida_dmi.structures.moments import check_order
from aiida_dmi.structures.runs import film_of_model
from aiida_dmi.workflows import scheduling
from aiida_dmi.workflows.layout import Resources, asked_memory, memory_of, response_layout
from aiida_dmi.workflows.ports import Ports

OF_MODEL = ("film", "response", "quality", "force", "clean_workdir")
"""Sections of the overrides that mean something to a finished model."""
Shape = tuple[int, int, list[int]]
"""Functions a spin, atoms and ab-initio mesh of a model."""


def shape_of_film(ports: Any, atoms: int) -> Shape:
    """Of the model that the inputs of `WannierModelWorkChain` will give."""
    functions = atoms * sum(FUNCTIONS_PER_ORBITAL[orbital] for orbital in ports.wannierisation["orbitals"])
    return functions, atoms, ports.kpoints.get_kpoints_mesh()[0]


def shape_of_model(model: WannierModelData) -> Shape:
    """Of a finished model."""
    attributes = model.base.attributes
    return int(attributes.get("functions")), len(attributes.get("symbols")), list(attributes.get("mesh"))


def check_of_model(overrides: Mapping[str, Any] | None) -> None:
    """Refuse what a finished model cannot follow any more.

    Raises
    ------
    InputError
        If the overrides say anything of scf, bands or Wannier functions.
    """
    if isinstance(overrides, Mapping) and (unused := sorted(set(map(str, overrides)) - set(OF_MODEL))):
        raise InputError(f"{', '.join(unused)}: not used with a finished model; expected {', '.join(OF_MODEL)}")


def film_for(model: WannierModelData, inputs: dict[str, Any]) -> Film | None:
    """The film of a finished model with what the overrides say of it; a bulk crystal has no layers to name or measure.

    Raises
    ------
    InputError
        If a choice does not fit the model, or the model is of an antiferromagnet.
    """
    if shape_of_model(model)[2][2] != 1:
        return None
    film = film_of_model(model, choices=Choices.checked(inputs["film"]))
    check_order(film)
    return film


def response_ports(
    code: orm.AbstractCode, film: Any, shape: Shape, inputs: dict[str, Any], options: dict[str, Any] | None
) -> Ports:
    """Inputs of `DmiBaseWorkChain`, but for the model.

    Parameters
    ----------
    code : Code
        dmi-engine.
    film : Film or WannierModel
        What masks by name are found in.
    shape : tuple
        See `Shape`.
    inputs : dict
        From `load_protocol`.
    options : dict or None
        `metadata.options` of the job.

    Raises
    ------
    ValueError
        If the engine would refuse what is asked for.
    """
    # null in an override takes a key of the protocol away: `mesh: null` beside a tolerance.
    parameters = {key: value for key, value in inputs["response"].items() if value is not None}
    if "soi_masks" in parameters:
        parameters["soi_masks"] = mask_weights(film, parameters["soi_masks"])
    ports = Ports()
    ports.clean_workdir = orm.Bool(inputs["clean_workdir"])
    job = ports.dmi
    job.code = code
    job.parameters = orm.Dict(parameters)
    # The layout follows from them: what the process would refuse is refused here.
    message = DmiCalculation.validate_inputs({"parameters": job.parameters}, None)
    if message is not None:
        raise ValueError(f"response: {message}")
    ranks, given = scheduling.processors(code, options), scheduling.ranks_given(options)
    processors = Resources(1, ranks, memory_of(computer_of(code)), given=given)
    layout = response_layout(*shape, parameters, processors)
    # One task with a processor for every worker: Slurm would give it one, for all of them.
    resources = {"num_machines": 1, "num_mpiprocs_per_machine": 1, "num_cores_per_mpiproc": layout.parts}
    job.metadata.options = {
        **asked_memory(layout, processors, layout.parts, computer_of(code).scheduler_type),
        **scheduling.serial(options),
        **scheduling.one_thread(),
        "resources": resources,
        "processes": layout.parts,
    }
    job.metadata.description = layout.words
    return ports


def gate_ports(inputs: dict[str, Any]) -> Ports:
    """`quality` and `force` of `DmiWorkChain`: the limits of the response's gate."""
    ports = Ports()
    ports.quality = orm.Dict({key: value for key, value in inputs["quality"].items() if key in RESPONSE})
    ports.force = orm.Bool(inputs["force"])
    return ports
