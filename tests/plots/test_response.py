"""Figures 2 to 5: what is drawn is what the result holds."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.maps.filling import doping_axis
from aiida_dmi.plots.rashba import occupied_radius, plot_rashba, rashba_sweep
from aiida_dmi.plots.response import plot_fermi_level, plot_masked, plot_spin_orbit

POINT = {"direction": "0,0,1", "mask": "all", "temperature": 1500.0, "i": "y", "j": "x"}


def lines(axes) -> dict[str, np.ndarray]:
    return {
        line.get_label(): np.asarray(line.get_ydata()) for line in axes.lines if not line.get_label().startswith("_")
    }


def test_spin_orbit_draws_d_and_minus_q_for_every_direction(result):
    plot = plot_spin_orbit(result, "Co/Pt")
    drawn = lines(plot.axes[0])
    assert len(drawn) == 4
    at = result.sel(POINT).sel(fermi_shift=0.0)
    found = [values for label, values in drawn.items() if "$z$" in label]
    np.testing.assert_array_equal(found[0], at.D.values)
    np.testing.assert_array_equal(found[1], -at.Q.values)
    assert "meV" in plot.axes[0].get_ylabel()
    assert "per cell" in plot.axes[0].get_ylabel()


def test_spin_orbit_leaves_out_directions_along_the_component(result):
    # D.n = 0: D_xx for n along x vanishes identically.
    drawn = lines(plot_spin_orbit(result, i="x", j="x").axes[0])
    assert len(drawn) == 2


def test_the_table_keeps_the_sign_of_q_and_the_errors(result):
    table = plot_spin_orbit(result, direction="0,0,1").table
    at = result.sel(POINT).sel(fermi_shift=0.0)
    assert table.columns["Q_yx (meV angstrom per cell)"] == at.Q.values.tolist()
    np.testing.assert_array_equal(table.columns["D_yx error (meV angstrom per cell)"], at.D_error.values)
    assert any(note.startswith("sign: F = sum_j") for note in table.notes)


def test_several_results_become_lettered_panels(result):
    plot = plot_spin_orbit({"one": result, "two": result}, direction="0,0,1")
    assert [axes.get_title(loc="left") for axes in plot.axes] == ["(a)", "(b)"]
    assert plot.table.columns["panel"] == ["one", "one", "two", "two"]


def test_fermi_level_has_a_doping_axis_where_the_electrons_say(result):
    plot = plot_fermi_level(result)
    upper = next(axes for axes in plot.axes if "doping" in axes.get_xlabel())
    assert "Co$_{1-x}$Fe$_x$/Pt$_{1-x}$Ir$_x$" in upper.get_xlabel()
    doping = doping_axis(result).doping.sel(temperature=1500.0).values
    for place, text in zip(upper.get_xticks(), upper.get_xticklabels(), strict=True):
        assert abs(np.interp(place, result.fermi_shift.values, doping)) == pytest.approx(
            float(text.get_text()), abs=1e-6
        )
    assert plot.table.columns["doping (electrons per atom)"] == doping.tolist()


def test_fermi_level_takes_q_at_xi_one(result):
    table = plot_fermi_level(result).table
    assert table.columns["Q_yx (meV angstrom per cell)"] == result.sel(POINT).sel(soi_scale=1.0).Q.values.tolist()


def test_masked_draws_d_of_all_and_a_of_the_part(result):
    columns = plot_masked(result).table.columns
    at = result.sel({**POINT, "mask": "Co"})
    assert columns["a_I_yx, mask Co (meV angstrom per cell)"] == at.a_I.values.tolist()
    assert columns["D_yx (meV angstrom per cell)"] == result.sel(POINT).sel(soi_scale=1.0).D.values.tolist()


def test_masked_needs_a_mask_that_leaves_an_atom_out(result):
    with pytest.raises(InputError, match="the result has all, none of which leaves an atom out; run the response with"):
        plot_masked(result.sel(mask=["all"]))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"temperature": 10.0}, "temperature: 10.0 was given, the result has 1500"),
        ({"direction": "0,1,0"}, "direction: 0,1,0 was given, the result has 0,0,1, 1,0,0"),
        ({"temperature": "cold"}, "temperature: 'cold' was given, expected a number"),
        ({"pressure": 1.0}, "pressure: no axis of a result"),
    ],
)
def test_a_point_that_is_not_there_is_refused(result, choice, message):
    with pytest.raises(InputError, match=message):
        plot_spin_orbit(result, **choice)


def test_rashba_gives_the_reference_numbers():
    # T = 0 values of D_yx and -Q_yx; 50 K and this mesh move them by less than 1e-3 of their size.
    sweep = rashba_sweep([0.1, 1.0], mesh=160).sel(i="y", j="x")
    np.testing.assert_allclose(sweep.D, [0.261082, 2.567342], rtol=2e-3)
    np.testing.assert_allclose(sweep.Q, [-0.261539, -3.112122], rtol=2e-3)


def test_rashba_circle_holds_the_occupied_states():
    from aiida_dmi.engine.constants import HBAR2_OVER_2M

    k = occupied_radius(1.5, 1.0, 0.1)
    assert HBAR2_OVER_2M * k**2 - np.sqrt((1.5 * k) ** 2 + 0.25) == pytest.approx(0.1)


def test_rashba_figure_is_per_area():
    plot = plot_rashba(rashba_sweep([0.0, 0.5], mesh=8))
    assert "meV/" in plot.axes[0].get_ylabel()
    assert list(plot.table.columns)[1] == "D_yx (meV / angstrom)"


def test_corrected_numbers_are_drawn_with_those_of_the_functions_alone(result):
    """Dotted in the same colour, one entry of the legend, a column of their own."""
    before = {f"{name}_wannier": result[name] - 1.0 for name in ("D", "Q", "Q_1", "a_I", "a_II")}
    corrected = result.assign({**before, "completeness": result.closure})
    plot = plot_fermi_level(corrected)
    axes = plot.axes[0]
    dotted = [line for line in axes.lines if line.get_linestyle() == ":" and len(line.get_xdata()) == 3]
    at = result.sel(POINT).sel(soi_scale=1.0)
    for name in ("Q", "Q_1", "a_I", "a_II"):
        values = at[name].values
        full, alone = (
            [line for line in lines_ if np.array_equal(line.get_ydata(), wanted)]
            for lines_, wanted in ((axes.lines, values), (dotted, values - 1.0))
        )
        assert [line.get_color() for line in full] == [line.get_color() for line in alone]
        column = f"{name}_yx of the Wannier functions alone (meV angstrom per cell)"
        np.testing.assert_array_equal(plot.table.columns[column], values - 1.0)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels.count("Wannier functions alone") == 1
    assert "dotted: of the Wannier functions alone" in plot.caption
    assert "dotted" not in plot_fermi_level(result).caption
