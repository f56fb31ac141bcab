"""Files that users have stored stay readable, number by number, and what is written changes its form with its version.

The files of every version lie in tests/data/stored with their content as text; `write.py` there makes those of a new
version. Where a test here fails after a change of what is written: raise VERSION, read the older version too, run
`write.py`, and leave the older files as they are.
"""

import json

import h5py
import numpy as np
import pytest

from aiida_dmi.engine import InputError, WannierModel, compute, load_result, save_result
from aiida_dmi.engine.model import file as model_file
from aiida_dmi.engine.output import results

MODELS = range(1, model_file.VERSION + 1)
RESULTS = range(1, results.VERSION + 1)


@pytest.fixture(scope="module")
def stored(data):
    return data / "stored"


def expected(stored, name):
    return json.loads((stored / name).read_text(encoding="utf-8"))


def equal(found, text):
    """A value as read against JSON: complex numbers stand as [real, imaginary], NaN as null."""
    array = np.asarray(found)
    if array.dtype.kind in "SUOb":
        assert array.astype(str).tolist() == np.asarray(text).astype(str).tolist()
        return
    wanted = np.array(text, dtype=float)
    np.testing.assert_array_equal(
        np.stack([array.real, array.imag], axis=-1) if array.dtype.kind == "c" else array, wanted
    )


def form_of_model(path):
    """Type and rank of every dataset, and names of the attributes."""
    found = {}

    def note(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = str(item.dtype), item.ndim

    with h5py.File(path, "r") as file:
        file.visititems(note)
        return found, sorted(file.attrs)


def form_of_result(result):
    """Axes, type, unit and every other attribute of all variables, and the types of the result's own attributes."""
    variables = {
        str(name): (variable.dims, variable.dtype.kind, dict(variable.attrs))
        for name, variable in result.variables.items()
    }
    return variables, {name: np.asarray(value).dtype.kind for name, value in result.attrs.items()}


# -- what was stored is read ---------------------------------------------------------------------------


@pytest.mark.parametrize("version", MODELS)
def test_every_number_of_a_stored_model(stored, version):
    model = WannierModel.load(stored / f"model-{version}.h5")
    text = expected(stored, f"model-{version}.json")
    assert vars(model).keys() == text.keys()
    for name, value in vars(model).items():
        if name == "attributes":
            assert value.keys() == text[name].keys()
            for key in value:
                equal(value[key], text[name][key])
        elif name in ("projections", "coupling", "gradients"):
            assert len(value) == len(text[name]) == 2
            for one, other in zip(value, text[name], strict=True):
                equal(one, other)
        else:
            equal(value, text[name])
    assert model_file.file_version(stored / f"model-{version}.h5") == version


@pytest.mark.parametrize("version", RESULTS)
def test_every_number_of_a_stored_result(stored, version):
    result = load_result(stored / f"result-{version}.nc")
    text = expected(stored, f"result-{version}.json")
    assert result.variables.keys() == text["variables"].keys()
    for name, variable in result.variables.items():
        wanted = text["variables"][name]
        assert list(variable.dims) == wanted["dims"]
        assert dict(variable.attrs) == wanted["attrs"]
        equal(variable.values, wanted["values"])
    assert result.attrs.keys() == text["attrs"].keys()
    for name, value in result.attrs.items():
        equal(value, text["attrs"][name])


@pytest.mark.parametrize("version", RESULTS)
def test_a_stored_model_still_gives_the_stored_result(stored, version):
    """The numbers themselves: D, Q, a(I), a(II) of the stored model to 1e-9 of the largest.

    Errors are estimates, those of version 1 from a nested mesh; since version 2 they are not resolved on so coarse a
    mesh.
    """
    result = load_result(stored / f"result-{version}.nc")
    again = recomputed(stored, version)
    for name in (one for one in result.data_vars if version == results.VERSION or not one.endswith("_error")):
        size = max(1e-3, float(np.nanmax(np.abs(result[name].values), initial=0.0)))
        np.testing.assert_allclose(again[name].values, result[name].values, rtol=0, atol=1e-9 * size, err_msg=name)


def recomputed(stored, version):
    """With the settings that the result itself names."""
    result = load_result(stored / f"result-{version}.nc")
    return compute(
        WannierModel.load(stored / f"model-{min(version, model_file.VERSION)}.h5"),
        tuple(int(n) for n in result.attrs["mesh"]),
        directions=result.direction_vector.values.tolist(),
        soi_masks=dict(zip(result.mask.values.tolist(), result.mask_weights.values.tolist(), strict=True)),
        soi_scales=result.soi_scale.values.tolist(),
        fermi_shifts=result.fermi_shift.values.tolist(),
        temperatures=result.temperature.values.tolist(),
        quantities=list(result.attrs["quantities"]),
    )


# -- what is written has the form of its version -------------------------------------------------------


def test_form_of_the_models_written_now(stored, tmp_path):
    WannierModel.load(stored / f"model-{model_file.VERSION}.h5").save(tmp_path / "model.h5")
    assert form_of_model(tmp_path / "model.h5") == form_of_model(stored / f"model-{model_file.VERSION}.h5")


def test_form_of_the_results_written_now(stored, tmp_path):
    save_result(recomputed(stored, results.VERSION), tmp_path / "result.nc")
    now, pinned = (load_result(p) for p in (tmp_path / "result.nc", stored / f"result-{results.VERSION}.nc"))
    assert form_of_result(now) == form_of_result(pinned)


# -- versions that are not read ------------------------------------------------------------------------


def with_version(source, target, version):
    target.write_bytes(source.read_bytes())
    with h5py.File(target, "a") as file:
        if version is None:
            del file.attrs["version"]
        else:
            file.attrs["version"] = version
    return target


READERS = {
    "model": (WannierModel.load, "model-1.h5", "dmi-engine build", model_file.VERSION),
    "result": (load_result, "result-1.nc", "dmi-engine run", results.VERSION),
}


@pytest.mark.parametrize("kind", READERS)
def test_newer_version(stored, tmp_path, kind):
    """One line: what was given, that a newer program made it, and what to do."""
    read, name, remake, newest = READERS[kind]
    path = with_version(stored / name, tmp_path / name, newest + 1)
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{kind} {path}: format 'aiida-dmi-")
    assert f"version {newest + 1} was given, made by a newer aiida-dmi than this one" in message
    assert "upgrade it (pip install --upgrade aiida-dmi)" in message
    assert message.endswith(remake)
    assert "\n" not in message


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("version", [None, 0, -1, "1", "one", 1.0, True, [1, 1]])
def test_a_version_that_was_never_written(stored, tmp_path, kind, version):
    read, name, remake, newest = READERS[kind]
    path = with_version(stored / name, tmp_path / name, version)
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.endswith(f"version {newest} is expected; write it with {remake}")
    assert "newer" not in message


@pytest.mark.parametrize("kind", READERS)
def test_the_other_kind_of_file(stored, tmp_path, kind):
    """A format of another name is refused before its version is looked at."""
    read, name, _, _ = READERS[kind]
    (tmp_path / name).write_bytes((stored / name).read_bytes())
    with h5py.File(tmp_path / name, "a") as file:
        file.attrs["format"] = "aiida-dmi-something"
        file.attrs["version"] = 99
    with pytest.raises(InputError, match="format 'aiida-dmi-something' version 99 was given") as caught:
        read(tmp_path / name)
    assert "newer" not in str(caught.value)
