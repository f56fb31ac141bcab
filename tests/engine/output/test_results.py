"""Result files and unit conversions."""

import os

import h5py
import numpy as np
import pytest
import xarray as xr

import aiida_dmi
from aiida_dmi.engine import InputError, RashbaModel, WannierModel, compute, load_result, save_result
from aiida_dmi.engine.output.headline import error_words
from aiida_dmi.engine.output.results import VERSION
from aiida_dmi.engine.output.units import per_area, per_length


@pytest.fixture(scope="module")
def result(film):
    model = film(1, functions=2).model((3, 3, 1))
    return compute(model, 4, soi_scales=[0.1, 1.0], directions=[(0, 0, 1), (1, 0, 0)], soi_masks={"all": [1, 1]})


def test_round_trip(result, tmp_path):
    save_result(result, tmp_path / "result.nc")
    loaded = load_result(tmp_path / "result.nc")
    assert loaded.equals(result)
    assert list(loaded.variables) == list(result.variables)
    for name in result.variables:
        assert loaded[name].attrs == result[name].attrs
    assert loaded.attrs.keys() == result.attrs.keys()
    for key, value in result.attrs.items():
        np.testing.assert_array_equal(loaded.attrs[key], value)


def test_round_trip_of_an_earlier_version(film, tmp_path):
    """Its errors came from a nested mesh, or were NaN without one; it is read as ever, and its errors say so."""
    result = compute(film(1, functions=2).model((3, 3, 1)), (3, 6))
    result["D_error"] *= np.nan
    result = result.assign_attrs(error="none: no nested mesh", nested_mesh=[])
    save_result(result, tmp_path / "result.nc")
    assert load_result(tmp_path / "result.nc").equals(result)
    assert error_words(load_result(tmp_path / "result.nc").attrs) == "none, no nested mesh"
    assert error_words({"nested_mesh": np.array([24, 36])}) == "change from 24x36"


def test_error_of_a_corrected_result_has_two_sources():
    words = "from the decay of Fourier coefficients"
    assert error_words({}) == words
    assert (
        error_words({"completeness_mesh": [12, 12]})
        == f"{words}; of what was put back: change from the mesh nested in 12x12"
    )


def test_round_trip_of_a_rashba_model(tmp_path):
    result = compute(RashbaModel(0.1, 1.0), 8, cutoff=0.6)
    assert result.attrs["cutoff"] == 0.6
    save_result(result, tmp_path / "result.nc")
    assert load_result(tmp_path / "result.nc").equals(result)


def test_provenance_of_the_model_travels(film):
    model = film(1, functions=2).model((3, 3, 1), attributes={"sha256_Co": "abc", "spreads": np.array([1.0, 2.0])})
    attributes = compute(model, 4).attrs
    assert attributes["model_sha256_Co"] == "abc"
    assert attributes["symbols"] == ["Co", "Pt"]
    assert attributes["cell_area"] == pytest.approx(model.area)


@pytest.mark.parametrize("part", [0.0, 0.05, 0.5, 0.9, 0.999])
def test_truncated_result(result, tmp_path, part):
    save_result(result, tmp_path / "result.nc")
    raw = (tmp_path / "result.nc").read_bytes()
    (tmp_path / "result.nc").write_bytes(raw[: int(part * len(raw))])
    with pytest.raises(InputError, match=r"result\.nc"):
        load_result(tmp_path / "result.nc")


def test_missing_result(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.nc"):
        load_result(tmp_path / "nothing.nc")


def test_other_files_are_refused(film, tmp_path):
    film(1, functions=2).model((3, 3, 1)).save(tmp_path / "model.h5")
    with pytest.raises(InputError, match=r"model\.h5"):
        load_result(tmp_path / "model.h5")
    xr.Dataset({"D": 1.0}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(InputError, match="format 'none'"):
        load_result(tmp_path / "other.nc")


def test_newer_version_is_refused(result, tmp_path):
    save_result(result.assign_attrs(version=VERSION + 1), tmp_path / "result.nc")
    with pytest.raises(InputError, match=f"version {VERSION + 1} was given"):
        load_result(tmp_path / "result.nc")


def test_failed_save_leaves_nothing(result, tmp_path):
    save_result(result, tmp_path / "result.nc")
    before = (tmp_path / "result.nc").read_bytes()
    with pytest.raises(TypeError):
        save_result(result.assign_attrs(bad=object()), tmp_path / "result.nc")
    assert os.listdir(tmp_path) == ["result.nc"]
    assert (tmp_path / "result.nc").read_bytes() == before


def test_units():
    """physics.md: 1 meV/Angstrom = 1.602177 pJ/m; mJ/m^2 is that divided by the thickness."""
    tensor = xr.DataArray([12.0], attrs={"units": "meV angstrom"})
    line = per_length(tensor, 6.0)
    assert line.item() == pytest.approx(2.0 * 1.602176634)
    assert line.attrs["units"] == "pJ / m"
    assert line.attrs["area_angstrom2"] == 6.0
    # 3.2 pJ/m over 4 Angstrom: 3.2e-12 J/m / 4e-10 m = 8.0e-3 J/m^2
    area = per_area(tensor, 6.0, 4.0)
    assert area.item() == pytest.approx(2.0 * 1.602176634e-12 / 4e-10 * 1e3)
    assert area.attrs["units"] == "mJ / m^2"
    assert area.attrs["thickness_angstrom"] == 4.0
    with pytest.raises(InputError, match="thickness"):
        per_area(tensor, 6.0, 0.0)


def test_attributes_of_a_model_that_netcdf_has_no_type_for(film, tmp_path):
    """Somebody else's model file may say anything of itself: a finished sum is not lost for it."""
    film(1, functions=2).model((3, 3, 1)).save(tmp_path / "model.h5")
    given = {
        "flag": True, "complex": 1j, "empty": h5py.Empty("f8"), "nothing": "", "texts": ["a", "b"],
        "flags": [True, False], "table": np.ones((2, 2)), "none": np.zeros(0), "large": np.uint64(2**64 - 1),
        "half": np.float16(2.0), "bytes": np.bytes_(b"a\xff"), "null": np.bytes_(b"a\0b"), "with a space/é": 3,
        "spreads": np.arange(3.0),
    }  # fmt: skip
    with h5py.File(tmp_path / "model.h5", "a") as file:
        for name, value in given.items():
            file.attrs[name] = value
    save_result(compute(WannierModel.load(tmp_path / "model.h5"), 2), tmp_path / "result.nc")
    found = load_result(tmp_path / "result.nc").attrs
    assert {f"model_{name}" for name in given} <= set(found)
    assert found["model_large"] == 2**64 - 1
    assert found["model_half"] == 2.0
    assert found["model_complex"] == "1j"
    np.testing.assert_array_equal(found["model_spreads"], np.arange(3.0))


def test_version_of_the_engine(film, tmp_path):
    """Of the one that computed it, and of the one that built its model, where that says so."""
    model = film(1, functions=2).model((3, 3, 1), attributes={"engine_version": "0.0.7"})
    save_result(compute(model, 2), tmp_path / "result.nc")
    found = load_result(tmp_path / "result.nc").attrs
    assert found["aiida_dmi_version"] == aiida_dmi.__version__
    assert found["model_engine_version"] == "0.0.7"
