"""What a run of a candidate would refuse, found without storing anything: names, moments, masks, meshes, codes."""

from __future__ import annotations

from collections.abc import Sequence

from aiida_dmi.calculations.response import refusal
from aiida_dmi.engine.errors import InputError
from aiida_dmi.screening.candidates import Candidate
from aiida_dmi.screening.cost import read
from aiida_dmi.screening.inputs import default_codes, load_codes
from aiida_dmi.screening.spec import Spec
from aiida_dmi.structures.convert import structure_data
from aiida_dmi.structures.intake import with_starting_moments
from aiida_dmi.structures.layers import mask_weights, sites_of
from aiida_dmi.workflows import neighbours, validation
from aiida_dmi.workflows.codes import check_codes, needed
from aiida_dmi.workflows.model_inputs import mesh_of, starting_moments, symmetric_mesh_of, wannier_mesh_of


def check_candidate(candidate: Candidate) -> None:
    """Refuse what its builder would refuse, on the host film where it is doped.

    Raises
    ------
    ValueError
        In one line, naming what does not fit.
    """
    if "model" in candidate.source:
        _check_masks(candidate)
        return
    # Nothing is stored.
    atoms, film = candidate.atoms(), candidate.film
    structure = structure_data(atoms, "")
    if message := validation.structure(structure):
        raise InputError(message)
    inputs, family = candidate.settled
    given = None if candidate.moments is None else dict(candidate.moments)
    moments = starting_moments(film, given, inputs["magnetic_moments"])
    with_starting_moments(film, atoms, moments)
    symbols = {kind.name: kind.symbol for kind in structure.kinds}
    valence = {kind: read(family.get_pseudo(symbols[kind]).uuid).valence for kind in moments}
    validation.require_moments(moments, valence)
    validation.require_kinds(inputs["scf"]["parameters"]["SYSTEM"], structure)
    mesh_of(structure, inputs["scf"])
    neighbours.settled(wannier_mesh_of(structure, inputs), inputs["wannierisation"])
    if inputs["completeness"] is not None:
        symmetric_mesh_of(structure, inputs["completeness"], even=True)
    if inputs["relax"] and inputs["relax"]["fixed"]:
        sites_of(film, inputs["relax"]["fixed"])
    _check_masks(candidate)


def check_campaign_codes(spec: Spec, candidates: Sequence[Candidate]) -> None:
    """Refuse a campaign whose codes are not there.

    Raises
    ------
    ValueError
        Naming the code.
    """
    codes = load_codes(spec.codes or default_codes(spec))
    if any("model" not in candidate.source for candidate in candidates):
        check_codes(codes, list({name for candidate in candidates for name in needed(candidate.inputs)}))
    elif "engine" not in codes:
        raise InputError(f"codes: {', '.join(codes)} given, a finished model needs `engine`")


def _check_masks(candidate: Candidate) -> None:
    response = {key: value for key, value in candidate.inputs["response"].items() if value is not None}
    if "soi_masks" in response:
        response["soi_masks"] = mask_weights(candidate.film, response["soi_masks"])
    if message := refusal(response):
        raise InputError(f"response: {message}")
