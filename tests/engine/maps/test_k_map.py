"""Maps over the Brillouin zone: their mean is compute's result."""

import numpy as np
import pytest

from aiida_dmi.engine import InputError, RashbaModel, compute
from aiida_dmi.engine.maps.k_map import QUANTITIES, cartesian_points, k_map

TENSORS = ("D", "Q", "D_1", "a_I", "a_II")


@pytest.mark.parametrize("temperature", [10.0, 20000.0])  # at 20000 K pairs nearer than 0.09 eV take the limit forms
def test_mean_of_a_film(film, temperature):
    model, direction, mask = film(2).model(), (0.3, -0.2, 1.0), [1.0, 0.4]
    total = compute(
        model,
        6,
        directions=[direction],
        soi_masks={"some": mask},
        soi_scales=[0.7],
        temperatures=[temperature],
        fermi_level="dft",
    )
    result = k_map(model, 6, TENSORS, direction=direction, mask=mask, soi_scale=0.7, temperature=temperature)
    for name in TENSORS:
        expected = total[name].squeeze(drop=True)
        np.testing.assert_allclose(result[name].mean("k"), expected, atol=1e-9 * np.abs(result[name]).max().item())
        assert result[name].attrs["units"] == expected.attrs["units"]


def test_mean_of_a_real_film_at_neutrality(copt11):
    """Mu from compute's result; degenerate bands at Gamma among the points."""
    total = compute(copt11, 4, temperatures=[300.0])
    soi = k_map(copt11, 4, ["D", "Q"], mu=total.mu.item())
    bare = k_map(copt11, 4, ["D_1", "a_I", "a_II"], mu=total.mu_bare.item())
    for name in TENSORS:
        mean = (soi if name in soi else bare)[name].mean("k")
        np.testing.assert_allclose(mean, total[name].squeeze(drop=True), atol=1e-7)


def test_mean_of_the_rashba_model():
    total = compute(RashbaModel(0.5, 1.0), 40, cutoff=0.6)
    result = k_map(RashbaModel(0.5, 1.0), 40, TENSORS, cutoff=0.6)
    for name in TENSORS:
        np.testing.assert_allclose(result[name].mean("k"), total[name].squeeze(drop=True), atol=1e-9)
        assert result[name].attrs["units"] == "meV / angstrom"
    assert float(np.abs(result.kx).max()) == pytest.approx(0.6)


def test_points_are_independent_of_each_other(film):
    """The same integrands one by one, in a list, and in a mesh."""
    model = film(6).model()
    mesh = k_map(model, (4, 2), list(QUANTITIES), temperature=900.0)
    picked = k_map(model, kpoints=mesh.k_fractional.values[[5, 2]], quantities=list(QUANTITIES), temperature=900.0)
    for name in QUANTITIES:
        np.testing.assert_allclose(picked[name], mesh[name][[5, 2]], atol=1e-8)
    for point, fractional in enumerate(mesh.k_fractional.values):
        single = k_map(model, kpoints=[fractional], quantities=list(QUANTITIES), temperature=900.0)
        for name in QUANTITIES:
            np.testing.assert_allclose(single[name][0], mesh[name][point], atol=1e-8)
    assert mesh.k_fractional.values.reshape(4, 2, 3)[3, 1].tolist() == [0.75, 0.5, 0.0]


def test_batches_of_a_mesh_stand_in_its_order(film):
    """More points than are worked on at once: far apart in the mesh they are what they are alone."""
    model = film(6).model()
    mesh = k_map(model, 72, ["D"], temperature=900.0)
    places = np.arange(0, 72**2, 61)
    picked = k_map(model, kpoints=mesh.k_fractional.values[places], quantities=["D"], temperature=900.0)
    assert np.abs(mesh.D).max() > 1
    np.testing.assert_allclose(picked.D, mesh.D[places], atol=1e-8)


def test_cartesian_points(film):
    """k.a = 2 pi times the fractional coordinate."""
    model = film(1).model()
    points = np.array([[0.1, 0.7, 0.0], [-0.3, 0.2, 0.0]])
    cartesian = cartesian_points(model, points)
    np.testing.assert_allclose(cartesian @ model.cell[:2, :2].T, 2 * np.pi * points[:, :2])


def test_units_and_coordinates(film):
    result = k_map(film(1).model(), 3, ["misalignment", "a_II"])
    assert result.misalignment.dims == ("k", "j")
    assert result.misalignment.attrs["units"] == "hbar angstrom"
    assert "energy" not in result.coords
    assert result.attrs["mesh"] == [3, 3]
    assert result.kx.attrs["units"] == "1 / angstrom"
    assert k_map(film(1).model(), 3, "misalignment_band").energy.attrs["units"] == "eV"
    assert "i" not in k_map(film(1).model(), 3, "misalignment").coords


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mesh": 3, "quantities": ["E"]}, r"quantities: \['E'\]"),
        ({"mesh": 3, "quantities": []}, "quantities"),
        ({}, "give one of the two"),
        ({"mesh": 3, "kpoints": [[0, 0]]}, "give one of the two"),
        ({"mesh": (3, 3, 3)}, "mesh"),
        ({"kpoints": [[0.0]]}, "kpoints: shape"),
        ({"kpoints": [[0.0, np.nan]]}, "kpoints: shape"),
        ({"mesh": 3, "temperature": 0.0}, "temperature"),
        ({"mesh": 3, "mu": "neutral"}, "mu: 'neutral'"),
        ({"mesh": 3, "mu": np.inf}, "mu: inf"),
        ({"mesh": 3, "mask": [1.0]}, "soi_masks"),
        ({"mesh": 3, "direction": (0, 0, 0)}, "directions"),
        ({"mesh": 3, "cutoff": 1.0}, "cutoff"),
    ],
)
def test_bad_input(small_model, arguments, message):
    with pytest.raises(InputError, match=message):
        k_map(small_model, **arguments)


def test_rashba_needs_a_cutoff():
    with pytest.raises(InputError, match="cutoff"):
        k_map(RashbaModel(0.1, 1.0), 4)
