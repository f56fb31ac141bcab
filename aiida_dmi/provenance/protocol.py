"""Which inputs of a run differ from its protocol."""

from __future__ import annotations

from typing import Any

from aiida import orm

from aiida_dmi.workflows.builders import mesh_of
from aiida_dmi.workflows.protocols.utils import load_protocol, read_protocols

Differences = dict[str, tuple[Any, Any]]


def nearest_protocol(chain: orm.WorkChainNode) -> tuple[str, Differences]:
    """The protocol that a DmiWorkChain's inputs are nearest to, and what differs.

    Parameters
    ----------
    chain : WorkChainNode
        A DmiWorkChain.

    Returns
    -------
    str
        The protocol with the fewest differences.
    dict
        Input, such as 'response.mesh', to (its value, the protocol's); None where one of them has it not.
    """
    used = used_inputs(chain)
    found = {}
    for name in read_protocols()["protocols"]:
        expected = _comparable(load_protocol(name, None), chain)
        compared = {key: (used.get(key), expected.get(key)) for key in (*used, *(set(expected) - set(used)))}
        found[name] = {
            key: pair
            for key, pair in sorted(compared.items())
            if pair[0] != pair[1] and key.split(".")[0] in _steps(used)
        }
    best = min(found, key=lambda name: len(found[name]))
    return best, found[best]


def used_inputs(chain: orm.WorkChainNode) -> dict[str, Any]:
    """The inputs of a DmiWorkChain that a protocol says, flat."""
    links = {link.link_label: link.node for link in chain.base.links.get_incoming().all()}
    used: dict[str, Any] = {}
    dicts = {
        "response": "response__dmi__parameters",
        "wannierisation": "wannier_model__wannierisation",
        "wannierisation.parameters": "wannier_model__wannier90__parameters",
        "quality": "wannier_model__quality" if "wannier_model__quality" in links else "quality",
        "scf.parameters": "wannier_model__scf__pw__parameters",
    }
    for name, label in dicts.items():
        if label in links:
            used |= _flat(name, links[label].get_dict())
    if "force" in links:
        used["force"] = links["force"].value
    for name, label in (("scf", "wannier_model__scf__kpoints"), ("wannierisation", "wannier_model__kpoints")):
        if label in links:
            used[f"{name}.kpoints_mesh"] = links[label].get_kpoints_mesh()[0]
    # What follows from the structure is no setting.
    return {key: value for key, value in used.items() if "starting_magnetization" not in key}


def _comparable(inputs: dict[str, Any], chain: orm.WorkChainNode) -> dict[str, Any]:
    """A protocol's inputs in the form of `used_inputs`."""
    expected = _flat("response", {key: value for key, value in inputs["response"].items() if value is not None})
    expected["force"] = inputs["force"]
    quality = _flat("quality", inputs["quality"])
    if "structure" not in chain.inputs:
        known = {key for key in quality if key.split(".")[1] in ("closure", "symmetry_residual", "k_error")}
        return {**expected, **{key: quality[key] for key in known}}
    for name in ("scf", "wannierisation"):
        expected[f"{name}.kpoints_mesh"] = mesh_of(chain.inputs.structure, inputs[name]).get_kpoints_mesh()[0]
    expected |= _flat("scf.parameters", inputs["scf"]["parameters"])
    wannier = {key: value for key, value in inputs["wannierisation"].items() if not key.startswith("kpoints")}
    return {**expected, **quality, **_flat("wannierisation", wannier)}


def _flat(name: str, values: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(f"{name}.{key}", value)
        else:
            flat[f"{name}.{key}"] = value
    return flat


def _steps(used: dict[str, Any]) -> set[str]:
    return {key.split(".")[0] for key in used}
