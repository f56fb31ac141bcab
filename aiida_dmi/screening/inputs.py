"""From a candidate to a builder of `DmiWorkChain`: structure, pseudopotentials and inputs in the database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common.exceptions import MultipleObjectsError, NotExistent
from aiida.engine import ProcessBuilder

from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine.errors import InputError
from aiida_dmi.screening.candidates import Candidate, load
from aiida_dmi.screening.spec import Spec
from aiida_dmi.structures.bilayer import bilayer_structure
from aiida_dmi.structures.doping import dope
from aiida_dmi.workflows.codes import CODES, WITHOUT_PP, needed
from aiida_dmi.workflows.dmi import DmiWorkChain
from aiida_dmi.workflows.protocols.utils import load_protocol
from aiida_dmi.workflows.response_inputs import OF_MODEL

MARK = "dmi.screening candidate"
"""Begins the description of every process that was started for a candidate; the key follows."""


def candidate_builder(
    candidate: Candidate, codes: Mapping[str, orm.AbstractCode], options: Mapping[str, Any] | None = None
) -> ProcessBuilder:
    """Complete inputs of one candidate.

    The key stands in the description: with the node itself it enters the database, so that a process whose controller
    was killed right after it is recognised.

    Parameters
    ----------
    candidate : Candidate
    codes : dict
        As `DmiWorkChain.get_builder_from_protocol`; a candidate that starts from a model needs `engine` alone.
    options : dict, optional
        `metadata.options` of the parallel programs.

    Raises
    ------
    ValueError
        If the film, a pseudopotential, a mixture or an input does not fit.
    """
    settings: dict[str, Any] = {
        "protocol": candidate.protocol,
        "overrides": dict(candidate.overrides),
        "options": dict(options) if options else None,
    }
    if "model" in candidate.source:
        if "engine" not in codes:
            raise InputError(f"codes: {', '.join(codes) or 'none'} given, a finished model needs `engine`")
        model = load("model", candidate.source["model"], WannierModelData)
        # Those of a campaign are for all its candidates: of scf and Wannier functions this one has its own.
        settings["overrides"] = {key: value for key, value in candidate.overrides.items() if key in OF_MODEL}
        builder = DmiWorkChain.get_builder_from_model(codes["engine"], model, **settings)
    else:
        structure, pseudos = _host(candidate), None
        if candidate.mixtures:
            _, group = candidate.settled
            structure, pseudos = dope(structure, candidate.mixtures, group.label)
        moments = None if candidate.moments is None else dict(candidate.moments)
        builder = DmiWorkChain.get_builder_from_protocol(
            dict(codes), structure, pseudos=pseudos, magnetic_moments=moments, **settings
        )
    builder["metadata"].label = candidate.label
    builder["metadata"].description = f"{MARK} {candidate.key}"
    return builder


def default_codes(spec: Spec) -> dict[str, str]:
    """Labels of the codes of a campaign that names none: those that `aiida-dmi setup` made."""
    return {name: name for name in needed(load_protocol(spec.protocol, dict(spec.overrides)))}


def load_codes(labels: Mapping[str, str]) -> dict[str, orm.AbstractCode]:
    """Codes by label.

    Raises
    ------
    InputError
        Naming the code that is not known or not set up.
    """
    codes: dict[str, orm.AbstractCode] = {}
    for name, label in labels.items():
        if name not in CODES:
            raise InputError(f"codes: {name} is unknown; expected some of {', '.join(CODES)}")
        try:
            codes[name] = orm.load_code(label)
        except (NotExistent, MultipleObjectsError) as error:
            if name == "pp" and isinstance(error, NotExistent):
                raise InputError(f"codes: no code {label!r} in this profile; {WITHOUT_PP}") from error
            raise InputError(
                f"codes: {name}: no code {label!r} in this profile, or several of it; give LABEL@COMPUTER"
            ) from error
    return codes


def _host(candidate: Candidate) -> orm.StructureData:
    if "film" in candidate.source:
        return bilayer_structure(**candidate.source["film"])
    return load("structure", candidate.source["structure"], orm.StructureData)
