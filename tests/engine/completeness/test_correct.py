"""Corrected results: what was missing added once, errors, and files that do not belong together."""

import numpy as np
import pytest

from aiida_dmi.engine import InputError, compute, load_result, save_result
from aiida_dmi.engine.completeness import CompletenessSpec, complete, corrected

MASKS = {"all": [1, 1], "hydrogen": [1, 0]}
AXES = {"temperatures": [3000.0, 1500.0], "fermi_shifts": [0.0, 0.2]}


@pytest.fixture(scope="module")
def files(tiny, tiny_model, tmp_path_factory):
    """A response and a completeness file of one model."""
    directions = [[0, 0, 1], [1, 1, 0]]
    result = compute(tiny_model, 24, soi_scales=[0.5, 1.0], directions=directions, soi_masks=MASKS, **AXES)
    spec = tiny.spec(soi_masks=MASKS, fermi_shifts=[-0.2, *AXES["fermi_shifts"]])
    return result, complete(CompletenessSpec.from_mapping(spec, tmp_path_factory.mktemp("none")))


def test_what_was_missing_is_added(files, tmp_path):
    result, completeness = files
    found = corrected(result, completeness)
    part = completeness.sel(fermi_shift=AXES["fermi_shifts"])
    missing = (part["D_1"] - part["D_1_wannier"]).values
    for place, n in enumerate(np.asarray(result["direction_vector"])):
        normal = np.einsum("il,mtslj->mtsij", np.eye(3) - np.outer(n, n), missing)
        one, before = found.isel(direction=place), result.isel(direction=place)
        np.testing.assert_allclose(one["D_1"], before["D_1"] + normal)
        np.testing.assert_allclose(one["Q_1"], -one["D_1"])
        np.testing.assert_allclose(one["a_I"] + one["a_II"], one["D_1"], atol=1e-12)
        for index, xi in enumerate((0.5, 1.0)):
            np.testing.assert_allclose(one["D"][:, index], before["D"][:, index] + xi * normal)
            np.testing.assert_allclose(one["Q"][:, index], before["Q"][:, index] - xi * normal)
        np.testing.assert_allclose(np.einsum("i,...ij->...j", n, one["D_1"]), 0, atol=1e-12)
        np.testing.assert_allclose(one["a_II"], part["a_II"])
    for name in ("D", "Q", "D_1", "Q_1", "a_I", "a_II"):
        np.testing.assert_array_equal(found[f"{name}_wannier"], result[name])
        np.testing.assert_array_equal(found[f"{name}_wannier_error"], result[f"{name}_error"])
        assert found[name].dims == result[name].dims
        assert found[name].attrs["units"] == "meV angstrom"
        assert "of the Wannier functions alone" in found[f"{name}_wannier"].attrs["long_name"]
    one = found.isel(direction=0, mask=0, temperature=0, fermi_shift=0)
    ratio = np.linalg.norm(one["D_1"] - one["D_1_wannier"]) / np.linalg.norm(one["D_1"])
    assert float(one["completeness"]) == pytest.approx(ratio)
    # Where there is no spin-orbit interaction there is no ratio.
    assert np.isnan(found["completeness"].sel(mask="hydrogen")).all()
    known = result["D_error"].notnull()
    assert known.any()
    assert (found["D_error"] >= result["D_error"]).where(known, other=True).all()
    assert found["D_error"].isnull().where(~known, other=True).all()
    save_result(found, tmp_path / "result.nc")
    assert "completeness" in load_result(tmp_path / "result.nc")


def test_refused(files, tiny_model):
    result, completeness = files
    with pytest.raises(InputError, match="corrected already"):
        corrected(corrected(result, completeness), completeness)
    for changes, words in (
        ({"temperatures": [300.0]}, "it lacks the temperature 300 K"),
        ({"temperatures": [1500.0], "fermi_shifts": [0.1]}, "it lacks the fermi_shift 0.1 eV"),
        ({"temperatures": [1500.0], "soi_masks": {"all": [1, 2]}}, "lacks the mask all of the result, or has other"),
        ({"temperatures": [1500.0], "soi_masks": {"both": [1, 1]}}, "lacks the mask both"),
    ):
        with pytest.raises(InputError, match=f"completeness: .*{words}"):
            corrected(compute(tiny_model, 2, quantities=["D_1"], **changes), completeness)
    with pytest.raises(InputError, match="the result has no D_1"):
        corrected(compute(tiny_model, 2, quantities=["D"], temperatures=[1500.0]), completeness)
    with pytest.raises(InputError, match="it is of the atoms"):
        corrected(result.assign_attrs(symbols=["Co", "Pt"]), completeness)
