"""Virtual crystals: the mixture as an operator, its ends, what is refused, and pw.x's word on it."""

import dataclasses
import re
import shutil

import numpy as np
import pytest

from aiida_dmi.engine import InputError, compute
from aiida_dmi.engine.build import BuildSpec, Pseudopotential, build
from aiida_dmi.engine.build.overlaps import OverlapsSpec, write_overlaps
from aiida_dmi.engine.build.projectors import Projectors
from aiida_dmi.engine.build.quantum_espresso import SaveFolder, WaveFunctions
from aiida_dmi.engine.build.virtual_crystal import virtual_crystal
from aiida_dmi.engine.constants import HARTREE_EV

PAIRS = [("Co", "Fe"), ("Co", "Ni"), ("Mn", "Fe"), ("Mn", "Cr"), ("Pt", "Ir"), ("Pt", "Au"), ("W", "Ta")]
"""What the paper and screening dope with; none of these files has a core correction. (Fe's has a ghost state, so it
serves here as an operator only.)"""
CORE_PAIRS = [("Bi", "Po"), ("Pb", "Bi")]
"""Bi and Po have a core correction, Pb has none."""
PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
CONV_THR = 1e-9
"""Ry; pw.x prints 1e-8."""


@pytest.fixture(scope="module")
def read(upf_folder):
    """Fully relativistic PBE file of an element."""
    return lambda element: Pseudopotential.read(upf_folder / f"{element}.UPF")


@pytest.fixture(scope="module", params=[*PAIRS, *CORE_PAIRS], ids="-".join)
def pair(request, read):
    return tuple(read(element) for element in request.param)


# -- the mixture ---------------------------------------------------------------------------------------


def test_local_part_and_charges(pair):
    """V_loc, densities and z_valence are mixed; V_loc ends in the Coulomb tail of the mixed charge."""
    first, second = pair
    mixture = virtual_crystal(first, second, 0.3)
    points = min(len(first.radii), len(second.radii))
    np.testing.assert_allclose(mixture.local, 0.7 * first.local[:points] + 0.3 * second.local[:points], rtol=1e-14)
    np.testing.assert_allclose(mixture.density, 0.7 * first.density[:points] + 0.3 * second.density[:points])
    assert mixture.valence == pytest.approx(0.7 * first.valence + 0.3 * second.valence, abs=1e-12)
    outside = mixture.radii > 10
    assert outside.sum() > 200
    tail = mixture.local * mixture.radii + 2 * mixture.valence
    np.testing.assert_allclose(tail[outside], 0, atol=5e-4)
    # The atom's electrons, as pw.x starts from them.
    electrons = np.sum(mixture.density * mixture.weights)
    assert electrons == pytest.approx(mixture.valence, abs=0.01)
    assert sum(orbital.occupation for orbital in mixture.orbitals) == pytest.approx(mixture.valence, abs=1e-6)
    assert len(mixture.orbitals) == len({(o.label, o.j) for o in (*first.orbitals, *second.orbitals)})


@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.5, 1.0])
def test_averaging_commutes_with_mixing(pair, fraction):
    """Average of the mixture = mixture of the averages, function by function."""
    one = virtual_crystal(*pair, fraction).scalar_relativistic()
    other = virtual_crystal(*(pseudo.scalar_relativistic() for pseudo in pair), fraction)
    assert_same_operator(one, other)
    np.testing.assert_allclose(one.density, other.density, rtol=1e-14)
    for a, b in zip(one.orbitals, other.orbitals, strict=True):
        assert (a.label, a.ell, a.j) == (b.label, b.ell, b.j)
        assert a.occupation == pytest.approx(b.occupation)
        np.testing.assert_allclose(a.values, b.values, atol=1e-13)


def assert_same_operator(one, other):
    for name in ("radii", "weights", "local", "coupling"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-14, err_msg=name)
    assert (one.core_density is None) == (other.core_density is None)
    if one.core_density is not None:
        np.testing.assert_allclose(one.core_density, other.core_density, rtol=1e-14)
    assert one.valence == pytest.approx(other.valence, abs=1e-12)
    assert one.fully_relativistic == other.fully_relativistic
    for a, b in zip(one.projectors, other.projectors, strict=True):
        assert (a.ell, a.j, a.cutoff_index) == (b.ell, b.j, b.cutoff_index)
        np.testing.assert_array_equal(a.values, b.values)


