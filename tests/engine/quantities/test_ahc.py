"""The anomalous Hall conductivity: exact limits, explicit sums, symmetry."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit

from aiida_dmi.engine import RashbaModel, compute
from aiida_dmi.engine.constants import BOLTZMANN_EV, ELEMENTARY_CHARGE, HBAR2_OVER_2M, HBAR_EV_S
from aiida_dmi.engine.kspace.interpolation import Interpolation
from aiida_dmi.engine.states.spinors import spinor
from aiida_dmi.engine.symmetry.symmetrise import symmetrised

from ..conftest import TightBinding


@pytest.mark.parametrize("exchange", [0.4, -0.4])
@pytest.mark.parametrize("mu", [-0.3, 0.05, 0.4])
def test_rashba(exchange, mu):
    """Two bands with the curvature -+ alpha^2 Delta/(2 (Delta^2 + alpha^2 k^2)^(3/2)): a radial integral."""
    alpha, delta, kt = 1.2, exchange / 2, BOLTZMANN_EV * 600

    def radial(k):
        half = np.hypot(delta, alpha * k)
        f = [expit(-(HBAR2_OVER_2M * k**2 + sign * half - mu) / kt) for sign in (-1, 1)]
        # d = (alpha ky, -alpha kx, Delta): d.(d_x d x d_y d) = Delta alpha^2, half of it over |d|^3 the lower band's.
        return -k * (f[0] - f[1]) * delta * alpha**2 / (2 * half**3)

    expected, _ = quad(radial, 0, 1.2, epsabs=1e-12, limit=400)
    result = compute(
        RashbaModel(alpha, exchange), 300, cutoff=1.2, temperatures=[600.0], fermi_shifts=[mu], quantities=["ahc"]
    )
    found = result.ahc.squeeze(drop=True)
    assert found.attrs["units"] == "e^2 / h"
    assert found.sel(j="x", l="y").item() == pytest.approx(expected, rel=2e-3)
    assert found.sel(j="y", l="x").item() == pytest.approx(-expected, rel=2e-3)
    assert abs(found.sel(j="x", l="x").item()) < 1e-12


def inverted_bands(level):
    """An s level (eV) on a square lattice of p_x and p_y with the spin-orbit interaction L_z S_z, far from spin down.

    Where the s band crosses p_x -+ i p_y their hopping, odd along x and y, opens gaps that wind: a quantised anomalous
    Hall insulator.
    """
    vectors = np.array([(x, y, 0) for x, y in itertools.product((-1, 0, 1), repeat=2)])
    hopping = np.zeros((9, 3, 3))
    for step, (x, y, _) in zip(hopping, vectors, strict=True):
        if abs(x) + abs(y) == 1:
            step[:] = np.diag([-0.5, 0.15 if x else -0.0375, 0.15 if y else -0.0375])
            step[0, 1:] = 0.4 * x, 0.4 * y
            step[1:, 0] = -0.4 * x, -0.4 * y
    hopping[4, 0, 0] = level
    angular = np.zeros((3, 3, 3), dtype=complex)
    angular[2, 1, 2], angular[2, 2, 1] = -1j, 1j
    return TightBinding(
        cell=np.diag([3.0, 3.0, 14.0]),
        centres=np.zeros((3, 3)),
        vectors=vectors,
        hopping=hopping,
        exchange=np.full(3, -6.0),
        position=np.zeros((9, 3, 3, 3)),
        projections=(np.eye(3),),
        coupling=(0.8 * angular,),
    ).model()


def winding(states):
    """Whole number of 2 pi that the phases of plaquettes add up to (Fukui, Hatsugai, Suzuki, JPSJ 74, 1674 (2005)).

    Of states (x, y, functions, bands) on a mesh; with Omega the curvature it is -(1/2 pi) times its integral.
    """

    def link(axis):
        return np.linalg.det(states.conj().swapaxes(-1, -2) @ np.roll(states, -1, axis=axis))

    along_x, along_y = link(0), link(1)
    plaquettes = along_x * np.roll(along_y, -1, axis=0) / np.roll(along_x, -1, axis=1) / along_y
    return np.angle(plaquettes).sum() / (2 * np.pi)


@pytest.mark.parametrize(("level", "filled", "number"), [(-3.0, 2, 0), (0.0, 1, 1), (0.5, 2, 1), (1.5, 2, -1)])
def test_insulator_holds_a_whole_number_of_quanta(level, filled, number):
    """Of bands apart from all others it is their Chern number in e^2/h, found from phases alone."""
    model = inverted_bands(level)
    interpolation = Interpolation(model)
    mesh = np.pad(np.indices((24, 24)).reshape(2, -1).T / 24, ((0, 0), (0, 1)))
    operators = interpolation.operators(mesh)
    spin_orbit = interpolation.spin_orbit(interpolation.spin_orbit_columns((0, 0, 1), [1]), mesh, operators)
    energies, states = np.linalg.eigh(spinor(operators.hamiltonian, spin_orbit.interaction, 1.0))
    low, high = energies[:, filled - 1].max(), energies[:, filled].min()
    assert high - low > 0.1
    assert winding(states[..., :filled].reshape(24, 24, 6, filled)) == pytest.approx(number, abs=1e-9)
    middle = dataclasses.replace(model, fermi_energy=(low + high) / 2)
    result = compute(middle, 64, temperatures=[20.0], fermi_level="dft", quantities=["ahc"])
    assert result.ahc.sel(j="x", l="y").item() == pytest.approx(number, abs=1e-6)


@pytest.mark.parametrize("direction", [(0, 0, 1), (0.3, -1.0, 0.4)])
@pytest.mark.parametrize("shift", [-0.5, 0.0, 0.7])
def test_against_the_double_sum(film, direction, shift):
    model, kt = film(5).model(), BOLTZMANN_EV * 900
    interpolation = Interpolation(model)
    columns = interpolation.spin_orbit_columns(direction, [1.0, 0.5])
    total = np.zeros((2, 2))
    for k in np.pad(np.indices((6, 6)).reshape(2, -1).T / 6, ((0, 0), (0, 1))):
        operators = interpolation.operators(k[None])
        spin_orbit = interpolation.spin_orbit(columns, k[None], operators)
        energies, states = np.linalg.eigh(spinor(operators.hamiltonian, spin_orbit.interaction, 0.8)[0])
        v = states.conj().T @ spinor(operators.velocity, spin_orbit.velocity, 0.8)[:, 0] @ states
        f = expit(-(energies - model.fermi_energy - shift) / kt)
        for n in range(len(energies)):
            for m in range(len(energies)):
                if n != m:
                    apart = (energies[n] - energies[m]) ** 2
                    total += 2 * f[n] * np.einsum("j,l->jl", v[:, n, m], v[:, m, n]).imag / apart
    result = compute(
        model,
        6,
        soi_scales=[0.8],
        fermi_shifts=[shift],
        temperatures=[900.0],
        directions=[direction],
        soi_masks={"all": [1.0, 0.5]},
        fermi_level="dft",
        quantities=["ahc"],
    )
    expected = 2 * np.pi * total / 36 / model.area
    np.testing.assert_allclose(result.ahc.squeeze().values, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def test_symmetry(copt11):
    """Odd in n; the reduced mesh gives what the full one does, along the normal and in the plane."""
    model = symmetrised(dataclasses.replace(copt11, moments=np.array([0.4, 1.9])))
    axes = {"temperatures": [1500.0], "fermi_shifts": [-0.5, 0.0], "quantities": ["ahc"]}
    turned = compute(model, 12, directions=[(0, 0, 1), (0, 0, -1)], **axes)
    scale = float(np.abs(turned.ahc).max())
    assert scale > 0.1
    np.testing.assert_allclose(turned.ahc[0], -turned.ahc[1], rtol=0, atol=1e-9 * scale)
    for direction in ((0, 0, 1), (1, 2, 0.5)):
        full, reduced = (compute(model, 12, directions=[direction], symmetry=on, **axes) for on in (False, True))
        np.testing.assert_allclose(reduced.ahc, full.ahc, rtol=0, atol=1e-9 * scale, err_msg=str(direction))
    # A mirror that holds n, along x of a (111) film, forbids it; one with time reversal, along y, does not.
    in_plane = compute(model, 24, directions=[(1, 0, 0), (0, 1, 0)], **axes).ahc.sel(j="x", l="y")
    assert float(np.abs(in_plane.sel(direction="1,0,0")).max()) < 1e-9 * scale
    assert float(np.abs(in_plane.sel(direction="0,1,0")).max()) > 1e-6 * scale


@pytest.mark.parametrize(
    ("direction", "allowed"),
    [((0, 0, 1), {"xy"}), ((0, 0, -2), {"xy"}), ((1, 0, 0), {"yz"}), ((0, 1, 0), {"zx", "xy"})],
)
def test_components_that_the_magnetic_group_allows(copt11, direction, allowed):
    """C3v with mirrors normal to x, of a stack of films: sigma_yz, sigma_zx, sigma_xy turn as a spin does.

    Along z the threefold axis leaves sigma_xy. The mirror normal to x holds n = x and leaves sigma_yz; with time
    reversal it holds n = y and forbids just that.
    """
    model = symmetrised(dataclasses.replace(copt11, moments=np.array([0.4, 1.9])))
    stack = dataclasses.replace(model, periodic=np.array([True, True, True]))
    axes = {"temperatures": [1500.0], "fermi_shifts": [-0.5, 0.0, 0.5], "quantities": ["ahc"]}
    found = compute(stack, (6, 6, 2), directions=[direction], **axes).ahc.squeeze()
    scale = float(np.abs(found).max())
    assert scale > 1  # S/cm
    np.testing.assert_allclose(found, -found.transpose("fermi_shift", "l", "j"), rtol=0, atol=1e-12 * scale)
    size = {pair: float(np.abs(found.sel(j=pair[0], l=pair[1])).max()) / scale for pair in ("yz", "zx", "xy")}
    assert {pair for pair, value in size.items() if value > 1e-3} == allowed
    assert all(value < 1e-9 for pair, value in size.items() if pair not in allowed)


def test_of_a_bulk_magnet_in_siemens(film):
    """The same bands without any dispersion along z, as a stack of films: e^2/h a layer."""
    sheet = film(3).model()
    stack = dataclasses.replace(sheet, periodic=np.array([True, True, True]))
    axes = {"temperatures": [900.0], "quantities": ["ahc"], "fermi_level": "dft"}
    flat, solid = compute(sheet, 8, **axes), compute(stack, (8, 8, 2), **axes)
    assert solid.ahc.attrs["units"] == "S / cm"
    quantum = ELEMENTARY_CHARGE / (2 * np.pi * HBAR_EV_S)
    layer = flat.ahc.squeeze().values * quantum / (sheet.cell[2, 2] * 1e-8)
    np.testing.assert_allclose(solid.ahc.squeeze().values[:2, :2], layer, rtol=1e-9, atol=1e-9 * np.abs(layer).max())
