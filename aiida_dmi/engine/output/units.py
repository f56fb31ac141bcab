"""Conversions of what is a number per cell, and one number in every unit that it has."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ..constants import MEV_PER_ANGSTROM_IN_PJ_PER_M
from ..errors import InputError

# 1 pJ/m per Angstrom = 10 mJ/m^2
MEV_PER_ANGSTROM2_IN_MJ_PER_M2 = MEV_PER_ANGSTROM_IN_PJ_PER_M * 10
"""1 meV/Angstrom^2 = 16.02177 mJ/m^2: D per cell volume, or per area and thickness, becomes a density of energy."""
ENERGY_LENGTH = "meV angstrom"
"""Unit of what is a number per cell and can be given per length, area or volume."""
UNITS = {"meV_angstrom": "meV angstrom per cell", "pJ_per_m": "pJ/m", "mJ_per_m2": "mJ/m^2"}
"""The units that such a number is given in, by the keys of `in_units`."""


def per_length(tensor: xr.DataArray, area: float) -> xr.DataArray:
    """meV*Angstrom per cell of a film to pJ/m.

    Parameters
    ----------
    tensor : DataArray
        In meV*Angstrom per cell.
    area : float
        Of the cell, Angstrom^2 (attribute `cell_area` of the result).
    """
    _positive("area", area, "Angstrom^2")
    converted = tensor / area * MEV_PER_ANGSTROM_IN_PJ_PER_M
    return converted.assign_attrs(units="pJ / m", area_angstrom2=area)


def per_area(tensor: xr.DataArray, area: float, thickness: float) -> xr.DataArray:
    """meV*Angstrom per cell of a film to mJ/m^2: per_length divided by the magnetic film's thickness (Angstrom)."""
    _positive("area", area, "Angstrom^2")
    _positive("thickness", thickness, "Angstrom")
    converted = tensor / (area * thickness) * MEV_PER_ANGSTROM2_IN_MJ_PER_M2
    return converted.assign_attrs(units="mJ / m^2", area_angstrom2=area, thickness_angstrom=thickness)


def per_volume(tensor: xr.DataArray, volume: float) -> xr.DataArray:
    """meV*Angstrom per cell of a bulk magnet to mJ/m^2 (1 meV/Angstrom^2 = 16.02177 mJ/m^2).

    Parameters
    ----------
    tensor : DataArray
        In meV*Angstrom per cell.
    volume : float
        Of the cell, Angstrom^3 (attribute `cell_volume` of the result).
    """
    _positive("volume", volume, "Angstrom^3")
    converted = tensor / volume * MEV_PER_ANGSTROM2_IN_MJ_PER_M2
    return converted.assign_attrs(units="mJ / m^2", volume_angstrom3=volume)


def _positive(name: str, value: float, unit: str) -> None:
    if not np.isfinite(value) or value <= 0:
        raise InputError(f"{name}: {value} was given, expected a positive number of {unit}")


def in_units(value: xr.DataArray, error: xr.DataArray, area: float, thickness: float | None) -> dict[str, float]:
    """One number of a film and its error, in all units that are defined.

    Parameters
    ----------
    value, error : DataArray
        Of no dimension, with their `units`.
    area : float
        Of the cell, Angstrom^2.
    thickness : float or None
        Of the magnetic film, Angstrom; without it there are no mJ/m^2.

    Returns
    -------
    dict
        Of meV*Angstrom per cell: `meV_angstrom`, `pJ_per_m` and, with a thickness, `mJ_per_m2`, each with its `_error`.
        Of another unit: that alone, as in `meV` and `meV_error`.
    """
    unit = str(value.attrs["units"])
    if unit != ENERGY_LENGTH:
        key = unit.replace(" / ", "_per_").replace("^", "").replace(" ", "_")
        return {key: float(value), f"{key}_error": float(error)}
    converted = {}
    for suffix, number in (("", value), ("_error", error)):
        converted[f"meV_angstrom{suffix}"] = float(number)
        converted[f"pJ_per_m{suffix}"] = float(per_length(number, area))
        if thickness is not None:
            converted[f"mJ_per_m2{suffix}"] = float(per_area(number, area, thickness))
    return converted
