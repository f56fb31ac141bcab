"""dmi-engine from the outside: exit status, one line on standard error, nothing written when input is bad."""

import importlib.util
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

import aiida_dmi.engine
from aiida_dmi.engine import compute, load_result
from aiida_dmi.engine.processes.console import COMPLETE
from aiida_dmi.engine.run.cli import main

EAGER = """
import functools, sys
from importlib import import_module
from aiida_dmi.engine.run.cli import main

driver = import_module("aiida_dmi.engine.run.compute")
driver.Checkpoint = functools.partial(driver.Checkpoint, interval=0.0)
sys.exit(main())
"""
"""dmi-engine that writes a checkpoint after every batch."""


def dmi_engine(*arguments, cwd=None):
    """Run dmi-engine as a job script would."""
    return subprocess.run(
        [sys.executable, "-m", "aiida_dmi.engine.run.cli", *map(str, arguments)],
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
    "mesh of three": ("model: model.h5\nmesh: [4, 4, 4]\n", ["mesh", "[4, 4, 4]"]),
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


DANGEROUS = {
    "mesh left empty": ("model: model.h5\nmesh:\n", ["mesh"]),
    "mesh with a point": ("model: model.h5\nmesh: 24.0\n", ["mesh", "24.0"]),
    "no date": (GOOD + "fermi_level: 2020-13-45\n", ["fermi_level", "2020-13-45"]),
    "a key twice": (GOOD + "mesh: 6\n", ["spec.yaml", "mesh (line 2) and mesh (line 3)"]),
    "a mask twice": (GOOD + "soi_masks: {a: [1, 1], a: [1, 0]}\n", ["spec.yaml", "a (line 3)"]),
    "wrong tag": (GOOD + "fermi_level: !!timestamp dft\n", ["spec.yaml", "YAML"]),
    "too many digits": (GOOD + f"soi_scales: [{10**4000}{10**4000}]\n", ["spec.yaml", "YAML"]),
    "huge": (GOOD + f"soi_scales: [{10**400}]\n", ["soi_scales", "finite"]),
    "output is a folder": (GOOD + "output: .\n", ["output", "folder"]),
    "output is a device": (GOOD + "output: /dev/null\n", ["output", "device"]),
    "output left empty": (GOOD + "output:\n", ["output", "None"]),
    "output is a number": (GOOD + "output: 3\n", ["output", "3"]),
    "output is too long": (GOOD + f"output: {'x' * 300}\n", ["output", "too long"]),
    "output is the model": (GOOD + "output: model.h5\n", ["output", "overwritten"]),
    "output is the spec": (GOOD + "output: ./spec.yaml\n", ["output", "overwritten"]),
    "output is linked to the model": (GOOD + "output: link.h5\n", ["output", "overwritten"]),
    "checkpoint is the model": (GOOD + "checkpoint: model.h5\n", ["checkpoint", "overwritten"]),
    "checkpoint is the output": (GOOD + "checkpoint: result.nc\n", ["checkpoint", "overwritten"]),
    "checkpoint in no folder": (GOOD + "checkpoint: nowhere/sums\n", ["checkpoint", "nowhere"]),
    "checkpoint of something else": (GOOD + "checkpoint: other.npz\n", ["checkpoint", "other.npz"]),
    "model left empty": ("model:\nmesh: 4\n", ["model", "None"]),
    "neither mesh nor tolerance": ("model: model.h5\ntolerance:\n", ["mesh", "tolerance"]),
    "tolerance": ("model: model.h5\ntolerance: -1\n", ["tolerance", "-1"]),
    "memory limit": (GOOD + "memory_limit: 1.5\n", ["memory_limit", "1.5"]),
    "largest mesh": (GOOD + "tolerance: 1.0\nmax_mesh: 0\n", ["max_mesh", "0"]),
    "method": (GOOD + "method: guess\n", ["method", "guess", "bands"]),
}


@pytest.mark.parametrize("case", DANGEROUS)
def test_bad_spec_leaves_every_file_alone(folder, case, capsys):
    text, words = DANGEROUS[case]
    (folder / "link.h5").symlink_to(folder / "model.h5")
    np.savez(folder / "other.npz", key="another", stage="4x4", done=1)
    spec = write(folder, text)
    before = {name: (folder / name).read_bytes() for name in os.listdir(folder)}
    assert main(["run", str(spec)]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert all(word in err for word in words), err
    assert {name: (folder / name).read_bytes() for name in os.listdir(folder)} == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_cannot_be_written(folder, capsys):
    (folder / "closed").mkdir(mode=0o500)
    spec = write(folder, GOOD + "output: closed/result.nc\n")
    assert main(["run", str(spec)]) == 2
    assert "output: " in capsys.readouterr().err


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that nobody can write to")
def test_file_system_that_cannot_be_written(folder, capsys):
    """Found out before the computation, which would take hours: no k point is counted."""
    assert main(["run", str(write(folder, GOOD)), "--output", "/proc/self/result.nc"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "output: /proc/self/result.nc cannot be written" in line


BUILD = "nscf: x.save\nwannier_up: up\nwannier_down: dn\npseudopotentials: {Co: Co.UPF}\n"


@pytest.mark.parametrize(
    "name",
    [
        "spec.yaml",
        "Co.UPF",
        "up.mmn",
        "dn_u_dis.mat",
        "x.save/data-file-schema.xml",
        "x.save/wfcup1.dat",
        "x.save/wfcup1.hdf5",
    ],
)
def test_model_in_place_of_what_it_is_built_from(tmp_path, name, capsys):
    (tmp_path / "x.save").mkdir()
    folder = ("x.save/data-file-schema.xml", "x.save/wfcup1.dat", "x.save/wfcup1.hdf5")
    for path in ("Co.UPF", "up.mmn", "dn_u_dis.mat", *folder):
        (tmp_path / path).write_text(path)
    spec = write(tmp_path, BUILD + f"output: {name}\n")
    before = (tmp_path / name).read_text()
    assert main(["build", str(spec)]) == 2
    assert "output: " in (err := capsys.readouterr().err)
    assert "overwritten" in err
    assert (tmp_path / name).read_text() == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fermi_energy: true\n", ["fermi_energy", "True"]),
        ("fermi_energy: .nan\n", ["fermi_energy", "nan"]),
        (f"fermi_energy: {10**400}\n", ["fermi_energy"]),
        ("moments: [true]\n", ["moments", "True"]),
        ("moments: '1'\n", ["moments", "1"]),
        ("output:\n", ["output", "None"]),
        ("nscf:\n", ["nscf", "None"]),
        ("wannier_up: [up]\n", ["wannier_up", "up"]),
        ("pseudopotentials: {Co: 1}\n", ["pseudopotentials: Co", "1"]),
    ],
)
def test_bad_values_of_build(tmp_path, text, words, capsys):
    key = text.partition(":")[0]
    good = "".join(line + "\n" for line in BUILD.splitlines() if not line.startswith(key))
    assert main(["build", str(write(tmp_path, good + text))]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert all(word in err for word in words), err
    assert os.listdir(tmp_path) == ["spec.yaml"]


# -- checkpoints and MPI -------------------------------------------------------------------------------


def test_run_to_a_tolerance(folder, small_model, capsys):
    """1e-3 without a point is a number here, as everywhere but in YAML 1.1; the mesh may be left out."""
    spec = write(
        folder, "model: model.h5\ntolerance: 1e+3\nmax_mesh: 96\ntemperatures: [3000]\nmemory_limit: 100000000\n"
    )
    assert main(["run", str(spec)]) == 0, capsys.readouterr().err
    expected = compute(small_model, tolerance=1e3, max_mesh=96, temperatures=[3000])
    found = load_result(folder / "result.nc")
    assert found.attrs["tolerance"] == 1000.0
    assert found.attrs["converged"] == 1
    np.testing.assert_allclose(found.D.values, expected.D.values, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ("", [], "result.nc.checkpoint"),
        ("output: named.nc\n", [], "named.nc.checkpoint"),
        ("checkpoint: sums\n", [], "sums"),
        ("checkpoint:\n", [], "result.nc.checkpoint"),
        ("checkpoint: sums\n", ["--checkpoint", "other"], "other"),
        ("", ["--output", "two.nc"], "two.nc.checkpoint"),
    ],
)
def test_name_of_the_checkpoint(folder, text, arguments, expected, monkeypatch, capsys):
    """Beside the output, unless it is named: relative to the spec in the spec, to the shell's folder on its line."""
    (folder / expected).write_text("no checkpoint")
    monkeypatch.chdir(folder)
    assert main(["run", str(write(folder, GOOD + text)), *arguments]) == 2
    name = re.search(r"checkpoint (\S+): not readable", capsys.readouterr().err).group(1)
    assert Path(name).resolve() == folder / expected


def test_killed_run_resumes(folder, capsys):
    """The same command again takes up the sums that were saved; another computation is refused in one line."""
    text = "model: model.h5\nmesh: 16\nmemory_limit: 1\n"  # every batch as small as it gets
    spec = write(folder, text)
    process = subprocess.Popen([sys.executable, "-c", EAGER, "run", "spec.yaml"], cwd=folder, stderr=subprocess.DEVNULL)
    while not (folder / "result.nc.checkpoint").is_file():
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    kept = (folder / "result.nc.checkpoint").read_bytes()

    write(folder, text + "temperatures: [500]\n")
    assert main(["run", str(spec)]) == 2
    assert "result.nc.checkpoint: belongs to another computation" in capsys.readouterr().err
    assert (folder / "result.nc.checkpoint").read_bytes() == kept

    write(folder, text)
    assert main(["run", str(spec)]) == 0
    assert "band energies" not in capsys.readouterr().err  # on from the chemical potential
    assert sorted(os.listdir(folder)) == ["model.h5", "result.nc", "spec.yaml"]
    assert main(["run", str(spec), "--output", str(folder / "whole.nc")]) == 0
    assert "band energies" in capsys.readouterr().err
    assert load_result(folder / "result.nc").equals(load_result(folder / "whole.nc"))


def mpirun(folder, ranks=2):
    # Not imported: ASE starts MPI in a process that has mpi4py loaded, and no mpirun starts from such a process.
    if importlib.util.find_spec("mpi4py") is None or shutil.which("mpirun") is None:
        pytest.skip("needs mpi4py and mpirun")
    environment = os.environ | {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = ["mpirun", "-n", str(ranks), sys.executable, "-m", "aiida_dmi.engine.run.cli", "run", "spec.yaml"]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=100
    )


def test_mpi(folder, small_model):
    """Two ranks: one result, the same to the last bit, and one rank that speaks."""
    write(folder, "model: model.h5\nmesh: 6\n")
    done = mpirun(folder)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line] == ["wrote result.nc", COMPLETE]
    assert load_result(folder / "result.nc").equals(compute(small_model, 6))
    assert sorted(os.listdir(folder)) == ["model.h5", "result.nc", "spec.yaml"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mesh: 0\n", "mesh: 0 was given"),
        ("mesh: 4\noutput: .\n", "output: "),  # the first rank alone sees it
        ("mesh: 4\ncheckpoint: other.npz\n", "belongs to another computation"),
    ],
)
def test_bad_input_under_mpi(folder, text, words):
    """No rank waits for ever for one that has met an error."""
    np.savez(folder / "other.npz", key="another", stage="4x4", done=1)
    write(folder, "model: model.h5\n" + text)
    done = mpirun(folder)
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("dmi-engine: ")]
    assert len(lines) == 1
    assert words in lines[0]
    assert COMPLETE not in done.stdout


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
        "symmetrised",
    }
    for name in aiida_dmi.engine.__all__:
        assert getattr(aiida_dmi.engine, name).__name__ == name
