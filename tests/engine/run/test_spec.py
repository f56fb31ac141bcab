"""Specs of dmi-engine: every key and value is checked first, in one line, with nothing written."""

import os
import socket

import pytest

from aiida_dmi.engine import compute, load_result
from aiida_dmi.engine.processes.console import COMPLETE
from aiida_dmi.engine.run.cli import main

RUN = "model: model.h5\nmesh: 4\n"
BUILD = "nscf: x.save\nwannier_up: up\nwannier_down: dn\npseudopotentials: {Co: Co.UPF}\n"
OVERLAPS = "nscf: x.save\nnnkp: up.nnkp\nspin: up\n"


@pytest.fixture
def folder(small_model, tmp_path):
    small_model.save(tmp_path / "model.h5")
    return tmp_path


def refused(folder, capsys, command, text, *words):
    """Status 2, one line with the words, and the folder as it was."""
    (folder / "spec.yaml").write_text(text)
    before = sorted(os.listdir(folder))
    assert main([command, str(folder / "spec.yaml")]) == 2
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 1, err
    assert err.startswith("dmi-engine: ")
    assert len(err) < 1100
    assert err.isascii()
    assert "\x1b" not in err
    for word in words:
        assert word in err
    assert COMPLETE not in out
    assert sorted(os.listdir(folder)) == before


RUN_VALUES = {
    # Taken for something else once: booleans, octal and sexagesimal numbers, words, dates.
    "fermi_level: no": "fermi_level: 'no' was given",
    "symmetry: yes": "symmetry: 'yes' was given, expected true, false, 'model' or 'auto'",
    "symmetry: maybe": "symmetry: 'maybe' was given",
    "symmetry: 'true'": "symmetry: 'true' was given",
    "symmetry: 0": "symmetry: 0 was given",
    "temperatures: [1:30]": "temperatures: ['1:30'] was given",
    "temperatures: [2024-01-01]": "temperatures: ['2024-01-01']",
    "temperatures: ['300']": "temperatures: ['300'] was given, expected a list of finite numbers",
    "temperatures: [true]": "temperatures: [True]",
    "temperatures: [1e-100]": "temperatures: 1e-100 K was given, expected at least 0.001 K",
    "temperatures: [0.0009]": "expected at least 0.001 K",
    "temperatures: {a: 300}": "temperatures: {'a': 300}",
    "soi_scales: [1_000]": "soi_scales: ['1_000']",
    "soi_scales: 1": "soi_scales: 1 was given",
    "soi_scales: [.nan]": "soi_scales: [nan]",
    "soi_scales: [1e400]": "not readable as YAML (1e400 is too large",
    "fermi_shifts: []": "fermi_shifts: []",
    "fermi_shifts: [[0.1]]": "fermi_shifts: [[0.1]]",
    "fermi_shifts: [0.1, 0.1]": "holds a value twice",
    "directions: [[0, 0, '1']]": "directions: [[0, 0, '1']]",
    "directions: [0, 0, 1]": "directions: [0, 0, 1]",
    "directions: z": "directions: 'z'",
    # Masks.
    "soi_masks: {on: [1]}": "soi_masks: on: [1] was given, expected 2 finite weights",
    "soi_masks: {1: [1, 0]}": "soi_masks: 1 was given, expected a name; put it in quotes, '1'",
    "soi_masks: {1: [1, 0], 1.0: [0, 1]}": "1 (line 3) and 1.0 (line 3) are the same key",
    "soi_masks: {true: [1, 0]}": "soi_masks: True was given, expected a name",
    "soi_masks: {~: [1, 0]}": "soi_masks: None was given",
    'soi_masks: {"a\\0": [1, 0]}': "soi_masks: 'a\\x00' was given, expected a name of printable characters",
    'soi_masks: {"\\ud800": [1, 0]}': "soi_masks: '\\ud800' was given",
    'soi_masks: {"\\e[2J": [1, 0]}': "soi_masks: '\\x1b[2J' was given",
    'soi_masks: {"": [1, 0]}': "soi_masks: '' was given",
    "soi_masks: {all: ['1', 0]}": "soi_masks: all: ['1', 0]",
    "soi_masks: {all: [1, .inf]}": "soi_masks: all: [1, inf]",
    "soi_masks: [[1, 0]]": "soi_masks: [[1, 0]]",
    # How it runs.
    "tolerance: -1": "tolerance: -1 was given, expected a positive number",
    "tolerance: small": "tolerance: 'small'",
    "tolerance: 1.0\nmax_mesh: 9999999999": "max_mesh: 9999999999 was given",
    "max_mesh: 24.0": "max_mesh: 24.0",
    "processes: 2.0": "processes: 2.0 was given, expected a positive integer",
    "processes: '2'": "processes: '2'",
    "processes: 100000": "processes: 100000",
    "memory_limit: 1 GiB": "memory_limit: '1 GiB'",
    "memory_limit: 99999999999999999999": "memory_limit: 99999999999999999999",
    "method: bands2": "method: 'bands2' was given, expected one of bands, green",
    "quantities: [D, E]": "quantities: ['D', 'E']",
    "cutoff: far": "cutoff: 'far' was given, only a RashbaModel takes one",
    "checkpoint: 3": "checkpoint: 3 was given, expected a path",
    "checkpoint: ''": "checkpoint: '' was given",
    "output: [a]": "output: ['a'] was given, expected a path",
    'output: "a\\0.nc"': "output: 'a\\x00.nc' was given, expected a path (embedded null byte)",
    'output: "a\\ud800.nc"': "output: 'a\\ud800.nc' was given, expected a path",
    f"output: {'x' * 230}.nc": "too long",  # beside it the temporary has a longer name
    # Keys.
    "3: 4": "3 was given as a key, expected a name",
    "true: 4": "True was given as a key",
    '"\\e[2Jmesh": 4': "'\\x1b[2Jmesh': unknown key",
    "Mesh: 4": "Mesh: unknown key; expected model, output",
    "mesh: 6": "mesh (line 2) and mesh (line 3) are the same key",
}


