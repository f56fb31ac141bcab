"""Interpolation: exact on the ab-initio mesh, velocities as derivatives, and what must not matter."""

import dataclasses

import numpy as np
import pytest

from aiida_dmi.engine import InputError, compute
from aiida_dmi.engine.kspace.images import nearest_images
from aiida_dmi.engine.kspace.interpolation import Interpolation
from aiida_dmi.engine.kspace.lattice_sum import LatticeSum
from aiida_dmi.engine.model.spin_frame import in_spin_frame, spin_frame

from ..theory import relabelled

FIXED = {"fermi_level": "dft", "temperatures": [2000.0]}
TENSORS = ("D", "Q", "a_I", "a_II", "D_1", "Q_1")
PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


def commutator(a, b):
    return a @ b - b @ a


@pytest.fixture(params=["random film", "copt11"])
def model(request, film, copt11):
    return film(1).model((4, 5, 1)) if request.param == "random film" else copt11


# -- X(k) ------------------------------------------------------------------------------------------------


def test_ab_initio_mesh_is_reproduced(model):
    """On the mesh's own points interpolation is the identity, whichever images share an element.

    copt11.h5 writes its k points with eight digits, which is what 1e-8 allows for.
    """
    interpolation = Interpolation(model)
    operators = interpolation.operators(model.kpoints)
    np.testing.assert_allclose(operators.hamiltonian, model.hamiltonian, atol=1e-8)
    np.testing.assert_allclose(operators.overlap, model.overlap, atol=1e-8)
    np.testing.assert_allclose(operators.position, np.moveaxis(model.position, 2, 1)[:, :2], atol=1e-8)
    columns = interpolation.spin_orbit_columns((0.2, 0.3, -1.0), [1.0, 0.7])
    spin_orbit = interpolation.spin_orbit(columns, model.kpoints, operators)
    expected = in_spin_frame(model.spin_orbit([1.0, 0.7]), spin_frame((0.2, 0.3, -1.0)))
    np.testing.assert_allclose(spin_orbit.interaction, expected, atol=1e-8)


def test_short_ranged_operators_are_exact_anywhere(film):
    """Hoppings inside the Wigner-Seitz cell: X(k) = sum_R exp(ikR) X(R) at any k, from a 5x5 mesh."""
    one = film(2)
    kpoints = np.random.default_rng(0).uniform(-1, 1, (7, 3)) * [1, 1, 0]
    operators = Interpolation(one.model()).operators(kpoints)
    splitting = np.diag(one.exchange)
    exact = one.bloch(one.hopping, kpoints)
    np.testing.assert_allclose(operators.hamiltonian, [exact + splitting, exact - splitting], atol=1e-12)
    position = one.bloch(one.position, kpoints).swapaxes(0, 1)[:2]
    np.testing.assert_allclose(operators.position[1], position, atol=1e-12)
    np.testing.assert_allclose(operators.overlap, np.broadcast_to(np.eye(one.functions), exact.shape), atol=1e-12)


def test_velocity_is_the_derivative_and_the_commutator(model):
    """hbar v_j = dH/dk_j - i[A_j, H], with dH/dk_j from central differences, h^2 d^3H/dk^3 ~ 1e-6."""
    interpolation = Interpolation(model)
    columns = interpolation.spin_orbit_columns((0.5, -0.2, 0.8), [1.0, 1.0])
    kpoints = np.random.default_rng(1).uniform(-1, 1, (5, 3)) * [1, 1, 0]
    operators = interpolation.operators(kpoints)
    spin_orbit = interpolation.spin_orbit(columns, kpoints, operators)
    step = 1e-4
    for j in range(2):
        # A Cartesian step of k in units of the reciprocal lattice vectors
        shift = step * model.cell[:, j] / (2 * np.pi)
        ahead, behind = (interpolation.operators(kpoints + sign * shift) for sign in (1, -1))
        slope = (ahead.hamiltonian - behind.hamiltonian) / (2 * step)
        expected = slope - 1j * commutator(operators.position[:, j], operators.hamiltonian)
        np.testing.assert_allclose(operators.velocity[:, j], expected, atol=2e-5)
        blocks = [
            interpolation.spin_orbit(columns, kpoints + sign * shift, other).interaction
            for sign, other in ((1, ahead), (-1, behind))
        ]
        up, down = operators.position[:, j]
        v_uu, v_ud, v_dd = spin_orbit.interaction
        commutators = np.stack([commutator(up, v_uu), up @ v_ud - v_ud @ down, commutator(down, v_dd)])
        expected = (blocks[0] - blocks[1]) / (2 * step) - 1j * commutators
        np.testing.assert_allclose(spin_orbit.velocity[:, j], expected, atol=2e-5)
    # The tolerance sees something: velocities are of order eV Angstrom.
    assert np.abs(operators.velocity).max() > 0.1
    assert np.abs(spin_orbit.velocity).max() > 0.01


