"""v^SOI from differentiated projectors: the optional `gradients` of a model, and their interpolation."""

import dataclasses

import h5py
import numpy as np
import pytest

from aiida_dmi.engine import InputError, WannierModel
from aiida_dmi.engine.kspace.interpolation import Interpolation
from aiida_dmi.engine.model.spin_frame import in_spin_frame, spin_frame

DIRECTIONS = [(0, 0, 1), (0.3, -1.2, 0.5)]


def with_random_gradients(model, seed=3):
    random = np.random.default_rng(seed)
    shapes = [(*p.shape[:2], 3, *p.shape[2:]) for p in model.projections]
    return dataclasses.replace(model, gradients=tuple(random.normal(size=(*s, 2)) @ [1, 1j] for s in shapes))


def with_complete_gradients(model):
    """As if the Wannier functions were complete, [beta, r] = 0: |d_j beta> = -i r_j |beta>, <d_j beta|W> = i P A_j."""
    gradients = tuple(1j * (p[:, :, None] @ model.position) for p in model.projections)
    return dataclasses.replace(model, gradients=gradients)


# -- the model -------------------------------------------------------------------------------------------


def test_a_model_without(small_model):
    assert small_model.gradients is None
    assert small_model.spin_orbit_velocity([1, 1]) is None
    assert Interpolation(small_model).exact_velocity_columns((0, 0, 1), [1, 1]) is None


def test_velocity_written_out(small_model):
    """sum_a mask_a (dP_j^+ h P + P^+ h dP_j), bra and ket of their own spins."""
    model = with_random_gradients(small_model)
    found = model.spin_orbit_velocity([1.0, 0.5])
    n, q = model.functions, len(model.kpoints)
    assert found.shape == (3, 3, 3, q, n, n)
    for block, (s, t) in enumerate(((0, 0), (0, 1), (1, 1))):
        for alpha, j, k in np.ndindex(3, 3, q):
            expected = sum(
                w * (d[s, k, j].conj().T @ h[alpha] @ p[t, k] + p[s, k].conj().T @ h[alpha] @ d[t, k, j])
                for w, p, d, h in zip((1.0, 0.5), model.projections, model.gradients, model.coupling, strict=True)
            )
            np.testing.assert_allclose(found[block, alpha, j, k], expected, atol=1e-12)


def test_mask(small_model):
    model = with_random_gradients(small_model)
    parts = model.spin_orbit_velocity([1, 0]) + model.spin_orbit_velocity([0, 1])
    np.testing.assert_allclose(parts, model.spin_orbit_velocity([1, 1]), atol=1e-12)
    for broken in (small_model, model):
        with pytest.raises(InputError, match="soi_masks"):
            broken.spin_orbit_velocity([1.0])


def test_file(small_model, tmp_path):
    model = with_random_gradients(small_model)
    model.save(tmp_path / "model.h5")
    loaded = WannierModel.load(tmp_path / "model.h5")
    for before, after in zip(model.gradients, loaded.gradients, strict=True):
        np.testing.assert_array_equal(before, after)
    small_model.save(tmp_path / "without.h5")
    assert WannierModel.load(tmp_path / "without.h5").gradients is None


def test_file_needs_them_for_every_atom(small_model, tmp_path):
    path = tmp_path / "model.h5"
    with_random_gradients(small_model).save(path)
    with h5py.File(path, "a") as file:
        del file["spin_orbit/1/gradients_down"]
    with pytest.raises(InputError, match="spin_orbit/1/gradients_down is missing"):
        WannierModel.load(path)


def test_wrong_gradients(small_model):
    model = with_random_gradients(small_model)
    with pytest.raises(InputError, match="gradients of 1 atoms"):
        dataclasses.replace(model, gradients=model.gradients[:1])
    with pytest.raises(InputError, match="spin_orbit/0/gradients has shape"):
        dataclasses.replace(model, gradients=(model.gradients[0][..., :1], model.gradients[1]))
    bad = model.gradients[1].copy()
    bad[0, 0] = np.nan
    with pytest.raises(InputError, match="spin_orbit/1/gradients holds"):
        dataclasses.replace(model, gradients=(model.gradients[0], bad))


# -- interpolation ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_exact_on_the_mesh(film, direction):
    """On the ab-initio mesh interpolation gives back what it was made from; blocks within a spin are Hermitian."""
    model = with_random_gradients(film(2).model())
    interpolation = Interpolation(model)
    columns = interpolation.exact_velocity_columns(direction, [1, 0.5])
    found = interpolation.exact_velocity(columns, model.kpoints)
    expected = in_spin_frame(model.spin_orbit_velocity([1, 0.5]), spin_frame(direction))
    assert found.shape == (3, 2, len(model.kpoints), 4, 4)
    np.testing.assert_allclose(found, expected[:, :2], atol=1e-12)
    for block in found[[0, 2]]:
        np.testing.assert_allclose(block, block.conj().swapaxes(-1, -2), atol=1e-12)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_complete_functions(film, direction):
    """Were the Wannier functions complete, dV/dk and dV/dk - i [A, V] would be one operator."""
    model = with_complete_gradients(film(4).model())
    interpolation = Interpolation(model)
    kpoints = np.vstack([model.kpoints[:7], [[0.137, 0.291, 0.0]]])
    operators = interpolation.operators(kpoints)
    truncated = interpolation.spin_orbit(
        interpolation.spin_orbit_columns(direction, [1, 0.7]), kpoints, operators
    ).velocity
    exact = interpolation.exact_velocity(interpolation.exact_velocity_columns(direction, [1, 0.7]), kpoints)
    np.testing.assert_allclose(exact, truncated, atol=1e-12)
    assert np.abs(exact).max() > 0.1
