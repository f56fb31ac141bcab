"""Maps over the first Brillouin zone of a film: the integrand of D, and the spin misalignment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.patches import Polygon
from scipy.ndimage import map_coordinates

from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.kspace.zone import first_zone, plane_reciprocal
from aiida_dmi.engine.maps.bands import high_symmetry_path
from aiida_dmi.engine.output.headline import indices_of, mesh_label
from aiida_dmi.engine.quantities.registry import SYMBOLS

from .style import NEUTRAL, Plot, drawn, panels, plain, symbol, unit

Floats = npt.NDArray[np.float64]

PIXELS = 400
COLOUR_MAP = "RdBu_r"
SATURATED = 99.0
"""Per cent of the k points inside the colour scale: a few hot spots would leave the rest white."""


@drawn
def plot_k_map(
    resolved: xr.Dataset,
    cell: npt.ArrayLike,
    quantities: Sequence[str] = ("D",),
    title: str = "",
    i: str = "y",
    j: str = "x",
) -> Plot:
    """Quantities at each k of the first Brillouin zone, as colours, one panel each.

    Parameters
    ----------
    resolved : xarray.Dataset
        From `engine.maps.k_map.k_map` on a mesh: its units are kept.
    cell : array_like, shape (3, 3)
        Lattice vectors as rows, Angstrom.
    quantities : sequence of str
        Such as 'D', 'a_I', 'misalignment'; not resolved by band.
    title : str
    i, j : str
        Component: of the DMI vector or the spin, and direction of propagation.

    Returns
    -------
    Plot
        The mean of D, Q, a over the zone is the number per cell. Blue is negative, red positive; one k point in a
        hundred is beyond the colour scale.

    Raises
    ------
    InputError
        If the k points are no mesh, or a quantity is not there.
    """
    missing = [name for name in quantities if name not in resolved or "band" in resolved[name].dims]
    if missing or "mesh" not in resolved.attrs:
        raise InputError(
            f"k map: {', '.join(missing) or 'a list of k points'} was given, expected a mesh and quantities summed "
            f"over bands, of {', '.join(map(str, resolved.data_vars))}"
        )
    divisions = tuple(int(m) for m in resolved.attrs["mesh"])
    corners = first_zone(cell)
    plot, axes = panels(list(quantities), width=4.1, height=3.7)
    rows = {f"{axis} (1/angstrom)": resolved[axis].values for axis in ("kx", "ky")}
    for panel, name in zip(axes, quantities, strict=True):
        indices = indices_of(resolved[name])
        # A tensor's first and second index; of a vector the direction of propagation, or the component, by its name.
        component = (
            dict(zip(indices, (i, j), strict=True))
            if len(indices) == 2
            else {key: label for key, label in (("i", i), ("j", j), ("l", j)) if key in indices}
        )
        values = resolved[name].sel(component)
        limit = float(np.percentile(np.abs(values.values), SATURATED)) or 1.0
        reach = np.abs(corners).max(axis=0)
        image = panel.imshow(
            _picture(values.values.reshape(divisions), cell, reach),
            origin="lower",
            extent=(-reach[0], reach[0], -reach[1], reach[1]),
            cmap=COLOUR_MAP,
            vmin=-limit,
            vmax=limit,
            interpolation="nearest",
        )
        zone = Polygon(corners, closed=True, fill=False, edgecolor=NEUTRAL, linewidth=1.4)
        panel.add_patch(zone)
        image.set_clip_path(zone)
        _label_points(panel, cell)
        panel.set_aspect("equal")
        panel.axis("off")
        subscript = "".join(component.values())
        label = {"misalignment": f"misalignment $\\sum_n f_n J_{{n{subscript}}}$"}.get(name, name)
        label = symbol(name, subscript, extra="$(\\mathbf{k})$") if name in SYMBOLS else label
        bar = plot.colorbar(image, ax=panel, shrink=0.8, extend="both")
        bar.set_label(f"{label} ({unit(values)})")
        panel.set_title(plain(title or name))
        rows[f"{name}_{subscript} ({values.attrs['units']})"] = values.values
    plot.table.add(rows)
    details = [f"{key} = {resolved.attrs[key]}" for key in ("temperature", "mu", "direction", "soi_scale", "minority")]
    plot.table.notes += [", ".join(details), f"mesh {mesh_label(divisions)}", resolved.attrs["direction_convention"]]
    plot.caption = (
        f"At each k of the first Brillouin zone ({', '.join(quantities)}, component {i}{j}; n along "
        f"{resolved.attrs['direction']}, mesh {mesh_label(divisions)}). The mean over the zone of D is "
        "the number per cell; one k point in a hundred is beyond the colours."
    )
    return plot


def _picture(values: Floats, cell: npt.ArrayLike, reach: Floats) -> Floats:
    """The periodic function on a Cartesian grid of pixels, linear between the points of the mesh."""
    axes = [np.linspace(-r, r, PIXELS) for r in reach]
    k = np.stack(np.meshgrid(*axes, indexing="xy"), axis=-1)
    fractional = k @ np.asarray(cell, dtype=float)[:2, :2].T / (2 * np.pi)
    indices = np.moveaxis(fractional * np.array(values.shape), -1, 0)
    picture: Floats = map_coordinates(values, indices, order=1, mode="grid-wrap")
    return picture


def _label_points(axes: Axes, cell: npt.ArrayLike) -> None:
    """Gamma and the corners of the path, where the lattice has a standard one."""
    try:
        path = high_symmetry_path(cell)
    except InputError:
        path = [("G", (0.0, 0.0))]  # an oblique or rectangular film: only the origin has a name everyone knows
    for label, point in dict(path).items():
        k = np.asarray(point) @ plane_reciprocal(cell)
        # Gamma lies on the colours, whose middle is white; the other points are named outside, on the page.
        ink = "black" if label == "G" else axes.title.get_color()
        outwards = 9 * k / np.linalg.norm(k) if label != "G" else (6.0, 6.0)
        axes.plot(*k, ".", color="black", markersize=3, clip_on=False)
        axes.annotate(
            label.replace("G", "$\\Gamma$"),
            tuple(k),
            tuple(outwards),
            textcoords="offset points",
            color=ink,
            fontsize=8,
            ha="center",
            va="center",
        )
