"""A response as files for other programs: tables, micromagnetics."""

from __future__ import annotations

import csv
import io
import itertools
import math
from typing import Any

import xarray as xr

from aiida_dmi.engine.completeness.file import OF_MODEL
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.output.headline import indices_of
from aiida_dmi.engine.output.micromagnetics import Micromagnetic, to_mumax3, to_ubermag
from aiida_dmi.engine.output.results import tensors_of
from aiida_dmi.engine.quantities.quantity import OF_DMI
from aiida_dmi.plots.selection import AXES, point
from aiida_dmi.text import comment, csv_text


def sweep_csv(result: xr.Dataset) -> str:
    """Every number of a response, one line a point of the sweep and a component.

    Parameters
    ----------
    result : xarray.Dataset
        From `compute`.

    Returns
    -------
    str
        CSV; lines that begin with # say sign, mesh and reference; units stand in the headings.
    """
    flat = _one_line_a_point(result)
    names = list(flat.data_vars)
    table = flat.to_dataframe()[names].reset_index()
    per = {str(name): f"{flat[name].attrs['units']} per {flat[name].attrs['per']}" for name in names}
    axes = {str(name): str(result[name].attrs.get("units", "")) for name in table.columns if name not in per}
    units: dict[str, str] = {**axes, **per}
    headings = {name: f"{name} ({unit})" if unit else name for name, unit in units.items()}
    notes = [f"{key}: {result.attrs[key]}" for key in ("sign", "mesh", "error", "fermi_level", "reference")]
    if "completeness_error" in result.attrs:
        notes += [f"{key}: {result.attrs[key]}" for key in ("completeness_mesh", "completeness_error")]
        notes.append(f"*{OF_MODEL}: of the Wannier functions alone, before what they leave out was put back")
    text = io.StringIO()
    text.writelines(f"{comment('#', note)}\n" for note in notes)
    cells = table.rename(columns=headings).map(csv_text)
    # Quoted, so that a name that begins with # is no note.
    cells.to_csv(text, index=False, quoting=csv.QUOTE_NONNUMERIC)
    return text.getvalue()


def _one_line_a_point(result: xr.Dataset) -> xr.Dataset:
    """Every quantity and its error; what has other indices than D becomes a variable a component, as in ahc_yx.

    A table has one index a column: with those of all quantities in it, each would be repeated for those of the others.
    """
    columns: dict[str, xr.DataArray] = {}
    for name in tensors_of(result):
        indices = indices_of(result[name])
        if indices == OF_DMI:
            before = (f"{name}{OF_MODEL}", f"{name}{OF_MODEL}_error")
            columns |= {one: result[one] for one in (name, f"{name}_error", *before) if one in result}
            continue
        for labels in itertools.product(*(result[index].values for index in indices)):
            at = dict(zip(indices, labels, strict=True))
            column = "_".join(part for part in (name, "".join(map(str, labels))) if part)
            for one, end in ((name, ""), (f"{name}_error", "_error")):
                columns[f"{column}{end}"] = result[one].sel(at).drop_vars(indices)
    return xr.Dataset(columns)


def micromagnetic(
    program: str, result: xr.Dataset, thickness: float | None, source: str, choice: dict[str, Any]
) -> str:
    """A few lines for a script of a micromagnetic program: the constant with unit, sign convention, error, source.

    Parameters
    ----------
    program : {'ubermag', 'mumax3'}
    result : xarray.Dataset
        From `compute`, of a Wannier model.
    thickness : float or None
        Of the magnetic film, Angstrom.
    source : str
        What the number comes from: uuid of the calculation.
    choice : dict
        Label on an axis of the result; see `plots.selection.point`.

    Raises
    ------
    InputError
        If one constant does not describe the tensor, a film's thickness is missing, or a label is not in the result.
    """
    selected = point(result, "y", "x", choice)
    labels = {axis: selected[axis].item() for axis in AXES}
    if program == "ubermag":
        constant = to_ubermag(result, thickness, **labels)
        crystal = "Cnv_z" if constant.thickness is not None else "T"
        lines = [
            # Python reads a script's encoding from the first such comment: it is this one, whatever the next ones say.
            "# -*- coding: utf-8 -*-",
            *_comment("#", constant, source, labels),
            "import micromagneticmodel as mm",
            "",
            f'dmi = mm.DMI(D={constant.value:.6e}, crystalclass="{crystal}")  # {constant.unit}',
        ]
    elif program == "mumax3":
        constant = to_mumax3(result, thickness, **labels)
        lines = [
            *_comment("//", constant, source, labels),
            f"{constant.parameter} = {constant.value:.6e} // {constant.unit}",
        ]
    else:
        raise InputError(f"program: {program!r} was given, expected ubermag or mumax3")
    return "\n".join(lines) + "\n"


def _comment(mark: str, constant: Micromagnetic, source: str, labels: dict[str, Any]) -> list[str]:
    where = ", ".join(f"{axis} {label}" for axis, label in labels.items())
    return [
        comment(mark, text)
        for text in (
            f"aiida-dmi: {source}",
            f"at {where}",
            f"convention: {constant.convention}",
            f"error {constant.error:.2e} {constant.unit}"
            if math.isfinite(constant.error)
            else "error not known: the k mesh does not resolve kT",
            f"part of D that one constant leaves out: {constant.residual:.1e}",
        )
    ]
