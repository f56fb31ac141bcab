"""Documented questions to the database: each answers with rows that name a film, its number and its nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from aiida import orm
from aiida.common.exceptions import MultipleObjectsError, NotExistent
from aiida.common.links import LinkType
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.aiida_types import pk_of
from aiida_dmi.data.completeness import CompletenessData
from aiida_dmi.data.lookup import PK
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.data.response import DmiData
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.output.units import UNITS
from aiida_dmi.screening.campaign import PREFIX

DMI = {"attributes.process_label": "DmiWorkChain"}
COMPONENTS = ("yx", "xy")
COLUMNS = ["label", "D", "D_error", "unit", "closure", "exit_status", "response", "workchain", "made"]
CHUNK = 5000
"""Numbers in one condition: SQLite takes 32766 in all."""


def films(
    least: float | None = None,
    most_closure: float | None = None,
    unit: str = "pJ_per_m",
    component: str = "yx",
    campaign: str | None = None,
    passed: bool = False,
) -> pd.DataFrame:
    """All films with |D| at or above a bound and a closure at or below one.

    Parameters
    ----------
    least : float, optional
        Bound of |D|, in `unit`.
    most_closure : float, optional
        Bound of |D(1) + Q(1)| / |D(1)|.
    unit : {'meV_angstrom', 'pJ_per_m', 'mJ_per_m2'}
        meV*Angstrom per cell, pJ/m, or mJ/m^2 (films with a thickness).
    component : {'yx', 'xy'}
    campaign : str, optional
        Only its films.
    passed : bool
        Only runs that passed every gate.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`, the largest |D| first: the headline value of every DmiWorkChain, uuids of its response and of itself.

    Raises
    ------
    InputError
        If the unit or the component is unknown.
    """
    if unit not in UNITS or component not in COMPONENTS:
        raise InputError(
            f"query: {component} in {unit} was given, expected {' or '.join(COMPONENTS)} in {', '.join(UNITS)}"
        )
    value = f"attributes.values.D_{component}.{unit}"
    bounds: dict[str, Any] = {}
    if least is not None:
        bounds["or"] = [{value: {">=": abs(least)}}, {value: {"<=": -abs(least)}}]
    if most_closure is not None:
        bounds["attributes.closure"] = {"<=": most_closure}
    query = orm.QueryBuilder()
    chain: dict[str, Any] = {"filters": {**DMI, **({"attributes.exit_status": 0} if passed else {})}, "tag": "chain"}
    if campaign is not None:
        query.append(orm.Group, filters={"label": f"{PREFIX}{campaign}"}, tag="campaign")
        chain["with_group"] = "campaign"
    query.append(orm.WorkChainNode, project=["label", "attributes.exit_status", "uuid", "ctime"], **chain)
    number = [value, f"{value}_error", "attributes.closure"]
    edge = {"label": "output_parameters", "type": LinkType.RETURN.value}
    query.append(orm.Dict, with_incoming="chain", edge_filters=edge, filters=bounds, project=number)
    edge = {"label": "response", "type": LinkType.RETURN.value}
    query.append(DmiData, with_incoming="chain", edge_filters=edge, project="uuid")
    rows = [
        (label, d, error, unit, closure, status, response, uuid, made)
        for label, status, uuid, made, d, error, closure, response in query.all()
    ]
    # Runs without D have None there, which is no number to compare.
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"D": float, "D_error": float})
    return table.sort_values("D", key=lambda column: column.abs(), ascending=False, kind="stable", ignore_index=True)


def made_with_pseudo(pseudo: UpfData | str, exhaustive: bool = False) -> pd.DataFrame:
    """Every result that a pseudopotential has a part in: what a wrong one would touch.

    All nodes with the same content count, and what was made of it: mixtures and averages.

    Parameters
    ----------
    pseudo : UpfData or str
        Node, or as `find_pseudo`.
    exhaustive : bool
        Follow every link of the provenance instead of the known ways (pseudopotential - model - response): slow, and
        the test that the known ways are all.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`, without bounds.
    """
    given = find_pseudo(pseudo) if isinstance(pseudo, str) else [pseudo]
    same = {"attributes.md5": {"in": sorted({node.md5 for node in given})}}
    nodes = set(orm.QueryBuilder().append(UpfData, filters=same, project="id").all(flat=True))
    if exhaustive:
        return _described(_descending(nodes))
    nodes = _with_made_of_it(nodes)
    builders = {"attributes.process_label": "WannierModelCalculation"}
    return _described(_responses_of_models(_models_from(nodes, builders)))


def made_with_code(code: orm.AbstractCode | str, exhaustive: bool = False) -> pd.DataFrame:
    """Every result that a code has a part in.

    Parameters
    ----------
    code : Code or str
        Node, or its label, pk or uuid.
    exhaustive : bool
        As `made_with_pseudo`.

    Raises
    ------
    InputError
        If there is no such code.
    """
    if isinstance(code, str):
        try:
            if code.isdecimal() and not PK.fullmatch(code):
                raise NotExistent("no database counts to this pk")
            code = orm.load_code(code)
        except (NotExistent, MultipleObjectsError, ValueError) as error:
            raise InputError(f"code: {code!r} was given, see `verdi code list -A` ({error})") from error
    return _made_with_codes({pk_of(code)}, exhaustive)


def made_with_image(image: str, exhaustive: bool = False) -> pd.DataFrame:
    """Every result that a container image has a part in.

    Parameters
    ----------
    image : str
        Name of the image, or a part of it.
    exhaustive : bool
        As `made_with_pseudo`.

    Raises
    ------
    InputError
        If no code runs in such an image.
    """
    query = orm.QueryBuilder().append(orm.ContainerizedCode, project=["id", "attributes.image_name"])
    images = query.all()
    codes = {pk for pk, name in images if image in name}
    if not codes:
        known = ", ".join(sorted({name for _, name in images})) or "none"
        raise InputError(f"image: no code runs in {image!r}; this profile has {known}")
    return _made_with_codes(codes, exhaustive)


def made_with_version(version: str) -> pd.DataFrame:
    """Every result that this version of the engine computed.

    Parameters
    ----------
    version : str
        Of aiida-dmi on the machine that ran dmi-engine, such as '0.1.0'.
    """
    query = orm.QueryBuilder().append(DmiData, filters={"attributes.engine_version": version}, project="id")
    return _described(set(query.all(flat=True)))


def find_pseudo(text: str) -> list[UpfData]:
    """Pseudopotentials by uuid, pk, md5 or file name, or an element of a family: 'PseudoDojo/...:Co'.

    Raises
    ------
    InputError
        If there is none.
    """
    group, _, element = text.rpartition(":")
    if group:
        query = orm.QueryBuilder().append(orm.Group, filters={"label": group}, tag="family")
        query.append(UpfData, with_group="family", filters={"attributes.element": element})
    else:
        ways: list[dict[str, Any]] = [{"attributes.md5": text}, {"attributes.filename": text}, {"uuid": text}]
        if PK.fullmatch(text):
            ways.append({"id": int(text)})
        query = orm.QueryBuilder().append(UpfData, filters={"or": ways})
    found: list[UpfData] = query.all(flat=True)
    if not found:
        raise InputError(f"pseudo: {text!r} was given, expected a uuid, pk, md5, file name or FAMILY:ELEMENT")
    return found


def slab_of(node: orm.Node) -> orm.StructureData | None:
    """The slab that a number, result or model was computed from; the one that was given, before any relaxation.

    Parameters
    ----------
    node : Node
        DmiData, WannierModelData, output_parameters, or a workchain.

    Returns
    -------
    StructureData or None
        None where the model came as a file, without a structure.
    """
    if isinstance(node, orm.StructureData):
        return node
    query = orm.QueryBuilder().append(orm.Node, filters={"id": node.pk}, tag="number")
    query.append(orm.StructureData, with_descendants="number", tag="slab", project="*")
    structures = {structure.pk: structure for structure in query.all(flat=True)}
    if not structures and isinstance(node, orm.ProcessNode):
        return slab_of(node.inputs.model) if "model" in node.inputs else None
    # Neither made by a relaxation nor by doping: the first of the line.
    return min(structures.values(), key=lambda structure: structure.pk, default=None)


# -- ways through the graph --------------------------------------------------------------------------------


def _with_made_of_it(pseudos: set[int]) -> set[int]:
    """The pseudopotentials, and those that calculation functions made of them."""
    found, new = set(pseudos), set(pseudos)
    while new:
        query = orm.QueryBuilder().append(UpfData, filters={"id": {"in": sorted(new)}}, tag="part")
        query.append(orm.CalcFunctionNode, with_incoming="part", tag="mixed")
        query.append(UpfData, with_incoming="mixed", project="id")
        new = set(query.all(flat=True)) - found
        found |= new
    return found


def _models_from(nodes: Iterable[int], process: dict[str, Any]) -> set[int]:
    """Models that a process made or returned which had one of these nodes as its own input."""
    found: set[int] = set()
    for part in _chunks(nodes):
        query = orm.QueryBuilder().append(orm.Node, filters={"id": {"in": part}}, tag="input")
        query.append(orm.ProcessNode, with_incoming="input", filters=process, tag="process")
        query.append(WannierModelData, with_incoming="process", project="id")
        found |= set(query.distinct().all(flat=True))
    return found


def _responses_of_models(models: Iterable[int]) -> set[int]:
    """Results computed from models, by a workchain or by a job alone."""
    found: set[int] = set()
    for part in _chunks(models):
        query = orm.QueryBuilder().append(WannierModelData, filters={"id": {"in": part}}, tag="model")
        query.append(orm.CalcJobNode, with_incoming="model", tag="job")
        query.append(DmiData, with_incoming="job", project="id")
        found |= set(query.distinct().all(flat=True))
    return _with_corrected(found)


def _with_corrected(responses: set[int]) -> set[int]:
    """Results, and those that a calculation function made of them: what the Wannier functions leave out put back."""
    found = set(responses)
    for part in _chunks(responses):
        query = orm.QueryBuilder().append(DmiData, filters={"id": {"in": part}}, tag="response")
        query.append(orm.CalcFunctionNode, with_incoming="response", tag="correction")
        query.append(DmiData, with_incoming="correction", project="id")
        found |= set(query.distinct().all(flat=True))
    return found


def _corrected_by(codes: set[int]) -> set[int]:
    """Results that were corrected with what a job or workchain with one of these codes computed."""
    query = orm.QueryBuilder().append(orm.AbstractCode, filters={"id": {"in": sorted(codes)}}, tag="code")
    query.append(orm.ProcessNode, with_incoming="code", tag="process")
    query.append(CompletenessData, with_incoming="process", tag="completeness")
    query.append(orm.CalcFunctionNode, with_incoming="completeness", tag="correction")
    query.append(DmiData, with_incoming="correction", project="id")
    return set(query.distinct().all(flat=True))


def _made_with_codes(codes: set[int], exhaustive: bool) -> pd.DataFrame:
    if exhaustive:
        return _described(_descending(codes))
    # A workchain has the codes of all its steps as inputs of its own; dmi-engine ran the response itself.
    models = _models_from(
        codes, {"attributes.process_label": {"in": ["WannierModelWorkChain", "WannierModelCalculation"]}}
    )
    query = orm.QueryBuilder().append(orm.AbstractCode, filters={"id": {"in": sorted(codes)}}, tag="code")
    query.append(orm.CalcJobNode, with_incoming="code", tag="job")
    query.append(DmiData, with_incoming="job", project="id")
    alone = _with_corrected(set(query.distinct().all(flat=True)))
    return _described(_responses_of_models(models) | alone | _corrected_by(codes))


def _descending(nodes: Iterable[int]) -> set[int]:
    query = orm.QueryBuilder().append(orm.Node, filters={"id": {"in": sorted(nodes)}}, tag="input")
    query.append(DmiData, with_ancestors="input", project="id")
    return set(query.distinct().all(flat=True))


def _described(responses: Iterable[int]) -> pd.DataFrame:
    """Rows of results; those of no workchain have a uuid and no number."""
    rows: dict[int, tuple[Any, ...]] = {}
    value = "attributes.values.D_yx.meV_angstrom"
    for part in _chunks(responses):
        query = orm.QueryBuilder().append(DmiData, filters={"id": {"in": part}}, project=["id", "uuid", "ctime"])
        for pk, uuid, made in query.all():
            rows[pk] = (None, None, None, "meV_angstrom", None, None, uuid, None, made)
        query = orm.QueryBuilder().append(DmiData, filters={"id": {"in": part}}, project=["id", "uuid"], tag="response")
        query.append(
            orm.WorkChainNode,
            with_outgoing="response",
            filters=DMI,
            project=["label", "attributes.exit_status", "uuid", "ctime"],
            tag="chain",
        )
        edge = {"label": "output_parameters"}
        numbers = [value, f"{value}_error", "attributes.closure"]
        query.append(orm.Dict, with_incoming="chain", edge_filters=edge, project=numbers)
        for pk, uuid, label, status, chain, made, d, error, closure in query.all():
            rows[pk] = (label, d, error, "meV_angstrom", closure, status, uuid, chain, made)
    # By time, not by number: an import gives other numbers.
    return pd.DataFrame(rows.values(), columns=COLUMNS).sort_values(["made", "response"], ignore_index=True)


def _chunks(numbers: Iterable[int]) -> Iterable[Sequence[int]]:
    ordered = sorted(numbers)
    return [ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK)]
