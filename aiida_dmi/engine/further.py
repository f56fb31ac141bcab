"""What `dmi-engine run` computes beside the tensors, asked for by further sections of its spec.

k_map: {mesh: 48, quantities: [D, misalignment]}   # -> OUTPUT.k_map.nc
bands: {points: 300}                               # -> OUTPUT.bands.nc
density_of_states: {mesh: 96}                      # -> OUTPUT.density_of_states.nc
doping_axis: [Co, Pt]                              # into the result: doping, compound
energy_current: {dn_dt: [1.0e9, 0, 0]}             # into the result: energy_current (Eq. 74), at every point
micromagnetics: {thickness: 2.04}                  # -> OUTPUT.micromagnetics.json, for ubermag and mumax3
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from .atomic import whole_file
from .bandstructure import bands
from .errors import InputError
from .export import energy_current, to_mumax3, to_ubermag
from .filling import density_of_states, doping_axis
from .model import WannierModel
from .rashba import RashbaModel
from .resolved import k_map
from .results import save_result

Model = WannierModel | RashbaModel

MAPS: dict[str, Callable[..., xr.Dataset]] = {"k_map": k_map, "bands": bands, "density_of_states": density_of_states}
"""Sections that give a dataset of their own; their keys are the function's arguments."""
WITH_RESULT = ("doping_axis", "energy_current", "micromagnetics")
OF_D = ("energy_current", "micromagnetics")
"""Sections that start from the result's D."""
SECTIONS = (*MAPS, *WITH_RESULT)


def check(spec: Mapping[str, Any]) -> None:
    """Refuse unknown keys of the sections, before anything is computed.

    Raises
    ------
    InputError
        Naming section and key.
    """
    for name, function in MAPS.items():
        if name in spec:
            known = [key for key in inspect.signature(function).parameters if key != "model"]
            _check_keys(name, spec[name], known)
    if "energy_current" in spec:
        _check_keys("energy_current", spec["energy_current"], ["dn_dt"], ["dn_dt"])
    if "micromagnetics" in spec:
        keys = ["thickness", "tolerance", "direction", "mask", "soi_scale", "temperature", "fermi_shift"]
        _check_keys("micromagnetics", spec["micromagnetics"], keys)
    asked = spec.get("quantities")
    for name in OF_D:
        if name in spec and isinstance(asked, list) and "D" not in asked:
            raise InputError(f"{name}: quantities: {asked} was given; it needs D among them")
    substituted = spec.get("doping_axis", True)
    if substituted is not True and not (isinstance(substituted, list) and substituted):
        raise InputError(f"doping_axis: {substituted!r} was given, expected true or a list of elements")


def _check_keys(section: str, given: Any, known: Iterable[str], needed: Iterable[str] = ()) -> None:
    expected = ", ".join(known)
    if not isinstance(given, Mapping):
        raise InputError(f"{section}: {given!r} was given, expected keys and values; known are {expected}")
    for key in given:
        if key not in known:
            raise InputError(f"{section}: {key} is unknown; expected {expected}")
    for key in needed:
        if key not in given:
            raise InputError(f"{section}: {key} is missing")


def output_files(spec: Mapping[str, Any], output: Path) -> list[Path]:
    """The files that the sections write beside the result."""
    files = [_beside(output, name, ".nc") for name in MAPS if name in spec]
    return [*files, _beside(output, "micromagnetics", ".json")] if "micromagnetics" in spec else files


def _beside(output: Path, name: str, suffix: str) -> Path:
    return output.with_name(f"{output.stem}.{name}{suffix}")


def changes_result(spec: Mapping[str, Any]) -> bool:
    """Whether a section adds to the result itself."""
    return "doping_axis" in spec or "energy_current" in spec


def extended(spec: Mapping[str, Any], result: xr.Dataset) -> xr.Dataset:
    """The result with the doping that every shift stands for, and with the energy current.

    Parameters
    ----------
    spec : mapping
        With or without the sections `doping_axis` and `energy_current`.
    result : Dataset
        From `compute`.
    """
    if "doping_axis" in spec:
        substituted = None if spec["doping_axis"] is True else spec["doping_axis"]
        axis = doping_axis(result, substituted)
        labels = {f"doping_{side}": axis.attrs[side] for side in ("negative", "positive")}
        result = result.assign(doping=axis.doping).assign_coords(compound=axis.compound).assign_attrs(labels)
    if "energy_current" in spec:
        rate = spec["energy_current"]["dn_dt"]
        currents = [
            energy_current(result.D.isel(direction=index), tuple(vector), rate)
            for index, vector in enumerate(result.direction_vector.transpose("direction", ...).values)
        ]
        joined = xr.concat(currents, dim=result.direction, combine_attrs="override")
        result = result.assign(energy_current=joined.assign_attrs(dn_dt_per_s=[float(x) for x in rate]))
    return result


def write(spec: Mapping[str, Any], model: Model, result: xr.Dataset, output: Path) -> list[Path]:
    """Compute and write the files of the sections.

    Parameters
    ----------
    spec : mapping
    model : WannierModel or RashbaModel
    result : Dataset
        From `compute`.
    output : Path
        The result's file; the others stand beside it.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    InputError
        If an argument does not fit, or one micromagnetic constant does not describe D.
    """
    for name, function in MAPS.items():
        if name in spec:
            save_result(function(model, **_arguments(name, spec[name])), _beside(output, name, ".nc"))
    if "micromagnetics" in spec:
        point = dict(spec["micromagnetics"])
        constants = [dataclasses.asdict(convert(result, **point)) for convert in (to_ubermag, to_mumax3)]
        with whole_file(_beside(output, "micromagnetics", ".json")) as temporary:
            Path(temporary).write_text(json.dumps(constants, indent=1) + "\n", encoding="utf-8")
    return output_files(spec, output)


def _arguments(section: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """YAML's lists as what the functions take."""
    arguments = dict(given)
    if isinstance(arguments.get("mesh"), list):
        arguments["mesh"] = tuple(arguments["mesh"])
    if section == "bands" and arguments.get("path") is not None:
        try:
            arguments["path"] = [(str(label), tuple(float(x) for x in point)) for label, point in arguments["path"]]
        except (TypeError, ValueError) as error:
            raise InputError("bands: path: expected a list of [label, [k_1, k_2]]") from error
    if section == "k_map" and arguments.get("kpoints") is not None:
        try:
            arguments["kpoints"] = np.asarray(arguments["kpoints"], dtype=float)
        except (TypeError, ValueError) as error:
            raise InputError("k_map: kpoints: expected a list of k points") from error
    return arguments
