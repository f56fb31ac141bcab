"""The paper's Figs. 3 and 4: D and Q against the SOI scale, the decomposition against the Fermi level."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's colours.
COLOURS = {"D": "#0072B2", "Q": "#D55E00", "Q_1": "#009E73", "a_I": "#CC79A7", "a_II": "#E69F00"}
MARKERS = {"D": "s", "Q": "o", "Q_1": "o", "a_I": "^", "a_II": "D"}
NAMES = {
    "D": "$D_{{{0}}}$",
    "Q": "$Q_{{{0}}}$",
    "Q_1": "$Q^{{(1)}}_{{{0}}}$",
    "a_I": "$a^{{(\\mathrm{{I}})}}_{{{0}}}$",
    "a_II": "$a^{{(\\mathrm{{II}})}}_{{{0}}}$",
}
UNIT = "meV $\\mathrm{\\AA}$ per cell"


def plot_spin_orbit(result: xr.Dataset, title: str = "", i: str = "y", j: str = "x", **choice: Any) -> Figure:
    """D and -Q against the SOI scale xi (the paper's Fig. 3).

    Parameters
    ----------
    result : xarray.Dataset
        From `compute`.
    title : str
    i, j : str
        Component: of the DMI vector, and direction of propagation.
    **choice
        Position on the other axes, such as temperature=300.0; default the first of each, zero shift.
    """
    point = _point(result, i, j, choice)
    figure, axes = _figure()
    order = np.argsort(point.soi_scale.values)
    for name, sign in (("D", 1.0), ("Q", -1.0)):
        _line(axes, point.soi_scale.values[order], point, name, sign, i + j, order)
    axes.set_xlabel("SOI scale $\\xi$")
    return _finish(figure, axes, title, point)


def plot_fermi_level(result: xr.Dataset, title: str = "", i: str = "y", j: str = "x", **choice: Any) -> Figure:
    """Q, Q(1), a(I) and a(II) against the shift of the Fermi level (the paper's Fig. 4).

    Parameters
    ----------
    As `plot_spin_orbit`; Q at xi = 1 or the largest.
    """
    scales = result.soi_scale.values
    choice = {"soi_scale": 1.0 if 1.0 in scales else float(scales.max()), **choice}
    point = _point(result, i, j, choice, keep=("fermi_shift",))
    figure, axes = _figure()
    order = np.argsort(point.fermi_shift.values)
    for name in ("Q", "Q_1", "a_I", "a_II"):
        _line(axes, point.fermi_shift.values[order], point, name, 1.0, i + j, order)
    axes.axvline(0.0, color="0.6", linewidth=0.8, zorder=0)
    axes.set_xlabel("shift of the Fermi level $\\Delta E_\\mathrm{F}$ (eV)")
    return _finish(figure, axes, title, point)


def _point(
    result: xr.Dataset, i: str, j: str, choice: dict[str, Any], keep: tuple[str, ...] = ("soi_scale",)
) -> xr.Dataset:
    """The result at one direction, mask, temperature and component; `keep` stays an axis."""
    point = result.sel(i=i, j=j)
    for axis in ("direction", "mask", "temperature", "soi_scale", "fermi_shift"):
        if axis in choice:
            point = point.sel({axis: choice[axis]})
        elif axis == "fermi_shift" and axis not in keep:
            point = point.sel(fermi_shift=0.0, method="nearest")
        elif axis not in keep:
            point = point.isel({axis: 0})
    return point


def _figure() -> tuple[Figure, Any]:
    figure = Figure(figsize=(4.8, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _line(axes: Any, x: Any, point: xr.Dataset, name: str, sign: float, component: str, order: Any) -> None:
    values, errors = sign * point[name].values[order], point[f"{name}_error"].values[order]
    label = ("$-$" if sign < 0 else "") + NAMES[name].format(component)
    axes.plot(x, values, marker=MARKERS[name], markersize=4, linewidth=1.2, color=COLOURS[name], label=label)
    axes.fill_between(x, values - errors, values + errors, color=COLOURS[name], alpha=0.2, linewidth=0)


def _finish(figure: Figure, axes: Any, title: str, point: xr.Dataset) -> Figure:
    axes.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
    axes.set_ylabel(UNIT)
    mesh = "x".join(str(int(m)) for m in np.atleast_1d(point.attrs["mesh"]))
    details = f"$T$ = {float(point.temperature):g} K, $n$ = {point.direction.item()}, mesh {mesh}; shaded: k error"
    axes.set_title(f"{title}\n{details}" if title else details, fontsize=8)
    axes.tick_params(direction="in", top=True, right=True)
    axes.legend(frameon=False, fontsize=8)
    return figure
