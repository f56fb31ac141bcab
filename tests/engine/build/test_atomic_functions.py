"""Trial functions of the pseudo-atom's orbitals: their radial parts, their weights, what is refused."""

import dataclasses
import re
import shutil

import numpy as np
import pytest
from scipy.integrate import simpson

from aiida_dmi.engine import WannierModel
from aiida_dmi.engine.build import build
from aiida_dmi.engine.build.atomic_functions import ATOMIC, atomic_functions, on_plane_waves
from aiida_dmi.engine.build.overlaps import OverlapsSpec, write_overlaps
from aiida_dmi.engine.build.pseudopotential import Pseudopotential
from aiida_dmi.engine.build.quantum_espresso import SaveFolder, in_angstrom
from aiida_dmi.engine.build.trial_functions import TrialFunction
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.kspace.interpolation import Interpolation
from aiida_dmi.engine.kspace.zone import check_points
from aiida_dmi.engine.maps.quality import band_errors

CUTOFF = 12.0
"""1/bohr: what lies beyond is small for every function here."""


@pytest.fixture(scope="module")
def save(prototype):
    return SaveFolder.read(prototype[0] / "out" / "x.save")


@pytest.fixture(scope="module")
def pseudos(upf_folder):
    return {element: Pseudopotential.read(upf_folder / f"{element}.UPF") for element in ("Co", "Pt", "C", "Te")}


@pytest.fixture(scope="module")
def on_atom(save):
    """Projections l, mr on the first atom of the film, which stands for any element."""
    centre = tuple((save.positions[0] @ np.linalg.inv(save.cell)).tolist())

    def made(pseudo, *projections):
        functions = [TrialFunction(centre, ell, mr) for ell, mr in projections]
        return atomic_functions(functions, save, {save.species[0]: pseudo}, CUTOFF)

    return made


@pytest.mark.parametrize("element", ["Co", "Pt", "C", "Te"])
@pytest.mark.parametrize(("ell", "mr"), [(0, 1), (1, 1), (1, 2), (2, 1), (3, 1)])
def test_normalised_in_free_space(on_atom, pseudos, element, ell, mr):
    """(2/pi) int q^2 F(q)^2 dq = 1: the transform of a function of norm 1."""
    (one,) = on_atom(pseudos[element], (ell, mr))
    q = np.linspace(0, CUTOFF, 4001)
    assert 2 / np.pi * simpson((q * one.transform(q)) ** 2, x=q) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize(("mr", "decay"), [(1, 0.8), (2, 1.3), (3, 1.3)])
def test_p_of_a_transition_metal_in_closed_form(on_atom, pseudos, mr, decay):
    """int r^3 exp(-ar) j_1(qr) dr = 8aq/(a^2 + q^2)^3; mr = 1 is p_z, along the normal."""
    (one,) = on_atom(pseudos["Co"], (1, mr))
    q = np.linspace(0, CUTOFF, 300)
    expected = np.sqrt(4 * decay**5 / 3) * 8 * decay * q / (decay**2 + q**2) ** 3
    np.testing.assert_allclose(one.transform(q), expected, atol=1e-6)


def test_valence_orbitals_where_they_are(on_atom, pseudos):
    """The p of Te is its 5p, not that of a metal; the s of Co a stretched 4s, wider than the atom's."""
    q = np.linspace(0, 3, 300)
    (p_z, p_x) = on_atom(pseudos["Te"], (1, 1), (1, 2))
    np.testing.assert_array_equal(p_z.transform(q), p_x.transform(q))
    (s,) = on_atom(pseudos["Co"], (0, 1))
    orbital = max((o for o in pseudos["Co"].orbitals if o.ell == 0), key=lambda o: o.label)
    radii, weights = pseudos["Co"].radii, pseudos["Co"].weights
    unstretched = np.array([(weights * orbital.values * radii * np.sinc(x * radii / np.pi)).sum() for x in q / 0.95])
    np.testing.assert_allclose(s.transform(q), 0.95**-1.5 * unstretched, atol=2e-4 * np.abs(unstretched).max())


