"""The plane-wave side against what knows nothing of it: pw.x's energies, differences in k, all plane waves."""

import dataclasses

import numpy as np
import pytest

from aiida_dmi.engine.completeness.coefficients import coefficients
from aiida_dmi.engine.completeness.form_factors import FormFactors
from aiida_dmi.engine.completeness.plane_waves import PlaneWaves
from aiida_dmi.engine.completeness.remainder import Remainder
from aiida_dmi.engine.completeness.resolvents import Coupling, active_bands
from aiida_dmi.engine.constants import BOHR_ANGSTROM
from aiida_dmi.engine.states.coefficients import Occupations, occupy, splitting_threshold
from aiida_dmi.engine.states.divided_differences import berry_weight, divided_f, divided_g, divided_g_twice, fermi

KT = 0.2
K = 3
"""An irreducible k point that is no special one."""
MEMORY = 2**30
NAMES = ("D_1", "a_I", "a_II")


@dataclasses.dataclass
class Point:
    """One k point of the film: operators, pw.x's states, and all eigenstates."""

    waves: PlaneWaves
    coupling: Coupling
    bands: list
    energies: list
    mu: float

    @property
    def matrices(self):
        """H of both spins, v_j, W_(atom, alpha) and dW/dk_j between plane waves."""
        unit = np.eye(self.waves.size, dtype=complex)
        hamiltonian = [self.waves.hamiltonian(s, unit).T for s in range(2)]
        velocity = [self.waves.velocity(j, unit).T for j in range(2)]
        beta = self.waves.overlaps(unit)
        gradient = np.stack([self.waves.gradient_overlaps(j, unit) for j in range(2)])
        interaction = self.coupling.between(beta, beta)
        slope = self.coupling.between(gradient, beta) + self.coupling.between(beta, gradient)
        return hamiltonian, velocity, interaction, slope


def operators(tiny, vectors, miller):
    """Operators at k + G, and the position (bohr) of the atom of every projector."""
    save = tiny.save()
    factors = FormFactors.of(save, tiny.pseudos(), np.linalg.norm(vectors, axis=1).max())
    waves = PlaneWaves.at(vectors, miller, tiny.local(), (*factors.at(vectors), factors.average), 2)
    phases = np.concatenate([np.full(rows.stop - rows.start, i) for i, rows in enumerate(factors.rows)])
    return waves, Coupling(factors.rows, factors.spin_orbit), save.positions[phases]


@pytest.fixture(scope="module")
def point(tiny):
    save = tiny.save()
    states = [save.wave_functions(s, K) for s in range(2)]
    waves, coupling, _ = operators(tiny, states[0].vectors, states[0].miller)
    return Point(waves, coupling, [s.coefficients for s in states], list(save.energies[:, K]), save.fermi_energy)


@pytest.fixture(scope="module")
def dense(point):
    """The same with every eigenstate in place of pw.x's bands."""
    solved = [np.linalg.eigh(h) for h in point.matrices[0]]
    return dataclasses.replace(point, bands=[u.T.copy() for _, u in solved], energies=[e for e, _ in solved])


def count_of(point):
    """Active bands: to 12 kT above mu, the cut in a gap."""
    top = point.mu + 12 * KT
    return [next(n for n in range(2, len(e)) if e[n] > top and e[n] - e[n - 1] > 0.2) for e in point.energies]


def evaluated(point, single=True, bands=None, counts=None, kt=KT, tolerance=1e-4):
    """D(1), a(I), a(II) as (atoms, 3, d), from conjugate gradients; where all bands are given, from sums over them."""
    counts = counts or count_of(point)
    used = point.waves.single(point.waves.potentials.astype(np.float32)) if single else point.waves
    parts = slice(None, bands)
    remainders = [
        dataclasses.replace(
            Remainder.of(used, s, point.bands[s][parts], point.energies[s][parts], counts[s], MEMORY, "here"),
            tolerance=tolerance,
        )
        for s in range(2)
    ]
    states = tuple(np.ascontiguousarray(point.bands[s][: counts[s]]) for s in range(2))
    own = tuple(point.energies[s][: counts[s]] for s in range(2))
    spins = active_bands(point.waves, used, tuple(remainders), states, own)
    found = coefficients(spins, point.coupling, splitting_threshold(300.0))
    occupations = Occupations.of(found["D_1"].energies, np.array([point.mu]), np.array([kt]))
    return {name: occupy(one, occupations)[0] for name, one in found.items()}


