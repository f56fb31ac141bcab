"""Convergence with the k mesh: the numbers, and how much they still change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from aiida_dmi.engine import WannierModel, compute
from aiida_dmi.engine.errors import InputError

from .selection import described, heading, held, point
from .style import COLOURS, MARKERS, NEUTRAL, Plot, drawn, panels, plain, plain_unit, symbol, unit, zero_line

LEGEND_DECADES = 30.0
"""The axis of errors reaches this many times higher, for the legend."""
LABELS_APART = 0.07
"""Of the axis: the distance of two numbers on it."""
BELOW, ABOVE = 0.45, 0.3
"""Of the range of values: room on the axis, below for the legend, too."""
DRAWN = (("D", 1.0), ("Q", -1.0), ("a_I", 1.0), ("a_II", 1.0))


def converge(model: WannierModel, meshes: Iterable[int], **point_: Any) -> list[xr.Dataset]:
    """The results of `compute` on several meshes.

    Parameters
    ----------
    model : WannierModel
    meshes : iterable of int
        Points along each direction.
    **point_
        Further arguments of `compute`: one temperature, direction, mask, xi and shift.
    """
    return [compute(model, mesh, **point_) for mesh in sorted(set(meshes))]


@drawn
def plot_convergence(results: Sequence[xr.Dataset], title: str = "", i: str = "y", j: str = "x", **choice: Any) -> Plot:
    """D, -Q, a(I), a(II) and their errors against the k mesh.

    Parameters
    ----------
    results : sequence of xarray.Dataset
        Of one model, on two or more meshes.
    title, i, j, **choice
        As `response.plot_spin_orbit`.

    Returns
    -------
    Plot
        Left: values with their errors as bars; right: those errors, and how far each mesh is from the finest one.

    Raises
    ------
    InputError
        If all results are on one mesh.
    """
    selected = sorted((point(result, i, j, choice) for result in results), key=_points)
    meshes = [_points(one) for one in selected]
    if len(set(meshes)) < 2:
        raise InputError(f"results: meshes {sorted(set(meshes))} were given, expected two or more different ones")
    # D alone must not come from two different films in one line.
    if len({float(one.attrs["cell_area"]) for one in selected}) > 1:
        raise InputError("results: of different cells were given, expected the results of one model")
    plot, (left, right) = panels(["", ""], width=4.2)
    rows: dict[str, Any] = {"mesh (points a side)": meshes}
    signed = held(selected, DRAWN)
    for name, sign in signed:
        values = np.array([float(one[name]) for one in selected])
        errors = np.array([float(one[f"{name}_error"]) for one in selected])
        look: dict[str, Any] = {"marker": MARKERS[name], "color": COLOURS[name], "label": symbol(name, i + j, sign)}
        left.errorbar(meshes, sign * values, errors, capsize=2.5, elinewidth=0.9, **look)
        away = np.abs(values - values[-1])
        right.semilogy(meshes, errors, **look)
        right.semilogy(meshes[:-1], away[:-1], **{**look, "label": None, "linestyle": ":", "markerfacecolor": "none"})
        unit_ = plain_unit(selected[0][name])
        heads = (f"{name}_{i}{j} ({unit_})", f"{name}_{i}{j} error ({unit_})", f"{name}_{i}{j} to the finest ({unit_})")
        rows |= dict(zip(heads, (values, errors, away), strict=True))
    zero_line(left)
    known = [any(np.isfinite(float(one[f"{name}_error"])) for name, _ in signed) for one in selected]
    # Values of meshes that do not resolve kT would squeeze the others into a line, as errors of coarse ones would.
    counted = known if sum(known) > 1 else [True] * len(known)
    shown = np.array([[sign * float(one[name]) for name, sign in signed] for one in selected])[counted]
    height = np.ptp(shown)
    left.set_ylim(shown.min() - BELOW * height, shown.max() + ABOVE * height)
    shared = unit(selected[0][signed[0][0]])
    first = known.index(True) if any(known) else len(known)
    for panel, label in ((left, shared), (right, f"error ({shared})")):
        if first:
            _shade(panel, meshes, first)
        labelled = _apart(meshes)
        panel.set_xticks(labelled, [str(mesh) for mesh in labelled])
        panel.set_xlabel("$k$ points along each direction")
        panel.set_ylabel(label)
    details = heading(selected[0]).rpartition(", mesh")[0]
    plot.suptitle(f"{plain(title)}: {details}" if title else details, fontsize="medium")
    handles, words = left.get_legend_handles_labels()
    left.legend(handles[-len(signed) :], words[-len(signed) :], loc="lower right", ncols=2)
    for style, meaning in (("-", "error, as quoted"), (":", "distance to the finest mesh")):
        right.plot([], [], color=NEUTRAL, linestyle=style, label=meaning)
    right.legend(handles=[*right.get_lines()[-2:], *right.patches], loc="upper right")
    right.set_ylim(top=right.get_ylim()[1] * LEGEND_DECADES)
    plot.table.add(rows)
    plot.table.notes += [note for note in described(selected[-1]) if not note.startswith("mesh")]
    plot.caption = (
        f"Left: D, -Q, a(I) and a(II), component {i}{j}, against the k mesh; right: the error that is quoted (lines), "
        "which falls exponentially once the mesh resolves kT, and how far each mesh is from the finest one (dotted). "
        "Grey: meshes that do not resolve kT, on which no error is known."
    )
    return plot


def _shade(panel: Axes, meshes: Sequence[int], first: int) -> None:
    """Mark the meshes before number `first` as those without an error."""
    last = meshes[-1] if first == len(meshes) else (meshes[first - 1] + meshes[first]) / 2
    start = meshes[0] - 0.05 * (meshes[-1] - meshes[0])
    panel.axvspan(start, last, color=NEUTRAL, alpha=0.15, linewidth=0, label="$k_BT$ not resolved")
    panel.set_xlim(left=start)


def _apart(meshes: Sequence[int]) -> list[int]:
    """Meshes whose numbers do not run into each other on the axis, the finest one first of all."""
    kept = [meshes[-1]]
    for mesh in reversed(meshes[:-1]):
        if kept[-1] - mesh >= LABELS_APART * (meshes[-1] - meshes[0]):
            kept.append(mesh)
    return kept[::-1]


def _points(result: xr.Dataset) -> int:
    return int(np.max(result.attrs["mesh"]))