def test_operators_are_hermitian_and_periodic(model):
    interpolation = Interpolation(model)
    kpoints = np.random.default_rng(2).uniform(-1, 1, (4, 3)) * [1, 1, 0]
    here, there = interpolation.operators(kpoints), interpolation.operators(kpoints + np.array([1, -2, 0]))
    for name in ("hamiltonian", "velocity", "position"):
        array = getattr(here, name)
        np.testing.assert_allclose(array, array.conj().swapaxes(-1, -2), atol=1e-6)
        np.testing.assert_allclose(array, getattr(there, name), atol=1e-10)


@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 1), (0, 1, 2)])
def test_lattice_sum_written_out(axes):
    """sum_R exp(ikR) X(R) and sum_R i R_j exp(ikR) X(R), one axis after the other or all at once."""
    random = np.random.default_rng(8)
    vectors = np.zeros((9, 3), dtype=int)
    vectors[:, axes] = np.unique(random.integers(-2, 4, (60, len(axes))), axis=0)[np.arange(9) % 6]
    vectors = np.unique(vectors, axis=0)
    matrices = random.normal(size=(2, len(vectors), 3, 3, 2)) @ [1, 1j]
    cell = random.normal(size=(3, 2))
    lines = random.uniform(-1, 1, (3, 3))[[0, 0, 1, 0, 2, 2]]
    kpoints = np.where(np.arange(3) == 2, random.uniform(-1, 1, (6, 3)), lines)
    phases = np.exp(2j * np.pi * kpoints @ vectors.T)
    values, gradient = LatticeSum.of(vectors, matrices, cell).with_gradient(kpoints)
    np.testing.assert_allclose(values, np.einsum("kr,mrab->mkab", phases, matrices), atol=1e-13)
    slopes = 1j * (vectors @ cell)[:, :, None, None, None] * np.moveaxis(matrices, 0, 1)[:, None]
    np.testing.assert_allclose(gradient, np.einsum("kr,rjmab->mjkab", phases, slopes), atol=1e-12)
    np.testing.assert_allclose(LatticeSum.of(vectors, matrices).at(kpoints), values, atol=1e-13)


def test_operators_do_not_depend_on_what_came_before(copt11):
    """The same bits whichever batch was before: workers share them out."""
    kpoints = np.array([[i / 7, j / 7, 0.0] for i in range(3) for j in range(7)])
    used, fresh = Interpolation(copt11), Interpolation(copt11)
    for order in ([0, 1, 2], [2, 0, 0]):
        found = [used.operators(kpoints[7 * i : 7 * i + 5]) for i in order]
    expected = fresh.operators(kpoints[:5])
    for name in ("hamiltonian", "velocity", "position", "overlap"):
        np.testing.assert_array_equal(getattr(found[-1], name), getattr(expected, name))


# -- nearest images ----------------------------------------------------------------------------------------


def test_nearest_images_by_brute_force():
    """Share and place of every pair against all images within four supercells."""
    random = np.random.default_rng(3)
    cell = np.array([[2.5, 0.0, 0.0], [1.25, 2.2, 0.0], [0.0, 0.0, 20.0]])
    mesh = (3, 4, 1)
    centres = random.uniform(-4, 4, (3, 3))
    vectors, share = nearest_images(cell, mesh, centres)
    found = {tuple(v): s for v, s in zip(vectors, share, strict=True)}
    total = np.zeros((3, 3))
    span = np.stack(np.meshgrid(range(-4, 5), range(-4, 5), range(-1, 2), indexing="ij"), axis=-1).reshape(-1, 3)
    for base in np.ndindex(*mesh):
        candidates = np.array(base) + span * mesh
        for i, j in np.ndindex(3, 3):
            distance = np.linalg.norm(candidates @ cell + centres[j] - centres[i], axis=1)
            near = candidates[distance < distance.min() + 1e-4]
            for vector in near:
                assert found[tuple(vector)][i, j] == pytest.approx(1 / len(near))
                total[i, j] += 1 / len(near)
    np.testing.assert_allclose(share.sum(axis=0), total)
    np.testing.assert_allclose(total, np.prod(mesh))


