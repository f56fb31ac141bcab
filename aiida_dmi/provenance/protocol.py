"""Which inputs of a run differ from its protocol."""

from __future__ import annotations

import dataclasses
from typing import Any

from aiida import orm

from aiida_dmi.calculations.functions import read_pseudo
from aiida_dmi.calculations.quality import RESPONSE
from aiida_dmi.structures.runs import film_of_run
from aiida_dmi.workflows import families
from aiida_dmi.workflows.cutoffs import elements_of
from aiida_dmi.workflows.model_inputs import mesh_of, starting_moments, symmetric_mesh_of, wannier_mesh_of
from aiida_dmi.workflows.origin import protocol_digest, recorded_origin
from aiida_dmi.workflows.protocols.utils import load_protocol, read_protocols

Differences = dict[str, tuple[Any, Any]]

RECORDED = "recorded when it was started"
DECIMALS = 6
STEPS = ("nscf", "bands", "spin_orbit_bands")


def nearest_protocol(chain: orm.WorkChainNode) -> tuple[str, Differences]:
    """The protocol of a DmiWorkChain, and which of its inputs differ.

    Parameters
    ----------
    chain : WorkChainNode
        A DmiWorkChain.

    Returns
    -------
    str
        The protocol that its inputs were made by; where that is not recorded (they were made by hand, or by an early
        version), the one with the fewest differences.
    dict
        Input, such as 'response.mesh', to (its value, the protocol's); None where one of them has it not.
    """
    used = _used(chain)
    height = chain.inputs.structure.cell[2][2] if "structure" in chain.inputs else 0.0
    origin, known = recorded_origin(chain), list(read_protocols()["protocols"])
    if origin is not None and origin["protocol"] in known:
        known = [origin["protocol"]]
    protocols = {name: load_protocol(name, None, height) for name in known}
    found = {name: _compared(used, _expected(chain, protocol)) for name, protocol in protocols.items()}
    best = min(found, key=lambda name: len(found[name]))
    return best, found[best]


def how_known(chain: orm.WorkChainNode) -> str:
    """Where the name of a DmiWorkChain's protocol comes from, and whether it still says the same; a few words."""
    origin = recorded_origin(chain)
    if origin is None or origin["protocol"] not in read_protocols()["protocols"]:
        return "the nearest one: it is not recorded which one made these inputs"
    if origin["digest"] != protocol_digest(origin["protocol"]):
        return f"{RECORDED}; this version's protocol of that name is another one"
    return RECORDED


def family_of(chain: orm.WorkChainNode, expected: str) -> str:
    """The family of a run's pseudopotentials.

    Parameters
    ----------
    chain : WorkChainNode
        A DmiWorkChain that started from a structure.
    expected : str
        Label of the one that is named first where several hold all of them.

    Returns
    -------
    str
        As recorded when the run was started, else as this profile's families hold the same files, else the files.
    """
    origin = recorded_origin(chain) or {}
    if origin.get("pseudo_family"):
        return str(origin["pseudo_family"])
    pseudos = chain.inputs.wannier_model.pseudos
    if not origin:
        held = families.family_of(pseudos.values(), expected)
        if held is not None:
            return str(held.label)
    return ", ".join(f"{kind}: {pseudo.filename}" for kind, pseudo in sorted(pseudos.items()))


def _compared(used: dict[str, Any], expected: dict[str, Any]) -> Differences:
    pairs = {key: (used.get(key), expected.get(key)) for key in sorted({*used, *expected})}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _used(chain: orm.WorkChainNode) -> dict[str, Any]:
    """The inputs, flat, by the protocol's keys."""
    inputs = chain.inputs
    used = _flat("response", inputs.response.dmi.parameters.get_dict())
    used |= _flat("quality", inputs.quality.get_dict() if "quality" in inputs else {})
    used["force"] = inputs.force.value if "force" in inputs else False
    if "wannier_model" not in inputs:
        return used
    model = inputs.wannier_model
    used |= _flat("quality", model.quality.get_dict())
    used |= {f"wannierisation.{key}": value for key, value in model.wannierisation.get_dict().items()}
    used |= _flat("wannierisation.parameters", model.wannier90.parameters.get_dict())
    used["wannierisation.kpoints_mesh"] = model.kpoints.get_kpoints_mesh()[0]
    if "random_points" in model:  # not in runs of early versions
        used["bands.random_points"] = model.random_points.value
    used["scf.kpoints_mesh"] = model.scf.kpoints.get_kpoints_mesh()[0]
    if "completeness" in inputs:
        used["completeness.kpoints_mesh"] = inputs.completeness.kpoints.get_kpoints_mesh()[0]
    scf = _namelists(model.scf.pw.parameters)
    moments = scf["SYSTEM"].pop("starting_magnetization", {})
    used |= _flat("scf.parameters", scf)
    valence = {kind: read_pseudo(pseudo).valence for kind, pseudo in model.pseudos.items()}
    used["magnetic_moments"] = {kind: _rounded(value * valence[kind]) for kind, value in moments.items()}
    for step in STEPS:
        if step in model:
            used |= _flat(f"{step}.parameters", _namelists(model[step].pw.parameters))
    return used | {
        "pseudo_family": family_of(chain, families.PSEUDO_DOJO),
        "overlaps": "dmi-engine" if "overlaps" in model else "pw2wannier90",
        "relax": "yes" if "relax" in model else None,
        "check_spin_orbit": "spin_orbit_bands" in model,
        "force": model.force.value,
        "clean_workdir": model.clean_workdir.value,
    }


