"""Further sections of `dmi-engine run`: each gives what its Python function gives."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from aiida_dmi.engine import RashbaModel, WannierModel, compute
from aiida_dmi.engine.files.yaml_text import dump_yaml
from aiida_dmi.engine.maps.bands import bands
from aiida_dmi.engine.maps.filling import density_of_states, doping_axis
from aiida_dmi.engine.maps.k_map import k_map
from aiida_dmi.engine.run.cli import main

SPEC = {"mesh": 6, "temperatures": [1500.0], "fermi_shifts": [-0.2, 0.0, 0.2], "directions": [[0, 0, 1], [1, 0, 0]]}


@pytest.fixture(scope="module")
def model(model_file):
    return WannierModel.load(model_file)


def run(folder, model, **spec):
    """Run a spec in a folder; the exit status."""
    path = folder / "run.yaml"
    path.write_text(dump_yaml({"model": str(model) if isinstance(model, Path) else model, **SPEC, **spec}))
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


# What of each section does not fit: the section with one wrong value, and words of the message.
WRONG = {
    "k_map": [
        ({"mesh": 2, "temperature": "warm"}, "k_map: temperature: 'warm' was given, expected kelvins above 0"),
        ({"mesh": 2, "temperature": "300"}, "k_map: temperature: '300'"),
        ({"mesh": 2, "temperature": [300]}, "k_map: temperature: [300]"),
        ({"mesh": 2, "temperature": 1e-9}, "k_map: temperature: 1e-09 K was given, expected at least 0.001 K"),
        ({"mesh": 2, "quantities": ["E"]}, "k_map: quantities: ['E']"),
        ({"mesh": 2, "quantities": [1]}, "k_map: quantities: [1]"),
        ({"mesh": 2, "quantities": {"D": 1}}, "k_map: quantities: {'D': 1}"),
        ({"mesh": 2, "mu": "neutral"}, "k_map: mu: 'neutral'"),
        ({"mesh": 2, "mu": True}, "k_map: mu: True"),
        ({"mesh": 2, "direction": [0, 0, 0]}, "k_map: directions: [0.0, 0.0, 0.0]"),
        ({"mesh": 2, "direction": "z"}, "k_map: directions: 'z'"),
        ({"mesh": 2, "direction": 1}, "k_map: directions: 1 was given"),
        ({"mesh": 2, "mask": [1]}, "k_map: soi_masks: [1]"),
        ({"mesh": 2, "mask": ["1", "1"]}, "k_map: soi_masks: ['1', '1']"),
        ({"mesh": 2, "mask": "all"}, "k_map: soi_masks: 'all'"),
        ({"mesh": 2, "soi_scale": "1"}, "k_map: soi_scale: '1'"),
        ({"mesh": 2, "soi_scale": float("nan")}, "k_map: soi_scale: nan"),
        ({"mesh": 2.0}, "k_map: mesh: 2.0"),
        ({"mesh": [2, 2, 2]}, "k_map: mesh: [2, 2, 2]"),
        ({"mesh": 2, "cutoff": "far"}, "k_map: cutoff: 'far' was given, only a RashbaModel takes one"),
        ({"kpoints": [[0, "0"]]}, "k_map: kpoints:"),
        ({"kpoints": [[0, 0], [0]]}, "k_map: kpoints:"),
        ({"kpoints": 3}, "k_map: kpoints:"),
        ({"mesh": 2, "kpoints": [[0, 0]]}, "k_map: mesh, kpoints: give one of the two"),
        ({}, "k_map: mesh, kpoints: give one of the two"),
        (None, "k_map: None was given, expected keys and values"),
        ([{"mesh": 2}], "k_map: [{'mesh': 2}] was given, expected keys and values"),
        ({1: 2}, "k_map: 1 is unknown"),
    ],
    "bands": [
        ({"soi_scales": "one"}, "bands: soi_scales: 'one' was given, expected a list of finite numbers"),
        ({"soi_scales": ["one"]}, "bands: soi_scales: ['one']"),
        ({"soi_scales": [1e9]}, "bands: soi_scales: 1e+09 was given, expected at most 1000"),
        ({"direction": "up"}, "bands: directions: 'up'"),
        ({"direction": ["0", 0, 1]}, "bands: directions: ['0', 0, 1]"),
        ({"points": 2.5}, "bands: points: 2.5"),
        ({"points": "many"}, "bands: points: 'many'"),
        ({"points": 1}, "bands: points: 1 was given, expected an integer, 4 or more"),
        ({"path": [["G", [0, 0]]]}, "two or more labelled points"),
        ({"path": [["G", [0, 0]], ["M", ["0.5", 0]]]}, "bands: path:"),
        ({"path": [[1, [0, 0]], ["M", [0.5, 0]]]}, "bands: path:"),
        ({"path": {"G": [0, 0]}}, "bands: path:"),
        ({"mask": [1, True]}, "bands: soi_masks: [1, True]"),
        ({"cutoff": 1}, "bands: cutoff: 1"),
    ],
    "density_of_states": [
        ({}, "density_of_states: mesh: missing"),
        ({"mesh": 2, "broadening": "0.1"}, "density_of_states: broadening: '0.1'"),
        ({"mesh": 2, "broadening": 1e-300}, "density_of_states: broadening: 1e-300"),
        ({"mesh": 2, "temperature": True}, "density_of_states: temperature: True"),
        ({"mesh": 2, "fermi_shifts": 0.0}, "density_of_states: fermi_shifts: 0.0"),
        ({"mesh": 2, "fermi_shifts": ["0"]}, "density_of_states: fermi_shifts: ['0']"),
        ({"mesh": 2, "fermi_level": "scf"}, "density_of_states: fermi_level: 'scf'"),
        ({"mesh": 2, "soi_scale": [1.0]}, "density_of_states: soi_scale: [1.0]"),
        ({"mesh": "2"}, "density_of_states: mesh: '2'"),
    ],
    "doping_axis": [
        (["Fe"], "doping_axis: substituted: ['Fe'] was given, expected a list of some of Pt, Co"),
        ([1], "doping_axis: substituted: [1]"),
        ([["Co"]], "doping_axis: substituted: [['Co']]"),
        ("Co", "doping_axis: 'Co' was given, expected true or a list of elements"),
        (False, "doping_axis: False"),
        (1, "doping_axis: 1"),
    ],
    "energy_current": [
        ({"dn_dt": "fast"}, "energy_current: dn_dt: 'fast' was given, expected three finite numbers, 1/s"),
        ({"dn_dt": [1, 0]}, "energy_current: dn_dt: [1.0, 0.0]"),
        ({"dn_dt": ["1e9", 0, 0]}, "energy_current: dn_dt: ['1e9', 0, 0]"),
        ({"dn_dt": [float("inf"), 0, 0]}, "energy_current: dn_dt: [inf, 0, 0]"),
        ({"dn_dt": [1e300, 0, 0]}, "energy_current: dn_dt: 1e+300 1/s"),
        ({"dn_dt": None}, "energy_current: dn_dt: None"),
    ],
    "micromagnetics": [
        ({"thickness": "2"}, "micromagnetics: thickness: '2'"),
        ({"thickness": -2.0}, "micromagnetics: thickness: -2.0"),
        ({}, "micromagnetics: thickness: None"),
        ({"thickness": 2.0, "tolerance": "loose"}, "micromagnetics: tolerance: 'loose' was given, expected a number"),
        ({"thickness": 2.0, "tolerance": -0.1}, "micromagnetics: tolerance: -0.1"),
        ({"thickness": 2.0, "tolerance": True}, "micromagnetics: tolerance: True"),
        (
            {"thickness": 2.0, "direction": [0, 0, 1]},
            "point: direction: [0, 0, 1] is not in the result",
        ),
        ({"thickness": 2.0, "direction": "0,1,0"}, "expected one of 0,0,1, 1,0,0"),
        ({"thickness": 2.0, "direction": "0,0,1"}, "several values of fermi_shift are left"),
        ({"thickness": 2.0, "direction": "0,0,1", "fermi_shift": 0.3}, "fermi_shift: 0.3 is not in the result"),
        ({"thickness": 2.0, "direction": "0,0,1", "fermi_shift": "0"}, "fermi_shift: '0' is not in the result"),
        ({"thickness": 2.0, "direction": "0,0,1", "fermi_shift": False}, "fermi_shift: False is not in the result"),
        ({"thickness": 2.0, "mask": "Co"}, "mask: 'Co' is not in the result; expected one of all"),
    ],
}


@pytest.mark.parametrize(("section", "given", "words"), [(s, *case) for s, cases in WRONG.items() for case in cases])
def test_every_value_is_checked_before_the_tensors(tmp_path, model_file, capsys, section, given, words):
    """Nothing is written, and what an earlier run has left to resume from stays."""
    (tmp_path / "result.nc.checkpoint").write_bytes(b"sums of hours")
    assert run(tmp_path, model_file, **{section: given}) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("dmi-engine: ")
    assert words in lines[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result.nc.checkpoint", "run.yaml"]
    assert (tmp_path / "result.nc.checkpoint").read_bytes() == b"sums of hours"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"doping_axis": True}, "doping_axis: it needs a Wannier model"),
        ({"micromagnetics": {"thickness": 2.0}}, "micromagnetics: it needs a Wannier model"),
        ({"bands": {"cutoff": 0.6}}, "bands: path: none was given"),
        ({"k_map": {"mesh": 4}}, "k_map: cutoff: missing"),
        ({"k_map": {"mesh": 4, "cutoff": "0.6"}}, "k_map: cutoff: '0.6'"),
        ({"cutoff": "wide"}, "cutoff: 'wide' was given, expected a positive number of 1/Angstrom"),
        ({"cutoff": 0}, "cutoff: 0 was given"),
        ({"cutoff": 1e9}, "cutoff: 1000000000.0 was given, expected a positive number of 1/Angstrom, at most 1000"),
        ({"symmetry": True}, "symmetry: True was given"),
        ({"model": {"alpha": 0.1, "exchange": "1"}}, "exchange: '1' was given"),
        ({"model": {"alpha": True, "exchange": 1}}, "alpha: True was given"),
        ({"model": {"alpha": 1e300, "exchange": 1}}, "alpha: 1e+300 was given"),
        ({"model": {"alpha": 0.1, "exchange": 1, "mass": 0}}, "mass: 0 was given"),
        ({"model": {"alpha": 0.1, "exchange": 1, "massive": 1}}, "massive is unknown"),
        ({"model": []}, "model: [] was given, expected a path"),
    ],
)
def test_what_a_rashba_model_does_not_take(tmp_path, capsys, changes, words):
    spec = {"model": {"alpha": 0.1, "exchange": 1.0}, "cutoff": 0.6, **changes}
    assert run(tmp_path, spec.pop("model"), **spec) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert words in error
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


def test_doping_where_no_shift_is_the_film_itself(tmp_path, model_file, capsys):
    assert run(tmp_path, model_file, doping_axis=True, fermi_level="dft", fermi_shifts=[-0.1, 0.1]) == 2
    assert "doping_axis: fermi_shifts: 0 is not among them" in capsys.readouterr().err
    assert run(tmp_path, model_file, doping_axis=True, fermi_shifts=[-0.1, 0.1]) == 0


def test_tensors_of_another_form_than_one_constant(tmp_path, model_file, capsys):
    """The one thing that only the tensors tell: everything else is written, and named."""
    section = {"thickness": 2.0, "direction": "1,0,0", "fermi_shift": 0.0, "tolerance": 1e-9}
    assert run(tmp_path, model_file, micromagnetics=section, k_map={"mesh": 2, "quantities": ["D"]}) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("dmi-engine stopped: micromagnetics: result: D = ")
    assert line.endswith(f"everything else is written, {tmp_path / 'result.nc'} first")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result.k_map.nc", "result.nc", "run.yaml"]


LIMITED = """
import resource, sys
from aiida_dmi.engine.run.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
sys.exit(main(["run", "run.yaml"]))
"""


def test_a_section_that_finds_the_disk_full(tmp_path, model_file):
    """The tensors are there, and so is the checkpoint: with room the same command has nothing left to sum."""
    sections = {"k_map": {"mesh": 40, "quantities": ["D", "Q", "zeeman_band"]}, "checkpoint": "sums"}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"model": str(model_file), "mesh": 6, **sections}))
    done = subprocess.run([sys.executable, "-c", LIMITED], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("dmi-engine stopped: output: result.nc or a file beside it cannot be written")
    assert "make room" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result.nc", "run.yaml", "sums"]
    assert main(["run", str(tmp_path / "run.yaml")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result.k_map.nc", "result.nc", "run.yaml"]