@pytest.mark.parametrize("line", RUN_VALUES)
def test_values_of_run(folder, capsys, line):
    refused(folder, capsys, "run", f"{RUN}{line}\n", RUN_VALUES[line])


@pytest.mark.parametrize(
    ("mesh", "words"),
    [
        ("24.0", "mesh: 24.0"),
        ("'24'", "mesh: '24'"),
        ("true", "mesh: True"),
        ("[24, true]", "mesh: [24, True]"),
        ("1:30", "mesh: '1:30'"),
        ("[4, 4, 4]", "mesh: [4, 4, 4]"),
        ("-4", "mesh: -4"),
        ("100000", "more than 1e+09 k points"),
    ],
)
def test_meshes(folder, capsys, mesh, words):
    refused(folder, capsys, "run", f"model: model.h5\nmesh: {mesh}\n", words)


def test_what_yaml_1_1_took_for_something_else_is_what_it_says(folder, small_model):
    (folder / "spec.yaml").write_text(
        "model: model.h5\nmesh: 06\nsoi_scales: [1e0, 5E-1]\nsoi_masks: {on: [1, 0], 'no': [0, 1], y: [1, 1]}\n"
    )
    assert main(["run", str(folder / "spec.yaml")]) == 0
    masks = {"on": [1, 0], "no": [0, 1], "y": [1, 1]}
    assert load_result(folder / "result.nc").equals(compute(small_model, 6, soi_scales=[1.0, 0.5], soi_masks=masks))


def test_odd_meshes(folder):
    """Any mesh has an error, and may be the first of a refinement."""
    (folder / "spec.yaml").write_text("model: model.h5\nmesh: 5\ntemperatures: [1500]\ntolerance: 1e3\n")
    assert main(["run", str(folder / "spec.yaml")]) == 0
    assert load_result(folder / "result.nc").attrs["refinement"].startswith("5x5: ")


BUILD_VALUES = {
    "fermi_energy: '1.0'": "fermi_energy: '1.0' was given, expected a number in eV",
    "fermi_energy: [1.0]": "fermi_energy: [1.0]",
    "fermi_energy: 1e30": "fermi_energy: 1e+30",
    "moments: [1, '2']": "moments: [1, '2'] was given, expected one number (mu_B) an atom",
    "moments: []": "moments: []",
    "moments: 1.0": "moments: 1.0",
    "moments: {Co: 1.0}": "moments: {'Co': 1.0}",
    "moments: [.nan]": "moments: [nan]",
    "pseudopotentials: {}": "pseudopotentials: {} was given",
    "pseudopotentials: [Co.UPF]": "pseudopotentials: ['Co.UPF']",
    "pseudopotentials: {1: Co.UPF}": "pseudopotentials: 1 was given, expected a name; put it in quotes",
    "pseudopotentials: {Co: }": "pseudopotentials: Co: None was given, expected a path",
    'pseudopotentials: {Co: "a\\0"}': "pseudopotentials: Co: 'a\\x00'",
    "nscf: 3": "nscf: 3 was given, expected a path",
    "nscf: true": "nscf: True",
    f"nscf: {'x' * 5000}": "too long",
    "wannier_up: ''": "wannier_up: '' was given",
    "output: {a: b}": "output: {'a': 'b'} was given, expected a path",
    "seedname: up": "seedname: unknown key; expected nscf",
    "memory_limit: 3": "memory_limit: unknown key",
}
OVERLAPS_VALUES = {
    "spin: UP": "spin: 'UP' was given, expected one of up, down",
    "spin: 1": "spin: 1",
    "spin: [up]": "spin: ['up']",
    "memory_limit: '1e9'": "memory_limit: '1e9' was given, expected a positive whole number of bytes",
    "memory_limit: 1e9": "memory_limit: 1000000000.0",
    "memory_limit: true": "memory_limit: True",
    "nnkp: [up.nnkp]": "nnkp: ['up.nnkp']",
    "nnkp:": "nnkp: None",
    "seedname: 3": "seedname: 3 was given, expected a path",
    'seedname: "a\\0"': "seedname: 'a\\x00'",
    "output: up": "output: unknown key",
}


