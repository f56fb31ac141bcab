"""The energy of the occupied states, and the anisotropy from it."""

import dataclasses

import numpy as np
import pytest
from scipy.special import expit

from aiida_dmi.engine import RashbaModel, compute
from aiida_dmi.engine.constants import BOLTZMANN_EV, HBAR2_OVER_2M
from aiida_dmi.engine.kspace.interpolation import Interpolation
from aiida_dmi.engine.states.spinors import spinor
from aiida_dmi.engine.symmetry.symmetrise import symmetrised


def bands_of(model, direction, n, xi):
    """Energies of H on a mesh, (k, bands)."""
    interpolation = Interpolation(model)
    mesh = np.pad(np.indices((n, n)).reshape(2, -1).T / n, ((0, 0), (0, 1)))
    operators = interpolation.operators(mesh)
    columns = interpolation.spin_orbit_columns(direction, [1.0] * model.atoms)
    spin_orbit = interpolation.spin_orbit(columns, mesh, operators)
    return np.linalg.eigvalsh(spinor(operators.hamiltonian, spin_orbit.interaction, xi))


@pytest.mark.parametrize("shift", [0.0, -0.4])
def test_free_energy_at_one_number_of_electrons(film, shift):
    """U - T S with the entropy written out, at the mu that holds Hbar's electrons."""
    model, temperature = film(4).model(), 1200.0
    kt, axes = BOLTZMANN_EV * temperature, [(0, 0, 1), (1, 0, 0)]
    result = compute(
        model, 12, temperatures=[temperature], fermi_shifts=[shift], directions=axes, quantities=["energy"]
    )
    assert set(result.energy.dims) == {"direction", "mask", "soi_scale", "temperature", "fermi_shift"}
    assert (result.energy.attrs["units"], result.energy.attrs["per"]) == ("meV", "cell")
    electrons = result.electrons.item()
    for place, direction in enumerate(axes):
        energies = bands_of(model, direction, 12, 1.0)
        mu = result.mu.values.ravel()[place] + shift
        f = expit(-(energies - mu) / kt)
        entropy = -(f * np.log(f) + (1 - f) * np.log1p(-f))
        # N of H(xi) at this mu is that of Hbar to second order only; what is left is mu times the difference.
        free = (f * energies - kt * entropy).sum() / 144 + mu * (electrons - f.sum() / 144)
        assert result.energy.values.ravel()[place] == pytest.approx(1e3 * free, rel=1e-9)


def test_anisotropy_is_that_of_a_shifted_chemical_potential(film):
    """To second order: with Hbar's mu instead of the neutral one the difference of energies stays."""
    model = film(4, spin_orbit=0.05).model()
    found = {}
    for level in ("neutral", "neutral-bare"):
        axes = {"temperatures": [1200.0], "directions": [(0, 0, 1), (1, 0, 0)], "fermi_level": level}
        energy = compute(model, 24, quantities=["energy"], **axes).energy.squeeze()
        found[level] = float(energy[1] - energy[0])
    assert abs(found["neutral"]) > 1e-2
    assert found["neutral-bare"] == pytest.approx(found["neutral"], rel=2e-2)


def test_rashba_in_closed_form():
    """Spin-orbit interaction off, the exchange along any axis: two parabolas, filled to mu = 0."""
    exchange = 1.0
    model = RashbaModel(0.0, exchange)
    axes = {"temperatures": [100.0], "directions": [(0, 0, 1), (1, 0, 0)], "quantities": ["energy"]}
    result = compute(model, 160, cutoff=0.5, **axes)
    # int d^2k/(2 pi)^2 E of the lower parabola up to 0: -m/(2 pi hbar^2) (Delta V/2)^2/2
    expected = -1e3 / (4 * np.pi * HBAR2_OVER_2M) * (exchange / 2) ** 2 / 2
    assert result.energy.attrs["units"] == "meV / angstrom^2"
    np.testing.assert_allclose(result.energy.squeeze().values, expected, rtol=5e-3)


def test_symmetry(copt11):
    """Even in n, and the same from the reduced mesh."""
    model = symmetrised(dataclasses.replace(copt11, moments=np.array([0.4, 1.9])))
    axes = {"temperatures": [1500.0], "quantities": ["energy"]}
    both = compute(model, 12, directions=[(0.2, 0, 1), (-0.2, 0, -1)], **axes).energy.squeeze().values
    assert both[0] == pytest.approx(both[1], rel=1e-12)
    for direction in ((0, 0, 1), (1, 0, 0)):
        full, reduced = (compute(model, 12, directions=[direction], symmetry=on, **axes) for on in (False, True))
        assert reduced.energy.item() == pytest.approx(full.energy.item(), rel=1e-12)
