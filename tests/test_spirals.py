"""Spin spirals by pw.x and in plane waves: one tiny film, one k point of a supercell of four cells.

With LDA, which looks at each point of space alone, the wound-up density's potential is the collinear one wound up, to
rounding; PBE's gradients of |m| are not (docs/validation.md has how much that is).
"""

import dataclasses

import numpy as np
import pytest
from ase import Atoms
from ase.units import Bohr

from aiida_dmi.engine.build import Pseudopotential
from aiida_dmi.engine.completeness.coefficients import coefficients
from aiida_dmi.engine.completeness.form_factors import AtomTable, FormFactors
from aiida_dmi.engine.completeness.plane_waves import PlaneWaves
from aiida_dmi.engine.completeness.remainder import Remainder
from aiida_dmi.engine.completeness.resolvents import Coupling, active_bands
from aiida_dmi.engine.constants import BOHR_ANGSTROM
from aiida_dmi.engine.states.coefficients import Occupations, occupy, splitting_threshold
from aiida_dmi.engine.states.divided_differences import fermi, grand_potential

CELLS = 4
BANDS = 32
KPOINT = np.array([0.0, 0.25, 0.0])
KT = 0.3

pytestmark = pytest.mark.usefixtures("validation_scripts")


@pytest.fixture(scope="module")
def film(validation_scripts, upf_folder, tmp_path_factory):
    from spiral_runs import SpiralFilm

    cell = np.diag([6.5, 6.5, 15.0]) * Bohr
    atoms = Atoms("HP", cell=cell, scaled_positions=[[0, 0, 0.6], [0, 0, 0.42]], pbc=True)
    files = {element: upf_folder / f"{element}.UPF" for element in "HP"}
    folder = tmp_path_factory.mktemp("spirals")
    return SpiralFilm(folder, atoms, files, {"H": 0.5, "P": 0.6}, 5.0, 4, functional="PZ")


@pytest.fixture(scope="module")
def pseudos(film):
    return {name: Pseudopotential.read(path) for name, path in film.pseudopotentials.items()}


def spiral(film, pseudos, q, **changes):
    from spiral_states import Spiral

    save, potentials = film.collinear
    return Spiral.of(save, pseudos, potentials, film.cutoff, q, np.array([0.0, 1.0, 0.0]), **changes)


def folded(film, pseudos):
    """Energies and <sigma_e W_e> of the supercell's states at KPOINT, from those of the cell, in order."""
    unit = film.collinear[0].reciprocal
    q = unit[0] / CELLS
    own = spiral(film, pseudos, q)
    found = [own.at(KPOINT[1] * unit[1] + m * q, 16) for m in range(CELLS)]
    energies = np.concatenate([e for e, _ in found])
    chiral = np.concatenate([c.sum(axis=(0, 1)) for _, c in found])
    order = np.argsort(energies)
    return energies[order][:BANDS], chiral[order][:BANDS]


def test_collinear_density_in_a_supercell(film):
    """Written along z: pw.x's own collinear energies at the four k points that fold onto one."""
    points = "".join(f"{m / CELLS} {KPOINT[1]} 0 1\n" for m in range(CELLS))
    save = film.states("folded", f"K_POINTS crystal\n{CELLS}\n{points}", 14)
    expected = np.sort(save.energies, axis=None)[:BANDS]
    np.testing.assert_allclose(film.energies(CELLS, 0, 0.0, KPOINT, BANDS), expected, atol=5e-6)


def test_without_spin_orbit_interaction(film, pseudos):
    """Both senses of rotation have the same energies, and those of the generalised Bloch theorem."""
    right, left = (film.energies(CELLS, turns, 0.0, KPOINT, BANDS) for turns in (1, -1))
    np.testing.assert_allclose(right, left, atol=1e-6)
    np.testing.assert_allclose(folded(film, pseudos)[0], right, atol=5e-6)


def test_first_order_in_the_spin_orbit_interaction(film, pseudos):
    """Half of what pw.x has between the two senses, and its sign, at a mu inside the bands."""
    energies, chiral = folded(film, pseudos)
    mu, scale = film.collinear[0].fermi_energy, 1.0
    right, left = (
        grand_potential(film.energies(CELLS, turns, scale, KPOINT, BANDS), mu, KT).sum() for turns in (1, -1)
    )
    # The term in xi^3 is a few thousandths of this one here.
    assert (right - left) / (2 * scale) == pytest.approx(chiral @ fermi(energies, mu, KT), rel=0.02)


