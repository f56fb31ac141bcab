"""Symmetrised models: random ones made symmetric, and a real one that is nearly so."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from aiida_dmi.engine import InputError, WannierModel
from aiida_dmi.engine.constants import BOLTZMANN_EV
from aiida_dmi.engine.kspace.interpolation import Interpolation
from aiida_dmi.engine.model.harmonics import angular_momentum
from aiida_dmi.engine.model.spin_frame import spin_frame
from aiida_dmi.engine.states.coefficients import Occupations, occupy, splitting_threshold
from aiida_dmi.engine.states.collinear import Collinear, Splittings
from aiida_dmi.engine.states.spinors import to_lab
from aiida_dmi.engine.symmetry.action import reduce_mesh, symmetrise_tensor, symmetry_residual
from aiida_dmi.engine.symmetry.groups import magnetic_point_group, space_group
from aiida_dmi.engine.symmetry.representations import (
    harmonics_rotation,
    projector_momenta,
    projector_rotation,
    wannier90_momentum,
)
from aiida_dmi.engine.symmetry.symmetrise import symmetrised, symmetry_errors

from ..theory import dmi_and_spin_current, exact_second_part, first_order_dmi, first_part, second_part

X, Y, Z = (1, 0, 0), (0, 1, 0), (0, 0, 1)
TEMPERATURE = 1500.0


# -- models ----------------------------------------------------------------------------------------------


def random_model(cell, symbols, positions, moments, orbitals, mesh, seed=0, periodic=(True, True, False)):
    """A random model with the structure's atoms and shells, and no symmetry in any operator but time reversal.

    Every X(R) is real; functions sit in random cells; each atom has a p and a d projector set in a shuffled order.
    """
    random = np.random.default_rng(seed)
    cell, positions = np.array(cell, dtype=float), np.array(positions, dtype=float)
    owners = np.concatenate([[atom] * (2 * ell + 1) for atom, ell in orbitals])
    n = len(owners)
    kpoints = np.stack(np.indices(mesh), axis=-1).reshape(-1, 3) / np.array(mesh)
    vectors = np.array(list(itertools.product(*(range(-(m // 2), m // 2 + 1) for m in mesh))))
    phases = np.exp(2j * np.pi * kpoints @ vectors.T)
    homes = random.integers(-1, 2, size=(n, 3))
    decay = np.exp(-np.linalg.norm(vectors @ cell, axis=1) / 2.0)

    def bloch(*shape):
        """sum_R exp(iqR) X(R) of functions in their cells: (q, ..., n)."""
        lattice = random.normal(size=(len(vectors), *shape)) * decay.reshape(-1, *(1,) * len(shape))
        return np.tensordot(phases, lattice, axes=1)

    between = np.exp(2j * np.pi * kpoints @ homes.T)

    def moved(operator):
        q = (len(kpoints), *(1,) * (operator.ndim - 3))
        return operator * between.reshape(*q, n, 1) * between.conj().reshape(*q, 1, n)

    def hermitian(*shape):
        operator = bloch(*shape, n, n)
        return moved((operator + operator.conj().swapaxes(-1, -2)) / 2)

    origins = positions[owners] + homes @ cell
    position = np.stack([0.1 * hermitian(3) for _ in range(2)])
    position[..., np.arange(n), np.arange(n)] += origins.T
    splitting = np.diag(np.asarray(moments, dtype=float)[owners] / 4)
    shapes = {symbol: projectors(np.random.default_rng(len(symbol) + ord(symbol[0]))) for symbol in symbols}
    coupling = tuple(shapes[symbol] for symbol in symbols)
    cells_of = between.conj()[:, None, :]
    return WannierModel(
        cell=cell,
        periodic=np.array(periodic),
        symbols=tuple(symbols),
        positions=positions,
        mesh=tuple(mesh),
        kpoints=kpoints,
        fermi_energy=0.0,
        electrons=float(n),
        centres=np.stack([origins, origins]),
        hamiltonian=np.stack([hermitian() + splitting, hermitian() - splitting]),
        position=position,
        overlap=np.eye(n) + 0.02 * moved(bloch(n, n)),
        projections=tuple(np.stack([0.4 * bloch(h.shape[-1], n) * cells_of for _ in range(2)]) for h in coupling),
        coupling=coupling,
        moments=np.array(moments, dtype=float),
        attributes={"orbitals": json.dumps(orbitals)},
        gradients=tuple(
            np.stack([0.4j * bloch(3, h.shape[-1], n) * cells_of[:, None] for _ in range(2)]) for h in coupling
        ),
    )


def projectors(random):
    """Couplings of s, two p sets that mix, and a d set, shuffled: h = c (x) L."""
    c = random.normal(size=(2, 2))
    blocks = [np.zeros((3, 1, 1)), [np.kron(c + c.T, L) for L in angular_momentum(1)], -0.3 * angular_momentum(2)]
    total = sum(np.shape(block)[-1] for block in blocks)
    result, start = np.zeros((3, total, total), dtype=complex), 0
    for block in blocks:
        size = np.shape(block)[-1]
        result[:, start : start + size, start : start + size] = block
        start += size
    order = random.permutation(total)
    return 0.3 * result[:, order][:, :, order]


def c4v(mesh=(5, 5, 1)):
    """A magnet over the hollow of a square lattice, s p and s p d shells."""
    positions = [(0, 0, 6.0), (1.4, 1.4, 4.5)]
    orbitals = [[0, 0], [0, 1], [1, 2], [1, 0]]
    return random_model(np.diag([2.8, 2.8, 15.0]), ("Mn", "W"), positions, (3.0, 0.2), orbitals, mesh, seed=1)


def c2v():
    """A bcc(110)-like rectangular cell with a trough; f and p shells."""
    positions = [(0, 0, 6.0), (1.4, 1.8, 4.5)]
    return random_model(
        np.diag([2.8, 3.6, 15.0]), ("Fe", "W"), positions, (2.2, 0.1), [[0, 3], [1, 1]], (4, 3, 1), seed=2
    )


def chequerboard():
    """Two opposite magnets: its translation exchanges the spin channels."""
    cell = [[2.8, 2.8, 0], [2.8, -2.8, 0], [0, 0, 15]]
    positions = [(0, 0, 6), (2.8, 0, 6), (1.4, 1.4, 4.5), (1.4, -1.4, 4.5)]
    orbitals = [[0, 1], [1, 1], [2, 0], [3, 0], [0, 0], [1, 0]]
    return random_model(cell, ("Mn", "Mn", "W", "W"), positions, (3, -3, 0, 0), orbitals, (3, 3, 1), seed=3)


def b20():
    """Space group P2_13: screw axes, a three-dimensional mesh."""
    a, positions = 4.6, []
    for u in (0.137, 0.842):
        positions += [(u, u, u), (0.5 + u, 0.5 - u, -u), (-u, 0.5 + u, 0.5 - u), (0.5 - u, -u, 0.5 + u)]
    orbitals = [[atom, 0] for atom in range(4)] + [[4, 1], [5, 1], [6, 1], [7, 1]]
    return random_model(
        np.eye(3) * a, ("Mn",) * 4 + ("Si",) * 4, np.array(positions) * a, [0.6] * 4 + [0] * 4, orbitals, (3, 3, 3), 4,
        (True, True, True),
    )  # fmt: skip


SYNTHETIC = {"c4v": (c4v, 8), "c2v": (c2v, 4), "chequerboard": (chequerboard, 16), "b20": (b20, 12)}


@pytest.fixture(scope="module")
def symmetric():
    """Name -> a random model and what it becomes."""
    result = {}
    for name, (make, order) in SYNTHETIC.items():
        raw = make()
        made = symmetrised(raw, largest_change=np.inf)
        assert made.attributes["symmetrised"].startswith(f"{order} ")
        result[name] = (raw, made)
    return result


@pytest.fixture(scope="module")
def film(copt11):
    return dataclasses.replace(copt11, moments=np.array([0.4, 1.9]))


def tensors(model, kpoints, direction, mask=None, weights=None):
    """D and Q at xi = 1, a(I), a(II), D(1), a(II) exact summed over k points, each (3, d); eV*Angstrom."""
    total = 0.0
    weights = np.ones(len(kpoints)) if weights is None else weights
    bands = model if isinstance(model, Interpolation) else Interpolation(model)
    model = bands.model
    mask = np.ones(model.atoms) if mask is None else mask
    frame, threshold = spin_frame(direction), splitting_threshold(TEMPERATURE)
    columns = bands.spin_orbit_columns(direction, mask)
    exact = bands.exact_velocity_columns(direction, mask)
    for weight in np.unique(weights):
        points = kpoints[weights == weight]
        operators = bands.operators(points)
        spin_orbit = bands.spin_orbit(columns, points, operators)
        collinear = Collinear.of(operators)
        splittings = Splittings.of(collinear, threshold)
        parts = [
            *dmi_and_spin_current(operators, spin_orbit, 1.0, threshold),
            first_part(collinear, splittings, spin_orbit),
            second_part(collinear, splittings, spin_orbit),
            first_order_dmi(collinear, splittings, spin_orbit),
        ]
        if exact is not None:
            parts.append(exact_second_part(collinear, splittings, spin_orbit, bands.exact_velocity(exact, points)))
        mu, kt = np.array([model.fermi_energy]), np.array([BOLTZMANN_EV * TEMPERATURE])
        occupied = [occupy(c, Occupations.of(c.energies, mu, kt))[0] for c in parts]
        total = total + weight * np.stack([to_lab(x, frame) for x in occupied])
    return total


def relative(found, expected):
    """Largest difference of each tensor relative to its largest element."""
    return (np.abs(found - expected).max(axis=(1, 2)) / np.abs(expected).max(axis=(1, 2))).max()


# -- representations -------------------------------------------------------------------------------------


def wannier90_harmonics(ell, r):
    """As in the Wannier90 user guide's table, on unit vectors, up to the common factor of an l."""
    x, y, z = r.T
    if ell == 0:
        return np.stack([np.ones_like(x)], axis=1)
    if ell == 1:
        return np.stack([z, x, y], axis=1)
    if ell == 2:
        s = np.sqrt(12)
        return np.stack([(3 * z**2 - 1) / s, x * z, y * z, (x**2 - y**2) / 2, x * y], axis=1)
    f = [
        z * (5 * z**2 - 3) / (2 * np.sqrt(15)),
        x * (5 * z**2 - 1) / (2 * np.sqrt(10)),
        y * (5 * z**2 - 1) / (2 * np.sqrt(10)),
        z * (x**2 - y**2) / 2,
        x * y * z,
        x * (x**2 - 3 * y**2) / (2 * np.sqrt(6)),
        y * (3 * x**2 - y**2) / (2 * np.sqrt(6)),
    ]
    return np.stack(f, axis=1)


