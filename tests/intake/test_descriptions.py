"""One film in any of its descriptions: names, parts, t, masks and D stay; a mirror image gives its own D."""

from __future__ import annotations

import functools

import ase
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_dmi.structures.choices import Choices
from aiida_dmi.structures.film import AS_GIVEN
from aiida_dmi.structures.intake import take_in
from aiida_dmi.structures.layers import mask_weights

from .notation import read_films
from .tight_binding import invariants

drawn = settings(max_examples=50, deadline=None, derandomize=True, database=None)
MASKS = {"magnet": "magnet", "interface": "interface"}


def without_symmetry() -> ase.Atoms:
    """Four atoms on an oblique lattice: a chiral film, every component of D that n along z allows."""
    cell = [[2.9, 0.0, 0.0], [0.5, 3.1, 0.0], [0.0, 0.0, 22.0]]
    positions = [[0.1, 0.2, 6.0], [1.4, 1.5, 8.1], [0.3, 0.4, 10.0], [1.7, 1.9, 11.9]]
    return ase.Atoms("PtAuCoFe", positions=positions, cell=cell, pbc=True)


TABLE = {entry.name: entry for entry in read_films()}
CHOSEN = ("Mn/Au(111) 1+1", "Fe/W(110)", "MnSeTe Janus", "FeCo, ordered, two layers", "Gd/W(110)")
FILMS = {"without symmetry": (without_symmetry(), {})}
FILMS |= {name: (TABLE[name].atoms(), TABLE[name].said) for name in (*CHOSEN, "CrTe2, 1T")}


@functools.cache
def reference(name):
    """The film as it is written down, and its D."""
    atoms, said = FILMS[name]
    taken = take_in(atoms, Choices.checked(said))
    return taken.film, mask_weights(taken.film, MASKS), invariants(taken.atoms, taken.film)


@st.composite
def descriptions(draw, atoms: ase.Atoms, either_way_up: bool):
    """Another description of a crystal: atoms, the number in the first one of each of its atoms, and its repeats."""
    repeats = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 2)]))
    found = atoms.repeat((*repeats, 1))
    source = np.arange(len(found)) % len(atoms)
    # Whole combinations of lattice vectors; a3 stays the one that crosses the vacuum.
    cell, n = np.array(found.cell), st.integers(-3, 3)
    cell[1] += draw(n) * cell[0]
    cell[0] += draw(st.integers(-1, 1)) * cell[1]
    cell[2] += draw(n) * cell[0] + draw(n) * cell[1]
    found.positions += np.array(draw(st.tuples(*[st.floats(-9, 9)] * 3)))
    images = np.array(draw(st.lists(st.tuples(n, n, n), min_size=len(found), max_size=len(found))))
    found.positions += images @ cell
    # In which order, and which way along: a left-handed cell is another description of the same crystal.
    signs = np.array(
        draw(st.tuples(*[st.sampled_from([1, -1])] * 2, st.sampled_from([1, -1] if either_way_up else [1])))
    )
    order = draw(st.permutations(range(3)))
    found.set_cell((cell * signs[:, None])[list(order)])
    pbc = [axis != order.index(2) for axis in range(3)]
    found.pbc = draw(st.sampled_from([True, False, pbc]))
    quaternion = np.array(draw(st.tuples(*[st.integers(-3, 3)] * 4).filter(any)), dtype=float)
    rotation = rotation_of(quaternion / np.linalg.norm(quaternion))
    found.set_cell(np.array(found.cell) @ rotation.T)
    found.positions = found.positions @ rotation.T
    if draw(st.booleans()):
        found.wrap(pbc=True)
    order_of_atoms = draw(st.permutations(range(len(found))))
    found, source = found[list(order_of_atoms)], source[list(order_of_atoms)]
    if draw(st.booleans()):
        found.set_array("kinds", np.array([f"{symbol}{number % 2 + 1}" for number, symbol in enumerate(found.symbols)]))
    return found, source, repeats


def rotation_of(q: np.ndarray) -> np.ndarray:
    """Proper rotation of a unit quaternion."""
    w, v = q[0], q[1:]
    cross = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def compared(name, atoms, source, repeats):
    """The film of a description against that of the table; returns both D."""
    taken = take_in(atoms, Choices.checked(FILMS[name][1]))
    film, masks, expected = reference(name)
    assert [film.names[site] for site in source] == list(taken.film.names)
    for part in ("substrate", "magnet", "spacer", "cap"):
        assert {source[site] for site in taken.film.group(part)} == set(film.group(part))
    assert taken.film.thickness == pytest.approx(film.thickness, abs=1e-6)
    assert taken.film.area == pytest.approx(film.area * np.prod(repeats), rel=1e-9)
    assert taken.film.normal == film.normal
    assert taken.film.vanishing == film.vanishing
    for mask, weights in mask_weights(taken.film, MASKS).items():
        assert weights == [masks[mask][site] for site in source], mask
    found = invariants(taken.atoms, taken.film)
    return found, expected


def near(value):
    return pytest.approx(value, abs=1e-7)


@pytest.mark.parametrize("name", [name for name in FILMS if name != "CrTe2, 1T"])
def test_it_has_a_dmi(name):
    """What is compared below is no zero."""
    _, _, found = reference(name)
    assert abs(found["antisymmetric"]) > 1e-3
    assert found["normal"] == near(0.0)
    if name == "without symmetry":
        assert min(abs(found[key]) for key in ("trace", "rest")) > 1e-3


@drawn
@given(st.data())
def test_another_description(data):
    name = data.draw(st.sampled_from(list(FILMS)))
    atoms = FILMS[name][0]
    # Where neither side is the thicker one the user says which way is up, by the vector across the vacuum.
    found, expected = compared(name, *data.draw(descriptions(atoms, reference(name)[0].normal != AS_GIVEN)))
    assert found == {key: near(value) for key, value in expected.items()}


@drawn
@given(st.data())
def test_its_mirror_image(data):
    """D_ij is axial in i and polar in j: a mirror plane along z leaves D_xy - D_yx and turns the sign of the trace."""
    name = data.draw(st.sampled_from(["without symmetry", "Fe/W(110)", "MnSeTe Janus"]))
    atoms = FILMS[name][0].copy()
    normal = np.array(data.draw(st.tuples(st.integers(-3, 3), st.integers(-3, 3)).filter(any)), dtype=float)
    mirror = np.eye(3)
    mirror[:2, :2] -= 2 * np.outer(normal, normal) / (normal @ normal)
    atoms.set_cell(np.array(atoms.cell) @ mirror)
    atoms.positions = atoms.positions @ mirror
    found, expected = compared(name, *data.draw(descriptions(atoms, reference(name)[0].normal != AS_GIVEN)))
    expected = {**expected, "trace": -expected["trace"]}
    assert found == {key: near(value) for key, value in expected.items()}


def test_a_mirror_in_the_plane():
    """A film seen in the table it lies on: turned over by the intake, it is the mirror image all the same."""
    atoms = without_symmetry()
    atoms.positions[:, 2] *= -1
    found, expected = compared("without symmetry", atoms, np.arange(4), (1, 1))
    assert found == {key: near(-value if key == "trace" else value) for key, value in expected.items()}
