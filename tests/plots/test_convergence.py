"""Convergence and layers."""

from __future__ import annotations

import numpy as np
import pytest

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
