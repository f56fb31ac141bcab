"""Reading protocols and merging what the user overrides into them."""

from __future__ import annotations

import copy
import functools
from importlib.resources import files
from typing import Any

from aiida_dmi.calculations.response import DEFAULTS
from aiida_dmi.engine.build.atomic_functions import ATOMIC, HYDROGENIC
from aiida_dmi.engine.completeness.correct import CORRECTED
from aiida_dmi.engine.files.yaml_text import load_yaml
from aiida_dmi.workflows.protocols.schema import NORM_CONSERVING, OVERLAPS, check_inputs, checked_overrides


def load_protocol(name: str | None, overrides: dict[str, Any] | None, height: float = 0.0) -> dict[str, Any]:
    """Inputs of a protocol with the user's overrides.

    Parameters
    ----------
    name : str, optional
        Default: the file's default protocol.
    overrides : dict, optional
        Nested as the protocol; values replace the protocol's, null takes a keyword or an argument away.
    height : float
        Of the cell along z, Angstrom: tall ones get `tall_cells`.

    Returns
    -------
    dict
        As `default_inputs` of film.yaml, with `magnetic_moments`; `relax` and `completeness` are None or complete, the
        protocol's own completeness None where nothing is asked for that it would put right;
        ecutrho follows an ecutwfc that is given. Without one the scf has none yet: `workflows.cutoffs` takes it from
        the pseudopotentials.

    Raises
    ------
    ValueError
        If the protocol is unknown, or a key or a value of the overrides is not possible; the message names it.
    """
    content = read_protocols()
    name = name or content["default_protocol"]
    if name not in content["protocols"]:
        raise ValueError(f"protocol: {name!r} was given, expected one of {', '.join(content['protocols'])}")
    changes = {key: value for key, value in content["protocols"][name].items() if key != "description"}
    inputs = _merged(content["default_inputs"], changes)
    inputs["magnetic_moments"] = content["magnetic_moments"]
    optional = {name: inputs.pop(f"{name}_defaults") for name in ("relax", "completeness")}
    tall = inputs.pop("tall_cells")
    if height > tall.pop("above"):
        inputs = _merged(inputs, tall)
    given = checked_overrides(overrides)
    response = given.get("response", {})
    if response.get("mesh") is not None and "tolerance" not in response:
        inputs["response"]["tolerance"] = None  # one mesh was asked for
    asked = response.get("quantities")
    if asked is not None and not set(asked) & set(CORRECTED):
        inputs["completeness"] = None
    steps = {name: given.pop(name, inputs[name]) for name in optional}
    inputs = _merged(inputs, given)
    for name, changes in steps.items():
        inputs[name] = None if changes is None else _merged(optional[name], changes)
    _follow(inputs)
    check_inputs(inputs)
    return inputs


def read_protocols() -> dict[str, Any]:
    """The protocol file: `default_inputs`, and what each of `protocols` changes."""
    return copy.deepcopy(_protocols())


@functools.cache
def _protocols() -> dict[str, Any]:
    """Read once: a campaign asks for every one of its candidates."""
    content: dict[str, Any] = load_yaml((files(__package__) / "film.yaml").read_text(encoding="utf-8"))
    return content


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = copy.deepcopy(base)
    for key, value in changes.items():
        nested = isinstance(merged.get(key), dict) and isinstance(value, dict)
        merged[key] = _merged(merged[key], value) if nested else copy.deepcopy(value)
    return merged


def _follow(inputs: dict[str, Any]) -> None:
    """Keywords that were taken away go, arguments are the engine's own then; what follows from others is set.

    ecutrho is four times its ecutwfc; trial functions are atomic where dmi-engine makes them.
    """
    if inputs["wannierisation"]["trial_functions"] is None:
        by_engine = inputs["overlaps"] == OVERLAPS[0]
        inputs["wannierisation"]["trial_functions"] = ATOMIC if by_engine else HYDROGENIC
    inputs["response"] = {k: DEFAULTS.get(k) if value is None else value for k, value in inputs["response"].items()}
    sections = [section for section in inputs.values() if isinstance(section, dict) and "parameters" in section]
    for section in sections:
        section["parameters"] = _without_none(section["parameters"])
    systems = [section["parameters"].get("SYSTEM", {}) for section in (inputs["scf"], inputs["relax"] or inputs["scf"])]
    for system in systems:
        if "ecutwfc" in system:
            system.setdefault("ecutrho", NORM_CONSERVING * system["ecutwfc"])


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    inner = {key: _without_none(value) if isinstance(value, dict) else value for key, value in values.items()}
    return {key: value for key, value in inner.items() if value is not None}
