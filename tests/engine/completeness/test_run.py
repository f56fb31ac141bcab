"""`dmi-engine complete` from the outside: numbers, resuming, processes, and what is refused."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from aiida_dmi.engine import InputError, WannierModel, compute
from aiida_dmi.engine.completeness import CompletenessSpec, complete, load_completeness, remainder
from aiida_dmi.engine.completeness.active import active_counts
from aiida_dmi.engine.run.cli import main

EAGER = """
import functools, sys, time
from importlib import import_module
from aiida_dmi.engine.run.cli import main

run = import_module("aiida_dmi.engine.completeness.run")
run.Checkpoint = functools.partial(run.Checkpoint, interval=0.0)
kernel = run.PlaneWaveKernel
point = kernel.point
kernel.point = lambda self, k: (time.sleep(0.2), point(self, k))[1]
sys.exit(main())
"""
"""dmi-engine that writes a checkpoint after every point, and takes its time."""


def run(tiny, folder, *arguments, **changes):
    """Exit status of `dmi-engine complete` in this process."""
    (folder / "complete.yaml").write_text(yaml.safe_dump(tiny.spec(**changes)))
    return main(["complete", str(folder / "complete.yaml"), *arguments])


@pytest.fixture(scope="module")
def result(tiny, tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("complete")
    masks = {"all": [1, 1], "phosphorus": [0, 1], "half": [1, 0.5]}
    assert run(tiny, folder, soi_masks=masks, fermi_shifts=[0.0, 0.3]) == 0
    return load_completeness(folder / "completeness.nc")


def test_what_is_in_the_file(result):
    assert result["D_1"].dims == ("mask", "temperature", "fermi_shift", "i", "j")
    assert result.attrs["mesh"].tolist() == [4, 4]
    assert result.attrs["nested_mesh"].tolist() == [2, 2]
    assert result.attrs["irreducible_points"] == 6
    assert result["D_1"].attrs["units"] == "meV angstrom"
    for name in ("D_1", "a_I", "a_II", "D_1_wannier", "a_I_wannier", "a_II_wannier", "D_1_correction_error"):
        assert np.isfinite(result[name]).all()
    # C_4v leaves one number
    exact = result["D_1"].sel(mask="all").isel(temperature=0, fermi_shift=0)
    assert float(exact.sel(i="y", j="x")) == pytest.approx(-float(exact.sel(i="x", j="y")), rel=1e-9)
    assert abs(float(exact.sel(i="y", j="x"))) > 1e-3


def test_masks_are_sums_of_atoms(result):
    """Hydrogen has no spin-orbit interaction: half of phosphorus' is half of all."""
    for name in ("D_1", "a_I", "a_II"):
        np.testing.assert_array_equal(result[name].sel(mask="all"), result[name].sel(mask="phosphorus"))
        np.testing.assert_allclose(result[name].sel(mask="half"), result[name].sel(mask="all") / 2, atol=1e-15)


def test_the_model_on_the_same_mesh(result, tiny_model):
    """As `compute` at a fixed Fermi energy, for n along z and, the row z, along x."""
    mu = float(result["mu"].isel(temperature=0))
    fixed = dataclasses.replace(tiny_model, fermi_energy=mu)
    axes = {"fermi_shifts": [0.0, 0.3], "temperatures": [3000.0], "quantities": ["D_1", "a_I", "a_II"]}
    expected = compute(fixed, 4, fermi_level="dft", directions=[[0, 0, 1], [1, 0, 0]], **axes)
    for name in ("D_1", "a_I", "a_II"):
        found = result[f"{name}_wannier"].sel(mask="all").isel(temperature=0)
        along_z, along_x = (
            expected[name].isel(direction=0, mask=0, temperature=0),
            expected[name].isel(direction=1, mask=0, temperature=0),
        )
        # Of a row that the symmetry forbids rounding is left.
        rounding = 1e-9 * float(np.abs(result["a_I_wannier"]).max())
        np.testing.assert_allclose(found.sel(i=["x", "y"]), along_z.sel(i=["x", "y"]), rtol=1e-9, atol=rounding)
        np.testing.assert_allclose(found.sel(i="z"), along_x.sel(i="z"), rtol=1e-9, atol=rounding)


def test_irreducible_points_stand_for_the_pairs(tiny, tiny_model, tmp_path):
    """Without moments only k and -k are alike: ten points summed as they are, against six turned."""
    dataclasses.replace(tiny_model, moments=None).save(tmp_path / "bare.h5")
    common = {"temperatures": [3000.0], "fermi_level": tiny.save().fermi_energy}
    turned = complete(CompletenessSpec.from_mapping(tiny.spec(**common), tmp_path))
    given = tiny.spec(**common, model=str(tmp_path / "bare.h5"), nscf=str(tiny.pairs))
    summed = complete(CompletenessSpec.from_mapping(given, tmp_path))
    assert (turned.attrs["irreducible_points"], summed.attrs["irreducible_points"]) == (6, 10)
    scale = float(np.abs(turned["a_I"]).max())
    for name in ("D_1", "a_I", "a_II"):
        np.testing.assert_allclose(turned[name], summed[name], atol=3e-4 * scale)