def test_columns(save, pseudos, on_atom):
    """d counts three times; no column is normalised: two norms differ by their weights and what the cell holds."""
    waves = save.wave_functions(0, 5)
    kind = save.species[0]
    functions = on_atom(pseudos[kind], *((2, mr) for mr in range(1, 6)), (0, 1))
    norms = np.linalg.norm(on_plane_waves(functions, waves, save.cell), axis=1)
    # Bloch sums of compact functions have the norm of one of them, up to overlaps of neighbours.
    np.testing.assert_allclose(norms[:5], 3, rtol=0.2)
    assert 0.3 < norms[5] < 1.7
    assert np.ptp(norms) > 0.1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ({"ell": -1, "mr": 1}, "hybrids and axes of their own"),
        ({"ell": 2, "mr": 1, "zaxis": (1.0, 0.0, 0.0), "xaxis": (0.0, 1.0, 0.0)}, "hybrids and axes of their own"),
        ({"ell": 2, "mr": 1, "centre": (0.31, 0.2, 0.5)}, "there is no atom at"),
    ],
)
def test_refused(save, pseudos, function, message):
    centre = tuple((save.positions[0] @ np.linalg.inv(save.cell)).tolist())
    given = [TrialFunction(**{"centre": centre, **function})]
    with pytest.raises(InputError, match=f"projection 1: .*{message}"):
        atomic_functions(given, save, {save.species[0]: pseudos["Pt"]}, CUTOFF)


def test_a_kind_without_pseudopotential_is_refused(save, pseudos):
    centres = save.positions @ np.linalg.inv(save.cell)
    given = [TrialFunction(tuple(centre.tolist()), 2, 1) for centre in centres]
    with pytest.raises(InputError, match="pseudos: none was given of"):
        atomic_functions(given, save, {save.species[0]: pseudos["Pt"]}, CUTOFF)


@pytest.fixture(scope="module")
def off_the_mesh(prototype, tmp_path_factory, run):
    """pw.x's bands of the prototype's density off the mesh: k points and energies without the semicore."""
    source, folder = prototype[0], tmp_path_factory.mktemp("bands")
    shutil.copytree(source / "out", folder / "out", ignore=shutil.ignore_patterns("wfc*"))
    (folder / "pseudo_averaged").symlink_to(source / "pseudo_averaged")
    head = (source / "nscf.in").read_text().partition("K_POINTS")[0].replace("nbnd=40", "nbnd=28")
    points = check_points(in_angstrom(SaveFolder.read(source / "out" / "x.save").cell), 6)
    rows = "".join(f"{x:.12f} {y:.12f} {z:.12f} 1\n" for x, y, z in points)
    (folder / "bands.in").write_text(f"{head}K_POINTS crystal\n{len(points)}\n{rows}")
    run(folder, "pw.x", ["-npool", "2", "-in", "bands.in"])
    bands = SaveFolder.read(folder / "out" / "x.save")
    return bands.kpoints, bands.energies[..., 8:]


def test_bands_between_the_mesh_points(prototype, off_the_mesh, model_file, specification, upf_folder, tmp_path, run):
    """Against pw.x itself: 7 meV, where the hydrogenic functions of the reference model are 46 meV off."""
    source, fermi_energy = prototype
    pseudos = {element: upf_folder / f"{element}.UPF" for element in ("Co", "Pt")}
    for spin, seed in (("up", "up"), ("down", "dn")):
        text = (source / f"{seed}.win").read_text()
        window = f"dis_froz_max={fermi_energy + 2}"
        (tmp_path / f"{seed}.win").write_text(re.sub("dis_froz_max=.*", window, text))
        spec = OverlapsSpec(
            source / "out" / "x.save", source / "up.nnkp", spin, trial_functions=ATOMIC, pseudos=pseudos
        )
        write_overlaps(spec, tmp_path / seed)
        run(tmp_path, "wannier90.x", [seed], ranks=1)
    spec = dataclasses.replace(specification(tmp_path, fermi_energy), nscf=source / "out" / "x.save")
    atomic, hydrogenic = build(spec), WannierModel.load(model_file)
    found, before = (band_errors(Interpolation(model), *off_the_mesh).weighted for model in (atomic, hydrogenic))
    assert found < 10
    assert found < 0.25 * before
    assert atomic.time_reversal_error < 1e-4
    assert atomic.correspondence_error < 0.01
