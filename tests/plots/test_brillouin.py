"""The first Brillouin zone and maps on it."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.kspace.zone import first_zone
from aiida_dmi.engine.maps.k_map import k_map
from aiida_dmi.plots.brillouin import plot_k_map


def test_picture_is_the_periodic_function(model):
    """At every pixel inside the zone and around it, from the points of a mesh."""
    cell, mesh = np.asarray(model.cell), 60
    i, j = np.indices((mesh, mesh)).reshape(2, -1) / mesh
    found = k_map(model, 1, ["D"], temperature=1500.0)
    wave = (np.cos(2 * np.pi * i) + np.sin(2 * np.pi * j))[:, None, None] * np.ones(found.D.shape[1:])
    k = np.stack([i, j], axis=1) @ (2 * np.pi * np.linalg.inv(cell[:2, :2]).T)
    resolved = xr.Dataset(
        {"D": (found.D.dims, wave, found.D.attrs)},
        coords={"i": found.i, "j": found.j, "kx": ("k", k[:, 0]), "ky": ("k", k[:, 1])},
        attrs=found.attrs | {"mesh": [mesh, mesh]},
    )
    (image,) = plot_k_map(resolved, cell).axes[0].images
    picture = image.get_array()
    left, right, bottom, top = image.get_extent()
    assert (right, top) == pytest.approx(np.abs(first_zone(cell)).max(axis=0))
    rows, columns = picture.shape
    pixels = np.stack(np.meshgrid(np.linspace(left, right, columns), np.linspace(bottom, top, rows)), axis=-1)
    first, second = (pixels @ vector[:2] for vector in cell[:2])
    assert np.abs(picture - (np.cos(first) + np.sin(second))).max() < 2e-2


def test_k_map_shows_and_writes_the_integrand(model):
    found = k_map(model, 4, ["D", "misalignment"], temperature=1500.0)
    plot = plot_k_map(found, model.cell, ("D", "misalignment"))
    columns = plot.table.columns
    assert columns["D_yx (meV angstrom)"] == found.D.sel(i="y", j="x").values.tolist()
    assert columns["misalignment_x (hbar angstrom)"] == found.misalignment.sel(j="x").values.tolist()
    labels = [axes.get_ylabel() for axes in plot.axes]
    assert any("D_{yx}" in label and "meV" in label for label in labels)
    assert any("misalignment" in label and "hbar" in label for label in labels)


def test_a_list_of_k_points_is_no_map(model):
    found = k_map(model, quantities=["D"], kpoints=[[0, 0], [0.1, 0]])
    with pytest.raises(InputError, match="k map: a list of k points was given, expected a mesh"):
        plot_k_map(found, model.cell)
