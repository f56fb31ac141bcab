"""A response as files for other programs: tables, micromagnetics."""

from __future__ import annotations

import csv
import io
from typing import Any

import xarray as xr

from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.output.micromagnetics import Micromagnetic, to_mumax3, to_ubermag
from aiida_dmi.engine.output.results import tensors_of
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
    names = [name for quantity in tensors_of(result) for name in (quantity, f"{quantity}_error")]
    table = result[names].to_dataframe()[names].reset_index()
    per = {name: f"{result[name].attrs['units']} per {result[name].attrs['per']}" for name in names}
    axes = {name: str(result[name].attrs.get("units", "")) for name in table.columns if name not in per}
    headings = {name: f"{name} ({unit})" if unit else name for name, unit in {**axes, **per}.items()}
    notes = [
        f"{key}: {result.attrs[key]}" for key in ("sign", "mesh", "nested_mesh", "error", "fermi_level", "reference")
    ]
    text = io.StringIO()
    text.writelines(f"{comment('#', note)}\n" for note in notes)
    cells = table.rename(columns=headings).map(csv_text)
    # Quoted, so that a name that begins with # is no note.
    cells.to_csv(text, index=False, quoting=csv.QUOTE_NONNUMERIC)
    return text.getvalue()


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
            f"error {constant.error:.2e} {constant.unit}",
            f"part of D that one constant leaves out: {constant.residual:.1e}",
        )
    ]
