"""Densities of states, and shifts of the Fermi level as doping."""

import numpy as np
import pytest
import xarray as xr

from aiida_dmi.engine import InputError, RashbaModel, compute, load_result, save_result
from aiida_dmi.engine.constants import ELEMENTS, HBAR2_OVER_2M
from aiida_dmi.engine.integrate.chemical_potential import neutral_level
from aiida_dmi.engine.maps.filling import compound_label, density_of_states, doping_axis


def test_two_parabolas():
    """A parabola in two dimensions holds m/(2 pi hbar^2) states per eV and area, one spin."""
    result = density_of_states(
        RashbaModel(0.0, 1.0), 500, [-0.7, 0.0, 0.8], temperature=50.0, broadening=0.02, cutoff=0.75
    )
    density = 1 / (4 * np.pi * HBAR2_OVER_2M)
    np.testing.assert_allclose(result.dos.sel(spin="up"), [0, 0, density], rtol=5e-3, atol=1e-4 * density)
    np.testing.assert_allclose(result.dos.sel(spin="down"), [0, density, density], rtol=5e-3, atol=1e-4 * density)
    np.testing.assert_allclose(result.electrons[0], np.array([0, 0.5, 1.6]) * density, rtol=2e-3, atol=1e-9)
    assert result.dos.attrs["per"] == "angstrom^2"
    assert result.attrs["minority"] == "up"


def test_rashba_without_exchange():
    """DeltaV = 0, mu > 0: two branches, k_+- = (mu +- ...): the total density is again 2 m/(2 pi hbar^2)."""
    result = density_of_states(RashbaModel(1.0, 0.0), 500, [0.3], temperature=50.0, broadening=0.02, cutoff=0.8)
    assert result.dos_soi.item() == pytest.approx(2 / (4 * np.pi * HBAR2_OVER_2M), rel=5e-3)


def test_slope_of_electrons(film):
    """At the electrons' own temperature the density of states is dN/dshift; both with and without SOI."""
    step = 1e-3
    shifts = [-0.3 - step, -0.3, -0.3 + step, 0.2 - step, 0.2, 0.2 + step]
    result = density_of_states(film(2).model(), 8, shifts, temperature=2000.0, direction=(0.2, 0.1, 1))
    for electrons, dos in ((result.electrons, result.dos.sum("spin")), (result.electrons_soi, result.dos_soi)):
        number = electrons.values[0]
        slope = (number[2::3] - number[::3]) / (2 * step)
        np.testing.assert_allclose(dos.values[1::3], slope, rtol=1e-5)


def test_all_states_are_counted(film):
    """The integral over all energies is the number of functions, a spin."""
    result = density_of_states(film(2).model(), 4, np.linspace(-6, 6, 601), broadening=0.05)
    np.testing.assert_allclose(result.dos.integrate("fermi_shift"), [4, 4], rtol=1e-6)
    assert result.dos_soi.integrate("fermi_shift").item() == pytest.approx(8, rel=1e-6)


@pytest.mark.parametrize("fermi_level", ["neutral", "neutral-bare", "dft"])
def test_agrees_with_compute(copt11, fermi_level):
    shifts = [-0.5, 0.0, 0.4]
    ours = density_of_states(copt11, 4, shifts, fermi_level=fermi_level)
    theirs = compute(copt11, 4, fermi_shifts=shifts, fermi_level=fermi_level)
    np.testing.assert_allclose(ours.electrons, theirs.electrons, atol=1e-9)
    assert ours.mu.item() == pytest.approx(theirs.mu.item(), abs=1e-9)
    assert ours.mu_bare.item() == pytest.approx(theirs.mu_bare.item(), abs=1e-9)
    if fermi_level == "neutral":
        assert ours.electrons_soi.sel(fermi_shift=0.0).item() == pytest.approx(copt11.electrons)
    np.testing.assert_allclose(doping_axis(ours).doping, doping_axis(theirs).doping, atol=1e-9)


# -- doping ----------------------------------------------------------------------------------------------------


def shifted(symbols, electrons, shifts=(-0.2, 0.0, 0.1), **attributes):
    return xr.Dataset(
        {"electrons": (("temperature", "fermi_shift"), np.atleast_2d(electrons))},
        {"fermi_shift": list(shifts), "temperature": 300.0 + np.arange(len(np.atleast_2d(electrons)))},
        {"symbols": symbols, **attributes},
    )


