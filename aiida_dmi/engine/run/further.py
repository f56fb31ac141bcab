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
import functools
import inspect
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from ..arguments import known_keys, refusal, within
from ..errors import InputError
from ..files.atomic import whole_file
from ..integrate.settings import Settings
from ..maps.bands import BandSettings, bands
from ..maps.filling import StatesSettings, check_doping, density_of_states, doping_axis
from ..maps.k_map import MapSettings, k_map
from ..model.rashba import RashbaModel
from ..model.wannier import WannierModel
from ..output.micromagnetics import check_point, checked_rate, energy_current, to_mumax3, to_ubermag
from ..output.results import save_result

Model = WannierModel | RashbaModel

MAPS: dict[str, tuple[Callable[..., xr.Dataset], Callable[..., Any]]] = {
    "k_map": (k_map, MapSettings.checked),
    "bands": (bands, BandSettings.checked),
    "density_of_states": (density_of_states, StatesSettings.checked),
}
"""Sections that give a dataset of their own: the function, whose arguments are their keys, and its checks."""
WITH_RESULT = ("doping_axis", "energy_current", "micromagnetics")
OF_D = ("energy_current", "micromagnetics")
"""Sections that start from the result's D."""
POINT = ("direction", "mask", "soi_scale", "temperature", "fermi_shift")
"""What a point of a result is called by."""
SECTIONS = (*MAPS, *WITH_RESULT)


def check_keys(spec: Mapping[str, Any]) -> None:
    """Refuse unknown keys of the sections; the model is not needed for that.

    Raises
    ------
    InputError
        Naming section and key.
    """
    for name, (function, _) in MAPS.items():
        if name in spec:
            known_keys(name, spec[name], [key for key in inspect.signature(function).parameters if key != "model"])
    if "energy_current" in spec:
        known_keys("energy_current", spec["energy_current"], ["dn_dt"], needed=["dn_dt"])
    if "micromagnetics" in spec:
        known_keys("micromagnetics", spec["micromagnetics"], ["thickness", "tolerance", *POINT])
    substituted = spec.get("doping_axis", True)
    if substituted is not True and not (isinstance(substituted, list) and substituted):
        raise refusal("doping_axis", substituted, "true or a list of elements")


def check(spec: Mapping[str, Any], model: Model, settings: Settings) -> None:
    """Refuse every value of the sections that does not fit: after the tensors it would be too late.

    Parameters
    ----------
    spec : mapping
        Checked by `check_keys`.
    model : WannierModel or RashbaModel
    settings : Settings
        Of the tensors.

    Raises
    ------
    InputError
        Naming section and key.
    """
    for name, (_, checked) in MAPS.items():
        if name in spec:
            _in_section(name, functools.partial(checked, model, **spec[name]))
    for name in OF_D:
        if name in spec and "D" not in settings.quantities:
            raise InputError(f"{name}: quantities: {list(settings.quantities)} was given; it needs D among them")
    for name in ("doping_axis", "micromagnetics"):
        if name in spec and not isinstance(model, WannierModel):
            raise InputError(f"{name}: it needs a Wannier model; remove it")
    if "energy_current" in spec:
        _in_section("energy_current", lambda: checked_rate(spec["energy_current"]["dn_dt"]))
    if "doping_axis" in spec:
        symbols, shifts, level = list(getattr(model, "symbols", ())), settings.fermi_shifts, settings.fermi_level
        _in_section("doping_axis", lambda: check_doping(symbols, shifts, level, _substituted(spec)))
    if "micromagnetics" in spec:
        point = dict(spec["micromagnetics"])
        thickness, tolerance = point.pop("thickness", None), point.pop("tolerance", 0.05)
        axes = dict(zip(POINT, _axes(settings), strict=True))
        _in_section("micromagnetics", lambda: check_point(axes, model.dimension == 3, thickness, tolerance, point))


def _axes(settings: Settings) -> list[list[Any]]:
    """Labels of the result's axes, in the order of POINT."""
    numbers = (settings.soi_scales, settings.temperatures, settings.fermi_shifts)
    return [settings.direction_labels, list(settings.soi_masks), *map(list, numbers)]


def _in_section(name: str, call: Callable[[], object]) -> None:
    try:
        call()
    except InputError as error:
        raise within(name, error) from error


def _substituted(spec: Mapping[str, Any]) -> list[str] | None:
    return None if spec["doping_axis"] is True else spec["doping_axis"]


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
        axis = doping_axis(result, _substituted(spec))
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


def write(spec: Mapping[str, Any], model: Model, output: Path) -> None:
    """Compute and write the files of the sections that start from the model alone.

    Parameters
    ----------
    spec : mapping
    model : WannierModel or RashbaModel
    output : Path
        The result's file; the others stand beside it.
    """
    for name, (function, _) in MAPS.items():
        if name in spec:
            save_result(function(model, **spec[name]), _beside(output, name, ".nc"))


def write_constants(spec: Mapping[str, Any], result: xr.Dataset, output: Path) -> None:
    """Write the file of micromagnetic constants, if there is to be one.

    Parameters
    ----------
    spec : mapping
    result : Dataset
        From `compute`.
    output : Path
        The result's file.

    Raises
    ------
    InputError
        If one constant does not describe D: the one thing of a spec that only the tensors tell.
    """
    if "micromagnetics" not in spec:
        return
    point = dict(spec["micromagnetics"])
    try:
        constants = [dataclasses.asdict(convert(result, **point)) for convert in (to_ubermag, to_mumax3)]
        for constant in constants:  # JSON has no NaN: null where the mesh does not resolve kT
            constant["error"] = constant["error"] if math.isfinite(constant["error"]) else None
    except InputError as error:
        raise within("micromagnetics", error) from error
    with whole_file(_beside(output, "micromagnetics", ".json")) as temporary:
        temporary.write_text(json.dumps(constants, indent=1) + "\n", encoding="utf-8")
