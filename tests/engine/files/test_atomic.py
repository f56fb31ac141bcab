"""Files written whole, and what killed writers leave behind."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from aiida_dmi.engine import compute, load_result, save_result
from aiida_dmi.engine.files.atomic import ABANDONED, whole_file


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "c").write_text("old")
    return tmp_path


@pytest.fixture
def ended():
    """Number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def left(folder, pid, host=None, name="c"):
    path = folder / f".{name}.{host or socket.gethostname()}.{pid}.x1_y.part"
    path.write_text("half")
    return path


def test_takes_the_name_at_the_end(folder):
    with whole_file(folder / "c") as temporary:
        temporary.write_text("new")
        assert (folder / "c").read_text() == "old"
    assert (folder / "c").read_text() == "new"
    assert names(folder) == ["c"]


def test_failure_leaves_the_old_file(folder):
    def write_half():
        with whole_file(folder / "c") as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert (folder / "c").read_text() == "old"
    assert names(folder) == ["c"]


WRITER = """
import sys, time
from pathlib import Path
from aiida_dmi.engine.files.atomic import whole_file

with whole_file(Path("c")) as temporary:
    temporary.write_text("half")
    print(temporary.name, flush=True)
    time.sleep(60)
"""


def test_killed_writer(folder):
    """While it lives its temporary stays, whoever writes the same file; killed, it goes with the next write."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER], cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        temporary = writer.stdout.readline().strip()
        assert names(folder) == [temporary, "c"]
        with whole_file(folder / "c"):
            pass
        assert names(folder) == [temporary, "c"]
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    with whole_file(folder / "c"):
        pass
    assert names(folder) == ["c"]


def test_leftovers_of_this_machine(folder, ended):
    """Its own number is that of the killed run in a container, where numbers begin anew."""
    left(folder, ended)
    left(folder, os.getpid())
    alive = left(folder, os.getppid())
    with whole_file(folder / "c"):
        pass
    assert names(folder) == [alive.name, "c"]


def test_leftovers_of_another_machine(folder, ended):
    """Whether its writer lives cannot be known; that nothing takes an hour to write can."""
    young, old = left(folder, ended, "node7"), left(folder, os.getpid(), "node8.cluster")
    os.utime(old, (time.time() - ABANDONED - 1,) * 2)
    with whole_file(folder / "c"):
        pass
    assert names(folder) == [young.name, "c"]


def test_other_files_stay(folder, ended):
    """Those of another checkpoint beside it, and what only looks alike."""
    others = [left(folder, ended, name="other"), left(folder, ended, name="xc"), folder / ".c", folder / ".c.part"]
    for path in others:
        path.write_text("mine")
    with whole_file(folder / "c"):
        pass
    assert names(folder) == sorted([*(path.name for path in others), "c"])


def test_results_and_models_too(small_model, tmp_path, ended):
    left(tmp_path, ended, name="result.nc")
    left(tmp_path, ended, name="model.h5")
    result = compute(small_model, 2)
    save_result(result, tmp_path / "result.nc")
    small_model.save(tmp_path / "model.h5")
    assert names(tmp_path) == ["model.h5", "result.nc"]
    assert load_result(tmp_path / "result.nc").identical(result)
    assert (tmp_path / "result.nc").stat().st_mode & 0o777 == 0o644


# -- permissions -----------------------------------------------------------------------------------------


@pytest.fixture
def umask():
    """umask(number), put back at the end."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def modes(folder):
    return {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()}


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077, 0o027, 0o000, 0o277])
def test_permissions_are_those_of_open(tmp_path, small_model, umask, mask):
    """A group's folder, or results for nobody else: the umask says so, for results, models and checkpoints."""
    umask(mask)
    (tmp_path / "plain").touch()
    with whole_file(tmp_path / "whole") as temporary:
        assert temporary.stat().st_mode == (tmp_path / "plain").stat().st_mode
    small_model.save(tmp_path / "model.h5")
    save_result(compute(small_model, 2), tmp_path / "result.nc")
    assert set(modes(tmp_path).values()) == {oct(0o666 & ~mask)}


def test_checkpoint_and_lock_have_them_too(tmp_path, small_model, umask):
    umask(0o027)
    seen = {}
    compute(small_model, 2, checkpoint=tmp_path / "c", save=lambda result: seen.update(modes(tmp_path)))
    assert seen == {"c": "0o640", ".c.lock": "0o640"}


def test_a_file_that_is_there_keeps_its_permissions(tmp_path, umask):
    (tmp_path / "c").write_text("old")
    (tmp_path / "c").chmod(0o660)
    umask(0o077)
    with whole_file(tmp_path / "c") as temporary:
        temporary.write_text("new")
    assert modes(tmp_path) == {"c": "0o660"}
    assert (tmp_path / "c").read_text() == "new"