def _expected(chain: orm.WorkChainNode, protocol: dict[str, Any]) -> dict[str, Any]:
    """The same of a protocol."""
    expected = _flat("response", {key: value for key, value in protocol["response"].items() if value is not None})
    expected["force"] = protocol["force"]
    limits = protocol["quality"]
    if "wannier_model" not in chain.inputs:
        return expected | _flat("quality", {key: limits[key] for key in RESPONSE})
    expected |= _flat("quality", limits)
    settings = {key: value for key, value in protocol["wannierisation"].items() if key != "kpoints_distance"}
    parameters = settings.pop("parameters")
    expected |= {f"wannierisation.{key}": value for key, value in settings.items()}
    expected |= _flat("wannierisation.parameters", parameters)
    structure, model = chain.inputs.structure, chain.inputs.wannier_model
    meshes = {"scf": mesh_of(structure, protocol["scf"]), "wannierisation": wannier_mesh_of(structure, protocol)}
    if protocol["completeness"] is not None:
        meshes["completeness"] = symmetric_mesh_of(structure, protocol["completeness"], even=True)
    expected |= {f"{name}.kpoints_mesh": mesh.get_kpoints_mesh()[0] for name, mesh in meshes.items()}
    expected |= _flat("scf.parameters", protocol["scf"]["parameters"])
    expected |= _expected_cutoffs(chain, protocol["cutoffs"])
    expected["magnetic_moments"] = _expected_moments(chain, protocol["magnetic_moments"])
    if "random_points" in model:
        expected["bands.random_points"] = protocol["bands"]["random_points"]
    scf = _namelists(model.scf.pw.parameters)
    for step in STEPS:
        if step in model:
            # What follows from a changed scf is not told again for every step.
            own = protocol[step]["parameters"]
            changed = {name: {**scf.get(name, {}), **own.get(name, {})} for name in {**scf, **own}}
            if step == "spin_orbit_bands":
                changed["SYSTEM"].pop("nspin", None)
            expected |= _flat(f"{step}.parameters", changed)
    others = ("overlaps", "relax", "check_spin_orbit", "clean_workdir")
    # For results; what else is there is what a run without a network is told of.
    return expected | {"pseudo_family": families.PSEUDO_DOJO} | {key: protocol[key] for key in others}


def _expected_cutoffs(chain: orm.WorkChainNode, stringency: str) -> dict[str, float]:
    """What the protocol takes for the run's own pseudopotentials, as recorded, else as this profile's families say."""
    model = chain.inputs.wannier_model
    if "cutoffs" in model:
        known = model.cutoffs["recommended"]
    else:
        group = families.family_of(model.pseudos.values())
        known = {} if group is None else families.recommended(group, elements_of(model.pseudos))
    if stringency not in known:
        return {}
    return dict(zip((f"scf.parameters.SYSTEM.{key}" for key in ("ecutwfc", "ecutrho")), known[stringency], strict=True))


def _expected_moments(chain: orm.WorkChainNode, table: dict[str, float]) -> dict[str, float]:
    """What the protocol's table gives; nothing where it does not know a magnet."""
    film = film_of_run(chain)
    if film is None or not set(film.magnets) <= set(table):
        return {}
    moments = starting_moments(dataclasses.replace(film, moments={}), None, table)
    return {kind: _rounded(value) for kind, value in moments.items()}


def _flat(path: str, content: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(f"{path}.{key}", value) if isinstance(value, dict) else {f"{path}.{key}": value}
    return flat


def _namelists(parameters: orm.Dict) -> dict[str, Any]:
    return {name.upper(): dict(values) for name, values in parameters.get_dict().items()}


def _rounded(value: float) -> float:
    return round(value, DECIMALS)
