"""One point of a sweep: which direction, mask, temperature, xi, shift and component a figure shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.output.headline import error_words, indices_of, mesh_label
from aiida_dmi.engine.output.results import tensors_of
from aiida_dmi.engine.quantities.quantity import OF_DMI

from .style import TIMES, plain

AXES = ("direction", "mask", "soi_scale", "temperature", "fermi_shift")
CLOSE = 1e-6
Drawn = TypeVar("Drawn", bound=tuple[Any, ...])
Results = xr.Dataset | Mapping[str, xr.Dataset]


def by_title(results: Results, title: str = "") -> dict[str, xr.Dataset]:
    """One result, or several by their titles."""
    found = {title: results} if isinstance(results, xr.Dataset) else dict(results)
    if not found:
        raise InputError("results: none were given, expected one or more")
    return found


def point(result: xr.Dataset, i: str, j: str, choice: Mapping[str, Any], keep: tuple[str, ...] = ()) -> xr.Dataset:
    """The result at one component and one label on every axis.

    Parameters
    ----------
    result : xarray.Dataset
        From `compute`.
    i, j : str
        Component: of the DMI vector, and direction of propagation; of another tensor its first and its second index.
    choice : mapping
        Label on an axis, such as temperature=300.0. Default: xi = 1 or the largest, the shift nearest to 0, the first
        direction, mask and temperature.
    keep : tuple of str
        These stay axes.

    Raises
    ------
    InputError
        If a label is not in the result: what was given, and what there is.
    """
    unknown = [axis for axis in choice if axis not in AXES]
    if unknown:
        raise InputError(f"{unknown[0]}: no axis of a result, expected one of {', '.join(AXES)}")
    others = _of_other_axes(result, i, j)
    selected = _one(_one(result.drop_vars(list(others)), "i", i), "j", j).assign(others)
    for axis in AXES:
        if choice.get(axis) is not None:
            selected = _one(selected, axis, choice[axis])
        elif axis not in keep:
            selected = selected.isel({axis: _default(selected, axis)})
    return selected


def _of_other_axes(result: xr.Dataset, i: str, j: str) -> dict[str, xr.DataArray]:
    """The component of tensors that have not the axes of D; one that lacks it, as a vector does, stays whole."""
    found = {}
    for name in tensors_of(result):
        indices = indices_of(result[name])
        if indices == OF_DMI:
            continue
        labels = dict(zip(indices, (i, j), strict=True)) if len(indices) == 2 else {}
        if any(label not in result[axis].values for axis, label in labels.items()):
            labels = {}
        for one in (name, f"{name}_error"):
            found[one] = result[one].sel(labels).drop_vars(list(labels))
    return found


def _default(result: xr.Dataset, axis: str) -> int:
    values = result[axis].values
    if axis == "soi_scale":
        one = np.abs(values - 1.0) < CLOSE
        return int(np.argmax(one) if one.any() else np.argmax(values))
    return int(np.argmin(np.abs(values))) if axis == "fermi_shift" else 0


def _one(result: xr.Dataset, axis: str, label: Any) -> xr.Dataset:
    values = np.atleast_1d(result[axis].values)
    numbers = values.dtype.kind == "f"
    found = np.abs(values - _number(axis, label)) < CLOSE if numbers else values == label
    if not found.any():
        there = ", ".join(f"{v:g}" if numbers else str(v) for v in values)
        raise InputError(f"{axis}: {label} was given, the result has {there}")
    return result.isel({axis: int(np.argmax(found))})


def _number(axis: str, label: Any) -> float:
    try:
        return float(label)
    except (TypeError, ValueError) as error:
        raise InputError(f"{axis}: {label!r} was given, expected a number") from error


def held(results: Iterable[xr.Dataset], drawn: Iterable[Drawn]) -> tuple[Drawn, ...]:
    """What all results hold of what a figure draws, as (quantity, ...); the rest was not asked for.

    Raises
    ------
    InputError
        If they hold nothing of it.
    """
    results, drawn = list(results), tuple(drawn)
    kept = tuple(entry for entry in drawn if all(entry[0] in result for result in results))
    if not kept:
        there = dict.fromkeys(name for result in results for name in tensors_of(result))
        names = ", ".join(name for name, *_ in drawn)
        raise InputError(f"results: {', '.join(there)} were computed, this figure shows {names}; ask for one of them")
    return kept


def described(selected: xr.Dataset) -> list[str]:
    """What a selected point is, one statement a line: for captions and for the notes of a CSV file."""
    notes = []
    for axis, text in (
        ("temperature", "T = {:g} K"),
        ("direction", "n = {}"),
        ("mask", "spin-orbit mask {}"),
        ("soi_scale", "xi = {:g}"),
        ("fermi_shift", "shift of the Fermi level {:g} eV"),
    ):
        if axis in selected.coords and selected[axis].ndim == 0:
            notes.append(text.format(selected[axis].item()))
    errors = f"k errors: {error_words(selected.attrs)}"
    return [*notes, f"mesh {mesh_label(selected.attrs['mesh'])}, {errors}", f"sign: {selected.attrs['sign']}"]


def heading(selected: xr.Dataset) -> str:
    """A panel's second line."""
    parts = []
    if "temperature" in selected.coords and selected.temperature.ndim == 0:
        parts.append(f"$T$ = {selected.temperature.item():g} K")
    if "direction" in selected.coords and selected.direction.ndim == 0:
        parts.append(f"$n$ = {direction_name(selected.direction.item())}")
    parts.append(f"mesh {mesh_label(selected.attrs['mesh'], TIMES)}")
    return ", ".join(parts)


def direction_name(label: str) -> str:
    """'z' for '0,0,1', else '[1,1,0]'."""
    names = {"1,0,0": "x", "0,1,0": "y", "0,0,1": "z"}
    return f"${names[label]}$" if label in names else f"[{plain(label)}]"
