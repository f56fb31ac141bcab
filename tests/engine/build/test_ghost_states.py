"""Levels of pseudo-atoms, and the files that bind what the atom does not."""

import dataclasses
import re

import numpy as np
import pytest

from aiida_dmi.engine import InputError
from aiida_dmi.engine.build import Pseudopotential
from aiida_dmi.engine.build.ghost_states import levels, require_no_ghost_states
from aiida_dmi.engine.build.upf import Projector
from aiida_dmi.engine.build.virtual_crystal import virtual_crystal


@pytest.fixture(scope="module")
def read(upf_folder):
    return lambda element: Pseudopotential.read(upf_folder / f"{element}.UPF")


def test_levels_of_an_ion(read):
    """-Z^2/n^2 Ry of a bare charge Z = 3; a projector of zero strength opens each channel."""
    cobalt = read("Co")
    nothing = np.zeros_like(cobalt.radii)
    ion = dataclasses.replace(
        cobalt,
        local=-6 / np.maximum(cobalt.radii, 1e-3),
        density=nothing,
        projectors=tuple(Projector(ell, None, nothing, 10, 0.1) for ell in (0, 1, 2)),
        coupling=np.zeros((3, 3)),
    )
    found = levels(ion)
    for ell in (0, 1, 2):
        expected = [-9 / n**2 for n in range(ell + 1, 3)]
        # The box of 10 bohr and the step of 0.02 bohr show in the next digits.
        np.testing.assert_allclose(found[ell, None][: len(expected)], expected, rtol=0.01)


@pytest.mark.parametrize("element", ["Co", "Pt", "W"])
def test_levels_are_the_orbitals(read, element):
    """Energies of the occupied pseudo-atomic orbitals, which come from PBE, to 0.4 Ry and in order."""
    pseudo = read(element)
    found = levels(pseudo)
    for orbital in pseudo.orbitals:
        assert np.abs(found[orbital.ell, orbital.j] - orbital.energy).min() < 0.4
    assert all((np.diff(energies) > 0.2).all() for energies in found.values())


@pytest.mark.parametrize("element", ["Cr", "Mn", "Co", "Ni", "Ta", "W", "Re", "Ir", "Pt", "Au", "Bi", "Po"])
def test_sound_files(read, element):
    require_no_ghost_states(read(element), f"{element}.UPF")


@pytest.mark.parametrize(("element", "channel"), [("Fe", "s"), ("Sr", "p")])
def test_files_with_ghosts(read, element, channel):
    """As the average, and mixed into a sound element, too."""
    pseudo = read(element)
    for version in (pseudo, pseudo.scalar_relativistic()):
        with pytest.raises(InputError, match=rf"Xx\.UPF of {element}: ghost state in its {channel} channel") as caught:
            require_no_ghost_states(version, "Xx.UPF")
        assert "\n" not in str(caught.value)


def test_ghost_of_a_mixture(read):
    with pytest.raises(InputError, match="of Co: ghost state in its s channel"):
        require_no_ghost_states(virtual_crystal(read("Co"), read("Fe"), 0.2), "mixture")
    require_no_ghost_states(virtual_crystal(read("Co"), read("Ni"), 0.2), "mixture")


SCF = """&control
 calculation='scf', prefix='x', outdir='./out', pseudo_dir='.', disk_io='none', verbosity='high'
/
&system
 ibrav=1, a=4, nat=1, ntyp=1, ecutwfc=40, occupations='smearing', degauss=0.02, nspin=1, nbnd=10
/
&electrons
 conv_thr=1e-4, mixing_beta=0.4
/
ATOMIC_SPECIES
X 1.0 X.UPF
ATOMIC_POSITIONS crystal
X 0 0 0
K_POINTS gamma
"""


@pytest.mark.parametrize(("element", "deep"), [("Co", 1), ("Fe", 2)])
def test_pw_fills_the_ghost(read, run, tmp_path, element, deep):
    """Bands of s symmetry more than 66 eV below the Fermi level: 3s alone, and 3s with the ghost below it."""
    (tmp_path / "X.UPF").write_text(read(element).scalar_relativistic().to_upf())
    (tmp_path / "scf.in").write_text(SCF)
    output = run(tmp_path, "pw.x", ["-in", "scf.in"], ranks=1)
    fermi_energy = float(re.findall(r"the Fermi energy is\s+(\S+) ev", output)[-1])
    listed = re.findall(r"bands \(ev\):\s*\n\s*\n(.*?)\n\s*\n", output, flags=re.DOTALL)[-1].split()
    # Where a number does not fit its field, pw.x prints stars: an energy below -1000 eV.
    energies = np.array([-np.inf if "*" in word else float(word) for word in listed])
    assert np.count_nonzero(energies < fermi_energy - 66) == deep
