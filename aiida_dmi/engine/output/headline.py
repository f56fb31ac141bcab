"""The numbers of a result that people ask for first: their keys, symbols and units."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from ..quantities.quantity import AXES
from ..quantities.registry import SYMBOLS, stands_alone
from .results import tensors_of
from .units import UNITS, in_units

Numbers = dict[str, float]
"""A number and its error, by unit; see `units.in_units`."""


def headline_values(
    point: xr.Dataset, area: float, thickness: float | None, but: tuple[str, ...] = ()
) -> dict[str, Numbers]:
    """Every quantity at one point of a sweep, in its first components.

    Parameters
    ----------
    point : Dataset
        A result at one direction, mask, xi, temperature and shift.
    area : float
        Of the cell, Angstrom^2.
    thickness : float or None
        Of the magnetic film, Angstrom.
    but : tuple of str
        Components that are left out, such as 'xy'.

    Returns
    -------
    dict
        Such as 'D_yx' or 'energy' to what `in_units` gives.
    """
    values: dict[str, Numbers] = {}
    for name in filter(stands_alone, tensors_of(point)):
        for component, index in off_diagonal(point[name]).items():
            if component in but:
                continue
            value, error = (point[one].sel(index) for one in (name, f"{name}_error"))
            values[f"{name}_{component}" if component else name] = in_units(value, error, area, thickness)
    return values


def indices_of(tensor: xr.DataArray) -> list[str]:
    """Dimensions that are a quantity's own indices, such as ['i', 'j'] of D; of a scalar none."""
    return [axis.name for axis in AXES if axis.name in tensor.dims]


def off_diagonal(tensor: xr.DataArray) -> dict[str, dict[str, str]]:
    """The components that are looked at first: yx and xy of a tensor, all of a vector, the one of a scalar.

    Returns
    -------
    dict
        Name of the component, as in 'yx' ('' for a scalar), and its labels by axis.
    """
    axes = indices_of(tensor)
    if len(axes) == 2:
        return {a + b: dict(zip(axes, (a, b), strict=True)) for a, b in (("y", "x"), ("x", "y"))}
    if len(axes) == 1:
        return {str(label): {axes[0]: str(label)} for label in tensor[axes[0]].values}
    return {"": {}}


def parts_of(key: str) -> tuple[str, str]:
    """Quantity and component of a headline's key: ('a_I', 'yx') of 'a_I_yx', ('energy', '') of 'energy'."""
    names = [name for name in SYMBOLS if key == name or key.startswith(f"{name}_")]
    name = max(names, key=len, default=key)
    return name, key[len(name) + 1 :]


def symbol_of(key: str) -> str:
    """A headline's key as it is written: 'a(I)_yx'."""
    name, component = parts_of(key)
    return "_".join(part for part in (SYMBOLS.get(name, name), component) if part)


def in_order(keys: list[str]) -> list[str]:
    """Headline's keys in the order of results, those of quantities that this version does not know last."""
    order = list(SYMBOLS)

    def place(key: str) -> tuple[int, int]:
        name, component = parts_of(key)
        # yx stands before xy: it is the component of the sign convention.
        return (order.index(name) if name in order else len(order), 1 if component == "xy" else 0)

    return sorted(keys, key=place)


def units_of(numbers: Iterable[str]) -> list[str]:
    """The units among the keys of `Numbers`: per cell, per length, per area, then others.

    The database does not keep the order of keys.
    """
    given = dict.fromkeys(key for key in numbers if not key.endswith("_error"))
    return [*(unit for unit in UNITS if unit in given), *(unit for unit in given if unit not in UNITS)]


def unit_words(key: str) -> str:
    """A key of `in_units` in words, such as 'e^2/h' of 'e2_per_h'."""
    return UNITS.get(key) or re.sub(r"(?<=[A-Za-z])(?=\d)", "^", key).replace("_per_", "/")


def error_words(attributes: Mapping[str, Any]) -> str:
    """Where the k errors of a result, or of its summary, come from; earlier versions compared two meshes."""
    words = "from the decay of Fourier coefficients"
    if "nested_mesh" in attributes:
        nested = mesh_label(attributes["nested_mesh"])
        words = f"change from {nested}" if nested else "none, no nested mesh"
    if "completeness_mesh" not in attributes:
        return words
    mesh = mesh_label(attributes["completeness_mesh"])
    return f"{words}; of what was put back: change from the mesh nested in {mesh}"


def mesh_label(divisions: Any, times: str = "x") -> str:
    """'192x192' of the points along each direction, as an attribute or a database has them; '' of none."""
    return times.join(str(int(m)) for m in np.atleast_1d(divisions))


def with_error(value: float | None, error: float | None) -> str:
    """'12.30 +- 0.05': as many digits as the error has meaning in; five digits and '(not resolved)' without one.

    Examples
    --------
    >>> with_error(12.29637, 0.0543), with_error(-0.00312, 2.1)
    ('12.296 +- 0.054', '-0.0 +- 2.1')
    """
    if value is None or not math.isfinite(value):
        return "not a number"
    if error is None or not math.isfinite(error):
        return f"{value:.5g} (not resolved)"
    if error == 0.0:
        return f"{value:.5g} +- 0"
    digits = min(max(1 - math.floor(math.log10(error)), 0), 6)
    return f"{value:.{digits}f} +- {error:.{digits}f}"