def test_spin_orbit_is_the_union(pair):
    """(1 - x) h of the first on its projectors, x h of the second on its own."""
    first, second = pair
    indices, coupling = virtual_crystal(first, second, 0.3).spin_orbit()
    (one, ours), (other, theirs) = first.spin_orbit(), second.spin_orbit()
    assert indices == (*one, *(len(first.projectors) + index for index in other))
    size = ours.shape[-1]
    np.testing.assert_allclose(coupling[:, :size, :size], 0.7 * ours, rtol=1e-13)
    np.testing.assert_allclose(coupling[:, size:, size:], 0.3 * theirs, rtol=1e-13)
    assert not coupling[:, :size, size:].any()
    np.testing.assert_allclose(coupling, coupling.conj().swapaxes(-1, -2), atol=1e-13)


@pytest.mark.parametrize("elements", [("Co", "Fe"), ("Pt", "Ir")], ids="-".join)
def test_spin_orbit_operator_on_plane_waves(read, elements):
    """V = (1 - x) V_A + x V_B between random states, whatever the projectors are; at x = 0 it is V_A."""
    grid = np.stack(np.indices((9, 9, 9)), axis=-1).reshape(-1, 3) - 4
    random = np.random.default_rng(3)
    coefficients = random.normal(size=(4, len(grid), 2)) @ [1, 1j] / np.sqrt(len(grid))
    waves = WaveFunctions(np.array([0.1, -0.2, 0.3]), grid, coefficients, 0.7 * np.eye(3))
    volume = (2 * np.pi / 0.7) ** 3
    pair = [read(element) for element in elements]

    def operator(pseudo):
        projectors = Projectors(pseudo, volume, 5.3)
        beta = projectors.overlaps(waves, np.array([0.3, 1.0, -0.4]))
        return beta.conj().T @ projectors.coupling @ beta

    first, second = (operator(pseudo) for pseudo in pair)
    scale = np.abs(first).max()
    assert scale > 1e-3
    for fraction in (0.0, 0.3):
        found = operator(virtual_crystal(*pair, fraction))
        np.testing.assert_allclose(found, (1 - fraction) * first + fraction * second, atol=1e-12 * scale)
        np.testing.assert_allclose(found, found.conj().swapaxes(-1, -2), atol=1e-12 * scale)


def test_ends_are_the_elements(pair):
    for fraction, pure in zip((0.0, 1.0), pair, strict=True):
        mixture = virtual_crystal(*pair, fraction)
        assert_same_operator(mixture, pure)
        assert mixture.element == pure.element
        assert np.array_equal(mixture.density, pure.density)


def test_written_mixture_reads_back(pair):
    """All digits of the operator and of z_valence, which is no integer."""
    mixture = virtual_crystal(*pair, 0.2)
    again = Pseudopotential.from_text(mixture.to_upf())
    assert_same_operator(again, mixture)
    assert not again.valence.is_integer()
    assert again.semicore_bands() == pair[0].semicore_bands() == pair[1].semicore_bands()
    assert again.scalar_relativistic().semicore_bands() == pair[0].semicore_bands()


def test_mixture_says_what_it_is(read):
    """Labelled by the nearest element; the average does not forget that it is one of a mixture."""
    cobalt, iron = read("Co"), read("Fe")
    assert [virtual_crystal(cobalt, iron, x).element for x in (0.2, 0.5, 0.51)] == ["Co", "Co", "Fe"]
    text = virtual_crystal(cobalt, iron, 0.2).scalar_relativistic().to_upf()
    information = text.partition("<PP_INFO>")[2].partition("</PP_INFO>")[0]
    assert "virtual crystal Co0.8Fe0.2" in information
    assert "nearest element Co" in information
    assert "scalar-relativistic average" in information
    assert 'z_valence="16.8"' in text.partition("<PP_HEADER")[2].partition("/>")[0]
    assert "total_psenergy" not in text


def test_core_correction(read):
    """Model core charges are mixed; an element without one contributes none."""
    lead, bismuth, polonium = (read(element) for element in ("Pb", "Bi", "Po"))
    assert [p.core_density is None for p in (lead, bismuth, polonium)] == [True, False, False]
    assert not np.allclose(bismuth.core_density[:500], polonium.core_density[:500], rtol=0.01)

    both = virtual_crystal(bismuth, polonium, 0.25)
    points = len(both.radii)
    expected = 0.75 * bismuth.core_density[:points] + 0.25 * polonium.core_density[:points]
    np.testing.assert_allclose(both.core_density, expected, rtol=1e-14)

    one = virtual_crystal(lead, bismuth, 0.25)
    np.testing.assert_allclose(one.core_density, 0.25 * bismuth.core_density[: len(one.radii)], rtol=1e-14)
    assert one.header["core_correction"] == "T"

    none = virtual_crystal(lead, bismuth, 0.0)
    assert none.core_density is None
    assert none.header["core_correction"] == "F"


