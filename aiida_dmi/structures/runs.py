"""The film of a run or of a model: what the intake decided when it was launched, on the atoms as they stand now."""

from __future__ import annotations

import dataclasses
from typing import Any

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import calcfunction

from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.choices import Choices
from aiida_dmi.structures.film import Film
from aiida_dmi.structures.intake import as_it_stands
from aiida_dmi.structures.slab import choices_of, read_film

CALLED = (LinkType.CALL_CALC, LinkType.CALL_WORK)


@calcfunction
def film_record(structure: orm.StructureData) -> orm.Dict:
    """The record (`Film.record`) of a film whose workchain was given none; as it stands, it is not turned.

    Raises
    ------
    InputError
        If no element of it is known as magnetic.
    """
    return orm.Dict(as_it_stands(structure, choices_of(structure)).record())


@calcfunction
def relaxed_film(film: orm.Dict, structure: orm.StructureData) -> orm.Dict:
    """The record of a film after its relaxation: the same layers, with the thickness of the new heights."""
    return orm.Dict(Film.from_record(film.get_dict(), structure).record())


def film_of_run(node: orm.WorkChainNode) -> Film | None:
    """The film of a DmiWorkChain or WannierModelWorkChain; None for one of a bulk model.

    Runs from before films had records are read anew.
    """
    structure = _found(node, "structure")
    record = _found(node, "film")
    if structure is None:
        model = _found(node, "model")
        return None if model is None or model.load().dimension != 2 else film_of_model(model, record)
    if record is None:
        return as_it_stands(structure, choices_of(structure))
    return Film.from_record(record.get_dict(), structure)


def said_of_run(node: orm.WorkChainNode) -> dict[str, Any]:
    """What its record says of the film of a run, as keys of `Choices` for another run of it: not what rules find."""
    record, structure = _found(node, "film"), _found(node, "structure")
    if record is None or structure is None:
        return {}
    film = Film.from_record(record.get_dict(), structure)
    said: dict[str, Any] = {"magnets": list(film.magnets), "moments": dict(film.moments) or None}
    said["thickness"] = film.given_thickness
    # It lies as it was to lie; where the rule would say otherwise, that is said.
    by_rule = Choices.checked({"magnets": said["magnets"]})
    if film.multilayer or read_film(structure, by_rule).film.normal != film.normal:
        said["normal"] = "up"
    return said


def film_of_model(model: WannierModelData, record: orm.Dict | None = None, choices: Choices | None = None) -> Film:
    """The film of a model, in the model's own frame.

    Parameters
    ----------
    model : WannierModelData
    record : Dict, optional
        Default: that of the workchain that made the model, where there is one.
    choices : Choices, optional
        What is said now; a model is not turned: `normal` and `vacuum` are refused.

    Raises
    ------
    InputError
        If a choice does not fit the model.
    """
    for key in ("normal", "vacuum"):
        if choices is not None and getattr(choices, key) is not None:
            raise InputError(f"{key}: given for a finished model, which is not turned any more; leave it out")
    loaded = model.load()
    maker = _maker(model)
    if record is None and maker is not None:
        record = _found(maker, "film")
    said = choices or Choices()
    if record is None:
        return as_it_stands(loaded, said)
    film = Film.from_record(record.get_dict(), loaded)
    if said.magnets is not None or said.substrate is not None:
        earlier = Choices(magnets=film.magnets, thickness=film.given_thickness)
        return as_it_stands(loaded, earlier.changed(said))
    return film if said.thickness is None else dataclasses.replace(film, given_thickness=said.thickness)


def _maker(node: orm.Node) -> orm.WorkChainNode | None:
    """The outermost workchain that a node comes from and that knows the film."""
    process, best = node.creator, None
    while process is not None:
        if isinstance(process, orm.WorkChainNode) and _found(process, "film") is not None:
            best = process
        callers = process.base.links.get_incoming(link_type=CALLED).all_nodes()
        process = callers[0] if callers else None
    return best


def _found(node: orm.ProcessNode, name: str) -> Any:
    """An output, else an input of a workchain; a DmiWorkChain has what describes the film on its first level."""
    for ports in (node.outputs, node.inputs):
        if name in ports:
            return ports[name]
    return None