def test_equally_near_images_share():
    """A square 2x2 mesh: R = (1, 0) and (-1, 0) are the same to it, each takes half; a corner a quarter."""
    vectors, share = nearest_images(np.diag([2.0, 2.0, 10.0]), (2, 2, 1), np.zeros((1, 3)))
    found = {tuple(int(x) for x in v): float(s[0, 0]) for v, s in zip(vectors, share, strict=True)}
    assert found == {
        (0, 0, 0): 1.0,
        **dict.fromkeys([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0)], 0.5),
        **dict.fromkeys([(1, 1, 0), (1, -1, 0), (-1, 1, 0), (-1, -1, 0)], 0.25),
    }


# -- what must not matter ----------------------------------------------------------------------------------


def moved_function(model, function, vector):
    """The same model with one function of both spins taken from the next cell.

    W'_i = W_i(r - R): every X_ij(q) gains exp(-iqR) on the left and exp(+iqR) on the right of its index; the
    position's diagonal block moves by R. As <0i|r|Rj> is a bare matrix element, A' = U^+ A U + R on that function.
    """
    phase = np.ones((len(model.kpoints), model.functions), dtype=complex)
    # |W'_i q> = sum_R' exp(iqR')|R' + R, i> = exp(-iqR)|W_i q>
    phase[:, function] = np.exp(-2j * np.pi * model.kpoints @ np.asarray(vector))
    transform = phase.conj()[:, :, None] * phase[:, None, :]
    position = model.position * transform[:, None]
    shift = np.asarray(vector) @ model.cell
    position[:, :, :, function, function] += shift
    centres = np.array(model.centres)
    centres[:, function] += shift
    return dataclasses.replace(
        model,
        hamiltonian=model.hamiltonian * transform,
        position=position,
        overlap=model.overlap * transform,
        centres=centres,
        projections=tuple(p * phase[None, :, None, :] for p in model.projections),
    )


def same_tensors(one, other, tolerance=1e-9):
    for name in TENSORS:
        largest = np.abs(one[name].values).max()
        assert largest > 0.01
        np.testing.assert_allclose(other[name].values, one[name].values, atol=tolerance * largest)
    np.testing.assert_allclose(other.electrons.values, one.electrons.values, rtol=1e-9)


@pytest.mark.parametrize("vector", [(1, 0, 0), (-2, 3, 0), (0, 0, 1), (40, -17, 0)])
def test_function_in_another_cell(model, vector):
    """Which cell a function is counted in is a choice of gauge: D, Q, a stay, on a finer mesh too.

    Forty cells multiply the eight digits of copt11's k points.
    """
    one = compute(model, 8, **FIXED)
    other = compute(moved_function(model, 1, vector), 8, **FIXED)
    same_tensors(one, other, 1e-8)


def test_origin(model):
    """The whole film shifted: A + s, centres + s. (With <up|down> only near unity: a constant commutes.)"""
    shift = np.array([0.7, -1.3, 5.1])
    moved = dataclasses.replace(
        model,
        positions=model.positions + shift,
        centres=model.centres + shift,
        position=model.position + shift[:, None, None] * np.eye(model.functions),
    )
    same_tensors(compute(model, 8, **FIXED), compute(moved, 8, **FIXED))


def test_order_of_functions_and_atoms(model):
    """Functions and atoms listed in another order, the mask with them."""
    order = np.random.default_rng(4).permutation(model.functions)
    turned_round = relabelled(model, order)
    masks = {"both": [1.0, 1.0], "mixed": [0.3, 0.9]}
    turned = {name: weights[::-1] for name, weights in masks.items()}
    one = compute(model, 6, soi_masks=masks, **FIXED)
    same_tensors(one, compute(turned_round, 6, soi_masks=turned, **FIXED))
    assert np.abs((one.D.sel(mask="both") - one.D.sel(mask="mixed")).values).max() > 1e-3


