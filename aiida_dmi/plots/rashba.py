"""The paper's Fig. 2: D and Q of the magnetic Rashba model against alpha."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr

from aiida_dmi.engine import RashbaModel, compute
from aiida_dmi.engine.constants import BOLTZMANN_EV, HBAR2_OVER_2M
from aiida_dmi.engine.output.headline import mesh_label

from .style import TIMES, Plot, drawn, panels, plain_unit, series, symbol, unit, zero_line

ALPHAS = tuple(np.linspace(0.0, 2.0, 11).tolist())
TEMPERATURE = 50.0
MESH = 240
EMPTY = 20.0
"""States this many kT above the Fermi level hold no electrons that matter."""


def rashba_sweep(
    alphas: Iterable[float] = ALPHAS,
    exchange: float = 1.0,
    mu: float = 0.0,
    temperature: float = TEMPERATURE,
    mesh: int = MESH,
) -> xr.Dataset:
    """The result of `compute` for Rashba models (Eq. 84), along a new axis `alpha`.

    Parameters
    ----------
    alphas : iterable of float
        eV*Angstrom.
    exchange : float
        Delta V, eV.
    mu : float
        Chemical potential, eV; 0 is the middle between the two bands' edges.
    temperature : float
        K; the paper's figure is for 0.
    mesh : int
        Points along each direction of the square of k that holds the occupied states.

    Returns
    -------
    xarray.Dataset
        D, Q, ... over (alpha, i, j), meV/Angstrom.
    """
    values = [float(alpha) for alpha in alphas]
    top = mu + EMPTY * BOLTZMANN_EV * temperature
    found = [
        compute(
            RashbaModel(alpha, exchange),
            mesh,
            fermi_shifts=[mu],
            temperatures=[temperature],
            cutoff=occupied_radius(alpha, exchange, top),
        ).squeeze(drop=True)
        for alpha in values
    ]
    coordinate = xr.DataArray(values, dims="alpha", attrs={"units": "eV angstrom"})
    sweep = xr.concat(found, dim="alpha", combine_attrs="drop_conflicts").assign_coords(alpha=coordinate)
    return sweep.assign_attrs(exchange=exchange, mu=mu, temperature=temperature)


def occupied_radius(alpha: float, exchange: float, top: float) -> float:
    """Radius (1/Angstrom) of the circle of k outside which the lower band lies above `top` (eV).

    c k^2 - sqrt(alpha^2 k^2 + exchange^2/4) = top with c = hbar^2/2m: the larger root of
    c^2 x^2 - (2 c top + alpha^2) x + top^2 - exchange^2/4 = 0, x = k^2.
    """
    c = HBAR2_OVER_2M
    half = (2 * c * top + alpha**2) / 2
    root = (half + np.sqrt(half**2 - c**2 * (top**2 - exchange**2 / 4))) / c**2
    return float(np.sqrt(root))


@drawn
def plot_rashba(sweep: xr.Dataset, i: str = "y", j: str = "x") -> Plot:
    """D and Q of the magnetic Rashba model against alpha (the paper's Fig. 2).

    Parameters
    ----------
    sweep : xarray.Dataset
        From `rashba_sweep`.
    i, j : str
        Component.

    Returns
    -------
    Plot
        meV/Angstrom: the model has no cell, values are per area.
    """
    plot, (axes,) = panels([""])
    selected = sweep.sel(i=i, j=j)
    rows = {"alpha (eV angstrom)": selected.alpha.values}
    for name in ("D", "Q"):
        values, errors = selected[name], selected[f"{name}_error"]
        series(axes, selected.alpha.values, values.values, errors.values, name, symbol(name, i + j))
        rows[f"{name}_{i}{j} ({plain_unit(values)})"] = values.values
        rows[f"{name}_{i}{j} error ({plain_unit(values)})"] = errors.values
    zero_line(axes)
    axes.set_xlabel("$\\alpha$ (eV $\\mathrm{\\AA}$)")
    axes.set_ylabel(unit(selected.D))
    exchange, mu, temperature = (sweep.attrs[key] for key in ("exchange", "mu", "temperature"))
    axes.set_title(
        f"Rashba model, $\\Delta V$ = {exchange:g} eV, $\\mu$ = {mu:g} eV\n"
        f"$T$ = {temperature:g} K, mesh {mesh_label(sweep.attrs['mesh'], TIMES)}"
    )
    axes.legend()
    plot.table.add(rows)
    plot.table.notes += [
        f"Rashba model (Eq. 84), Delta V = {exchange:g} eV, mu = {mu:g} eV, T = {temperature:g} K, "
        f"mesh {mesh_label(sweep.attrs['mesh'])}",
        f"sign: {sweep.attrs['sign']}",
    ]
    plot.caption = (
        f"D and Q, component {i}{j}, of the magnetic Rashba model against alpha; for small alpha D = -Q, and Q is the "
        "first to leave the straight line."
    )
    return plot
