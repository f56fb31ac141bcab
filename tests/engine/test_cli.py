"""dmi-engine from the outside: exit status, one line on standard error, nothing written when input is bad."""

import os
import pkgutil
import subprocess
import sys

import h5py
import numpy as np
import pytest

import aiida_dmi.engine
from aiida_dmi.engine import compute, load_result
from aiida_dmi.engine.cli import COMPLETE, main


def dmi_engine(*arguments, cwd=None):
    """Run dmi-engine as a job script would."""
    return subprocess.run(
        [sys.executable, "-m", "aiida_dmi.engine.cli", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def folder(small_model, tmp_path):
    """A folder with a model to run on."""
    small_model.save(tmp_path / "model.h5")
    return tmp_path


def write(folder, text):
    path = folder / "spec.yaml"
    path.write_text(text)
    return path


def spoil(path, name, value):
    with h5py.File(path, "a") as file:
        array = file[name][()]
        del file[name]
        array.flat[0] = value
        file[name] = array


# -- good runs -----------------------------------------------------------------------------------------


def test_run(folder, small_model):
    write(
        folder,
        "model: model.h5\nmesh: [4, 6]\nsoi_scales: [0.1, 1.0]\nfermi_shifts: [-0.1, 0]\ntemperatures: [600]\n"
        "directions: [[0, 0, 1], [1, 0, 1]]\nsoi_masks: {all: [1, 1], Co: [1, 0]}\nfermi_level: neutral-bare\n",
    )
    done = dmi_engine("run", "spec.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "dmi-engine: complete" == COMPLETE
    assert "24/24 k" in done.stderr
    expected = compute(
        small_model,
        (4, 6),
        soi_scales=[0.1, 1.0],
        fermi_shifts=[-0.1, 0.0],
        temperatures=[600.0],
        directions=[(0, 0, 1), (1, 0, 1)],
        soi_masks={"all": [1, 1], "Co": [1, 0]},
        fermi_level="neutral-bare",
    )
    found = load_result(folder / "result.nc")
    assert found.equals(expected)
    assert sorted(os.listdir(folder)) == ["model.h5", "result.nc", "spec.yaml"]


def test_paths_are_relative_to_the_spec(folder, tmp_path_factory):
    write(folder, "model: model.h5\nmesh: 4\noutput: named.nc\n")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    done = dmi_engine("run", folder / "spec.yaml", "--processes", 2, cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert (folder / "named.nc").is_file()
    assert not os.listdir(elsewhere)


def test_output_of_the_command_line_goes_first(folder, capsys):
    spec = write(folder, "model: model.h5\nmesh: 4\noutput: one.nc\n")
    assert main(["run", str(spec), "--output", str(folder / "two.nc")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == COMPLETE
    assert sorted(os.listdir(folder)) == ["model.h5", "spec.yaml", "two.nc"]


def test_inspect(folder):
    done = dmi_engine("inspect", folder / "model.h5")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[-1] == COMPLETE
    text = " ".join(done.stdout.split())
    assert "atoms Co Pt" in text
    assert "2 a spin, 1.8 electrons a cell" in text
    assert "3x3x1 (9 k points)" in text
    assert "Fermi energy 0.1000 eV" in text
    assert done.stderr == ""


def test_version():
    done = dmi_engine("--version")
    assert done.returncode == 0
    assert done.stdout.split() == ["dmi-engine", aiida_dmi.__version__]


# -- bad input -----------------------------------------------------------------------------------------

GOOD = "model: model.h5\nmesh: 4\n"
BAD_SPECS = {
    "unknown key": (GOOD + "temprature: [300]\n", ["temprature", "temperatures"]),
    "no model": ("mesh: 4\n", ["model"]),
    "no mesh": ("model: model.h5\n", ["mesh"]),
    "missing model": ("model: other.h5\nmesh: 4\n", ["other.h5"]),
    "model is a folder": ("model: .\nmesh: 4\n", ["HDF5"]),
    "model is not HDF5": ("model: spec.yaml\nmesh: 4\n", ["spec.yaml", "HDF5"]),
    "mesh zero": ("model: model.h5\nmesh: 0\n", ["mesh", "0"]),
    "mesh of three": ("model: model.h5\nmesh: [4, 4, 4]\n", ["mesh", "(4, 4, 4)"]),
    "mesh a word": ("model: model.h5\nmesh: fine\n", ["mesh", "fine"]),
    "NaN": (GOOD + "fermi_shifts: [.nan]\n", ["fermi_shifts", "nan"]),
    "cold": (GOOD + "temperatures: [0]\n", ["temperatures", "0"]),
    "scalar": (GOOD + "temperatures: 300\n", ["temperatures", "300"]),
    "direction": (GOOD + "directions: [[0, 0, 0]]\n", ["directions"]),
    "mask": (GOOD + "soi_masks: {Co: [1]}\n", ["soi_masks", "Co"]),
    "fermi level": (GOOD + "fermi_level: scf\n", ["fermi_level", "scf", "neutral"]),
    "symmetry": (GOOD + "symmetry: true\n", ["symmetry"]),
    "processes": (GOOD + "processes: many\n", ["processes", "many"]),
    "output folder": (GOOD + "output: nowhere/result.nc\n", ["output", "nowhere"]),
    "broken YAML": ("model: [model.h5\nmesh: 4\n", ["spec.yaml", "YAML"]),
    "tabs": ("model:\tmodel.h5\n\tmesh: 4\n", ["spec.yaml", "YAML"]),
    "a list": ("- model.h5\n- 4\n", ["spec.yaml", "list"]),
    "empty": ("", ["spec.yaml"]),
    "Python object": ("model: !!python/object/apply:os.getcwd []\nmesh: 4\n", ["spec.yaml", "YAML"]),
}


def refused(folder, *words, arguments=()):
    """Exit status 2, one line that holds the words, and nothing new in the folder."""
    before = {name: (folder / name).read_bytes() for name in os.listdir(folder)}
    done = dmi_engine("run", "spec.yaml", *arguments, cwd=folder)
    assert done.returncode == 2, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("dmi-engine: ")
    for word in words:
        assert word in lines[0]
    assert COMPLETE not in done.stdout
    assert {name: (folder / name).read_bytes() for name in os.listdir(folder)} == before


@pytest.mark.parametrize(
    "case", ["unknown key", "missing model", "mesh of three", "NaN", "broken YAML", "model is not HDF5"]
)
def test_bad_spec_from_the_shell(folder, case):
    text, words = BAD_SPECS[case]
    write(folder, text)
    refused(folder, *words)


@pytest.mark.parametrize("case", BAD_SPECS)
def test_bad_spec(folder, case, capsys):
    """The same and the rest through main, which the shell's entry point calls."""
    text, words = BAD_SPECS[case]
    spec = write(folder, text)
    before = sorted(os.listdir(folder))
    assert main(["run", str(spec)]) == 2
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    assert all(word in err for word in words), err
    assert COMPLETE not in out
    assert sorted(os.listdir(folder)) == before


def test_missing_spec(tmp_path, capsys):
    assert main(["run", str(tmp_path / "spec.yaml")]) == 2
    assert "spec.yaml: cannot be read" in capsys.readouterr().err


def test_spec_that_is_not_text(folder, capsys):
    (folder / "spec.yaml").write_bytes(bytes(range(128, 256)))
    assert main(["run", str(folder / "spec.yaml")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("name", ["hamiltonian/up", "position/down", "overlap", "spin_orbit/0/projections_up"])
def test_model_with_nan(folder, name):
    spoil(folder / "model.h5", name, np.nan)
    write(folder, GOOD)
    refused(folder, name.split("/", maxsplit=1)[0], "finite")


def test_truncated_model(folder):
    raw = (folder / "model.h5").read_bytes()
    (folder / "model.h5").write_bytes(raw[: len(raw) // 2])
    write(folder, GOOD)
    refused(folder, "model.h5", "HDF5")


def test_bad_number_of_processes(folder):
    write(folder, GOOD)
    refused(folder, "processes", arguments=["--processes", "0"])


def test_inspect_of_no_model(tmp_path, capsys):
    (tmp_path / "model.h5").write_text("nothing")
    assert main(["inspect", str(tmp_path / "model.h5")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("text", ["unknown: 1\n", "nscf: out\n", "- a\n"])
def test_build_with_bad_spec(tmp_path, text, capsys):
    spec = write(tmp_path, text)
    assert main(["build", str(spec)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert os.listdir(tmp_path) == ["spec.yaml"]


BUGS = {
    "mesh left empty": ("model: model.h5\nmesh:\n", ["mesh"]),
    "mesh with a point": ("model: model.h5\nmesh: 24.0\n", ["mesh", "24.0"]),
    "no such date": (GOOD + "fermi_level: 2020-13-45\n", ["spec.yaml", "YAML"]),
    "output is a folder": (GOOD + "output: .\n", ["output"]),
    "output left empty": (GOOD + "output:\n", ["output"]),
    "output is the model": (GOOD + "output: model.h5\n", ["output"]),
}


@pytest.mark.xfail(
    strict=True, reason="bugs: bare tracebacks, a result called 'None', a model overwritten by its result"
)
@pytest.mark.parametrize("case", BUGS)
def test_bad_spec_not_yet_refused(folder, case, capsys):
    text, words = BUGS[case]
    spec = write(folder, text)
    before = {name: (folder / name).read_bytes() for name in os.listdir(folder)}
    assert main(["run", str(spec)]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert all(word in err for word in words), err
    assert {name: (folder / name).read_bytes() for name in os.listdir(folder)} == before


# -- the engine alone ----------------------------------------------------------------------------------


def test_engine_never_imports_aiida():
    """Nor anything else that a cluster without AiiDA lacks: design.md's list of what the engine installs with."""
    modules = [m.name for m in pkgutil.walk_packages(aiida_dmi.engine.__path__, "aiida_dmi.engine.")]
    assert "aiida_dmi.engine.build.assemble" in modules
    code = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        "heavy = ('aiida', 'ase', 'click', 'matplotlib', 'pymatgen', 'spglib', 'aiida_quantumespresso', 'tabulate')\n"
        "print([m for m in sys.modules if m.partition('.')[0] in heavy])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_one_thread_a_process_unless_told():
    """The installed command sets the number of threads before numpy is loaded; what the job script says goes first."""
    code = (
        "import os, sys\nfrom aiida_dmi.launch import engine\n"
        "sys.argv = ['dmi-engine', '--version']\nprint('numpy' in sys.modules)\n"
        "try:\n    engine()\nexcept SystemExit:\n    pass\n"
        "print(os.environ['OMP_NUM_THREADS'], os.environ['OPENBLAS_NUM_THREADS'])"
    )
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    for given, expected in (({}, "1 1"), ({"OMP_NUM_THREADS": "2"}, "2 2")):
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment | given, capture_output=True, text=True, check=True
        )
        lines = done.stdout.splitlines()
        assert lines[0] == "False"
        assert lines[-1] == expected


def test_names_of_the_engine():
    assert set(aiida_dmi.engine.__all__) == {
        "InputError",
        "RashbaModel",
        "WannierModel",
        "compute",
        "load_result",
        "save_result",
    }
    for name in aiida_dmi.engine.__all__:
        assert getattr(aiida_dmi.engine, name).__name__ == name
