"""Convergence and layers."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from aiida_dmi.engine import compute
from aiida_dmi.engine.errors import InputError
from aiida_dmi.plots.convergence import converge, plot_convergence
from aiida_dmi.plots.layers import layer_parts, plot_layers

NAMES = ("D", "Q", "a_I", "a_II")


def test_convergence_draws_values_errors_and_the_way_to_the_finest(model):
    results = converge(model, [16, 8, 24], temperatures=[3000.0])
    columns = plot_convergence(results).table.columns
    assert columns["mesh (points a side)"] == [8, 16, 24]
    d, error, away = (columns[f"D_yx{word} (meV angstrom per cell)"] for word in ("", " error", " to the finest"))
    np.testing.assert_allclose(away, np.abs(np.array(d) - d[2]))
    assert away[2] == 0.0
    np.testing.assert_array_equal(error[1:], [one.D_error.sel(i="y", j="x").item() for one in (results[1], results[2])])


def test_convergence_marks_what_is_not_resolved(model):
    """Grey as far as no error is known; numbers on the axis do not run into each other."""
    results = converge(model, [3, 4, 23, 24], temperatures=[6000.0])
    known = [any(np.isfinite(one[f"{name}_error"].sel(i="y", j="x").item()) for name in NAMES) for one in results]
    assert known == [False, False, True, True]
    plot = plot_convergence(results)
    for panel in plot.axes[:2]:
        (grey,) = panel.patches
        assert grey.get_x() + grey.get_width() == (4 + 23) / 2
        assert [text.get_text() for text in panel.get_xticklabels()] == ["4", "24"]
    words = [text.get_text() for text in plot.axes[1].get_legend().get_texts()]
    assert words == ["error, as quoted", "distance to the finest mesh", "$k_BT$ not resolved"]
    assert not plot_convergence(results[2:]).axes[0].patches


def test_convergence_needs_two_meshes(result):
    with pytest.raises(InputError, match=r"meshes \[4\] were given, expected two or more"):
        plot_convergence([result, result])


def test_layers_add_up_to_the_film(model):
    whole = compute(model, 4, temperatures=[1500.0])
    parts = layer_parts(model, 4, temperature=1500.0, mu=float(whole.mu_bare[0]))
    assert parts.layer.values.tolist() == ["Pt.1", "Co.1"]
    for name in ("a_I", "a_II"):
        film = whole[name].squeeze(drop=True)
        np.testing.assert_allclose(parts[name].sum("layer"), film, atol=1e-8 * np.abs(film).max())


def test_layer_errors_are_those_of_a_run(model):
    alone = compute(model, 4, temperatures=[1500.0], soi_masks={"Pt": [1, 0]}, fermi_level="dft")
    parts = layer_parts(model, 4, temperature=1500.0).sel(layer="Pt.1")
    error = alone.a_I_error.squeeze(drop=True)
    np.testing.assert_allclose(parts.a_I_error, error, atol=1e-8 * np.abs(alone.a_I).max())


def test_layers_bars_are_named(model):
    plot = plot_layers(layer_parts(model, 3, temperature=1500.0))
    assert [text.get_text() for text in plot.axes[0].get_xticklabels()] == ["Pt.1", "Co.1"]
    assert len(plot.axes[0].patches) == 4


def test_layers_with_what_the_functions_leave_out(model):
    """Of each layer a(II) exact, and in a(I) what D(1) lacks; both are drawn."""
    before = layer_parts(model, 3, temperature=1500.0)
    dims, shape = ("mask", "i", "j"), (3, 3, 2)
    own = np.random.default_rng(7).normal(size=(3, *shape))
    exact = xr.Dataset(
        {
            "D_1": (dims, own[0] + own[1]),
            "D_1_wannier": (dims, own[0]),
            "D_1_correction_error": (dims, np.full(shape, 0.1)),
            "a_II": (dims, own[2]),
            "a_II_error": (dims, np.full(shape, 0.2)),
            "mask_weights": (("mask", "atom"), [[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]),
        },
        {"mask": ["all", "Co.1", "Pt.1"], "i": list("xyz"), "j": list("xy")},
    )
    parts = layer_parts(model, 3, temperature=1500.0, exact=exact)
    # n along z: its row of D(1) is none.
    missing = own[1] * np.array([1.0, 1.0, 0.0])[:, None]
    for layer, mask in (("Pt.1", 2), ("Co.1", 1)):
        after, old = parts.sel(layer=layer), before.sel(layer=layer)
        np.testing.assert_allclose(after.a_II, own[2][mask])
        np.testing.assert_allclose(after.a_I + after.a_II, old.a_I + old.a_II + missing[mask])
        np.testing.assert_array_equal(after.a_I_wannier, old.a_I)
    columns = plot_layers(parts).table.columns
    alone = columns["a_II_yx of the Wannier functions alone (meV angstrom per cell)"]
    np.testing.assert_array_equal(alone, before.a_II.sel(i="y", j="x"))
    # Of other layers nothing is known: the functions' numbers stay.
    assert "a_I_wannier" not in layer_parts(model, 3, temperature=1500.0, exact=exact.isel(mask=[0, 1]))