def by_all_bands(point):
    """The formulas as they stand, over all bands of the film."""
    _, velocity, interaction, slope = point.matrices
    up, down = (b.T for b in point.bands)
    (a, b), o = point.energies, up.conj().T @ down
    f = [fermi(e, point.mu, KT) for e in (a, b)]
    f_ab = divided_f(a[:, None], b[None], point.mu, KT)
    g_ab = divided_g(a[:, None], b[None], point.mu, KT)
    result = {name: np.zeros((*interaction.shape[:2], 2)) for name in NAMES}
    # sum_a g[a,b,c] <c|v|a><a|b> at [c, b], a and c of one spin
    inner = [[np.zeros(0)] * 2 for _ in range(2)]
    for s, (u, x, y, overlap) in enumerate(((up, a, b, o), (down, b, a, o.conj().T))):
        weight = divided_g_twice(*np.broadcast_arrays(x[:, None, None], y[None, :, None], x[None, None]), point.mu, KT)
        for j in range(2):
            v = u.conj().T @ velocity[j] @ u
            inner[j][s] = np.einsum("abc,ca,ab->cb", weight, v, overlap)
    for index in ((1, alpha) for alpha in range(3)):  # hydrogen has no spin-orbit interaction
        w = up.conj().T @ interaction[index] @ down
        for j in range(2):
            v = up.conj().T @ velocity[j] @ down
            y = slope[index][j]
            first = -(f_ab * v * w.conj()).real.sum()
            mean = [np.einsum("gn,gh,hn->n", u.conj(), y, u).real for u in (up, down)]
            second = -0.5 * sum(fn @ mn for fn, mn in zip(f, mean, strict=True))
            rest = (g_ab * o * (up.conj().T @ y @ down).conj()).real.sum()
            rest += (inner[j][0] * w.conj()).real.sum() + (inner[j][1] * w.T).real.sum()
            for name, value in (("a_I", first), ("a_II", second), ("D_1", first + second + rest)):
                result[name][index][j] = value
    return result


def close(found, expected, part):
    """To a part of the largest of the three: D(1) is what a(I), a(II) and a derivative leave of each other."""
    scale = max(np.abs(expected[name]).max() for name in NAMES)
    for name in NAMES:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=part * scale, err_msg=name)


def test_energies_of_pw(point):
    """Active bands to 1e-6 eV."""
    for s in range(2):
        states = point.bands[s][:10]
        mean = np.vecdot(states, point.waves.hamiltonian(s, states)).real
        np.testing.assert_allclose(mean, point.energies[s][:10], atol=1e-6)


def test_all_bands_begin_with_those_of_pw(point, dense):
    for s in range(2):
        np.testing.assert_allclose(dense.energies[s][:10], point.energies[s][:10], atol=1e-6)


@pytest.mark.parametrize("j", [0, 1])
def test_slopes_are_differences_in_k(tiny, point, j):
    """v_j = dH/dk_j and y_j = dW/dk_j, in a fixed set of G, to the differences' own accuracy."""
    step = np.zeros(3)
    step[j] = 1e-3
    waves, moved = tiny.save().wave_functions(0, K), {}
    for sign in (1, -1):
        at = dataclasses.replace(waves, kpoint=waves.kpoint + sign * step)
        here, coupling, positions = operators(tiny, at.vectors, at.miller)
        # The phases of the atoms' positions are no part of the derivative: they stay those of k.
        turn = np.exp(1j * positions @ (sign * step))
        here = dataclasses.replace(here, projectors=here.projectors * turn[:, None])
        moved[sign] = dataclasses.replace(point, waves=here, coupling=coupling).matrices
    _, velocity, _, slope = point.matrices
    for before, after, expected in (
        (moved[-1][0][0], moved[1][0][0], velocity[j]),
        (moved[-1][2], moved[1][2], slope[:, :, j]),
    ):
        difference = (after - before) / (2e-3 / BOHR_ANGSTROM)
        np.testing.assert_allclose(difference, expected, atol=3e-5 * np.abs(expected).max())


def test_all_plane_waves_in_place_of_conjugate_gradients(point, dense):
    """a(I), a(II), D(1): the formulas over all bands; resolvents as sums over all bands; conjugate gradients."""
    expected = by_all_bands(dense)
    close(evaluated(dense, single=False, counts=count_of(point)), expected, 1e-6)
    close(evaluated(point, single=False, tolerance=1e-7), expected, 1e-6)
    close(evaluated(point), expected, 3e-5)


def test_independent_of_the_explicit_bands(point):
    """Ten bands fewer are made up for; so are bands that pw.x has not converged."""
    expected = evaluated(point)
    counts = count_of(point)
    close(evaluated(point, bands=max(counts) + 1, counts=counts), expected, 3e-5)
    random = np.random.default_rng(3)
    rough = []
    for own, count in zip(point.bands, counts, strict=True):
        noise = random.normal(size=(len(own) - count, own.shape[1], 2)).view(complex)[..., 0] / np.sqrt(own.shape[1])
        states = np.concatenate([own[:count], own[count:] + 0.05 * noise])
        rough.append(np.linalg.qr(states.T)[0].T)
    close(evaluated(dataclasses.replace(point, bands=rough), counts=counts), expected, 3e-5)


