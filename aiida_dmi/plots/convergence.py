"""Convergence with the k mesh: the numbers, and how much they still change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from aiida_dmi.engine import WannierModel, compute
from aiida_dmi.engine.errors import InputError

from .selection import described, heading, held, point
from .style import COLOURS, MARKERS, Plot, drawn, panels, plain, plain_unit, symbol, unit, zero_line

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
        right.loglog(meshes, errors, **look)
        right.loglog(meshes[:-1], away[:-1], **{**look, "label": None, "linestyle": ":", "markerfacecolor": "none"})
        unit_ = plain_unit(selected[0][name])
        heads = (f"{name}_{i}{j} ({unit_})", f"{name}_{i}{j} error ({unit_})", f"{name}_{i}{j} to the finest ({unit_})")
        rows |= dict(zip(heads, (values, errors, away), strict=True))
    zero_line(left)
    shown = np.array([sign * float(one[name]) for one in selected for name, sign in signed])
    # The errors of coarse meshes would squeeze the values into a line.
    margin = 0.3 * np.ptp(shown)
    left.set_ylim(shown.min() - margin, shown.max() + margin)
    left.set_xscale("log")
    shared = unit(selected[0][signed[0][0]])
    for panel, label in ((left, shared), (right, f"error ({shared})")):
        panel.set_xticks(meshes, [str(mesh) for mesh in meshes])
        panel.set_xticks([], minor=True)
        panel.set_xlabel("$k$ points along each direction")
        panel.set_ylabel(label)
    details = heading(selected[0]).rpartition(", mesh")[0]
    plot.suptitle(f"{plain(title)}: {details}" if title else details, fontsize="medium")
    left.legend()
    plot.table.add(rows)
    plot.table.notes += [note for note in described(selected[-1]) if not note.startswith("mesh")]
    plot.caption = (
        f"Left: D, -Q, a(I) and a(II), component {i}{j}, against the k mesh; right: the error that is quoted (lines; "
        "none where the mesh does not resolve kT), and how far each mesh is from the finest one (dotted)."
    )
    return plot


def _points(result: xr.Dataset) -> int:
    return int(np.max(result.attrs["mesh"]))