def test_order_of_kpoints(model):
    order = np.random.default_rng(5).permutation(len(model.kpoints))
    shuffled = dataclasses.replace(
        model,
        kpoints=model.kpoints[order] - np.array([1, 0, 0]),
        hamiltonian=model.hamiltonian[:, order],
        position=model.position[:, order],
        overlap=model.overlap[order],
        projections=tuple(p[:, order] for p in model.projections),
    )
    same_tensors(compute(model, 6, **FIXED), compute(shuffled, 6, **FIXED))


def test_unitary_gauge_of_the_functions(film):
    """A k-independent real rotation among functions of one centre, the same for both spins, changes nothing."""
    one = film(6)
    centres = np.array(one.centres)
    centres[1] = centres[0]
    one = dataclasses.replace(one, centres=centres)
    model = one.model()
    rotation = np.eye(4)
    rotation[:2, :2] = [[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]]

    def turn(array):
        return rotation.T @ array @ rotation

    turned = dataclasses.replace(
        model,
        hamiltonian=turn(model.hamiltonian),
        position=turn(model.position),
        overlap=turn(model.overlap),
        projections=tuple(p @ rotation for p in model.projections),
    )
    same_tensors(compute(model, 8, **FIXED), compute(turned, 8, **FIXED))


# -- three dimensions ----------------------------------------------------------------------------------------


def test_bulk_has_three_directions(film):
    """The film stacked periodically without hopping between the layers: x, y as before, j = z without current."""
    one = film(7)
    bulk = compute(one.model((5, 5, 2), periodic=np.array([True] * 3)), (6, 6, 2), **FIXED)
    layer = compute(one.model(), 6, **FIXED)
    assert list(bulk.j.values) == ["x", "y", "z"]
    for name in TENSORS:
        largest = np.abs(layer[name].values).max()
        np.testing.assert_allclose(bulk[name].sel(j=["x", "y"]).values, layer[name].values, atol=1e-9 * largest)
    assert bulk.attrs["cell_volume"] == pytest.approx(2.6 * 2.9 * 14.0)


def test_order_of_lattice_vectors(film):
    """A film whose third lattice vector is in the plane: the same film, or refused."""
    model = film(8).model((5, 4, 1))
    order = [0, 2, 1]
    try:
        turned = dataclasses.replace(
            model,
            cell=model.cell[order],
            periodic=model.periodic[order],
            mesh=tuple(model.mesh[i] for i in order),
            kpoints=model.kpoints[:, order],
        )
        other = compute(turned, 6, **FIXED)
    except InputError:
        return
    same_tensors(compute(model, 6, **FIXED), other)


# -- spin frame ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "direction", [(0, 0, 1), (0, 0, -1), (1, 0, 0), (0, -2, 0), (0.3, -0.4, 1e-7), (3.0, 4.0, -5.0)]
)
def test_spin_frame(direction):
    """Right-handed, orthonormal, third axis along n; for n = z it is x, y, z."""
    frame = spin_frame(direction)
    np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-14)
    assert np.linalg.det(frame) == pytest.approx(1.0)
    np.testing.assert_allclose(frame[2], np.array(direction) / np.linalg.norm(direction), atol=1e-15)
    if direction == (0, 0, 1):
        np.testing.assert_allclose(frame, np.eye(3), atol=1e-15)


def test_blocks_in_the_spin_frame():
    """V along n is V turned by the spinors of n: the same eigenvalues, the up-up block its expectation along n."""
    random = np.random.default_rng(6)
    w = random.normal(size=(3, 2, 2)) + 1j * random.normal(size=(3, 2, 2))
    w = (w + w.conj().swapaxes(-1, -2)) / 2
    for direction in [(0, 0, 1), (0.3, -0.5, 0.2), (0, 0, -1)]:
        uu, ud, dd = in_spin_frame(np.stack([w, w, w]), spin_frame(direction))
        matrix = np.block([[uu, ud], [ud.conj().T, dd]])
        lattice = sum(np.kron(PAULI[alpha], w[alpha]) for alpha in range(3))
        np.testing.assert_allclose(np.linalg.eigvalsh(matrix), np.linalg.eigvalsh(lattice), atol=1e-12)
        n = np.array(direction) / np.linalg.norm(direction)
        np.testing.assert_allclose(uu, np.tensordot(n, w, axes=1), atol=1e-14)


@pytest.mark.parametrize("direction", [(0, 0, 0), (0, 1), (0, 0, 1, 0), (0, np.nan, 1), (np.inf, 0, 0)])
def test_bad_direction(direction):
    with pytest.raises(InputError, match="directions"):
        spin_frame(direction)