@pytest.mark.parametrize("turns", [1, -1])
def test_what_is_wound_up(film, turns):
    """M in space: the collinear one, turned by +-2 pi/4 from cell to cell."""
    from spiral_files import FILE, Density
    from spiral_runs import SAVE

    own = Density.read(film.folder / "collinear" / SAVE / FILE)
    wound = own.wound(film.template(CELLS), CELLS, turns)
    cell, points = film.collinear[0].cell, np.array([[0.5, 0.3, 7.0], [2.0, 4.0, 8.0], [5.0, 1.0, 9.0]])

    def at(density, component, r):
        return (density.values[component] * np.exp(1j * r @ (density.miller @ density.reciprocal).T)).sum(-1).real

    for r in points:
        for n in range(CELLS):
            here = r + n * cell[0]
            angle = turns * 2 * np.pi * here[0] / (CELLS * cell[0, 0])
            expected = at(own, 1, r) * np.array([np.sin(angle), 0.0, np.cos(angle)])
            found = [at(wound, component, here) for component in (1, 2, 3)]
            # What is left out of the sphere is of the order of the density's last plane waves.
            np.testing.assert_allclose(found, expected, atol=3e-5)
            assert at(wound, 0, here) == pytest.approx(at(own, 0, r), abs=1e-9)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0])
def test_scaled_spin_orbit_interaction(pseudos, scale):
    """The operator in plane waves: average as it was, `scale` times sigma.L."""
    from spiral_files import with_spin_orbit

    vectors = np.random.default_rng(1).normal(size=(5, 3))

    def operators(pseudo):
        table = AtomTable(pseudo, 100.0, 6.0)
        beta = table.form_factors(vectors)
        return beta.T @ table.average @ beta.conj(), [beta.T @ h @ beta.conj() for h in table.spin_orbit]

    average, interaction = operators(pseudos["P"])
    found = operators(Pseudopotential.from_text(with_spin_orbit(pseudos["P"], scale).to_upf(), "P"))
    np.testing.assert_allclose(found[0], average, atol=1e-10)
    np.testing.assert_allclose(found[1], scale * np.array(interaction), atol=1e-10)


def test_slope_is_that_of_the_plane_wave_answer(film, pseudos):
    """dE_DM/dq at q = 0 is a(I) + a(II), band sums over all states, in one set of plane waves, at one k point."""
    save, potentials = film.collinear
    unit, centre = save.reciprocal, np.array([0.13, 0.21, 0.0])
    mu, step = save.fermi_energy, 1e-3
    k = centre @ unit
    energy = {}
    for sign in (1, -1):
        q = sign * step * unit[0]
        own = spiral(film, pseudos, q, same_waves=True)
        e, c = own.at(k - q / 2, 60)
        energy[sign] = c.sum(axis=(0, 1)) @ fermi(e, mu, KT)
    slope = (energy[1] - energy[-1]) / (2 * step * np.linalg.norm(unit[0])) * BOHR_ANGSTROM

    miller, vectors = own.sphere(k)
    factors = FormFactors.of(save, pseudos, np.sqrt(film.cutoff))
    waves = PlaneWaves.at(vectors, miller, potentials, (*factors.at(vectors), factors.average), 2)
    solved = [np.linalg.eigh(waves.hamiltonian(s, np.eye(waves.size, dtype=complex)).T) for s in range(2)]
    bands, energies = [u.T.copy() for _, u in solved], [e for e, _ in solved]
    counts = [12, 12]
    remainders = [
        dataclasses.replace(Remainder.of(waves, s, bands[s], energies[s], counts[s], 2**28, "here"), tolerance=1e-8)
        for s in range(2)
    ]
    active = tuple(bands[s][: counts[s]] for s in range(2))
    spins = active_bands(waves, waves, tuple(remainders), active, tuple(energies[s][: counts[s]] for s in range(2)))
    found = coefficients(spins, Coupling(factors.rows, factors.spin_orbit), splitting_threshold(300.0))
    occupations = Occupations.of(found["D_1"].energies, np.array([mu]), np.array([KT]))
    exact = sum(occupy(found[name], occupations)[0].sum(axis=0) for name in ("a_I", "a_II"))
    # e = y, q along x
    assert slope == pytest.approx(exact[1, 0], rel=1e-3)