@pytest.mark.parametrize(
    ("command", "good", "line", "words"),
    [("build", BUILD, *case) for case in BUILD_VALUES.items()]
    + [("overlaps", OVERLAPS, *case) for case in OVERLAPS_VALUES.items()],
)
def test_values_of_build_and_overlaps(tmp_path, capsys, command, good, line, words):
    key = line.partition(":")[0]
    rest = "".join(f"{other}\n" for other in good.splitlines() if not other.startswith(f"{key}:"))
    refused(tmp_path, capsys, command, f"{rest}{line}\n", words)


@pytest.mark.parametrize(
    ("command", "text", "key"),
    [
        ("run", RUN, "model"),
        *(("build", BUILD, k) for k in ("nscf", "pseudopotentials")),
        ("overlaps", OVERLAPS, "spin"),
    ],
)
def test_missing_keys(tmp_path, capsys, command, text, key):
    rest = "".join(f"{line}\n" for line in text.splitlines() if not line.startswith(f"{key}:"))
    refused(tmp_path, capsys, command, rest, f"{key}: missing; dmi-engine {command} needs it")


# -- files that are none ---------------------------------------------------------------------------------


def special(path, kind):
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))


KINDS = ["a pipe", "a folder", "a device", "a socket"]


@pytest.mark.parametrize("kind", KINDS)
def test_model_that_is_no_file(folder, capsys, kind, monkeypatch):
    """Opened, a pipe would wait for ever for a writer."""
    monkeypatch.chdir(folder)
    special(folder / "other.h5", kind)
    refused(folder, capsys, "run", "model: other.h5\nmesh: 4\n", f"it is {kind}, expected a file")
    assert main(["inspect", "other.h5"]) == 2
    assert f"it is {kind}, expected a file" in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", ["output", "checkpoint"])
def test_files_that_are_written_are_files(folder, capsys, kind, key, monkeypatch):
    monkeypatch.chdir(folder)
    special(folder / "other", kind)
    refused(folder, capsys, "run", f"{RUN}{key}: other\n", f"{key}: ", "expected a file")


@pytest.mark.parametrize("kind", ["a pipe", "a device"])
@pytest.mark.parametrize(
    ("command", "text", "name"),
    [
        *(
            ("build", BUILD, name)
            for name in ("Co.UPF", "up.mmn", "dn.win", "x.save/data-file-schema.xml", "x.save/wfcup1.dat")
        ),
        *(("overlaps", OVERLAPS, name) for name in ("up.nnkp", "x.save/data-file-schema.xml", "x.save/wfcdw2.hdf5")),
    ],
)
def test_inputs_that_are_no_files(tmp_path, capsys, kind, command, text, name):
    (tmp_path / "x.save").mkdir()
    special(tmp_path / name, kind)
    refused(tmp_path, capsys, command, text, f"{name}: cannot be read (it is {kind}, expected a file)")


def test_spec_that_never_ends(tmp_path, capsys):
    assert main(["run", "/dev/zero"]) == 2
    assert "it is too long" in capsys.readouterr().err


def test_spec_from_a_pipe(folder, capsys):
    """Of a command, as `dmi-engine run <(sed ...)` gives it; relative paths are from its folder."""
    read, write = os.pipe()
    os.write(write, f"model: {folder / 'model.h5'}\nmesh: 4\noutput: {folder / 'result.nc'}\n".encode())
    os.close(write)
    assert main(["run", f"/dev/fd/{read}"]) == 0
    os.close(read)
    assert (folder / "result.nc").is_file()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to any file")
def test_result_that_may_not_be_written(folder, capsys):
    (folder / "result.nc").write_text("mine")
    (folder / "result.nc").chmod(0o400)
    refused(folder, capsys, "run", RUN, "output: ", "cannot be written")