@pytest.mark.parametrize("ell", [0, 1, 2, 3])
@pytest.mark.parametrize("parity", [1, -1])
def test_rotation_of_wannier90_harmonics(ell, parity):
    """(g Y_m)(r) = Y_m(R^-1 r) = sum_m' Y_m'(r) D_m'm."""
    random = np.random.default_rng(ell)
    q, _ = np.linalg.qr(random.normal(size=(3, 3)))
    rotation = parity * np.linalg.det(q) * q
    r = random.normal(size=(50, 3))
    r /= np.linalg.norm(r, axis=1)[:, None]
    matrix = harmonics_rotation(wannier90_momentum(ell), ell, rotation)
    np.testing.assert_allclose(wannier90_harmonics(ell, r @ rotation), wannier90_harmonics(ell, r) @ matrix, atol=1e-12)
    np.testing.assert_allclose(matrix.imag, 0, atol=1e-12)


def test_half_turns():
    """exp(-i pi u.L) is the same for u and -u, so the axis of a half turn needs no care."""
    for rotation in (np.diag([-1, -1, 1]), np.diag([1, -1, -1]), np.diag([-1, 1, 1]), np.diag([-1, -1, -1])):
        matrix = harmonics_rotation(wannier90_momentum(1), 1, rotation.astype(float))
        np.testing.assert_allclose(matrix, np.diag(rotation[[2, 0, 1], [2, 0, 1]]), atol=1e-12)


