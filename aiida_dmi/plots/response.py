"""The paper's Figs. 3 to 5: D and Q against the SOI scale, the decomposition against the shift of the Fermi level."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from aiida_dmi.engine.completeness.file import OF_MODEL
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.maps.filling import doping_axis

from .selection import Results, by_title, described, direction_name, heading, held, point
from .style import ALONE, NEUTRAL, Plot, dotted, drawn, panels, plain, plain_unit, series, symbol, unit, zero_line

ALONG = 1e-6
FULL_LENGTH = 0.999
SPIN_ORBIT = (("D", 1.0), ("Q", -1.0))
FERMI_LEVEL = ("Q", "Q_1", "a_I", "a_II")
MASKED = ("D", "a_I")
"""Quantities of the figures, with the sign they are drawn with."""
SHIFT = "shift of the Fermi level $\\Delta E_\\mathrm{F}$ (eV)"


@drawn
def plot_spin_orbit(results: Results, title: str = "", i: str = "y", j: str = "x", **choice: Any) -> Plot:
    """D and -Q against the SOI scale xi (the paper's Fig. 3).

    Parameters
    ----------
    results : xarray.Dataset, or title to xarray.Dataset
        From `compute`; several become panels side by side.
    title : str
        Of a single result.
    i, j : str
        Component: of the DMI vector, and direction of propagation.
    **choice
        Label on the other axes, such as temperature=300.0; default the first of each, zero shift, and every direction
        for which D_ij can differ from zero (D.n = 0).

    Returns
    -------
    Plot
        meV*Angstrom per cell, or meV/Angstrom of a RashbaModel; shaded: the error from the k mesh.

    Raises
    ------
    InputError
        If a label is not in the result.
    """
    found = by_title(results, title)
    plot, axes = panels(list(found))
    signed = held(found.values(), SPIN_ORBIT)
    for panel, (name, result) in zip(axes, found.items(), strict=True):
        given = choice.get("direction")
        directions = [given] if given is not None else _directions(result, i)
        for number, direction in enumerate(directions):
            selected = point(result, i, j, {**choice, "direction": direction}, keep=("soi_scale",))
            extra = f" ($n \\parallel$ {direction_name(direction)})" if len(directions) > 1 else ""
            rows: dict[str, Any] = {"panel": [name] * selected.sizes["soi_scale"]} if len(found) > 1 else {}
            rows |= {"direction": [direction] * selected.sizes["soi_scale"], "xi (1)": selected.soi_scale.values}
            for quantity, sign in signed:
                label = symbol(quantity, i + j, sign, extra)
                _draw(panel, selected, "soi_scale", quantity, sign, label, number > 0)
                # The table keeps the sign of the definition: -Q is drawn, Q is written.
                rows |= _columns(selected, quantity, f"{quantity}_{i}{j}")
            plot.table.add(rows)
        panel.set_xlabel("scale $\\xi$ of the spin-orbit interaction")
        _finish(panel, name, selected if len(directions) == 1 else selected.drop_vars("direction"))
        notes = described(selected.drop_vars("direction"))
        plot.table.notes += [f"{name}: {note}".removeprefix(": ") for note in notes]
    plot.caption = (
        f"D and -Q, component {i}{j}, against the scale of the spin-orbit interaction; to first order they are equal "
        f"(Eq. 40). {_shading(found.values())}"
    )
    return plot


@drawn
def plot_fermi_level(results: Results, title: str = "", i: str = "y", j: str = "x", **choice: Any) -> Plot:
    """Q, Q(1), a(I) and a(II) against the shift of the Fermi level (the paper's Fig. 4).

    The upper axis is the doping that a shift stands for (`filling.doping_axis`).

    Parameters, returns, raises as `plot_spin_orbit`; Q at xi = 1 or the largest.
    """
    plot = _against_shift(results, title, i, j, tuple((name, None) for name in FERMI_LEVEL), choice)
    plot.caption = (
        f"Spin current Q, its first order Q(1) = -a(I) - a(II), and the two contributions, component {i}{j}, against "
        "the shift of the Fermi level; above: the doping of every kind of atom that the shift stands for. "
        f"{_shading(by_title(results, title).values())}"
    )
    return plot


@drawn
def plot_masked(
    results: Results, title: str = "", i: str = "y", j: str = "x", part: str | None = None, **choice: Any
) -> Plot:
    """D and a(I, mask), with SOI on some atoms only, against the shift of the Fermi level (the paper's Fig. 5).

    Other parameters, returns and raises as `plot_spin_orbit`.

    Parameters
    ----------
    part : str, optional
        Mask of a(I); default the first that leaves an atom out. D is that of the mask 'all' (or the first).
    """
    found = by_title(results, title)
    part = part or _partial_mask(next(iter(found.values())))
    whole, masked = MASKED
    plot = _against_shift(found, title, i, j, ((whole, None), (masked, part)), choice)
    plot.caption = (
        f"D with all spin-orbit interaction, and a(I) with that of the mask '{part}' only, component {i}{j}, against "
        f"the shift of the Fermi level. {_shading(found.values())}"
    )
    return plot


# -- what the figures share -----------------------------------------------------------------------------------


def _against_shift(
    results: Results,
    title: str,
    i: str,
    j: str,
    drawn: tuple[tuple[str, str | None], ...],
    choice: dict[str, Any],
) -> Plot:
    """Quantities (each with a mask of its own, or None) against the shift, one panel a result."""
    found = by_title(results, title)
    drawn = held(found.values(), drawn)
    plot, axes = panels(list(found), height=3.9)
    for panel, (name, result) in zip(axes, found.items(), strict=True):
        selected = point(result, i, j, choice, keep=("fermi_shift",))
        rows: dict[str, Any] = {"panel": [name] * selected.sizes["fermi_shift"]} if len(found) > 1 else {}
        rows |= {"shift (eV)": selected.fermi_shift.values}
        for quantity, mask in drawn:
            shown, label, column = selected, symbol(quantity, i + j), f"{quantity}_{i}{j}"
            if mask is not None:
                shown = point(result, i, j, {**choice, "mask": mask}, keep=("fermi_shift",))
                label, column = symbol(quantity, i + j, extra=f" ({plain(mask)})"), f"{column}, mask {mask}"
            _draw(panel, shown, "fermi_shift", quantity, 1.0, label)
            rows |= _columns(shown, quantity, column)
        panel.axvline(0.0, color=NEUTRAL, linewidth=0.8, linestyle=":", zorder=0)
        panel.set_xlabel(SHIFT)
        panel.margins(x=0)
        doping = _doping_axis(panel, result, float(selected.temperature))
        if doping is not None:
            rows["doping (electrons per atom)"] = doping
        plot.table.add(rows)
        _finish(panel, name, selected)
        plot.table.notes += [f"{name}: {note}".removeprefix(": ") for note in described(selected)]
    return plot


def _draw(
    axes: Axes, selected: xr.Dataset, axis: str, name: str, sign: float, label: str, dashed: bool = False
) -> None:
    values, errors = selected[name], selected[f"{name}_error"]
    series(axes, selected[axis].values, sign * values.values, errors.values, name, label, dashed=dashed)
    if name + OF_MODEL in selected:
        dotted(axes, selected[axis].values, sign * selected[name + OF_MODEL].values, name)
    axes.set_ylabel(unit(values))


def _columns(selected: xr.Dataset, name: str, column: str) -> dict[str, Any]:
    """A quantity and its error, for the table."""
    unit_ = plain_unit(selected[name])
    alone = name + OF_MODEL
    return {
        f"{column} ({unit_})": selected[name].values,
        f"{column} error ({unit_})": selected[f"{name}_error"].values,
        **({f"{column} of the Wannier functions alone ({unit_})": selected[alone].values} if alone in selected else {}),
    }


def _shading(results: Iterable[xr.Dataset]) -> str:
    """What bands and dotted lines are, for a caption."""
    if any("completeness" in result for result in results):
        return (
            "Shaded: error from the k mesh and of what was put back from plane waves; dotted: of the Wannier functions "
            "alone."
        )
    return "Shaded: error from the k mesh."


def _finish(axes: Axes, title: str, selected: xr.Dataset) -> None:
    zero_line(axes)
    axes.set_title(f"{plain(title)}\n{heading(selected)}" if title else heading(selected))
    entries = zip(*axes.get_legend_handles_labels(), strict=True)
    axes.legend(*zip(*sorted(entries, key=lambda entry: entry[1] == ALONE), strict=True))


def _doping_axis(axes: Axes, result: xr.Dataset, temperature: float) -> Any:
    """The doping that a shift stands for as a second axis above; None where it is not defined."""
    if "symbols" not in result.attrs or result.sizes["fermi_shift"] < 2:
        return None
    # From the magnet down, as films are named; their atoms stand from the substrate up.
    kinds = list(dict.fromkeys(str(symbol_) for symbol_ in reversed(result.attrs["symbols"])))
    try:
        found = doping_axis(result, kinds)
    except InputError:
        # A fixed Fermi level without the shift 0, or an element at the end of the table: no doping, the figure stands.
        return None
    doping = found.doping.sel(temperature=temperature).values
    shifts = found.fermi_shift.values
    order = np.argsort(shifts)
    if (np.diff(doping[order]) <= 0).any():
        return doping
    lowest, highest = doping.min(), doping.max()
    inside = [tick for tick in MaxNLocator(7).tick_values(lowest, highest) if lowest <= tick <= highest]
    upper = axes.twiny()
    upper.set_xlim(axes.get_xlim())
    upper.set_xticks(np.interp(inside, doping[order], shifts[order]), [f"{abs(tick):g}" for tick in inside])
    upper.tick_params(direction="in", bottom=False)
    axes.tick_params(top=False)
    below, above = (_subscripts(str(found.attrs[side])) for side in ("negative", "positive"))
    upper.set_xlabel(f"doping $x$:  {below}  $\\leftarrow$ | $\\rightarrow$  {above}", fontsize=8)
    return doping


def _subscripts(compound: str) -> str:
    """'Co1-xFex' as a formula."""
    return compound.replace("1-x", "$_{1-x}$").replace("x/", "$_x$/").removesuffix("x") + "$_x$"


def _directions(result: xr.Dataset, i: str) -> list[str]:
    """Those for which component i is not along n."""
    along = np.abs(result.direction_vector.sel(i=i).values)
    labels = [str(label) for label in result.direction.values]
    return [label for label, cosine in zip(labels, along, strict=True) if cosine < FULL_LENGTH] or labels[:1]


def _partial_mask(result: xr.Dataset) -> str:
    weights = result.mask_weights.values
    partial = [str(name) for name, own in zip(result.mask.values, weights, strict=True) if np.abs(own).min() < ALONG]
    if not partial:
        raise InputError(
            f"mask: the result has {', '.join(map(str, result.mask.values))}, none of which leaves an atom out; run "
            "the response with a mask such as soi_masks: {all: [all], interface: [Co, Pt.1]}"
        )
    return partial[0]
