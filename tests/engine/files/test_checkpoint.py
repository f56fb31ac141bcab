"""Killed runs: what they resume from, what is refused, what is left behind."""

import dataclasses
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_dmi.engine import InputError, compute, load_result
from aiida_dmi.engine.errors import StoppedError
from aiida_dmi.engine.files.checkpoint import Checkpoint, fingerprint
from aiida_dmi.engine.run.cli import main

driver = import_module("aiida_dmi.engine.run.compute")

SHIFTS = [round(0.02 * i, 2) for i in range(-10, 11)]
SPEC = f"""\
model: model.h5
mesh: 14
soi_scales: [0.3, 1.0]
temperatures: [300, 1500]
soi_masks: {{all: [1, 1], Pt: [1, 0]}}
fermi_shifts: {SHIFTS}
memory_limit: 4194304
"""

KILLER = """
import functools, json, os, random, signal, sys, time
from importlib import import_module
from pathlib import Path
from aiida_dmi.engine.run.cli import main

# Every batch is saved, so that many a kill meets a file being written.
driver = import_module("aiida_dmi.engine.run.compute")
driver.Checkpoint = functools.partial(driver.Checkpoint, interval=0.0)
spec, output, longest, kills, resumable, finished = sys.argv[1], Path(sys.argv[2]), 0.6, 0, 0, 0
checkpoint = Path(f"{output}.checkpoint")
random.seed(20170205)
results = []
while kills < 20 or resumable < 5 or not finished:
    child = os.fork()
    if child == 0:
        status = main(["run", spec, "--output", str(output)])
        sys.stdout.flush()
        os._exit(status)
    time.sleep(random.uniform(0, longest))
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        kills += 1
        finished = 0
        resumable += checkpoint.exists()
        longest *= 1.0 if checkpoint.exists() else 1.1
        continue
    assert os.WEXITSTATUS(status) == 0, status
    assert not checkpoint.exists()
    finished += 1
    longest *= 0.8
    results.append(f"{output}.{len(results)}")
    os.replace(output, results[-1])
print(json.dumps({"kills": kills, "resumable": resumable, "results": results}))
"""


@pytest.fixture
def folder(data, tmp_path):
    shutil.copy(data / "copt11.h5", tmp_path / "model.h5")
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """The result of SPEC."""
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copy(data / "copt11.h5", folder / "model.h5")
    (folder / "spec.yaml").write_text(SPEC)
    assert main(["run", str(folder / "spec.yaml"), "--output", str(folder / "result.nc")]) == 0
    return load_result(folder / "result.nc")


@pytest.fixture
def eager(monkeypatch):
    """Save after every batch."""
    monkeypatch.setattr(driver, "Checkpoint", functools.partial(Checkpoint, interval=0.0))


class Stop(BaseException):
    """What a kill is to the code it meets."""


@pytest.fixture
def stop(monkeypatch, eager):
    """stop(n): what is computed next ends when n checkpoints are on the disk; stop(None): no more.

    Gives the list of those written since: mesh, and how many of its batches each holds.
    """
    left, written = None, []
    replace = os.replace

    def replaced(source, path):
        nonlocal left
        replace(source, path)
        if not zipfile.is_zipfile(path):
            return  # a result
        with np.load(path) as file:
            written.append((str(file["stage"]), int(file["done"])))
        if left is not None:
            left -= 1
            if left <= 0:
                raise Stop

    monkeypatch.setattr(os, "replace", replaced)

    def arm(count):
        nonlocal left, written
        left, written = count, []
        return written

    return arm


# -- resuming --------------------------------------------------------------------------------------------