def test_momenta_are_read_off_the_coupling():
    """Shuffled shells, negative constants and mixing radial functions: L comes out, and h is axial."""
    coupling = projectors(np.random.default_rng(5))
    found = projector_momenta(coupling)
    assert sorted((len(indices), ell) for indices, ell, _ in found) == [(1, 0), (5, 2), (6, 1)]
    for _, ell, momentum in found:
        square = np.einsum("aij,ajk->ik", momentum, momentum)
        np.testing.assert_allclose(square, ell * (ell + 1) * np.eye(len(square)), atol=1e-10)
    q, _ = np.linalg.qr(np.random.default_rng(6).normal(size=(3, 3)))
    matrix = projector_rotation(coupling, q)
    axial = np.linalg.det(q) * q
    np.testing.assert_allclose(matrix @ matrix.conj().T, np.eye(len(matrix)), atol=1e-10)
    turned = np.einsum("ba,bpq->apq", axial, coupling)
    np.testing.assert_allclose(matrix @ coupling @ matrix.conj().T, turned, atol=1e-10)


def test_coupling_that_is_no_angular_momentum():
    coupling = angular_momentum(1).copy()
    coupling[2] *= 1.1
    with pytest.raises(InputError, match="not proportional to the angular momentum"):
        projector_momenta(coupling)


