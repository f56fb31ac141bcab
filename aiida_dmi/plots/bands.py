"""Bands with and without spin-orbit interaction, coloured by their part in D."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.collections import LineCollection

from .selection import direction_name
from .style import NEUTRAL, Plot, drawn, panels, plain, symbol, unit

Floats = npt.NDArray[np.float64]

WINDOW = (-3.0, 2.0)
COLOUR_MAP = "coolwarm"
SATURATED = 98.0
"""Per cent of the points in the window inside the colour scale."""
THIN, THICK = 0.8, 4.0
"""Width of a line without and with a part in D, points (1/72 inch)."""


@drawn
def plot_bands(
    found: xr.Dataset, title: str = "", i: str = "y", j: str = "x", window: tuple[float, float] = WINDOW
) -> Plot:
    """Bands along the path: grey without, coloured with spin-orbit interaction, by their part in D.

    Parameters
    ----------
    found : xarray.Dataset
        From `band_parts.band_parts`.
    title : str
    i, j : str
        Component of D.
    window : (float, float)
        Energies shown, eV from the chemical potential.

    Returns
    -------
    Plot
        Width and colour of a line: the band's part in the integrand of D_ij at that k, meV*Angstrom per cell.
    """
    mu = found.attrs["mu"]
    plot, (axes,) = panels([title], width=5.4, height=4.2)
    distance = found.distance.values
    bare, full = (found.energy.isel(soi_scale=number).values - mu for number in (0, 1))
    parts = found.part.sel(i=i, j=j)
    spins = np.sign(found.spin.isel(soi_scale=0).values)
    for spin, style, label in ((1, "-", "up"), (-1, "--", "down")):
        # A band of one spin is not one column: bands are in order of energy. Sorted apart, each spin's are.
        own = np.sort(np.where(spins == spin, bare, np.inf), axis=1)
        own = np.where(np.isfinite(own), own, np.nan)[:, np.isfinite(own).any(axis=0)]
        drawn_ = axes.plot(distance, own, style, color=NEUTRAL, linewidth=0.6, zorder=1)
        drawn_[0].set_label(f"without SOI, spin {label}")
    values = parts.values
    inside = (full > window[0]) & (full < window[1])
    limit = float(np.percentile(np.abs(values[inside]), SATURATED)) or 1.0
    lines = _coloured_lines(distance, full, values, limit)
    axes.add_collection(lines)
    bar = plot.colorbar(lines, ax=axes, extend="both")
    bar.set_label(f"part in {symbol('D', i + j)} ({unit(parts)})")
    ticks = np.atleast_1d(found.attrs["label_distances"])
    for tick in ticks[1:-1]:
        axes.axvline(tick, color=NEUTRAL, linewidth=0.6, zorder=0)
    axes.axhline(0.0, color=NEUTRAL, linewidth=0.8, linestyle=":", zorder=0)
    axes.set_xticks(
        ticks, [plain(str(label)).replace("G", "$\\Gamma$") for label in np.atleast_1d(found.attrs["labels"])]
    )
    axes.tick_params(axis="x", top=False, length=0)
    axes.set_xlim(distance[0], distance[-1])
    axes.set_ylim(*window)
    axes.set_ylabel("$E - \\mu$ (eV)")
    direction = direction_name(found.attrs["direction"])
    details = f"$T$ = {found.attrs['temperature']:g} K, $n$ = {direction}, $\\xi$ = {found.attrs['xi']:g}"
    axes.set_title(f"{plain(title)}\n{details}" if title else details)
    axes.legend(loc="upper right", fontsize=7, frameon=True, framealpha=0.8, edgecolor="none")
    rows, columns = np.nonzero(inside | ((bare > window[0]) & (bare < window[1])))
    plot.table.add(
        {
            "distance (1/angstrom)": distance[rows],
            "band": columns,
            "E - mu without SOI (eV)": bare[rows, columns].round(6),
            "spin without SOI (1)": spins[rows, columns].astype(int),
            f"E - mu at xi = {found.attrs['xi']:g} (eV)": full[rows, columns].round(6),
            f"part in D_{i}{j} ({parts.attrs['units']} per cell)": values[rows, columns].round(4),
        }
    )
    plot.table.notes += [
        f"mu = {mu:.6g} eV, T = {found.attrs['temperature']:g} K, n = {found.attrs['direction']}",
        "path " + ", ".join(f"{label} {tick:.4f}" for label, tick in zip(found.attrs["labels"], ticks, strict=True)),
    ]
    plot.caption = (
        f"Bands without (grey) and with spin-orbit interaction (coloured by their part in the integrand of D_{i}{j}; "
        "each pair of an occupied and an empty band is shared equally by the two)."
    )
    return plot


def _coloured_lines(distance: Floats, energies: Floats, values: Floats, limit: float) -> LineCollection:
    """A piece of line between neighbouring k points of each band, coloured by the mean of their values."""
    ends = np.stack([np.broadcast_to(distance[:, None], energies.shape), energies], axis=-1)
    pieces = np.stack([ends[:-1], ends[1:]], axis=2).reshape(-1, 2, 2)
    colours = ((values[:-1] + values[1:]) / 2).ravel()
    weight = np.clip(np.abs(colours) / limit, 0.0, 1.0)
    # The largest parts last, on top.
    order = np.argsort(weight)
    lines = LineCollection(
        list(pieces[order]),
        linewidths=THIN + (THICK - THIN) * weight[order],
        cmap=COLOUR_MAP,
        capstyle="round",
        zorder=2,
    )
    lines.set_array(colours[order])
    lines.set_clim(-limit, limit)
    return lines
