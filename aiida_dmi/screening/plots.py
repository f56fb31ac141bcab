"""Plots of a campaign's table: D and its parts against the doping x, and a map of magnets and substrates."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.output.headline import unit_words
from aiida_dmi.plots.style import plain, symbol
from aiida_dmi.screening.table import Column, column_of

LABELS = {
    "meV_angstrom": "meV $\\mathrm{\\AA}$ per cell",
    "pJ_per_m": "pJ/m",
    "mJ_per_m2": "mJ/m$^2$",
}
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours."""


def plot_doping(table: pd.DataFrame, quantity: str = "D", unit: str = "meV_angstrom") -> Figure:
    """A quantity (of a tensor yx) against the doping x.

    Parameters
    ----------
    table : DataFrame
        Of `campaign_table(name, points=True)`; the first direction, mask and temperature of each film are drawn.
    quantity : str
        One that the campaign computed, such as D, Q, a_I.
    unit : {'meV_angstrom', 'pJ_per_m', 'mJ_per_m2'}
        Of D and its like; others have a unit of their own.

    Returns
    -------
    matplotlib.figure.Figure
        Rigid shifts as lines with the k error, virtual crystals, with the undoped film, as points; x < 0: elements on
        the left in the periodic table. A rigid shift dopes all its substituted atoms, a virtual crystal some layers.

    Raises
    ------
    InputError
        If the table holds no doping.
    """
    figure, axes = _figure(5.2, 3.8)
    _against_doping(axes, table, column_of(table, quantity, unit))
    axes.legend(frameon=False, fontsize=7)
    return figure


def plot_doping_parts(table: pd.DataFrame, unit: str = "meV_angstrom") -> Figure:
    """D, Q and the decomposition of D(1) into a(I) and a(II) against the doping x, a panel each.

    Parameters
    ----------
    table, unit
        As `plot_doping`.

    Raises
    ------
    InputError
        If the table holds no doping, or not all of D, Q, a(I), a(II).
    """
    panels = [column_of(table, quantity, unit) for quantity in ("D", "Q", "a_I", "a_II")]
    figure = Figure(figsize=(8.0, 6.0), layout="constrained")
    FigureCanvasAgg(figure)
    drawn = figure.subplots(2, 2, sharex=True).ravel()
    for axes, column in zip(drawn, panels, strict=True):
        _against_doping(axes, table, column)
    for axes in drawn[:2]:
        axes.set_xlabel("")
    handles, labels = drawn[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=7)
    return figure


