"""The engine without AiiDA, as on a cluster: `pip install --no-deps` and six libraries."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aiida_dmi.engine import compute, load_result

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("numpy", "scipy", "h5py", "xarray", "h5netcdf", "pyyaml")


def run(*command, cwd=None, status=0):
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == status, done.stdout[-2000:] + done.stderr[-2000:]
    return done


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A fresh virtual environment with a copy of this repository's package; its folder of programs."""
    folder = tmp_path_factory.mktemp("standalone")
    source = folder / "source"
    source.mkdir()
    shutil.copytree(ROOT / "aiida_dmi", source / "aiida_dmi", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run(sys.executable, "-m", "venv", folder / "venv")
    programs = folder / "venv" / "bin"
    pip = (programs / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    run(*pip, *LIBRARIES)
    run(*pip, "--no-deps", source)
    return programs


def test_engine_without_aiida(environment, copt11, data, tmp_path):
    """It computes what it does here; neither AiiDA nor anything else of the plugin's weight is there."""
    shutil.copy(data / "copt11.h5", tmp_path / "model.h5")
    (tmp_path / "spec.yaml").write_text("model: model.h5\nmesh: 6\nfermi_shifts: [-0.1, 0]\n")
    done = run(environment / "dmi-engine", "run", "spec.yaml", cwd=tmp_path)
    assert done.stdout.splitlines() == ["wrote result.nc", "dmi-engine: complete"]
    found, expected = load_result(tmp_path / "result.nc"), compute(copt11, 6, fermi_shifts=[-0.1, 0.0])
    assert set(found.data_vars) == set(expected.data_vars)
    for name in found.data_vars:
        # Another build of numpy may round differently.
        scale = np.nanmax(np.abs(expected[name].values), initial=1.0)
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-8 * scale, err_msg=name)
    assert "18 a spin" in run(environment / "dmi-engine", "inspect", "model.h5", cwd=tmp_path).stdout


@pytest.mark.parametrize("module", ["aiida", "spglib", "ase", "click", "mpi4py", "matplotlib"])
def test_what_is_not_there(environment, module):
    done = run(environment / "python", "-c", f"import {module}", status=1)
    assert "ModuleNotFoundError" in done.stderr


def test_every_module_of_the_engine_is_importable(environment):
    """No module needs more than the six when it is imported."""
    code = (
        "import importlib, pkgutil, aiida_dmi.engine as e\n"
        "names = [m.name for m in pkgutil.walk_packages(e.__path__, e.__name__ + '.')]\n"
        "[importlib.import_module(n) for n in names]\n"
        "print(len(names))\n"
    )
    assert int(run(environment / "python", "-c", code).stdout) > 20


def test_symmetry_needs_spglib(environment, data, tmp_path):
    """Refused in one line that says what to install."""
    shutil.copy(data / "copt11.h5", tmp_path / "model.h5")
    code = (
        "import dataclasses, numpy as np\n"
        "from aiida_dmi.engine import WannierModel\n"
        "m = WannierModel.load('model.h5')\n"
        "dataclasses.replace(m, moments=np.array([0.4, 1.9])).save('moments.h5')\n"
    )
    run(environment / "python", "-c", code, cwd=tmp_path)
    (tmp_path / "spec.yaml").write_text("model: moments.h5\nmesh: 6\nsymmetry: true\n")
    done = run(environment / "dmi-engine", "run", "spec.yaml", cwd=tmp_path, status=2)
    assert len(done.stderr.splitlines()) == 1
    assert "spglib" in done.stderr
    (tmp_path / "spec.yaml").write_text("model: moments.h5\nmesh: 6\n")
    run(environment / "dmi-engine", "run", "spec.yaml", cwd=tmp_path)
    assert np.isnan(load_result(tmp_path / "result.nc").symmetry_residual).all()
