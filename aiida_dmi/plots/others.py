"""Quantities that have no figure of their own, each against the axis along which it was computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.output.headline import indices_of, off_diagonal
from aiida_dmi.engine.output.results import tensors_of
from aiida_dmi.engine.quantities.registry import TITLES, stands_alone

from .response import SHIFT
from .selection import described, heading, point
from .style import Plot, drawn, panels, plain, plain_unit, series, symbol, unit, zero_line

OWN = ("D", "Q", "Q_1", "D_1", "a_I", "a_II")
"""Drawn by the paper's figures, or their check."""
AXES = {
    "soi_scale": "scale $\\xi$ of the spin-orbit interaction",
    "fermi_shift": SHIFT,
    "temperature": "electronic temperature $T$ (K)",
}
"""What a quantity is drawn against, the first that has several values, and its label."""
COLUMNS = {"soi_scale": "xi (1)", "fermi_shift": "shift (eV)", "temperature": "T (K)"}
"""The same in the figure's table."""


def others(result: xr.Dataset) -> list[str]:
    """Quantities of a result that can be drawn here: they have several values along one of `AXES`."""
    names = [name for name in filter(stands_alone, tensors_of(result)) if name not in OWN]
    return [name for name in names if _axis(result, name) is not None]


@drawn
def plot_others(
    result: xr.Dataset,
    title: str = "",
    i: str = "y",
    j: str = "x",
    names: Sequence[str] | None = None,
    **choice: Any,
) -> Plot:
    """Quantities against xi, the shift of the Fermi level or the temperature, a panel each.

    Parameters
    ----------
    result : xarray.Dataset
        From `compute`.
    title : str
    i, j : str
        Component of a tensor: its first and its second index. Of a vector all are drawn.
    names : sequence of str, optional
        Quantities; default `others`.
    **choice
        As `response.plot_spin_orbit`.

    Returns
    -------
    Plot
        In the units of the result; shaded: the error from the k mesh.

    Raises
    ------
    InputError
        If the result holds none, or only one value of it.
    """
    names = others(result) if names is None else list(names)
    axes_of = {name: _axis(result, name) for name in names if name in tensors_of(result)}
    if not names or any(axes_of.get(name) is None for name in names):
        raise InputError(
            f"results: {', '.join(names) or 'no quantity beside ' + ', '.join(OWN)} was given, expected quantities of "
            f"{', '.join(tensors_of(result))} with several values of {', '.join(AXES)}"
        )
    plot, panels_ = panels(names)
    for panel, name in zip(panels_, names, strict=True):
        axis = str(axes_of[name])
        selected = point(result, i, j, {key: label for key, label in choice.items() if key != axis}, keep=(axis,))
        values, errors = selected[name], selected[f"{name}_error"]
        x = selected[axis].values
        rows: dict[str, Any] = {"quantity": [name] * x.size, COLUMNS[axis]: x}
        # A tensor has come down to the chosen component; a vector has all of its own still.
        chosen = indices_of(result[name]) and not indices_of(values)
        for label, index in ({i + j: {}} if chosen else off_diagonal(values)).items():
            written = symbol(name, label)
            series(panel, x, values.sel(index).values, errors.sel(index).values, name, written)
            column = f"{name}_{label}" if label else name
            rows[f"{column} ({plain_unit(values)})"] = values.sel(index).values
            rows[f"{column} error ({plain_unit(values)})"] = errors.sel(index).values
        panel.set_xlabel(AXES[axis])
        panel.set_ylabel(unit(values))
        if np.sign(values.min()) != np.sign(values.max()):
            zero_line(panel)
        panel.set_title(f"{plain(title)}\n{heading(selected)}" if title else heading(selected))
        panel.legend()
        plot.table.add(rows)
        plot.table.notes += [f"{name}: {note}" for note in (TITLES[name], *described(selected))]
    plot.caption = f"{'; '.join(f'{name}: {TITLES[name]}' for name in names)}. Shaded: error from the k mesh."
    return plot


def _axis(result: xr.Dataset, name: str) -> str | None:
    """The first axis along which a quantity has several values."""
    return next((axis for axis in AXES if axis in result[name].dims and result.sizes[axis] > 1), None)