# -- symmetrised -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SYNTHETIC)
def test_symmetrising_twice_is_symmetrising_once(symmetric, name):
    raw, once = symmetric[name]
    assert max(symmetry_errors(raw, once).values()) > 0.1
    assert once.time_reversal_error < 1e-12
    twice = symmetrised(once)
    assert max(symmetry_errors(once, twice).values()) < 1e-12
    for before, after in zip(once.projections + once.gradients, twice.projections + twice.gradients, strict=True):
        np.testing.assert_allclose(after, before, atol=1e-12)
    np.testing.assert_allclose(twice.centres, once.centres, atol=1e-12)
    np.testing.assert_allclose(twice.positions, once.positions, atol=1e-12)


@pytest.mark.parametrize("name", SYNTHETIC)
@pytest.mark.parametrize("direction", [Z, X, (1, 1, 0), (1, 0, 1)])
def test_integrand_turns_with_k(symmetric, name, direction):
    """T(gk) = g T(k) for all tensors at a general point, whose operators never met the ab-initio mesh."""
    raw, model = symmetric[name]
    group = magnetic_point_group(model, [direction])
    k = np.array([[0.1234, 0.3456, 0.271 if model.dimension == 3 else 0.0]])
    bands, d = Interpolation(model), model.dimension
    here = tensors(bands, k, direction)
    for g in group:
        expected = g.axial @ here @ g.cartesian[:d, :d].T
        assert relative(tensors(bands, k @ g.reciprocal.T, direction), expected) < 1e-8
    if len(group) > 1:
        g = group[-1]
        unlike = g.axial @ tensors(raw, k, direction) @ g.cartesian[:d, :d].T
        assert relative(tensors(raw, k @ g.reciprocal.T, direction), unlike) > 0.1