def test_processes_and_a_killed_run_change_no_bit(tiny, tiny_model, tmp_path):
    expected = complete(CompletenessSpec.from_mapping(tiny.spec(), tmp_path))
    assert run(tiny, tmp_path, "--processes", "2") == 0
    xr.testing.assert_identical(load_completeness(tmp_path / "completeness.nc"), expected)
    (tmp_path / "completeness.nc").unlink()
    command = [sys.executable, "-c", EAGER, "complete", "complete.yaml"]
    checkpoint = tmp_path / "completeness.nc.checkpoint"
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while not checkpoint.exists() and process.poll() is None:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "completeness.nc").exists()
    assert checkpoint.exists()
    assert run(tiny, tmp_path) == 0
    assert not checkpoint.exists()
    xr.testing.assert_identical(load_completeness(tmp_path / "completeness.nc"), expected)
    # It belongs to one computation.
    checkpoint.write_bytes(b"another's")
    assert run(tiny, tmp_path) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"temperatures": [30000.0]}, r"nscf: its 20 bands end at .* eV \(k point .*raise nbnd"),
        ({"fermi_level": "free"}, "fermi_level: 'free' was given"),
        ({"fermi_level": [0.0, 0.1, 0.2]}, "fermi_level: 3 numbers were given, expected one, or one for each of the 2"),
        ({"potentials": ["v1"]}, "potentials: .* expected two files of pp.x"),
        ({"soi_masks": {"all": [1]}}, "soi_masks: all"),
        ({"symmetry": True}, "symmetry: True was given, expected false or 'model' or 'auto'"),
        ({"mesh": 12}, "mesh: unknown key"),
        ({"nscf": "nowhere"}, "nscf: .*cannot be read"),
    ],
)
def test_refused(tiny, tiny_model, tmp_path, capsys, changes, words):
    assert run(tiny, tmp_path, **changes) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert re.search(words, error), error
    assert [path.name for path in tmp_path.iterdir()] == ["complete.yaml"]


def test_files_of_different_runs(tiny, tiny_model, model_file, tmp_path, capsys):
    assert run(tiny, tmp_path, potentials=[str(path) for path in reversed(tiny.potentials)]) == 2
    assert "they give band" in capsys.readouterr().err
    assert run(tiny, tmp_path, pseudopotentials={"H": str(tiny.pseudopotentials["H"])}) == 2
    assert "pseudopotentials: P is missing" in capsys.readouterr().err
    assert run(tiny, tmp_path, model=str(model_file)) == 2
    assert "Angstrom from the model's" in capsys.readouterr().err


def test_fermi_level_of_the_model(tiny, tiny_model, tmp_path):
    """Neutral: what `compute` finds on a fine mesh; dft: the model's; one a temperature."""
    spec = tiny.spec(temperatures=[1500.0])
    found = {
        level: float(complete(CompletenessSpec.from_mapping({**spec, "fermi_level": level}, Path(tmp_path)))["mu"][0])
        for level in ("neutral", "dft")
    }
    expected = compute(tiny_model, 48, temperatures=[1500.0], quantities=["D_1"])
    assert found["neutral"] == pytest.approx(float(expected["mu_bare"][0]), abs=1e-9)
    assert found["dft"] == WannierModel.load(tiny.model).fermi_energy


def test_no_convergence_is_said(tiny, tiny_model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(remainder, "MOST_ITERATIONS", 2)
    assert run(tiny, tmp_path) == 1
    error = capsys.readouterr().err
    assert "have not converged in 2 iterations, the residual is" in error
    assert "k = (0.0000, 0.0000, 0.0000), spin up" in error


def test_active_bands():
    # 1000 K: 11.5 kT are 0.99 eV; the cut lies in the widest gap of both spins that ends from 1.99 to 2.49 eV, or next.
    energies = np.array([[[0.0, 1.0, 1.9, 2.0, 2.3, 3.4, 9.0]], [[0.0, 1.0, 1.9, 2.6, 3.0, 3.9, 9.0]]])
    assert active_counts(energies, 1.0, 1000.0).ravel().tolist() == [5, 3]
    energies[1, 0, 3] = 2.2  # gaps 0.1, 0.2, 0.1 to the bands from 1.99 eV, then 0.7
    assert active_counts(energies, 1.0, 1000.0).ravel().tolist() == [5, 4]
    energies[1, 0, 3] = 2.35  # it lies among the active ones of the other spin
    energies[1, 0, 4] = 2.45
    counts = active_counts(energies, 1.0, 1000.0).ravel()
    assert counts.tolist() == [5, 5]
    assert max(energies[s, 0, n - 1] for s, n in enumerate(counts)) < min(
        energies[s, 0, n] for s, n in enumerate(counts)
    )
    with pytest.raises(InputError, match=r"its 7 bands end at 9.00 eV \(k point 1, spin up\).*raise nbnd"):
        active_counts(energies, 9.0, 1000.0)
