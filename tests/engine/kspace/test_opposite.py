"""Of k and -k one is enough for the first order: the same tensors as from every k point, and only where it is so."""

import dataclasses

import numpy as np
import pytest

from aiida_dmi.engine import WannierModel, compute
from aiida_dmi.engine.build.time_reversal import imposed
from aiida_dmi.engine.kspace.interpolation import Interpolation
from aiida_dmi.engine.kspace.mesh import Mesh
from aiida_dmi.engine.kspace.opposite import stretch
from aiida_dmi.engine.model.wannier import NOISE

AXES = {
    "directions": [(0, 0, 1), (0.3, -0.5, 0.7)],
    "soi_masks": {"all": [1.0, 1.0], "half": [0.0, -0.5]},
    "temperatures": [300.0, 1500.0],
    "fermi_shifts": [-0.3, 0.0, 0.4],
}
FIRST_ORDER = {"quantities": ["a_I", "a_II", "D_1"], "fermi_level": "dft"}
NAMES = ("D", "Q", "D_1", "Q_1", "a_I", "a_II")


def with_gradients(model: WannierModel) -> WannierModel:
    """Differentiated projectors of complete functions, <d_j beta|W> = i P A_j, which have time reversal."""
    gradients = tuple(
        1j * np.einsum("sqpm,sqjmn->sqjpn", projection, model.position) for projection in model.projections
    )
    return dataclasses.replace(model, gradients=gradients)


def every_point(model, mesh, **options):
    """The tensors without the use of time reversal: a mesh that the group of a film without symmetry reduces."""
    result = compute(dataclasses.replace(model, moments=np.array([1.0, 0.2])), mesh, symmetry=True, **options)
    assert result.attrs["symmetry"] == "magnetic point group of 1 operations"
    return result


# 60 x 60: enough points for tables of products; odd and uneven meshes have other points that are their own image.
@pytest.mark.parametrize("mesh", [4, (9, 3), (6, 9), (2, 8), (60, 60)])
@pytest.mark.parametrize("fermi_level", ["dft", "neutral"])
def test_half_of_the_points_gives_the_same(film, mesh, fermi_level):
    model = with_gradients(film(4).model((3, 3, 1)))
    assert Interpolation(model).time_reversal
    axes = AXES if mesh != (60, 60) else {"directions": [(0.3, -0.5, 0.7)]}
    whole = every_point(model, mesh, fermi_level=fermi_level, **axes)
    half = compute(model, mesh, fermi_level=fermi_level, **axes)
    for name in (*NAMES, "a_II_exact"):
        scale = np.abs(whole[name].values).max()
        assert scale > 0
        np.testing.assert_allclose(half[name], whole[name], rtol=0, atol=1e-10 * scale, err_msg=name)
        if f"{name}_error" in whole:
            np.testing.assert_allclose(
                half[f"{name}_error"], whole[f"{name}_error"], rtol=0, atol=1e-9 * scale, err_msg=name
            )
    np.testing.assert_allclose(half.electrons, whole.electrons, rtol=1e-13)


@pytest.mark.parametrize(("mesh", "half"), [(6, 20), (9, 41)])
def test_half_of_the_points_is_what_is_worked_on(film, mesh, half, diagonalised):
    """On 6 x 6 points 4 are their own image, on 9 x 9 one; the blocks of both spins are diagonalised at each.

    And at half of 12 x 12 points, 4 their own image, for the fastest band near mu.
    """
    model = film(4).model((3, 3, 1))
    assert diagonalised(model, mesh, **FIRST_ORDER) == {model.functions: 2 * (half + 74)}


def broken_hamiltonian(model):
    noise = np.zeros_like(model.hamiltonian)
    noise[:, 1, 0, 1], noise[:, 1, 1, 0] = 1e-5j, -1e-5j
    return {"hamiltonian": model.hamiltonian + noise}


def broken_projections(model):
    first, *rest = model.projections
    first = first.copy()
    first[0, 1] *= np.exp(1e-5j * np.arange(first.shape[-1]))
    return {"projections": (first, *rest)}


def broken_gradients(model):
    first, *rest = with_gradients(model).gradients
    first = first.copy()
    first[0, 1] *= np.exp(1e-4j)
    return {"gradients": (first, *rest)}