# -- refused -------------------------------------------------------------------------------------------


def refused(first, second, fraction, *words):
    with pytest.raises(InputError) as caught:
        virtual_crystal(first, second, fraction)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        (("W", "Re"), ("cores hold 46 and 60 electrons", "valence in one and core in the other")),
        (("Ta", "Re"), ("cores hold 46 and 60",)),
        (("Co", "Pt"), ("cores hold 10 and 60",)),
        (("K", "Ar"), ("semicore shells 3s, 3p and none",)),
    ],
)
def test_pairs_without_a_common_core(read, elements, words):
    refused(*(read(element) for element in elements), 0.1, "virtual crystal of " + " and ".join(elements), *words)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan"), float("inf"), "0.2", None, True])
def test_fractions(read, fraction):
    refused(read("Co"), read("Fe"), fraction, f"fraction: {fraction!r} was given")


def test_other_kinds_of_files(read, upf_folder):
    cobalt, iron = read("Co"), read("Fe")
    refused(cobalt, iron.scalar_relativistic(), 0.2, "only one of the two is fully relativistic")
    refused(
        cobalt, Pseudopotential.read(upf_folder.parent / "LDA" / "Fe.UPF"), 0.2, "functionals PBE and SLA PW NOGX NOGC"
    )
    refused(virtual_crystal(cobalt, iron, 0.2), iron, 0.2, "z_valence 16.8", "mixture already")
    refused(cobalt, dataclasses.replace(iron, radii=1.01 * iron.radii), 0.2, "radial meshes differ by 1.4e-01 bohr")
    refused(cobalt, dataclasses.replace(iron, weights=1.01 * iron.weights), 0.2, "radial meshes differ")
    unknown = dataclasses.replace(iron, header={**iron.header, "element": "Xx"})
    refused(cobalt, unknown, 0.2, "element 'Xx' is unknown")


# -- pw.x ----------------------------------------------------------------------------------------------


SCF = """&control
 calculation='scf', prefix='x', outdir='./out', pseudo_dir='.', disk_io='{disk}'
/
&system
 ibrav=4, a={a}, c={c}, nat=1, ntyp=1, ecutwfc={cutoff}, occupations='smearing', smearing='mv', degauss=0.02
 {system}
/
&electrons
 conv_thr={conv_thr}, mixing_beta=0.4, diago_full_acc=.true.
/
ATOMIC_SPECIES
{label} 1.0 X.UPF
ATOMIC_POSITIONS crystal
{label} 0 0 0.5
K_POINTS {kpoints}
"""
DEFAULTS = {"disk": "none", "cutoff": 20, "label": "X", "conv_thr": CONV_THR, "kpoints": "automatic\n2 2 1 0 0 0"}
MAGNET = {"a": 2.5, "c": 4.5, "system": "nspin=2, starting_magnetization(1)=0.4"}
HEAVY = {"a": 3.4, "c": 5.0, "system": "nspin=1"}
SPINOR = {"a": 2.77, "c": 4.5, "system": "noncolin=.true., lspinorb=.true."}


@pytest.fixture
def scf(run, tmp_path):
    """Total energy (Ry) and number of electrons of a single layer at a cutoff that is fit for nothing else."""

    def energy(pseudo, **settings):
        (tmp_path / "X.UPF").write_text(pseudo.to_upf())
        (tmp_path / "scf.in").write_text(SCF.format(**DEFAULTS | settings))
        output = run(tmp_path, "pw.x", ["-in", "scf.in"], ranks=1)
        (total,) = re.findall(r"^!\s+total energy\s+=\s+(\S+)", output, flags=re.MULTILINE)
        (electrons,) = re.findall(r"number of electrons\s+=\s+(\S+)", output)
        return float(total), float(electrons)

    return energy