def _against_doping(axes: matplotlib.axes.Axes, table: pd.DataFrame, chosen: Column) -> None:
    column = chosen.name
    # Beyond |x| = 1 there are more electrons than substituted atoms can bring.
    usable = table[table[column].notna() & (table["x"].astype(float).abs() <= 1)]
    usable = usable[_first_point(usable)]
    lines = [
        (host, part.sort_values("x")) for host, part in _rigid(usable).groupby("host", sort=False) if len(part) > 1
    ]
    mixed = usable[usable["doping"] == "vca"]
    groups = list(mixed.groupby(["host", "series"], sort=False))
    if not lines and not groups:
        raise InputError("plot: no doping in this table; give `dopings` or `shifts` in the spec, and all points")
    colours = iter(CYCLE * (1 + (len(lines) + len(groups)) // len(CYCLE)))
    for film, part in lines:
        colour = next(colours)
        x, values, errors = (part[name].to_numpy(float) for name in ("x", column, f"{column}_error"))
        axes.plot(x, values, color=colour, linewidth=1.2, marker=".", label=plain(f"{film}, rigid shift"))
        axes.fill_between(x, values - errors, values + errors, color=colour, alpha=0.2, linewidth=0)
    for (host, series), part in groups:
        pure = usable[(usable["host"] == host) & (usable["doping"] != "vca") & (usable["shift_eV"] == 0.0)]
        points = pd.concat([pure, part]).sort_values("x")
        axes.errorbar(
            points["x"], points[column], points[f"{column}_error"],
            color=next(colours), linestyle=":", marker="s", markersize=4, capsize=2,
            label=plain(f"{host}, {series}"),
        )  # fmt: skip
    axes.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
    axes.axvline(0.0, color="0.6", linewidth=0.8, zorder=0)
    axes.set_xlabel("doping $x$")
    axes.set_ylabel(_label(chosen))
    axes.tick_params(direction="in", top=True, right=True)


def plot_heat_map(table: pd.DataFrame, quantity: str = "D", unit: str = "meV_angstrom") -> Figure:
    """A quantity (of a tensor yx) of every magnet on every substrate; empty where there is no number.

    Numbers of films that failed a gate stand in brackets.

    Parameters
    ----------
    table : DataFrame
        Of `campaign_table(name)`: one row a candidate. Films that are doped, exchanged or capped are left out.
    quantity, unit
        As `plot_doping`.

    Raises
    ------
    InputError
        If the table holds no undoped film, or films of different thickness.
    """
    chosen = column_of(table, quantity, unit)
    column = chosen.name
    films = table[table["doping"].isin(["none", "rigid"]) & (table["cap"] == "")]
    if films.empty:
        raise InputError("plot: no undoped film without a cap in this table")
    if films.duplicated(["magnet", "substrate"]).any():
        several = ", ".join(sorted(set(films["layers"])))
        raise InputError(f"plot: several films of one magnet and substrate (layers {several}); choose with --layers")
    rows, columns = (list(dict.fromkeys(films[name])) for name in ("magnet", "substrate"))
    grid = (
        films.pivot(index="magnet", columns="substrate", values=column)
        .astype(float)
        .reindex(index=rows, columns=columns)
    )
    states = films.pivot(index="magnet", columns="substrate", values="state").reindex(index=rows, columns=columns)
    doubtful = grid.notna() & (states != "finished")
    limit = float(np.nanmax(np.abs(grid.to_numpy()))) if grid.notna().any().any() else 1.0
    figure, axes = _figure(1.8 + 0.8 * len(grid.columns), 1.4 + 0.6 * len(grid.index))
    colours = matplotlib.colormaps["RdBu_r"].with_extremes(bad="0.9")
    image = axes.imshow(np.ma.masked_invalid(grid.to_numpy()), cmap=colours, vmin=-limit, vmax=limit, aspect="auto")
    for row, magnet in enumerate(grid.index):
        for place, substrate in enumerate(grid.columns):
            value = grid.loc[magnet, substrate]
            colour = "white" if abs(value) > 0.6 * limit else "black"
            text = "-" if np.isnan(value) else f"{value:.3g}"
            text = f"({text})" if doubtful.loc[magnet, substrate] else text
            axes.text(place, row, text, ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(grid.columns)), [plain(str(name)) for name in grid.columns])
    axes.set_yticks(range(len(grid.index)), [plain(str(name)) for name in grid.index])
    axes.set_xlabel("substrate")
    axes.set_ylabel("magnet")
    remark = "; in brackets: failed a gate" if doubtful.any().any() else ""
    axes.set_title(f"layers {plain(', '.join(sorted(set(films['layers']))))}{remark}", fontsize=8)
    figure.colorbar(image, ax=axes, label=_label(chosen))
    return figure


def _first_point(table: pd.DataFrame) -> pd.Series:
    """Rows at the first direction, mask and temperature of their film."""
    keep = pd.Series(True, index=table.index)
    for axis in ("direction", "mask", "temperature_K"):
        keep &= table[axis] == table.groupby("label")[axis].transform("first")
    return keep


def _rigid(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["doping"].isin(["none", "rigid"])]


def _label(column: Column) -> str:
    return f"{symbol(column.quantity, column.component)} ({LABELS.get(column.unit) or unit_words(column.unit)})"


def _figure(width: float, height: float) -> tuple[Figure, matplotlib.axes.Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()
