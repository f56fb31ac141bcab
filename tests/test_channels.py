"""D(1) by channel and between bands: between all bands there are it is the exact one, channel by channel."""

import dataclasses

import numpy as np
import pytest

from aiida_dmi.engine.completeness.active import active_counts
from aiida_dmi.engine.completeness.kernel import PlaneWaveKernel
from aiida_dmi.engine.completeness.plane_waves import PlaneWaves
from aiida_dmi.engine.completeness.resolvents import Coupling

KT = 0.2
K = 3

pytestmark = pytest.mark.usefixtures("validation_scripts")


def test_between_all_bands(tiny):
    from channels import ByChannel, between_bands, channels_of

    save, pseudos, potentials = tiny.save(), tiny.pseudos(), tiny.local()
    mu = save.fermi_energy
    counts = active_counts(save.energies, mu, 300.0)
    grid = (np.array([mu]), np.array([KT]))
    kernel = PlaneWaveKernel.of(save, pseudos, potentials, counts, grid, 2, 2**28)
    whole = kernel.point(K)[0]["D_1"][0].sum(axis=0)
    channels = channels_of(save, pseudos)
    assert [channel.name for channel in channels] == ["P p"]
    kernel = dataclasses.replace(kernel, factors=ByChannel.of_all(kernel.factors, channels))
    exact = kernel.point(K)[0]["D_1"][0]
    scale = np.abs(whole).max()
    np.testing.assert_allclose(exact.sum(axis=0), whole, atol=1e-4 * scale)

    states = save.wave_functions(0, K)
    factors = (*kernel.factors.at(states.vectors), kernel.factors.average)
    waves = PlaneWaves.at(states.vectors, states.miller, potentials, factors, 2)
    solved = [np.linalg.eigh(waves.hamiltonian(s, np.eye(waves.size, dtype=complex)).T) for s in range(2)]
    coupling = Coupling(kernel.factors.rows, kernel.factors.spin_orbit)
    found = between_bands(waves, coupling, [u.T.copy() for _, u in solved], [e for e, _ in solved], mu, KT)
    np.testing.assert_allclose(found, (exact[:, 1, 0] - exact[:, 0, 1]) / 2, atol=1e-3 * scale)