@pytest.mark.parametrize(
    ("elements", "settings"), [(("Co", "Ni"), MAGNET), (("Bi", "Po"), HEAVY), (("Pb", "Bi"), HEAVY)], ids=str
)
def test_total_energy_at_the_ends(scf, read, elements, settings):
    """x = 0 and x = 1 within conv_thr, with core corrections of both, one and none; a mixture takes 0.2 electrons off.

    A weight of 1e-9 keeps all projectors, and moves the energy by no more than that times 20 Ry and what pw.x's
    quadrature of the elements' projectors is worth.
    """
    first, second = (read(element) for element in elements)
    ends = [scf(pseudo.scalar_relativistic(), **settings) for pseudo in (first, second)]
    for fraction, (total, electrons) in zip((0.0, 1.0), ends, strict=True):
        found = scf(virtual_crystal(first, second, fraction).scalar_relativistic(), **settings)
        assert found[0] == pytest.approx(total, abs=1.5 * max(CONV_THR, 1e-8))
        assert found[1] == electrons
    for fraction, (total, _) in zip((1e-9, 1 - 1e-9), ends, strict=True):
        found = scf(virtual_crystal(first, second, fraction).scalar_relativistic(), **settings)
        assert found[0] == pytest.approx(total, abs=1e-5)
    total, electrons = scf(virtual_crystal(first, second, 0.2).scalar_relativistic(), **settings)
    assert electrons == pytest.approx(0.8 * ends[0][1] + 0.2 * ends[1][1], abs=0.005)
    assert min(abs(total - end[0]) for end in ends) > 1


def test_core_correction_counts(scf, read):
    """Without its core charge the mixture has another energy: pw.x reads what was written."""
    mixture = virtual_crystal(read("Pb"), read("Bi"), 0.5).scalar_relativistic()
    without = dataclasses.replace(mixture, core_density=None, header={**mixture.header, "core_correction": "F"})
    assert abs(scf(mixture, **HEAVY)[0] - scf(without, **HEAVY)[0]) > 0.1


def test_spinor_energy_of_the_mixture(scf, read):
    """pw.x's own spin-orbit interaction with the projectors of both: twice Pt's, and nearly no Ir."""
    platinum, iridium = read("Pt"), read("Ir")
    total, electrons = scf(platinum, **SPINOR)
    mixture = virtual_crystal(platinum, iridium, 1e-9)
    assert len(mixture.projectors) == 28
    found = scf(mixture, **SPINOR)
    assert found[0] == pytest.approx(total, abs=1e-5)
    assert found[1] == electrons
    halves = scf(virtual_crystal(platinum, platinum, 0.5), **SPINOR)
    assert halves[0] == pytest.approx(total, abs=3e-8)


# -- the plain chain -----------------------------------------------------------------------------------


WIN = """num_bands=26
num_wann=9
num_iter=0
dis_num_iter=0
dis_win_max=60
dis_froz_max={window}
exclude_bands=1-4
write_u_matrices=true
mp_grid=3 3 1
begin projections
{label}:s;p;d
end projections
begin unit_cell_cart
ang
{cell}
end unit_cell_cart
begin atoms_frac
{label} 0 0 0.5
end atoms_frac
begin kpoints
{points}
end kpoints
"""
LAYER = {"a": 2.5, "c": 8.0, "label": "Co1", "cutoff": 40, "conv_thr": 1e-8, "disk": "low"}
CELL = np.array([[2.5, 0, 0], [-1.25, 1.25 * np.sqrt(3), 0], [0, 0, 8.0]])
MESH = [f"{i / 3:.12f} {j / 3:.12f} 0.0" for i in range(3) for j in range(3)]


@pytest.fixture(scope="module")
def chain(tmp_path_factory, run, read):
    """Scf, nscf and Wannier functions of a single layer of Co0.8Ni0.2: folder and Fermi energy (eV).

    At 30 bands no multiplet is cut; at 20 one is, which breaks time reversal (0.2 eV).
    """
    folder = tmp_path_factory.mktemp("layer")
    mixture = virtual_crystal(read("Co"), read("Ni"), 0.2)
    (folder / "mixture.UPF").write_text(mixture.to_upf())
    (folder / "X.UPF").write_text(mixture.scalar_relativistic().to_upf())
    magnet = "nspin=2, starting_magnetization(1)=0.3, nbnd=30"
    text = SCF.format(**LAYER, system=magnet, kpoints="automatic\n3 3 1 0 0 0")
    (folder / "scf.in").write_text(text)
    output = run(folder, "pw.x", ["-in", "scf.in"], ranks=1)
    fermi_energy = float(re.findall(r"the Fermi energy is\s+(\S+) ev", output)[-1])
    (folder / "nscf.in").write_text(nscf(f"{magnet}, nosym=.true., noinv=.true.", MESH))
    run(folder, "pw.x", ["-in", "nscf.in"], ranks=1)
    cell = "\n".join(" ".join(f"{x:.10f}" for x in vector) for vector in CELL)
    for spin in ("up", "down"):
        text = WIN.format(window=fermi_energy + 2, cell=cell, points="\n".join(MESH), label="Co1")
        (folder / f"{spin}.win").write_text(text)
        run(folder, "wannier90.x", ["-pp", spin], ranks=1)
        write_overlaps(OverlapsSpec(folder / "out" / "x.save", folder / f"{spin}.nnkp", spin), folder / spin)
        run(folder, "wannier90.x", [spin], ranks=1)
    return folder, fermi_energy