@pytest.mark.parametrize("j", [0, 1])
def test_two_forms_differ_by_a_derivative(tiny, point, j):
    """D(1) - a(I) - a(II) = dP/dk_j, P = Re sum_ab g[a,b] <a|b><b|W|a>, in a fixed set of G.

    So the two differ by how the set of plane waves changes with k, and by the mesh (docs/theory.md has numbers).
    """
    waves, step, values = tiny.save().wave_functions(0, K), 2e-4, {}
    for sign in (1, -1):
        kpoint = waves.kpoint + sign * step * np.eye(3)[j]
        at = dataclasses.replace(waves, kpoint=kpoint)
        here, coupling, _ = operators(tiny, at.vectors, at.miller)
        moved = dataclasses.replace(point, waves=here, coupling=coupling)
        hamiltonian, _, interaction, _ = moved.matrices
        (a, up), (b, down) = (np.linalg.eigh(h) for h in hamiltonian)
        weight = divided_g(a[:, None], b[None], point.mu, KT) * (up.conj().T @ down)
        flips = up.conj().T @ interaction @ down
        values[sign] = (weight * flips.conj()).real.sum((-2, -1))
    expected = (values[1] - values[-1]) / (2 * step / BOHR_ANGSTROM)
    found = evaluated(point, single=False, tolerance=1e-7)
    difference = (found["D_1"] - found["a_I"] - found["a_II"])[..., j]
    np.testing.assert_allclose(difference, expected, atol=1e-5 * np.abs(found["a_I"]).max())


def test_filled_shells_give_nothing(dense):
    """Every band of both spins full."""
    full = dataclasses.replace(dense, mu=max(e.max() for e in dense.energies) + 50 * KT)
    scale = np.abs(evaluated(dense, single=False, counts=count_of(dense))["D_1"]).max()
    found = evaluated(full, single=False, counts=[len(e) for e in full.energies])
    for name in NAMES:
        assert np.abs(found[name]).max() < 1e-6 * scale


def spinor(matrices, dense, xi, atom, alpha, sign):
    """H, v_j, T_i in all bands of both spins at k (sign 1) and -k (-1), V of one atom's L_alpha."""
    _, velocity, interaction, slope = matrices
    up, down = (b.T for b in dense.bands)
    energies = np.concatenate(dense.energies)
    conj = (lambda x: x) if sign > 0 else np.conj
    blocks = {}
    named = {"w": interaction[atom, alpha], **{("y", j): slope[atom, alpha, j] for j in range(2)}}
    for name, operator in named.items():
        blocks[name] = {
            (s, t): conj(left.conj().T @ operator @ right)
            for s, left in enumerate((up, down))
            for t, right in enumerate((up, down))
        }
    odd = {name: (-1 if sign < 0 and name == "w" else 1) for name in named}
    pauli = [np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1, -1])]

    def with_spin(name):
        own = blocks[name]
        return odd[name] * np.block([[pauli[alpha][s, t] * own[s, t] for t in range(2)] for s in range(2)])

    o = conj(up.conj().T @ down)
    zero = np.zeros_like(o)
    sigma = [np.block([[zero, o], [o.conj().T, zero]]), np.block([[zero, -1j * o], [1j * o.conj().T, zero]])]
    torque = [0.5j * (energies[:, None] * s - s * energies[None]) for s in sigma]
    v = [
        sign * np.block([[conj(up.conj().T @ x @ up), zero], [zero, conj(down.conj().T @ x @ down)]]) for x in velocity
    ]
    return np.diag(energies) + xi * with_spin("w"), [v[j] + xi * with_spin(("y", j)) for j in range(2)], torque


@pytest.mark.parametrize("alpha", [0, 1])
def test_finite_scale_of_the_whole_hamiltonian(point, dense, alpha):
    """D(xi)/xi at small xi of the noncollinear Hamiltonian in all plane waves, k and -k: the row alpha of D(1)."""
    expected = evaluated(point, single=False, tolerance=1e-7)["D_1"]
    matrices, atom, xi = point.matrices, 1, 1e-3
    slope = np.zeros(2)
    for sign in (1, -1):
        for direction in (1, -1):
            h, v, t = spinor(matrices, dense, direction * xi, atom, alpha, sign)
            e, u = np.linalg.eigh(h)
            weight = berry_weight(e[:, None], e[None], dense.mu, KT)
            torque = u.conj().T @ t[alpha] @ u
            for j in range(2):
                element = (torque * (u.conj().T @ v[j] @ u).T).imag
                slope[j] += direction * (weight * element).sum() / (2 * xi) / 2
    np.testing.assert_allclose(slope, expected[atom, alpha], atol=2e-4 * np.abs(expected).max())