def test_killed_twenty_times(folder, undisturbed):
    """kill -9 at random times until it completes: identical to a run that nobody disturbed, bit for bit."""
    done = subprocess.run(
        [sys.executable, "-c", KILLER, "spec.yaml", "result.nc"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["kills"] >= 20
    assert report["resumable"] >= 5
    assert np.abs(undisturbed.D).max() > 1
    for name in report["results"]:
        assert load_result(folder / name).identical(undisturbed)
    own = {"model.h5", "spec.yaml", *report["results"]}
    left = [path.name for path in folder.iterdir() if path.name not in own]
    assert left == []  # the runs that ended have removed what killed writers left


HALF = """
import functools, os, signal, sys
from importlib import import_module
import numpy as np
from aiida_dmi.engine.run.cli import main

driver = import_module("aiida_dmi.engine.run.compute")
driver.Checkpoint = functools.partial(driver.Checkpoint, interval=0.0)
saves, savez = [], np.savez

def half(file, **arrays):
    saves.append(file)
    if len(saves) < 4:
        return savez(file, **arrays)
    file.write(bytes(1000))
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

np.savez = half
main(["run", "spec.yaml"])
"""


def test_killed_while_writing(folder, undisturbed, monkeypatch):
    """The file before it is whole and is resumed from; half a file, under a hidden name, goes with the next run."""
    monkeypatch.chdir(folder)
    done = subprocess.run([sys.executable, "-c", HALF], capture_output=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    with np.load("result.nc.checkpoint") as file:
        assert int(file["done"]) == 2  # the first is of the chemical potential, before any batch
    assert len(list(folder.glob(".result.nc.checkpoint.*.part"))) == 1
    assert main(["run", "spec.yaml"]) == 0
    assert list(folder.glob("*.checkpoint*")) == list(folder.glob(".*")) == []
    assert load_result("result.nc").identical(undisturbed)


@pytest.mark.parametrize("fermi_level", ["neutral", "dft"])
def test_resumed_after_so_many_batches(film, tmp_path, stop, fermi_level):
    """What is done is not done again, and nothing else changes."""
    path, model = tmp_path / "c", film(4, functions=8).model()
    axes = {"soi_scales": [0.5, 1.0], "temperatures": [300.0], "memory_limit": 2**20, "fermi_level": fermi_level}
    expected = compute(model, 14, **axes)
    every = stop(None)
    compute(model, 14, checkpoint=path, **axes)
    assert len(every) > 14
    for after in (1, 3, 9, 14):
        stop(after)
        with pytest.raises(Stop):
            compute(model, 14, checkpoint=path, **axes)
        assert path.exists()
        written = stop(None)
        assert compute(model, 14, checkpoint=path, **axes).identical(expected)
        assert written == every[after:]
        assert list(tmp_path.iterdir()) == []


def test_chemical_potential_is_kept(copt11, tmp_path, stop, capsys):
    """Stopped before its first batch: the band energies, which the log tells of, are not computed again."""
    axes = {"temperatures": [300.0], "memory_limit": 2**22}
    expected = compute(copt11, 9, **axes)
    stop(1)
    with pytest.raises(Stop):
        compute(copt11, 9, checkpoint=tmp_path / "c", progress=True, **axes)
    assert "band energies, mesh 9x9: 81/81 k" in capsys.readouterr().err
    stop(None)
    assert compute(copt11, 9, checkpoint=tmp_path / "c", progress=True, **axes).identical(expected)
    said = capsys.readouterr().err
    assert "mesh 9x9: 81/81 k" in said
    assert "band energies" not in said


@pytest.mark.parametrize(("fermi_level", "symmetry"), [("neutral", False), ("dft", False), ("dft", True)])
def test_resumed_refinement(film, copt11, tmp_path, stop, fermi_level, symmetry):
    """Stopped on any of its meshes."""
    model = dataclasses.replace(copt11, moments=np.array([0.4, 1.9])) if symmetry else film(4, functions=8).model()
    axes = {
        "tolerance": 1e-6,
        "max_mesh": 16,
        "temperatures": [1500.0],
        "memory_limit": 2**22 if symmetry else 2**20,
        "fermi_level": fermi_level,
        "symmetry": symmetry,
    }
    expected = compute(model, 4, **axes)
    written = stop(None)
    compute(model, 4, checkpoint=tmp_path / "c", **axes)
    total = len(written)
    for after in sorted({1, 2, 4, 6, total // 2, total - 1}):
        stop(after)
        with pytest.raises(Stop):
            compute(model, 4, checkpoint=tmp_path / "c", **axes)
        stop(None)
        assert compute(model, 4, checkpoint=tmp_path / "c", **axes).identical(expected)
        assert list(tmp_path.iterdir()) == []


def test_resumed_refinement_keeps_the_last_mesh(copt11, tmp_path, stop):
    """Stopped near the end of the last mesh, where nearly all of the time goes: the rest is little."""
    axes = {"tolerance": 1e-6, "max_mesh": 16, "temperatures": [1500.0], "memory_limit": 2**22}
    every = stop(None)
    compute(copt11, 4, checkpoint=tmp_path / "c", **axes)
    assert {mesh for mesh, _ in every} == {"4x4", "16x16"}
    stop(len(every) - 2)
    with pytest.raises(Stop):
        compute(copt11, 4, checkpoint=tmp_path / "c", **axes)
    written = stop(None)
    compute(copt11, 4, checkpoint=tmp_path / "c", **axes)
    assert written == every[-2:]


def test_other_number_of_processes(copt11, tmp_path, stop):
    """A run may be resumed with more processes."""
    axes = {"temperatures": [300.0], "memory_limit": 2**22}
    stop(5)
    with pytest.raises(Stop):
        compute(copt11, 9, checkpoint=tmp_path / "c", **axes)
    stop(None)
    resumed = compute(copt11, 9, checkpoint=tmp_path / "c", processes=2, **axes)
    assert resumed.identical(compute(copt11, 9, **axes))


def test_saved_at_intervals(tmp_path, monkeypatch):
    """Not more often than asked for, whatever the number of batches."""
    checkpoint, now, done = Checkpoint(tmp_path / "c", "key", interval=20.0), time.monotonic(), []
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for count in range(1, 101):
        now += 1.5
        checkpoint.save("stage", count, {"x": np.full(2, float(count))})
        if (tmp_path / "c").exists():
            done.append(checkpoint.load("stage")[0])
    assert sorted(set(done)) == [14, 28, 42, 56, 70, 84, 98]
    checkpoint.save("stage", 100, {"x": np.full(2, 100.0)}, force=True)
    assert checkpoint.load("stage")[0] == 100
    np.testing.assert_array_equal(checkpoint.load("stage")[1]["x"], 100.0)
    assert checkpoint.load("other stage") is None


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    """A full disk: the checkpoint before it stays whole, no half file lies about."""
    checkpoint = Checkpoint(tmp_path / "c", "key", interval=0.0)
    checkpoint.save("stage", 1, {"x": np.ones(3)})

    def full(file, **arrays):
        file.write(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(StoppedError, match=r"^checkpoint .*c: cannot be written .*No space left"):
        checkpoint.save("stage", 2, {"x": np.ones(3)})
    assert checkpoint.load("stage")[0] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


# -- until the result is safe ----------------------------------------------------------------------------

KILLED_IN_SAVE = """
import functools, os, signal
from importlib import import_module
from aiida_dmi.engine import WannierModel, compute

driver = import_module("aiida_dmi.engine.run.compute")
driver.Checkpoint = functools.partial(driver.Checkpoint, interval=0.0)
compute(
    WannierModel.load("model.h5"),
    6,
    memory_limit=2**22,
    checkpoint="c",
    save=lambda result: os.kill(os.getpid(), signal.SIGKILL),
)
"""


def test_killed_before_the_result_is_saved(folder, copt11, stop):
    """All is summed, nothing written yet: the checkpoint is still there, and what is left to do is to write."""
    done = subprocess.run([sys.executable, "-c", KILLED_IN_SAVE], cwd=folder, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert (folder / "c").exists()
    written, saved = stop(None), []
    axes = {"memory_limit": 2**22}
    result = compute(copt11, 6, checkpoint=folder / "c", save=saved.append, **axes)
    assert written == []
    assert saved == [result]
    assert not (folder / "c").exists()
    assert result.identical(compute(copt11, 6, **axes))


def test_result_that_cannot_be_saved(small_model, tmp_path, eager):
    """The disk is full: the checkpoint stays for the next attempt."""

    def full(result):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        compute(small_model, 4, checkpoint=tmp_path / "c", save=full)
    assert (tmp_path / "c").exists()
    assert np.isfinite(compute(small_model, 4, checkpoint=tmp_path / "c").D).all()
    assert list(tmp_path.iterdir()) == []


# -- what is refused -------------------------------------------------------------------------------------


@pytest.fixture
def interrupted(small_model, tmp_path, stop):
    """The checkpoint of an interrupted run on 4 x 4 points, and its axes."""
    axes = {"soi_scales": [1.0], "temperatures": [300.0], "memory_limit": 2**14}
    path = tmp_path / "c"
    stop(2)
    with pytest.raises(Stop):
        compute(small_model, 4, checkpoint=path, **axes)
    stop(None)
    return path, axes


OTHERS = {
    "mesh": {"mesh": 6},
    "soi_scales": {"soi_scales": [0.9]},
    "temperatures": {"temperatures": [301.0]},
    "fermi_shifts": {"fermi_shifts": [0.1]},
    "directions": {"directions": [(1, 0, 0)]},
    "soi_masks": {"soi_masks": {"all": [1, 0]}},
    "mask name": {"soi_masks": {"every": [1, 1]}},
    "fermi_level": {"fermi_level": "dft"},
    "method": {"method": "green"},
    "tolerance": {"tolerance": 1.0},
    "memory_limit": {"memory_limit": 2**20},
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_computation(small_model, interrupted, case):
    path, axes = interrupted
    content = path.read_bytes()
    with pytest.raises(InputError, match=r"^checkpoint .*another computation"):
        compute(small_model, **({"mesh": 4} | axes | OTHERS[case]), checkpoint=path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["hamiltonian", "position", "overlap", "centres", "electrons", "fermi_energy"])
def test_other_model(small_model, interrupted, name):
    path, axes = interrupted
    changed = dataclasses.replace(small_model, **{name: getattr(small_model, name) * (1 + 1e-9)})
    with pytest.raises(InputError, match=r"^checkpoint .*another computation"):
        compute(changed, 4, checkpoint=path, **axes)


# -- several values on every axis: each in its place ------------------------------------------------------

SWEEP = {
    "soi_scales": [0.5, 1.0],
    "fermi_shifts": [0.1, 10.2],
    "temperatures": [300.0, 900.0],
    "directions": [(0, 0, 1), (1, 0, 0)],
    "soi_masks": {"magnet": [1, 0], "substrate": [0, 1]},
    "memory_limit": 2**14,
}
SHUFFLED = {
    "masks the other way round": {"soi_masks": {"substrate": [0, 1], "magnet": [1, 0]}},
    "weights exchanged": {"soi_masks": {"magnet": [0, 1], "substrate": [1, 0]}},
    "names exchanged": {"soi_masks": {"substrate": [1, 0], "magnet": [0, 1]}},
    "one mask": {"soi_masks": {"magnet": [1, 0]}},
    "names that run together": {"soi_masks": {"magnetsub": [1, 0], "strate": [0, 1]}},
    "shifts that run together": {"fermi_shifts": [0.11, 0.2]},
    "shifts": {"fermi_shifts": [10.2, 0.1]},
    "xi": {"soi_scales": [1.0, 0.5]},
    "temperatures": {"temperatures": [900.0, 300.0]},
    "directions": {"directions": [(1, 0, 0), (0, 0, 1)]},
    "a direction's sign": {"directions": [(0, 0, -1), (1, 0, 0)]},
    "quantities": {"quantities": ["D", "Q"]},
    "largest mesh": {"max_mesh": 8},
}


@pytest.fixture
def swept(film, tmp_path, stop):
    """The checkpoint of an interrupted run with several values on every axis."""
    model, path = film(2, functions=2).model((3, 3, 1)), tmp_path / "c"
    stop(4)
    with pytest.raises(Stop):
        compute(model, 4, checkpoint=path, **SWEEP)
    stop(None)
    return model, path


@pytest.mark.parametrize("case", SHUFFLED)
def test_the_same_values_in_other_places(swept, case):
    """The sums stand in the order of the axes: taken for another order, every number would be another one's."""
    model, path = swept
    content = path.read_bytes()
    with pytest.raises(InputError, match=r"^checkpoint .*another computation"):
        compute(model, 4, checkpoint=path, **(SWEEP | SHUFFLED[case]))
    assert path.read_bytes() == content
    assert compute(model, 4, checkpoint=path, **SWEEP).identical(compute(model, 4, **SWEEP))


def test_masks_in_another_order_on_the_command_line(folder, stop, capsys):
    """Ended in mid-run, and run again with the masks in the other order: refused; in the first one: the same bits."""
    masks = "{magnet: [0, 1], substrate: [1, 0]}", "{substrate: [1, 0], magnet: [0, 1]}"
    spec = folder / "spec.yaml"
    for order, name in ((masks[0], "whole.nc"), (masks[0], "result.nc")):
        text = f"model: model.h5\nmesh: 12\nsoi_scales: [0.5, 1.0]\nsoi_masks: {order}\nmemory_limit: 4194304\n"
        spec.write_text(text)
        stop(3 if name == "result.nc" else None)
        if name == "result.nc":
            with pytest.raises(Stop):
                main(["run", str(spec), "--output", str(folder / name)])
            stop(None)
        else:
            assert main(["run", str(spec), "--output", str(folder / name)]) == 0
    spec.write_text(text.replace(*masks))
    capsys.readouterr()
    assert main(["run", str(spec)]) == 2
    assert "belongs to another computation" in capsys.readouterr().err
    assert not (folder / "result.nc").exists()
    spec.write_text(text)
    assert main(["run", str(spec)]) == 0
    assert load_result(folder / "result.nc").identical(load_result(folder / "whole.nc"))


def test_checkpoint_of_the_first_form(small_model, interrupted):
    """Its key was a bare hash, in which names were sorted and nothing was separated: refused, whatever it holds."""
    path, axes = interrupted
    with np.load(path) as file:
        content = {name: file[name] for name in file.files}
    key = str(content["key"])
    assert key.startswith("3-")
    content["key"] = np.array(key.removeprefix("3-"))
    with path.open("wb") as file:
        np.savez(file, **content)
    with pytest.raises(InputError, match=r"^checkpoint .*another version"):
        compute(small_model, 4, checkpoint=path, **axes)


OTHER_VERSION = """
import json, sys
import aiida_dmi
aiida_dmi.__version__ = "0.0.0"
from aiida_dmi.engine import InputError, WannierModel, compute
try:
    compute(WannierModel.load("model.h5"), 4, checkpoint="c", **json.loads(sys.argv[1]))
except InputError as error:
    print(error)
"""


def test_other_version(small_model, interrupted):
    path, axes = interrupted
    small_model.save(path.parent / "model.h5")
    command = [sys.executable, "-c", OTHER_VERSION, json.dumps(axes)]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.startswith("checkpoint c: belongs to another computation, or to another version"), done.stderr


def spoilt(kind, path):
    content = path.read_bytes()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "last byte missing":
        path.write_bytes(content[:-1])
    elif kind == "flipped":
        half = len(content) // 2
        path.write_bytes(content[:half] + bytes([content[half] ^ 255]) + content[half + 1 :])
    elif kind == "text":
        path.write_text("model: model.h5\n")
    elif kind == "array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif kind == "archive":
        with path.open("wb") as file:
            np.savez(file, x=np.zeros(3))
    elif kind == "pickle":
        with path.open("wb") as file:
            np.savez(file, key=np.array([{}], dtype=object), stage="4x4", done=1)
    elif kind == "folder":
        path.unlink()
        path.mkdir()


SPOILT = ["empty", "truncated", "last byte missing", "flipped", "text", "array", "archive", "pickle", "folder"]


@pytest.mark.parametrize("kind", SPOILT)
def test_unreadable(small_model, interrupted, kind):
    path, axes = interrupted
    spoilt(kind, path)
    with pytest.raises(InputError, match=r"^checkpoint"):
        compute(small_model, 4, checkpoint=path, **axes)


def test_any_flipped_byte(small_model, interrupted):
    """Refused with InputError or, where the byte means nothing to the reader, resumed to the same result."""
    path, axes = interrupted
    content, expected = path.read_bytes(), compute(small_model, 4, **axes)
    with np.load(path) as file:
        checkpoint = Checkpoint(path, str(file["key"]))
    whole = fingerprint(checkpoint.load("4x4"))
    random = np.random.default_rng(1)
    refused, resumed = 0, set()
    # The zip's own records sit around and after the arrays.
    places = np.concatenate([random.integers(0, len(content), 150), np.arange(len(content) - 150, len(content))])
    for place in places:
        changed = content[:place] + bytes([content[place] ^ (1 << random.integers(8))]) + content[place + 1 :]
        path.write_bytes(changed)
        try:
            read = fingerprint(checkpoint.load("4x4"))
            # What was read before has been resumed before.
            if read not in resumed:
                assert compute(small_model, 4, checkpoint=path, **axes).identical(expected)
            resumed.add(read)
        except InputError as error:
            assert str(error).startswith("checkpoint")  # noqa: PT017
            refused += 1
    assert refused > 150
    assert whole in resumed


@pytest.mark.parametrize("member", ["mu_bare", "mu_full"])
def test_a_member_that_is_gone(small_model, interrupted, member):
    """Nothing that the sums depend on is taken for granted."""
    path, axes = interrupted
    with np.load(path) as file:
        content = {name: file[name] for name in file.files if name != member}
    with path.open("wb") as file:
        np.savez(file, **content)
    with pytest.raises(InputError, match=f"checkpoint: damaged, '{member}' is missing"):
        compute(small_model, 4, checkpoint=path, **axes)


@pytest.mark.parametrize("kind", ["truncated", "foreign", "text"])
def test_refused_from_the_shell(folder, kind, capsys, monkeypatch):
    """Exit status 2, one line, the file untouched, no result; without the file it runs."""
    monkeypatch.chdir(folder)
    (folder / "spec.yaml").write_text("model: model.h5\nmesh: 2\n")
    path = folder / "result.nc.checkpoint"
    Checkpoint(path, "key", interval=0.0).save("2x2", 1, {"x": np.zeros(100)})
    if kind != "foreign":
        spoilt(kind, path)
    content = path.read_bytes()
    assert main(["run", "spec.yaml"]) == 2
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    assert "checkpoint" in err
    assert "result.nc.checkpoint" in err
    assert "remove it" in err
    assert out == ""
    assert path.read_bytes() == content
    assert not (folder / "result.nc").exists()
    path.unlink()
    assert main(["run", "spec.yaml"]) == 0
    assert sorted(p.name for p in folder.iterdir()) == ["model.h5", "result.nc", "spec.yaml"]


def test_folder_that_does_not_exist(small_model, tmp_path, eager):
    with pytest.raises(InputError, match="checkpoint"):
        compute(small_model, 4, checkpoint=tmp_path / "nowhere" / "c")


def test_checkpoint_that_is_no_path(small_model):
    with pytest.raises(InputError, match=r"^checkpoint"):
        compute(small_model, 4, checkpoint=5)


# -- what tells computations apart -----------------------------------------------------------------------


def test_fingerprint(small_model):
    parts = (np.arange(6.0), {"a": 1.0, "b": (2.0, 3.0)}, "text", None, True)
    assert fingerprint(*parts) == fingerprint(np.arange(6.0), {"a": 1.0, "b": [2.0, 3.0]}, "text", None, True)
    others = [
        (parts[0], {"b": (2.0, 3.0), "a": 1.0}, *parts[2:]),
        (parts[0], {"a": 1.0, "b": 2.0, "c": 3.0}, *parts[2:]),
        (parts[0], {"a": 1.0, "b": (2.0, (3.0,))}, *parts[2:]),
        (parts[0], {"a": 1, "b": (2.0, 3.0)}, *parts[2:]),
        (*parts[:2], "tex", "t", None, True),
        (*parts[:2], b"text", None, True),
        (*parts[:3], "None", True),
        (*parts[:4], 1),
        (*parts[:4], "True"),
        (parts,),
        (np.arange(6.0).reshape(2, 3), *parts[1:]),
        (np.arange(6), *parts[1:]),
        (np.nextafter(np.arange(6.0), 9), *parts[1:]),
        (parts[0], {"a": 1.0, "b": (3.0, 2.0)}, *parts[2:]),
        (parts[0], {"a": 1.0, "c": (2.0, 3.0)}, *parts[2:]),
        (*parts[:2], "Text", None, True),
        (*parts[:3], 0, True),
        (*parts[:4], False),
        parts[:4],
    ]
    assert len({fingerprint(*other) for other in [parts, *others]}) == len(others) + 1
    assert fingerprint(small_model) == fingerprint(dataclasses.replace(small_model))
    assert fingerprint(small_model) != fingerprint(dataclasses.replace(small_model, moments=np.zeros(2)))
    # Arrays in another memory order are the same numbers.
    array = np.random.default_rng(0).normal(size=(4, 5))
    assert fingerprint(array) == fingerprint(np.asfortranarray(array))


PARTS = st.recursive(
    st.none() | st.booleans() | st.integers(-20, 20) | st.floats(-2, 2, allow_nan=False) | st.text("ab1.,", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab1", max_size=2), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.lists(PARTS, max_size=3), st.lists(PARTS, max_size=3))
def test_one_key_for_one_computation(one, other):
    """What Python writes out tells 1 from 1.0 and True, and one order of keys from another."""
    assert (fingerprint(*one) == fingerprint(*other)) == (repr(one) == repr(other))


def test_arrays_of_python_objects():
    """Their bytes are addresses, which are others in every process."""
    one, same, other = (np.array(texts, dtype=object) for texts in (["a", "bc"], ["a", "bc"], ["ab", "c"]))
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)
    assert fingerprint(np.array(["a", "bc"])) != fingerprint(np.array(["ab", "c"]))