def nscf(system, points):
    text = SCF.format(**LAYER, system=system, kpoints=f"crystal\n{len(points)}\n" + "\n".join(f"{p} 1" for p in points))
    return text.replace("'scf'", "'nscf'")


def test_model_of_a_mixture(chain):
    """Non-integer electrons, semicore of both elements excluded, projectors of both."""
    folder, fermi_energy = chain
    model = build(
        BuildSpec(
            nscf=folder / "out" / "x.save",
            wannier_up=folder / "up",
            wannier_down=folder / "down",
            pseudopotentials={"Co1": folder / "mixture.UPF"},
            fermi_energy=fermi_energy,
        )
    )
    assert model.electrons == pytest.approx(17.2 - 8, abs=1e-6)
    assert model.symbols == ("Co",)
    assert model.coupling[0].shape == (3, 64, 64)
    assert 1.5 < model.moments[0] < 2.5
    assert model.time_reversal_error < 1e-3
    for block in model.spin_orbit([1])[[0, 2]]:
        np.testing.assert_allclose(block, block.conj().swapaxes(-1, -2), atol=1e-12)
        assert np.abs(block).max() > 0.03
    # A free-standing layer has a centre of inversion: no Dzyaloshinskii-Moriya interaction.
    result = compute(model, 12, temperatures=[1500.0])
    assert result.electrons.item() == pytest.approx(9.2, abs=1e-6)
    assert np.abs(result.D).max() < 1e-4


@pytest.mark.parametrize("sign", [1, -1])
def test_spin_orbit_of_a_mixture_against_pw(chain, run, tmp_path, sign):
    """Hbar + V in the nscf's bands against pw.x's own spinor bands of the same density and mixture (lforcet).

    Without V they are off by 0.07 eV.
    """
    folder, _ = chain
    save = SaveFolder.read(folder / "out" / "x.save")
    chosen = (0, 4)
    shutil.copytree(folder / "out", tmp_path / "out")
    shutil.copy(folder / "mixture.UPF", tmp_path / "X.UPF")
    system = "noncolin=.true., lspinorb=.true., lforcet=.true., angle1(1)=0, starting_magnetization(1)=0.3, nbnd=32"
    (tmp_path / "spinor.in").write_text(nscf(f"{system}, nosym=.true., noinv=.true.", [MESH[k] for k in chosen]))
    run(tmp_path, "pw.x", ["-in", "spinor.in"], ranks=1)
    text = (tmp_path / "out" / "x.save" / "data-file-schema.xml").read_text().partition("<output>")[2]
    blocks = re.findall(r"<eigenvalues[^>]*>([^<]*)</eigenvalues>", text)
    projectors = Projectors(
        Pseudopotential.read(folder / "mixture.UPF"), float(abs(np.linalg.det(save.cell))), cutoff=8.0
    )
    worst = 0.0
    for k, block in zip(chosen, blocks, strict=True):
        spinor = np.array(block.split(), dtype=float) * HARTREE_EV
        waves = [save.wave_functions(spin, k) for spin in range(2)]
        beta = [projectors.overlaps(w, save.positions[0]) for w in waves]
        interaction = np.block(
            [
                [
                    sum(
                        PAULI[alpha, s, t] * beta[s].conj().T @ projectors.coupling[alpha] @ beta[t]
                        for alpha in range(3)
                    )
                    for t in range(2)
                ]
                for s in range(2)
            ]
        )
        bare = np.concatenate([save.energies[0, k], save.energies[1, k]])
        ours = np.linalg.eigvalsh(np.diag(bare) + sign * interaction)[: len(spinor)]
        valence = (spinor > save.fermi_energy - 8) & (spinor < save.fermi_energy + 1)
        assert valence.sum() > 8
        print(
            sign, k, np.abs(ours - spinor)[valence].max(), np.abs(np.sort(bare)[: len(spinor)] - spinor)[valence].max()
        )
        worst = max(worst, np.abs(ours - spinor)[valence].max())
    if sign > 0:
        assert worst < 5e-4
    else:
        assert worst > 2e-3