@pytest.mark.parametrize("name", ["c4v", "c2v", "chequerboard"])
@pytest.mark.parametrize("direction", [Z, X])
def test_reduced_mesh_is_the_whole_mesh(symmetric, name, direction):
    """Weights over irreducible points, then the average over the group: the whole sum."""
    model, divisions = symmetric[name][1], (8, 8)
    bands = Interpolation(model)
    mask = [1.0, 0.5] * (model.atoms // 2) if name != "chequerboard" else [1.0, 1.0, 0.5, 0.5]
    group = magnetic_point_group(model, [direction], [mask])
    indices, weights = reduce_mesh(divisions, group)
    assert len(indices) < 64

    def points(flat):
        return np.stack([*np.unravel_index(flat, divisions), np.zeros(len(flat))], axis=1) / [*divisions, 1]

    whole = tensors(bands, points(np.arange(64)), direction, mask)
    reduced = symmetrise_tensor(tensors(bands, points(indices), direction, mask, weights), group)
    scale = np.abs(whole).max(axis=(1, 2), keepdims=True)
    # An antiferromagnet's D vanishes: its rounding is measured against what one point gives.
    scale = np.maximum(
        scale, np.abs(tensors(bands, points(indices[1:2]), direction, mask)).max(axis=(1, 2), keepdims=True)
    )
    assert (np.abs(reduced - whole) / scale).max() < 1e-8


def test_home_cells_do_not_matter(symmetric):
    """Functions counted from other cells are the same magnet: so is what symmetrising makes of them."""
    raw, model = symmetric["c4v"]
    shift = np.random.default_rng(7).integers(-2, 3, size=(raw.functions, 3))
    phases = np.exp(2j * np.pi * raw.kpoints @ shift.T)
    between = phases[:, :, None] * phases.conj()[:, None, :]
    n = np.arange(raw.functions)
    position = raw.position * between[:, None]
    position[..., n, n] += (shift @ raw.cell).T
    moved = dataclasses.replace(
        raw,
        centres=raw.centres + shift @ raw.cell,
        hamiltonian=raw.hamiltonian * between,
        position=position,
        overlap=raw.overlap * between,
        projections=tuple(p * phases.conj()[:, None, :] for p in raw.projections),
        gradients=tuple(p * phases.conj()[:, None, None, :] for p in raw.gradients),
    )
    k = np.array([[0.1234, 0.3456, 0.0]])
    again = symmetrised(moved, largest_change=np.inf)
    assert relative(tensors(again, k, X), tensors(model, k, X)) < 1e-9


def test_structure_becomes_symmetric_too():
    """A cell and an atom off by 1e-3 Angstrom: with that tolerance the result is exact, not to 1e-3."""
    raw = c4v((3, 3, 1))
    strained = raw.cell.copy()
    strained[1, :2] = 5e-4, 2.8004
    distorted = dataclasses.replace(raw, cell=strained, positions=raw.positions + np.array([[0, 0, 0], [8e-4, 0, 0]]))
    model = symmetrised(distorted, tolerance=5e-3, largest_change=np.inf)
    assert np.linalg.norm(model.cell[0]) == pytest.approx(np.linalg.norm(model.cell[1]), rel=1e-12)
    group = magnetic_point_group(model, [Z], tolerance=1e-8)
    assert len(group) == 8
    k = np.array([[0.1234, 0.3456, 0.0]])
    here = tensors(model, k, Z)
    for g in group:
        assert relative(tensors(model, k @ g.reciprocal.T, Z), g.axial @ here @ g.cartesian[:2, :2].T) < 1e-8


# -- a real film -----------------------------------------------------------------------------------------


def test_real_film_is_nearly_symmetric(film):
    """Bands move by meV, the overlap by 2e-4: the orders of m, the cells and the projectors' phases are the file's.

    Elements of Hbar move by more, and of high p states: pw2wannier90.x normalises every trial function for itself
    at each k, which makes p_x and p_y unlike (15.62 and 15.54 eV on site) in a space that is symmetric.
    """
    errors = symmetry_errors(film, symmetrised(film))
    assert errors["bands"] < 0.01
    assert errors["hamiltonian"] < 0.3
    assert errors["position"] < 0.06
    assert errors["overlap"] < 3e-4
    assert errors["spin_orbit"] < 0.02


def test_real_film_with_the_wrong_order_is_not(film):
    """The test above can fail: with d before p, or the atoms exchanged, nothing fits."""
    for orbitals in (
        [[0, 0], [0, 2], [0, 1], [1, 0], [1, 1], [1, 2]],
        [[0, 2], [0, 1], [0, 0], [1, 2], [1, 1], [1, 0]],
    ):
        with pytest.raises(InputError, match="real harmonics that `orbitals` names"):
            symmetrised(film, orbitals)


@pytest.mark.parametrize(("direction", "mask"), [(Z, [1, 1]), (Z, [0, 1]), (X, [1, 1]), (Y, [1, 1])])
def test_real_film_on_a_reduced_mesh(film, direction, mask):
    """The whole mesh to rounding, and a forbidden part of nothing."""
    bands = Interpolation(symmetrised(film))
    group = magnetic_point_group(film, [direction], [mask])
    indices, weights = reduce_mesh((6, 6), group)

    def points(flat):
        return np.stack([*np.unravel_index(flat, (6, 6)), np.zeros(len(flat))], axis=1) / [6, 6, 1]

    whole = tensors(bands, points(np.arange(36)), direction, mask)
    reduced = symmetrise_tensor(tensors(bands, points(indices), direction, mask, weights), group)
    assert relative(reduced, whole) < 1e-8
    assert symmetry_residual(whole, group).max() < 1e-8


def test_symmetrised_model_is_saved_and_loaded(film, tmp_path):
    model = symmetrised(film)
    model.save(tmp_path / "model.h5")
    again = WannierModel.load(tmp_path / "model.h5")
    assert again.attributes["symmetrised"] == "6 spatial operations and time reversal"
    assert max(symmetry_errors(model, again).values()) == 0


# -- bad input -------------------------------------------------------------------------------------------


def test_orbitals_that_do_not_fit(film):
    cases = {
        "stand for 4 functions, the model has 18": [[0, 0], [0, 1]],
        "expected an atom from 0 to 1": [[2, 0]],
        "l from 0 to 3": [[0, 4]],
        "expected pairs": [0, 1, 2],
    }
    for message, orbitals in cases.items():
        with pytest.raises(InputError, match=message):
            symmetrised(film, orbitals)
    with pytest.raises(InputError, match="not JSON"):
        symmetrised(dataclasses.replace(film, attributes={"orbitals": "s, p, d"}))


def test_default_orbitals():
    model = dataclasses.replace(c4v(), attributes={})
    with pytest.raises(InputError, match="orbitals: missing; the model has 10 functions on 2 atoms"):
        symmetrised(model)


def test_symmetric_atoms_with_unlike_shells():
    model = chequerboard()
    unlike = [[0, 1], [1, 0], [1, 0], [1, 0], [2, 0], [3, 0], [0, 0], [1, 0]]
    with pytest.raises(InputError, match="symmetric to it, lacks"):
        symmetrised(model, unlike)


def test_missing_moments(copt11):
    with pytest.raises(InputError, match="moments"):
        symmetrised(copt11)


def test_mesh_without_the_symmetry():
    with pytest.raises(InputError, match=r"ab-initio mesh: \(3, 5, 1\) lacks the symmetry"):
        symmetrised(c4v((3, 5, 1)), largest_change=np.inf)


def test_projectors_must_be_real():
    """With phases on the projectors h is not imaginary: their time reverse is another projector."""
    raw = c4v((3, 3, 1))
    phases = np.exp(1j * np.arange(12))
    coupling = tuple(phases[:, None] * h * phases.conj() for h in raw.coupling)
    with pytest.raises(InputError, match="not imaginary"):
        symmetrised(dataclasses.replace(raw, coupling=coupling), largest_change=np.inf)


def test_space_group_of_the_synthetic_crystals(symmetric):
    for name, (_, order) in SYNTHETIC.items():
        assert len(space_group(symmetric[name][1])) == order