@pytest.mark.parametrize(
    ("symbols", "negative", "positive"),
    [
        (["Mn", *["W"] * 9], "Mn1-xCrx/W1-xTax", "Mn1-xFex/W1-xRex"),
        ([*["Co"] * 3, *["Pt"] * 10], "Co1-xFex/Pt1-xIrx", "Co1-xNix/Pt1-xAux"),
        (["Fe"], "Fe1-xMnx", "Fe1-xCox"),
    ],
)
def test_labels_of_the_paper(symbols, negative, positive):
    """Figs. 4 and 5: x = (N(shift) - N(0))/atoms, one electron an atom of each kind."""
    atoms = len(symbols)
    axis = doping_axis(shifted(symbols, [100 - 0.3 * atoms, 100.0, 100 + 0.1 * atoms]))
    np.testing.assert_allclose(axis.doping[0], [-0.3, 0.0, 0.1], atol=1e-12)
    assert list(axis.compound.values) == [negative, "/".join(dict.fromkeys(symbols)), positive]
    assert (axis.attrs["negative"], axis.attrs["positive"]) == (negative, positive)
    assert axis.doping.attrs["units"] == "1"


def test_kinds_can_be_chosen():
    """Only the magnet substituted: all electrons come from its atoms; the order of the label is the one given."""
    result = shifted(["Pt", "Co", "Pt"], [10.7, 11.0, 11.2])
    axis = doping_axis(result, ["Co"])
    np.testing.assert_allclose(axis.doping[0], [-0.3, 0.0, 0.2])
    assert axis.attrs["negative"] == "Co1-xFex"
    assert doping_axis(result, ["Co", "Pt"]).attrs["positive"] == "Co1-xNix/Pt1-xAux"
    assert doping_axis(result).attrs["positive"] == "Pt1-xAux/Co1-xNix"


def test_every_temperature_has_its_own_zero():
    axis = doping_axis(shifted(["Fe"], [[7.5, 8.0, 8.5], [7.0, 7.9, 8.0]]))
    np.testing.assert_allclose(axis.doping, [[-0.5, 0, 0.5], [-0.9, 0, 0.1]])


def test_without_a_shift_of_zero():
    """N(0) is the model's number of electrons at neutrality, and unknown at a fixed Fermi level."""
    result = shifted(["Fe"], [7.5, 8.5], (-0.1, 0.1), fermi_level="neutral", electrons_per_cell=8.1)
    np.testing.assert_allclose(doping_axis(result).doping, [[-0.6, 0.4]])
    with pytest.raises(InputError, match="include 0"):
        doping_axis(result.assign_attrs(fermi_level="dft"))


def test_after_a_file(copt11, tmp_path):
    """The same from a result that has been to disk; one shift a time as well."""
    result = compute(copt11, 3, fermi_shifts=[0.0, 0.5])
    save_result(result, tmp_path / "result.nc")
    again = doping_axis(load_result(tmp_path / "result.nc"), ["Co", "Pt"])
    assert again.compound.values[1] == "Co1-xNix/Pt1-xAux"
    np.testing.assert_allclose(again.doping, doping_axis(result).doping)
    assert 0.1 < again.doping.values[0, 1] < 1.0


def test_neighbours():
    """The table is in order: atomic numbers of a few elements."""
    for symbol, number in (("H", 1), ("Mn", 25), ("Pd", 46), ("La", 57), ("W", 74), ("Pt", 78), ("Og", 118)):
        assert ELEMENTS.index(symbol) == number - 1
    assert len(set(ELEMENTS)) == len(ELEMENTS) == 118
    assert compound_label(["Mn"], 0) == "Mn"
    for kinds, step, message in ((["H"], -1, "no neighbour below"), (["Og"], 1, "above"), (["X"], 1, "'X'")):
        with pytest.raises(InputError, match=message):
            compound_label(kinds, step)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fermi_shifts": []}, "fermi_shifts"),
        ({"fermi_shifts": [np.nan]}, "fermi_shifts"),
        ({"temperature": -1.0}, "temperature"),
        ({"broadening": 0.0}, "broadening"),
        ({"fermi_level": "fermi"}, "fermi_level: 'fermi'"),
        ({"mask": [1.0, 1.0, 1.0]}, "soi_masks"),
        ({"cutoff": 0.5}, "cutoff"),
    ],
)
def test_bad_input(small_model, arguments, message):
    with pytest.raises(InputError, match=message):
        density_of_states(small_model, 2, **arguments)


def test_bad_results():
    with pytest.raises(InputError, match="no electrons or symbols"):
        doping_axis(compute(RashbaModel(0.1, 1.0), 4, cutoff=0.5))
    with pytest.raises(InputError, match="Au"):
        doping_axis(shifted(["Co"], [1.0, 2.0, 3.0]), ["Au"])
    with pytest.raises(InputError, match="do not fit"):
        neutral_level(np.zeros((1, 2)), 3.0, 0.1)
