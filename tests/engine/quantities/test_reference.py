"""Co/Pt(111) 1+1 (model-format.md's copt11.h5) against an independent reference and the prototype's numbers."""

import json

import numpy as np
import pytest

from aiida_dmi.engine import compute


@pytest.fixture(scope="module")
def reference(data):
    return json.loads((data / "copt11-reference.json").read_text())


@pytest.fixture(scope="module")
def result(copt11, reference):
    return compute(
        copt11,
        mesh=reference["mesh"],
        soi_scales=reference["xi"],
        fermi_shifts=reference["shift"],
        temperatures=[reference["temperature"]],
        directions=[reference["direction"]],
        fermi_level="dft",
    )


@pytest.mark.parametrize(("name", "key"), [("D", "D"), ("Q", "Q"), ("a_I", "aI"), ("a_II", "aII")])
def test_tensors(result, reference, name, key):
    """1e-6 of the largest element for all, 1e-6 of themselves for the allowed ones, yx and xy."""
    found, expected = result[name].squeeze(drop=True).values, np.array(reference[key])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    for i, j in ((1, 0), (0, 1)):
        np.testing.assert_allclose(found[..., i, j], expected[..., i, j], rtol=1e-6)


def test_electrons(result, reference):
    np.testing.assert_allclose(result.electrons.squeeze().values, reference["electrons"], rtol=1e-6)


@pytest.fixture(scope="module")
def hot(copt11):
    """1500 K, 48x48: converged to 1 % (physics.md)."""
    return compute(copt11, mesh=48, temperatures=[1500.0], fermi_level="dft")


@pytest.mark.parametrize(
    ("name", "expected", "tolerance"),
    [
        ("D", 12.59, 0.005),
        ("D_1", 12.35, 0.005),
        ("Q", -10.91, 0.005),
        ("a_I", 5.10, 0.01),
        ("a_II", 6.99, 0.005),
        ("Q_1", -12.09, 0.005),
    ],
)
def test_prototype_numbers(hot, name, expected, tolerance):
    """Physics.md's table; it prints two decimals, and a(I) is the last to converge with the mesh."""
    assert hot[name].sel(i="y", j="x").item() == pytest.approx(expected, rel=tolerance)


def test_symmetry_of_the_film(hot):
    """C_3v, n along z: D_xy = -D_yx, no diagonal, and D.n = 0."""
    tensor = hot.D.squeeze(drop=True)
    d_yx = tensor.sel(i="y", j="x").item()
    assert tensor.sel(i="x", j="y").item() == pytest.approx(-d_yx, rel=0.005)
    assert abs(tensor.sel(i="x", j="x").item()) < 0.1
    assert abs(tensor.sel(i="y", j="y").item()) < 0.1
    np.testing.assert_allclose(tensor.sel(i="z").values, 0, atol=1e-10)


def test_closure(hot):
    """|D(1) + Q(1)|/|D(1)| of a converged sum: 2 % for Co/Pt, whose two channels' functions differ a little."""
    assert hot.closure.item() == pytest.approx(0.02, abs=0.005)
    by_hand = (hot.D_1 + hot.Q_1).sel(i=["x", "y"]).squeeze().values
    size = np.linalg.norm(hot.D_1.squeeze().values)
    assert hot.closure.item() == pytest.approx(np.linalg.norm(by_hand) / size, rel=1e-12)


def test_errors_cover_the_distance_to_a_finer_mesh(copt11, hot):
    """48 points a side at 1500 K against 72, and by a part of D."""
    fine = compute(copt11, mesh=72, temperatures=[1500.0], fermi_level="dft")
    for name in ("D", "Q", "a_I", "a_II", "D_1", "Q_1"):
        away = np.abs(hot[name] - fine[name]).values
        assert (hot[f"{name}_error"].values >= away).all()
        assert hot[f"{name}_error"].values.max() < 0.1 * abs(fine.D).values.max()
    assert "nested_mesh" not in hot.attrs


def test_units_and_conventions(hot):
    for name in ("D", "Q", "a_I", "a_II", "D_1", "Q_1"):
        for variable in (hot[name], hot[f"{name}_error"]):
            assert variable.attrs["units"] == "meV angstrom"
            assert variable.attrs["per"] == "cell"
    assert hot.temperature.attrs["units"] == "K"
    assert hot.fermi_shift.attrs["units"] == "eV"
    assert hot.mu.attrs["units"] == "eV"
    assert hot.attrs["mesh"] == [48, 48]
    assert hot.attrs["fermi_level"] == "dft"
    assert hot.attrs["cell_area"] == pytest.approx(2.77185858**2 * np.sqrt(3) / 2)
    assert "D_yx" in hot.attrs["sign"]


def test_result_does_not_depend_on_processes(copt11):
    """Batches and the order of their sums depend on mesh and model alone: bitwise the same."""
    one, two = (
        compute(copt11, mesh=12, soi_scales=[0.5, 1.0], fermi_shifts=[-0.1, 0.0], processes=count) for count in (1, 2)
    )
    assert one.identical(two)


def test_neutral_level_holds_the_electrons(copt11):
    """mu of Hbar gives the file's electrons; D and Q follow the mu of H(xi), which differs with xi."""
    result = compute(copt11, mesh=12, soi_scales=[0.1, 1.0], temperatures=[1500.0, 300.0])
    np.testing.assert_allclose(result.electrons.sel(fermi_shift=0).values, copt11.electrons, rtol=1e-10)
    bare = compute(copt11, mesh=12, temperatures=[1500.0, 300.0], fermi_level="neutral-bare")
    np.testing.assert_allclose(result.mu_bare.values, bare.mu_bare.values, rtol=1e-12)
    np.testing.assert_allclose(bare.mu.squeeze().values, bare.mu_bare.values, rtol=1e-12)
    assert (
        abs(result.mu.sel(soi_scale=1.0, temperature=300.0).item() - bare.mu_bare.sel(temperature=300.0).item()) > 1e-3
    )
    # A shift that stands for the difference gives the same D as a fixed mu.
    mu = result.mu.sel(soi_scale=1.0, temperature=300.0).item()
    fixed = compute(copt11, mesh=12, fermi_shifts=[mu - copt11.fermi_energy], fermi_level="dft")
    np.testing.assert_allclose(
        fixed.D.squeeze().values, result.D.sel(soi_scale=1.0, temperature=300.0).squeeze().values, atol=1e-9
    )


def test_mask_is_a_weight_of_each_atom(copt11):
    """a is linear in the mask: Co alone and Pt alone add up to both, and half of all is half."""
    masks = {"all": [1, 1], "Pt": [1, 0], "Co": [0, 1], "half": [0.5, 0.5]}
    result = compute(copt11, mesh=8, soi_masks=masks, fermi_level="dft")
    for name in ("a_I", "a_II"):
        part = result[name]
        whole = part.sel(mask="all").values
        np.testing.assert_allclose(part.sel(mask=["Pt", "Co"]).sum("mask").values, whole, atol=1e-9)
        np.testing.assert_allclose(part.sel(mask="half").values, whole / 2, atol=1e-9)
        assert np.abs(part.sel(mask="Co").values).max() > 1e-3
    half = compute(copt11, mesh=8, soi_scales=[0.5], fermi_level="dft")
    np.testing.assert_allclose(result.D.sel(mask="half").squeeze().values, half.D.squeeze().values, atol=1e-9)
