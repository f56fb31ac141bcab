"""Bands and their parts in D."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_dmi.engine.maps.band_parts import band_parts
from aiida_dmi.engine.maps.k_map import k_map
from aiida_dmi.plots.bands import plot_bands


@pytest.mark.parametrize("direction", [(0, 0, 1), (1, 2, 0)])
def test_parts_add_up_to_the_integrand_of_d(model, direction):
    found = band_parts(model, 12, temperature=1500.0, mu=3.7, direction=direction, mask=[1.0, 0.5], soi_scale=0.7)
    at_k = k_map(
        model,
        quantities=["D"],
        kpoints=found.k_fractional.values,
        temperature=1500.0,
        mu=3.7,
        direction=direction,
        mask=[1.0, 0.5],
        soi_scale=0.7,
    )
    np.testing.assert_allclose(found.part.sum("band"), at_k.D, atol=1e-8 * np.abs(at_k.D).max())


def test_bands_figure_holds_both_sets_of_bands(model):
    found = band_parts(model, 12, temperature=1500.0, mu=3.7)
    plot = plot_bands(found, window=(-2.0, 1.0))
    energies = np.array(plot.table.columns["E - mu at xi = 1 (eV)"])
    full = found.energy.isel(soi_scale=1).values - 3.7
    assert set(full[(full > -2) & (full < 1)].round(6)) <= set(energies)
    axes = plot.axes[0]
    assert axes.get_ylim() == (-2.0, 1.0)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["$\\Gamma$", "M", "K", "$\\Gamma$"]
