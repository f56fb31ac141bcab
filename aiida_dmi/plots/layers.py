"""a(I) and a(II) layer by layer: where in the film the interaction arises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from aiida_dmi.engine import WannierModel
from aiida_dmi.engine.completeness.file import OF_MODEL
from aiida_dmi.engine.constants import BOLTZMANN_EV
from aiida_dmi.engine.integrate.k_error import SPEED_MESH, band_speeds, fastest, k_error, thermal_decay
from aiida_dmi.engine.kspace.aliases import Aliases
from aiida_dmi.engine.kspace.interpolation import Interpolation
from aiida_dmi.engine.kspace.mesh import Mesh
from aiida_dmi.engine.maps.arguments import chemical_potential, mesh_points
from aiida_dmi.engine.maps.k_map import k_map
from aiida_dmi.engine.output.headline import mesh_label
from aiida_dmi.structures.film import Film

from .selection import direction_name
from .style import ALONE, COLOURS, NEUTRAL, TIMES, Plot, drawn, panels, plain, symbol, unit

PARTS = ("a_I", "a_II")
WIDTH = 0.38


def layer_parts(
    model: WannierModel,
    mesh: int | Sequence[int],
    *,
    temperature: float = 300.0,
    mu: float | str = "dft",
    direction: Sequence[float] = (0, 0, 1),
    names: Sequence[str] | None = None,
    exact: xr.Dataset | None = None,
) -> xr.Dataset:
    """a(I) and a(II) with the spin-orbit interaction of one layer at a time; their sum over layers is the film's.

    Both are linear in the spin-orbit interaction (Eqs. 22, 23), so a layer's part is a well-defined number.

    Parameters
    ----------
    model : WannierModel
        Of a film.
    mesh : int or sequence of int
    temperature : float
        K.
    mu : float or 'dft'
        Chemical potential of Hbar, eV (`mu_bare` of a result).
    direction : vector
        Axis n of the spin-up spinor.
    names : sequence of str, optional
        Layer of every atom; default `structures.layers.layer_names`.
    exact : Dataset, optional
        Of `engine.completeness.complete` at the temperature and shift, with a mask for every layer: a(II) is the exact
        one then, and what the functions leave out of D(1) is in a(I). Without such masks nothing is corrected.

    Returns
    -------
    xarray.Dataset
        a_I, a_II over (layer, i, j), meV*Angstrom per cell, layers from the lowest to the highest, and *_error: what
        the mesh may still be off the converged sum at the same mu (nan where it does not resolve kT). Corrected, the
        errors are those of what was put back, too, and a_I_wannier, a_II_wannier those of the functions alone.

    Raises
    ------
    InputError
        If `exact` is of other directions j than the model.
    """
    divided = Mesh.from_input(mesh, model.dimension)
    own = tuple(Film.of(model).names if names is None else names)
    heights = {name: np.mean([z for z, n in zip(model.positions[:, 2], own, strict=True) if n == name]) for name in own}
    layers = sorted(heights, key=lambda name: heights[name])
    aliases = Aliases.of(divided.divisions, model.cell[: model.dimension])
    thermal = _thermal(model, aliases, temperature, mu)
    found: dict[str, list[npt.NDArray[np.float64]]] = {key: [] for part in PARTS for key in (part, f"{part}_error")}
    for layer in layers:
        mask = [float(name == layer) for name in own]
        at_k = k_map(model, divided.divisions, PARTS, temperature=temperature, mu=mu, direction=direction, mask=mask)
        for part in PARTS:
            values = at_k[part].values
            mean = values.mean(axis=0)
            coefficients = np.tensordot(aliases.cosines(at_k.k_fractional.values), values, axes=1) / len(values)
            found[part].append(mean)
            found[f"{part}_error"].append(k_error(coefficients, aliases, mean.ndim, mean, thermal).error)
    attrs = {"units": "meV angstrom", "per": "cell"}
    parts = xr.Dataset(
        {key: (("layer", "i", "j"), np.stack(values), attrs) for key, values in found.items()},
        {"layer": layers, "i": list("xyz"), "j": list("xyz")[: model.dimension]},
        {**at_k.attrs, "mesh": list(divided.divisions)},
    )
    return parts if exact is None else _corrected(parts, exact, own, direction)


def _corrected(parts: xr.Dataset, exact: xr.Dataset, names: Sequence[str], direction: Sequence[float]) -> xr.Dataset:
    """a(II) exact, a(I) = D(1) - a(II), D(1) = a(I) + a(II) of the model and what the functions leave out of it."""
    weights = exact["mask_weights"].values
    places = []
    for layer in parts["layer"].values:
        same = (weights == [float(name == layer) for name in names]).all(axis=-1)
        if not same.any():
            return parts
        places.append(int(np.argmax(same)))
    n = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
    normal = np.eye(3) - np.outer(n, n)
    own = exact.isel(mask=places).drop_vars("mask").rename(mask="layer").assign_coords(layer=parts["layer"])
    own = own.transpose("layer", "i", "j", ...)
    missing = normal @ (own["D_1"] - own["D_1" + OF_MODEL]).values
    errors = np.abs(normal) @ own["D_1_correction_error"].values
    second, second_error = own["a_II"].values, own["a_II_error"].values
    values = {
        "a_I": (parts.a_I + parts.a_II).values + missing - second,
        "a_II": second,
        "a_I_error": (parts.a_I_error + parts.a_II_error).values + errors + second_error,
        "a_II_error": second_error,
    }
    before = {part + OF_MODEL: parts[part] for part in PARTS}
    return parts.assign({**{key: parts[key].copy(data=one) for key, one in values.items()}, **before})


def _thermal(model: WannierModel, aliases: Aliases, temperature: float, mu: float | str) -> npt.NDArray[np.float64]:
    """How fast Fourier coefficients fall at least, one a way: see `k_error`."""
    points = mesh_points((SPEED_MESH,) * model.dimension)
    level, kt = chemical_potential(model, mu), BOLTZMANN_EV * temperature
    return thermal_decay(aliases.ways, fastest(*band_speeds(Interpolation(model).operators(points)), level, kt), kt)


@drawn
def plot_layers(parts: xr.Dataset, title: str = "", i: str = "y", j: str = "x") -> Plot:
    """Bars of a(I) and a(II) by layer, and their sum.

    Parameters
    ----------
    parts : xarray.Dataset
        From `layer_parts`.
    title : str
    i, j : str
        Component.

    Returns
    -------
    Plot
        From the substrate (left) to the surface; lines on the bars: the error from the k mesh.
    """
    selected = parts.sel(i=i, j=j)
    names = [str(name) for name in selected.layer.values]
    plot, (axes,) = panels([title], width=max(3.6, 1.4 + 0.75 * len(names)))
    places = np.arange(len(names), dtype=float)
    rows: dict[str, Any] = {"layer": names}
    for number, part in enumerate(PARTS):
        values, errors = selected[part].values, selected[f"{part}_error"].values
        known = errors if np.isfinite(errors).all() else None
        axes.bar(
            places + (number - 0.5) * WIDTH,
            values,
            WIDTH,
            yerr=known,
            ecolor=NEUTRAL,
            capsize=2,
            color=COLOURS[part],
            label=symbol(part, i + j),
        )
        rows[f"{part}_{i}{j} (meV angstrom per cell)"] = values
        rows[f"{part}_{i}{j} error (meV angstrom per cell)"] = errors
        if part + OF_MODEL in selected:
            alone = selected[part + OF_MODEL].values
            left = places + (number - 1) * WIDTH
            label = ALONE if number == 0 else ""
            axes.hlines(alone, left, left + WIDTH, linestyle=":", color=axes.xaxis.label.get_color(), label=label)
            rows[f"{part}_{i}{j} of the Wannier functions alone (meV angstrom per cell)"] = alone
    total = selected.a_I.values + selected.a_II.values
    axes.plot(places, total, "_", color=axes.xaxis.label.get_color(), markersize=24, label=symbol("sum", i + j))
    axes.axhline(0.0, color=NEUTRAL, linewidth=0.8)
    axes.set_xticks(places, [plain(name) for name in names])
    axes.tick_params(axis="x", top=False, length=0)
    axes.set_ylabel(unit(selected.a_I))
    attrs = parts.attrs
    details = (
        f"$T$ = {attrs['temperature']:g} K, $n$ = {direction_name(attrs['direction'])}, "
        f"mesh {mesh_label(attrs['mesh'], TIMES)}"
    )
    axes.set_title(f"{plain(title)}\n{details}" if title else details)
    axes.legend()
    plot.table.add(rows)
    plot.table.notes += [
        f"T = {attrs['temperature']:g} K, mu = {attrs['mu']:.6g} eV, n = {attrs['direction']}, "
        f"mesh {mesh_label(attrs['mesh'])}; spin-orbit interaction of one layer at a time"
    ]
    plot.caption = (
        f"a(I), a(II) and their sum, component {i}{j}, with the spin-orbit interaction of one layer at a time, from "
        "the substrate to the surface; the parts add up to the film's."
    )
    if "a_I" + OF_MODEL in selected:
        plot.caption += " What the Wannier functions leave out is put back from plane waves; dotted: without that."
    return plot
