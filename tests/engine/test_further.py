"""Further sections of `dmi-engine run`: each gives what its Python function gives."""

import json

import numpy as np
import pytest
import xarray as xr
import yaml

from aiida_dmi.engine import RashbaModel, WannierModel, compute
from aiida_dmi.engine.bandstructure import bands
from aiida_dmi.engine.cli import main
from aiida_dmi.engine.filling import density_of_states, doping_axis
from aiida_dmi.engine.resolved import k_map

SPEC = {"mesh": 6, "temperatures": [1500.0], "fermi_shifts": [-0.2, 0.0, 0.2], "directions": [[0, 0, 1], [1, 0, 0]]}


@pytest.fixture(scope="module")
def model(model_file):
    return WannierModel.load(model_file)


def run(folder, model, **spec):
    """Run a spec in a folder; the exit status."""
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({"model": model if isinstance(model, dict) else str(model), **SPEC, **spec}))
    return main(["run", str(path)])


def opened(path):
    with xr.open_dataset(path, engine="h5netcdf") as found:
        return found.load()


def test_maps_bands_and_density_of_states(tmp_path, model_file, model):
    sections = {
        "k_map": {"mesh": [4, 4], "quantities": ["D", "misalignment"], "temperature": 1500.0},
        "bands": {"points": 12, "path": [["G", [0, 0]], ["M", [0.5, 0]]]},
        "density_of_states": {"mesh": 6, "fermi_shifts": [0.0, 0.5]},
    }
    assert run(tmp_path, model_file, **sections) == 0
    expected = {
        "k_map": k_map(model, (4, 4), ["D", "misalignment"], temperature=1500.0),
        "bands": bands(model, [("G", (0, 0)), ("M", (0.5, 0))], points=12),
        "density_of_states": density_of_states(model, 6, [0.0, 0.5]),
    }
    for name, dataset in expected.items():
        found = opened(tmp_path / f"result.{name}.nc")
        for variable in dataset.data_vars:
            np.testing.assert_allclose(found[variable], dataset[variable], rtol=1e-12, atol=1e-14)


def test_doping_and_energy_current_stand_in_the_result(tmp_path, model_file, model):
    assert run(tmp_path, model_file, doping_axis=["Co"], energy_current={"dn_dt": [0, 2.0e9, 1.0]}) == 0
    found = opened(tmp_path / "result.nc")
    result = compute(model, 6, **{key: value for key, value in SPEC.items() if key != "mesh"})
    axis = doping_axis(result, ["Co"])
    np.testing.assert_allclose(found.doping, axis.doping)
    assert found.compound.values.tolist() == axis.compound.values.tolist()
    # -D_j.(n x dn/dt): n = z, dn/dt along y: n x dn/dt = -x, so 2e9 D_x; n = x: n x dn/dt = (0, -1, 2e9).
    along_z, along_x = found.energy_current.isel(direction=0), found.energy_current.isel(direction=1)
    np.testing.assert_allclose(along_z, 2e9 * found.D.isel(direction=0).sel(i="x"), rtol=1e-12, atol=1e-3)
    by_hand = found.D.isel(direction=1).sel(i="y") - 2e9 * found.D.isel(direction=1).sel(i="z")
    np.testing.assert_allclose(along_x, by_hand, rtol=1e-12, atol=1e-3)
    assert found.energy_current.attrs["units"] == "meV angstrom / s"


def test_micromagnetic_constants(tmp_path, model_file):
    section = {"thickness": 2.04, "fermi_shift": 0.0, "direction": "0,0,1", "tolerance": 0.1}
    assert run(tmp_path, model_file, micromagnetics=section) == 0
    ubermag, mumax3 = json.loads((tmp_path / "result.micromagnetics.json").read_text())
    assert (ubermag["program"], mumax3["parameter"]) == ("ubermag", "Dind")
    assert ubermag["value"] == -mumax3["value"]
    point = opened(tmp_path / "result.nc").sel(fermi_shift=0.0, direction="0,0,1").squeeze()
    mean = (point.D.sel(i="y", j="x") - point.D.sel(i="x", j="y")).item() / 2
    # 1 meV/Angstrom^2 = 16.02177 mJ/m^2.
    assert mumax3["value"] == pytest.approx(1e-3 * 16.02177 * mean / (point.attrs["cell_area"] * 2.04), rel=1e-6)


def test_rashba_model_from_the_command_line(tmp_path):
    parameters = {"alpha": 0.1, "exchange": 1.0}
    assert run(tmp_path, parameters, mesh=32, cutoff=0.6) == 0
    arguments = {key: value for key, value in SPEC.items() if key != "mesh"}
    expected = compute(RashbaModel(0.1, 1.0), mesh=32, cutoff=0.6, **arguments)
    np.testing.assert_allclose(opened(tmp_path / "result.nc").D, expected.D, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"k_map": {"meshes": 4}}, ["k_map", "meshes is unknown", "quantities"]),
        ({"bands": 12}, ["bands: 12", "expected keys and values"]),
        ({"bands": {"path": ["G", "M"]}}, ["bands: path", "[label, [k_1, k_2]]"]),
        ({"density_of_states": {"mesh": 0}}, ["mesh: 0"]),
        ({"doping_axis": []}, ["doping_axis: []", "list of elements"]),
        ({"doping_axis": ["Fe"]}, ["Fe", "Co"]),
        ({"energy_current": {}}, ["energy_current: dn_dt is missing"]),
        ({"micromagnetics": {"thick": 2}}, ["micromagnetics: thick is unknown", "thickness"]),
        ({"micromagnetics": {"thickness": 2.0}}, ["several values of"]),
        ({"fields": 1}, ["fields: unknown key", "k_map"]),
        ({"model": {"alpha": 1}}, ["model: {'alpha': 1}", "exchange (eV)"]),
        ({"model": {"alpha": "a", "exchange": 1}}, ["Rashba model's alpha"]),
    ],
)
def test_what_is_refused(tmp_path, model_file, changes, words, capsys):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({"model": str(model_file), **SPEC, "mesh": 2, **changes}))
    assert main(["run", str(path)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("dmi-engine: ")
    for word in words:
        assert word in error


def test_a_section_that_does_not_fit_does_not_cost_the_tensors(tmp_path, model_file, capsys):
    assert run(tmp_path, model_file, mesh=2, doping_axis=["Fe"]) == 2
    assert "Fe" in capsys.readouterr().err.splitlines()[-1]
    assert np.isfinite(opened(tmp_path / "result.nc").D).all()
