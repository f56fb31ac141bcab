"""mu of an insulator: what neutrality means where the number of electrons itself is flat to rounding."""

import dataclasses
import decimal
import re
from decimal import Decimal

import numpy as np
import pytest

from aiida_dmi.engine import compute
from aiida_dmi.engine.constants import BOLTZMANN_EV
from aiida_dmi.engine.integrate import chemical_potential
from aiida_dmi.engine.integrate.chemical_potential import neutral_level
from aiida_dmi.engine.kspace.interpolation import Interpolation
from aiida_dmi.engine.maps.filling import density_of_states
from aiida_dmi.engine.states.spinors import band_energies


def two_bands(gap, points=40):
    """A flat valence band below 0 and a steep conduction band above `gap`: mu is not in the middle at T > 0."""
    k = np.linspace(0, 1, points)
    return np.stack([-1.0 - k, -0.1 * k**2, gap + 2 * k**2], axis=1)


def exact_level(energies, electrons, kt):
    """Mu at which sum f = electrons, by bisection in as many digits as the smallest occupation needs."""
    with decimal.localcontext() as context:
        context.prec = 280
        levels = [Decimal(float(e)) for e in energies.ravel()]
        target, kt = Decimal(electrons) * len(energies), Decimal(kt)
        low, high = min(levels) - 50 * kt, max(levels) + 50 * kt
        while high - low > Decimal("1e-12"):
            mu = (low + high) / 2
            filled = sum(1 / (1 + ((e - mu) / kt).exp()) for e in levels)
            low, high = (mu, high) if filled < target else (low, mu)
        return float(low)


@pytest.mark.parametrize("temperature", [10.0, 300.0, 3000.0])
@pytest.mark.parametrize("gap", [0.02, 0.2, 1.0])
def test_neutral_level_of_an_insulator(gap, temperature):
    """From gaps below kT to 1160 kT, to 1e-8 eV, against 280 digits; kT/2 ln(N_v/N_c) off the middle."""
    kt = BOLTZMANN_EV * temperature
    energies = two_bands(gap, 5)
    expected = exact_level(energies, 2, kt)
    assert neutral_level(energies, 2.0, kt) == pytest.approx(expected, abs=1e-8)
    if temperature == 3000.0:
        assert abs(expected - gap / 2) > 0.02


def test_middle_of_the_gap_towards_zero_temperature():
    energies = two_bands(1.5)
    found = [neutral_level(energies, 2.0, BOLTZMANN_EV * t) for t in (1000.0, 100.0, 10.0, 1.0, 0.1)]
    distances = np.abs(np.array(found) - 0.75)
    assert (np.diff(distances) < 0).all()
    assert distances[2] < 2 * BOLTZMANN_EV * 10.0
    assert distances[-1] < 1e-4


def test_smooth_where_the_form_changes():
    """Gap = 40 kT: counting electrons and the logarithm give the same."""
    energies = two_bands(1.0)
    edge = 1.0 / chemical_potential.WIDE_GAP
    before, after = (neutral_level(energies, 2.0, edge * (1 + s)) for s in (1e-9, -1e-9))
    assert before == pytest.approx(after, abs=1e-6 * edge)


def test_partly_filled_band_has_no_gap():
    """A hole in one of forty states of the valence band: mu follows it, not the middle of the gap."""
    energies = two_bands(1.0)
    level = neutral_level(energies, 2.0 - 1 / 40, BOLTZMANN_EV * 10)
    # The top two levels, 7e-5 eV apart, share the hole at kT = 9e-4 eV.
    assert abs(level) < 5e-3
    assert neutral_level(energies, 2.0, BOLTZMANN_EV * 10) == pytest.approx(0.5, abs=5e-3)


# -- in compute ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[0.6, 2.0, 7.0])
def insulator(request, film):
    """Bands 0.3 eV wide on both sides of a gap; no spin-orbit interaction closes it."""
    gap = request.param
    model = film(2, functions=2).model((3, 3, 1))
    up, down = 0.1 * model.hamiltonian
    shift = gap / 2 * np.eye(2)
    return dataclasses.replace(model, hamiltonian=np.stack([up - shift, down + shift]), electrons=2.0)


def edges(model, mesh, xi):
    """Highest filled and lowest empty level of H(xi) on the mesh."""
    interpolation = Interpolation(model)
    kpoints = np.zeros((mesh**2, 3))
    kpoints[:, :2] = np.indices((mesh, mesh)).reshape(2, -1).T / mesh
    operators = interpolation.operators(kpoints)
    columns = interpolation.spin_orbit_columns((0, 0, 1), [1.0, 1.0])
    energies = band_energies(operators, interpolation.spin_orbit(columns, kpoints, operators), xi)
    energies = np.sort(energies, axis=1)
    return energies[:, 1].max(), energies[:, 2].min()


@pytest.mark.parametrize("temperature", [10.0, 300.0])
def test_mu_of_an_insulating_film(insulator, temperature):
    """Within kT of the middle of the gap of H(xi) on the mesh, for both meshes, at every xi."""
    axes = {"soi_scales": [0.0, 0.5], "temperatures": [temperature]}
    results = {mesh: compute(insulator, mesh, **axes) for mesh in (6, 12)}
    for mesh, result in results.items():
        for xi in (0.0, 0.5):
            middle = np.mean(edges(insulator, mesh, xi))
            assert abs(result.mu.sel(soi_scale=xi).item() - middle) < BOLTZMANN_EV * temperature
        np.testing.assert_allclose(result.electrons, 2.0, rtol=0, atol=1e-9)
    # The meshes differ by their band edges alone.
    moved = [np.mean(edges(insulator, mesh, 0.5)) for mesh in (6, 12)]
    mu = [results[mesh].mu.sel(soi_scale=0.5).item() for mesh in (6, 12)]
    assert mu[1] - mu[0] == pytest.approx(moved[1] - moved[0], abs=0.3 * BOLTZMANN_EV * temperature)
    assert results[12].mu_bare.item() == pytest.approx(results[12].mu.sel(soi_scale=0.0).item(), abs=1e-12)


def test_compute_and_density_of_states_agree_on_mu(insulator):
    ours = density_of_states(insulator, 6, [0.0], temperature=10.0)
    theirs = compute(insulator, 6, temperatures=[10.0])
    assert ours.mu.item() == pytest.approx(theirs.mu.item(), abs=1e-12)
    assert ours.mu_bare.item() == pytest.approx(theirs.mu_bare.item(), abs=1e-12)


def test_one_look_at_the_bands_is_enough(insulator, capsys):
    """What is kept at first holds both edges of the gap, however wide it is: the log counts every k point once."""
    compute(insulator, 16, temperatures=[10.0], progress=True)
    counted = re.findall(r"^band energies, mesh 16x16: (\S+) k", capsys.readouterr().err, re.MULTILINE)
    assert counted[-1] == "256/256"
