"""Which inputs of a calculation differ from its protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiida import orm

from aiida_dmi.calculations.functions import read_pseudo
from aiida_dmi.workflows.builders import starting_moments
from aiida_dmi.workflows.protocols.utils import load_protocol, read_protocols

MISSING = "-"
DECIMALS = 6
STEPS = ("nscf", "bands", "spin_orbit_bands")
OF_RESPONSE = ("closure", "symmetry_residual", "k_error")


@dataclass(frozen=True)
class Difference:
    """One input: its key as in the protocol file, what was used, and what the protocol says."""

    key: str
    used: str
    protocol: str


def protocol_differences(node: orm.WorkChainNode) -> tuple[str, list[Difference]]:
    """The protocol that a DmiWorkChain's inputs are nearest to, and where they differ.

    Parameters
    ----------
    node : DmiWorkChain

    Returns
    -------
    name : str
        The protocol with the fewest differences: a workchain keeps its inputs, not where they came from.
    differences : list of Difference
    """
    used = _used(node)
    found = {
        name: _compare(used, _expected(node, used, load_protocol(name, None))) for name in read_protocols()["protocols"]
    }
    name = min(found, key=lambda key: len(found[key]))
    return name, found[name]


def _used(node: orm.WorkChainNode) -> dict[str, Any]:
    """The inputs, flat, by the protocol's keys."""
    inputs = node.inputs
    used = _flat("response", inputs.response.dmi.parameters.get_dict())
    used |= _flat("quality", inputs.quality.get_dict() if "quality" in inputs else {})
    if "wannier_model" not in inputs:
        return used
    model = inputs.wannier_model
    used |= _flat("quality", model.quality.get_dict())
    wannierisation = model.wannierisation.get_dict()
    used |= {f"wannierisation.{key}": value for key, value in wannierisation.items()}
    used |= _flat("wannierisation.parameters", model.wannier90.parameters.get_dict())
    used["wannierisation mesh"] = model.kpoints.get_kpoints_mesh()[0]
    used["scf mesh"] = model.scf.kpoints.get_kpoints_mesh()[0]
    scf = _pw(model.scf.pw.parameters)
    moments = scf["SYSTEM"].pop("starting_magnetization", {})
    used |= _flat("scf.parameters", scf)
    valence = {kind: read_pseudo(pseudo).valence for kind, pseudo in model.pseudos.items()}
    used["magnetic_moments"] = {kind: _rounded(value * valence[kind]) for kind, value in moments.items()}
    for step in STEPS:
        if step in model:
            used |= _flat(f"{step}.parameters", _pw(model[step].pw.parameters))
    used["overlaps"] = "dmi-engine" if "overlaps" in model else "pw2wannier90"
    used["relax"] = "yes" if "relax" in model else None
    used["check_spin_orbit"] = "spin_orbit_bands" in model
    used["force"] = model.force.value
    used["clean_workdir"] = model.clean_workdir.value
    return used


def _expected(node: orm.WorkChainNode, used: dict[str, Any], protocol: dict[str, Any]) -> dict[str, Any]:
    """The same of a protocol."""
    expected = _flat("response", {key: value for key, value in protocol["response"].items() if value is not None})
    limits = protocol["quality"]
    if "wannier_model" not in node.inputs:
        return expected | _flat("quality", {key: limits[key] for key in OF_RESPONSE})
    expected |= _flat("quality", limits)
    settings = dict(protocol["wannierisation"])
    distance, parameters = settings.pop("kpoints_distance"), settings.pop("parameters")
    expected |= {f"wannierisation.{key}": value for key, value in settings.items()}
    expected |= _flat("wannierisation.parameters", parameters)
    expected["wannierisation mesh"] = _mesh(node.inputs.structure, distance)
    expected["scf mesh"] = _mesh(node.inputs.structure, protocol["scf"]["kpoints_distance"])
    expected |= _flat("scf.parameters", protocol["scf"]["parameters"])
    kinds = starting_moments(node.inputs.structure, None, protocol["magnetic_moments"])
    expected["magnetic_moments"] = {kind: _rounded(value) for kind, value in kinds.items()}
    scf = _pw(node.inputs.wannier_model.scf.pw.parameters)
    for step in STEPS:
        if step in node.inputs.wannier_model:
            # What follows from a changed scf is not told again for every step.
            own = protocol[step]["parameters"]
            changed = {name: {**scf.get(name, {}), **own.get(name, {})} for name in {**scf, **own}}
            if step == "spin_orbit_bands":
                changed["SYSTEM"].pop("nspin", None)
            expected |= _flat(f"{step}.parameters", changed)
    expected |= {key: protocol[key] for key in ("overlaps", "relax", "check_spin_orbit", "force", "clean_workdir")}
    return expected


def _compare(used: dict[str, Any], expected: dict[str, Any]) -> list[Difference]:
    keys = [*used, *(key for key in expected if key not in used)]
    return [
        Difference(key, _text(used.get(key, MISSING)), _text(expected.get(key, MISSING)))
        for key in keys
        if used.get(key, MISSING) != expected.get(key, MISSING)
    ]


def _flat(path: str, content: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(f"{path}.{key}", value) if isinstance(value, dict) else {f"{path}.{key}": value}
    return flat


def _pw(parameters: orm.Dict) -> dict[str, Any]:
    return {name.upper(): dict(values) for name, values in parameters.get_dict().items()}


def _mesh(structure: orm.StructureData, distance: float) -> list[int]:
    kpoints = orm.KpointsData()
    kpoints.set_cell_from_structure(structure)
    kpoints.set_kpoints_mesh_from_density(distance)
    mesh: list[int] = kpoints.get_kpoints_mesh()[0]
    return mesh


def _rounded(value: float) -> float:
    return round(value, DECIMALS)


def _text(value: Any) -> str:
    """Short: lists of many numbers by their ends."""
    if isinstance(value, list) and len(value) > 6 and all(isinstance(v, (int, float)) for v in value):
        return f"{value[0]:g}, {value[1]:g}, ... {value[-1]:g} ({len(value)})"
    if isinstance(value, list):
        return ", ".join(_text(v) for v in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_text(v)}" for key, v in sorted(value.items()))
    return f"{value:g}" if isinstance(value, float) else str(value)