@pytest.mark.parametrize("broken", [broken_hamiltonian, broken_projections, broken_gradients])
def test_models_without_time_reversal_are_summed_over_every_point(film, broken, diagonalised):
    model = film(4).model((3, 3, 1))
    other = dataclasses.replace(model, **broken(model))
    assert Interpolation(model).time_reversal
    assert not Interpolation(other).time_reversal
    assert diagonalised(other, 6, **FIRST_ORDER) == {model.functions: 2 * (36 + 144)}
    for method in ("second_component", "exact_second_component"):
        columns = Interpolation(other).spin_orbit_columns((0, 0, 1), [1, 1])
        with pytest.raises(ValueError, match="lacks time reversal"):
            getattr(Interpolation(other), method)(columns, np.zeros((1, 3)))


@pytest.mark.parametrize("divisions", [(6, 6), (5, 3), (1, 4), (4, 3, 2)])
def test_pairs_of_opposite_points(divisions):
    """Each of k and -k once, or with half the weight where they are the same."""
    batches = Mesh(divisions).batches(7)
    points = np.concatenate([batch.kpoints for batch in batches])
    counts = np.concatenate([batch.opposite for batch in batches])
    assert counts.sum() == len(points)
    place = {tuple(point): count for point, count in zip(points.round(9), counts, strict=True)}
    for point, count in place.items():
        image = tuple(round((-x) % 1.0, 9) % 1.0 for x in point)
        assert count == (1 if image == point else 2 - place[image])


def test_noise_is_averaged_away_and_kept_as_a_number(copt11):
    """Co/Pt(111) 1+1: the tensors move by no more than the noise may move them; the gate still sees its size."""
    model = imposed(copt11)
    assert not Interpolation(copt11).time_reversal
    assert Interpolation(model).time_reversal
    assert model.time_reversal_left < 1e-12 < copt11.time_reversal_error
    assert model.time_reversal_error == model.attributes[NOISE] == copt11.time_reversal_error
    assert imposed(model).time_reversal_error == copt11.time_reversal_error
    given, averaged = (compute(m, 24, temperatures=[1500.0], fermi_level="dft") for m in (copt11, model))
    for name in NAMES:
        # 5e-5 eV of some levels, which the first order divides by the smallest splittings.
        np.testing.assert_allclose(averaged[name], given[name], rtol=0, atol=1e-4 * np.abs(given[name].values).max())


def test_models_that_break_time_reversal_stay_as_they_are(film):
    model = film(4).model((3, 3, 1))
    noise = np.zeros_like(model.hamiltonian)
    noise[:, 1, 0, 1], noise[:, 1, 1, 0] = 1e-2j, -1e-2j
    with pytest.warns(UserWarning, match="breaks time reversal"):
        broken = dataclasses.replace(model, hamiltonian=model.hamiltonian + noise)
    assert imposed(broken) is broken


def test_stretches_are_slices():
    assert stretch(np.array([3, 4, 5])) == slice(3, 6)
    np.testing.assert_array_equal(stretch(np.array([3, 5])), [3, 5])
    assert len(stretch(np.array([], dtype=int))) == 0


def test_second_component_with_and_without_ready_positions(film):
    bands = Interpolation(film(4).model((3, 3, 1)))
    kpoints = np.random.default_rng(5).uniform(-1, 1, (7, 3)) * [1, 1, 0]
    columns = bands.spin_orbit_columns((0.3, -0.5, 0.7), [1.0, 0.5])
    ready = bands.second_component(columns, kpoints, bands.operators(kpoints))
    alone = bands.second_component(columns, kpoints)
    for one, other in zip(ready, alone, strict=True):
        assert np.abs(one).max() > 1e-3
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-12)


def test_no_second_component_without_time_reversal(film):
    model = with_gradients(film(4).model((3, 3, 1)))
    noise = np.random.default_rng(6).normal(scale=1e-6, size=model.hamiltonian.shape)
    bands = Interpolation(dataclasses.replace(model, hamiltonian=model.hamiltonian + noise + noise.swapaxes(-1, -2)))
    assert not bands.time_reversal
    kpoints = np.zeros((1, 3))
    with pytest.raises(ValueError, match=r"\Asecond_component: the model lacks time reversal\Z"):
        bands.second_component(bands.spin_orbit_columns((0, 0, 1), [1.0, 1.0]), kpoints)
    with pytest.raises(ValueError, match=r"\Aexact_second_component: the model lacks time reversal\Z"):
        bands.exact_second_component(bands.exact_velocity_columns((0, 0, 1), [1.0, 1.0]), kpoints)
