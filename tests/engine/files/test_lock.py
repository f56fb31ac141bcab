"""Two runs with one output: the second is refused while the first lives, and takes over from a dead one."""

import errno
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from aiida_dmi.engine import InputError, compute, load_result
from aiida_dmi.engine.files.lock import Lock
from aiida_dmi.engine.processes.console import COMPLETE
from aiida_dmi.engine.run.cli import main

HOLDER = """
import sys
from pathlib import Path
from aiida_dmi.engine.files.lock import Lock
with Lock("output", Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(small_model, tmp_path):
    small_model.save(tmp_path / "model.h5")
    (tmp_path / "spec.yaml").write_text("model: model.h5\nmesh: 4\n")
    return tmp_path


@pytest.fixture
def holder(tmp_path):
    """hold(path): another process that holds a lock until its standard input ends."""
    started = []

    def hold(path):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def lock_of(path):
    return path.with_name(f".{path.name}.lock")


def run(folder, *arguments):
    return main(["run", str(folder / "spec.yaml"), *map(str, arguments)])


def refused(capsys, key, path, pid):
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert error.startswith(f"dmi-engine: {key}: {path} is being written by another run (process {pid} on ")
    assert "wait until it has ended, or name another file" in error


# -- dmi-engine ------------------------------------------------------------------------------------------


def test_two_runs_with_one_output(data, tmp_path):
    """Both were to write it, and one result would have been lost without a word."""
    shutil.copy(data / "copt11.h5", tmp_path / "model.h5")
    (tmp_path / "long.yaml").write_text("model: model.h5\nmesh: 600\noutput: result.nc\n")
    (tmp_path / "short.yaml").write_text("model: model.h5\nmesh: 4\n")
    engine = [sys.executable, "-m", "aiida_dmi.engine.run.cli", "run"]
    first = subprocess.Popen([*engine, "long.yaml"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        while not lock_of(tmp_path / "result.nc").exists():
            assert first.poll() is None
            time.sleep(0.01)
        second = subprocess.run([*engine, "short.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert second.returncode == 2, second.stderr
        assert f"output: result.nc is being written by another run (process {first.pid} on " in second.stderr
        assert not (tmp_path / "result.nc").exists()
        assert first.poll() is None
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    assert lock_of(tmp_path / "result.nc").exists()
    third = subprocess.run([*engine, "short.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert third.returncode == 0, third.stderr
    assert third.stdout.splitlines()[-1] == COMPLETE
    assert sorted(os.listdir(tmp_path)) == ["long.yaml", "model.h5", "result.nc", "short.yaml"]


@pytest.mark.parametrize("killed", [True, False])
def test_refused_while_the_other_lives(folder, holder, small_model, capsys, killed):
    other = holder(folder / "result.nc")
    assert run(folder) == 2
    refused(capsys, "output", folder / "result.nc", other.pid)
    assert not (folder / "result.nc").exists()
    if killed:
        other.kill()
    other.communicate()
    assert lock_of(folder / "result.nc").exists() == killed
    assert run(folder) == 0
    assert load_result(folder / "result.nc").equals(compute(small_model, 4))
    assert sorted(os.listdir(folder)) == ["model.h5", "result.nc", "spec.yaml"]


def test_one_checkpoint_for_two_outputs(folder, holder, capsys):
    """Each would take the other's sums away."""
    other = holder(folder / "sums")
    assert run(folder, "--output", folder / "two.nc", "--checkpoint", folder / "sums") == 2
    refused(capsys, "checkpoint", folder / "sums", other.pid)


def test_checkpoint_of_a_call_from_python(small_model, tmp_path, holder):
    other = holder(tmp_path / "c")
    with pytest.raises(InputError, match=rf"^checkpoint: .*c is being written by another run \(process {other.pid} on"):
        compute(small_model, 4, checkpoint=tmp_path / "c")
    assert compute(small_model, 4, checkpoint=tmp_path / "other").D.size


def test_one_file_by_two_names(folder, holder, capsys):
    (folder / "link").symlink_to(folder)
    (folder / "named.nc").symlink_to(folder / "result.nc")
    holder(folder / "link" / "result.nc")
    for name in ("result.nc", "link/result.nc", "named.nc"):
        assert run(folder, "--output", folder / name) == 2
        assert "is being written by another run" in capsys.readouterr().err
    assert run(folder, "--output", folder / "other.nc") == 0


SPECS = {
    "build": ("nscf: x.save\nwannier_up: up\nwannier_down: dn\npseudopotentials: {Co: Co.UPF}\n", "model.h5"),
    "overlaps": ("nscf: x.save\nnnkp: up.nnkp\nspin: up\n", "aiida.amn"),
}


@pytest.mark.parametrize("command", SPECS)
def test_the_other_commands(tmp_path, holder, capsys, command):
    text, name = SPECS[command]
    (tmp_path / "spec.yaml").write_text(text)
    holder(tmp_path / name)
    assert main([command, str(tmp_path / "spec.yaml")]) == 2
    assert f"{name} is being written by another run" in capsys.readouterr().err


# -- the lock itself -------------------------------------------------------------------------------------


def test_once_in_a_process(tmp_path):
    """The kernel's locks are a process' own: two threads have one between them."""
    with (
        Lock("output", tmp_path / "a"),
        pytest.raises(InputError, match=f"process {os.getpid()}, this one"),
        Lock("output", tmp_path / "a"),
    ):
        raise AssertionError
    assert list(tmp_path.iterdir()) == []
    with Lock("output", tmp_path / "a"), Lock("output", tmp_path / "b"):
        assert len(list(tmp_path.iterdir())) == 2


def test_it_goes_with_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), Lock("output", tmp_path / "a"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "1", "nonsense", "{pid} {host}", "1 other.host", "\0\n"])
def test_what_a_dead_run_has_left(tmp_path, content):
    """Whoever it names: its lock has ended with it."""
    lock_of(tmp_path / "a").write_text(content.format(pid=os.getpid(), host=socket.gethostname()))
    with Lock("output", tmp_path / "a"):
        assert lock_of(tmp_path / "a").read_text() == f"{os.getpid()} {socket.gethostname()}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
@pytest.mark.parametrize(
    ("content", "free"),
    [("{dead} {host}", True), ("{parent} {host}", False), ("{dead} node7", False), ("", True), ("x", False)],
)
def test_file_system_without_locks(tmp_path, monkeypatch, number, content, free):
    """The file decides: a process of this host lives or not, of another host nobody knows."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    def none(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", none)
    host = socket.gethostname()
    lock_of(tmp_path / "a").write_text(content.format(dead=ended.pid, parent=os.getppid(), host=host))
    if free:
        with Lock("output", tmp_path / "a"):
            assert lock_of(tmp_path / "a").exists()
        assert list(tmp_path.iterdir()) == []
    else:
        with pytest.raises(InputError, match="is being written by another run"), Lock("output", tmp_path / "a"):
            raise AssertionError
        assert lock_of(tmp_path / "a").exists()


COUNTER = """
import sys
from pathlib import Path
from aiida_dmi.engine import InputError
from aiida_dmi.engine.files.lock import Lock
path, left = Path(sys.argv[1]), 40
while left:
    try:
        with Lock("output", path):
            before = int(path.read_text())
            path.write_text(str(before + 1))
            left -= 1
    except InputError:
        pass
"""


def test_one_at_a_time(tmp_path):
    """Three processes that take and give back one lock as fast as they can: no count is lost."""
    path = tmp_path / "count"
    path.write_text("0")
    runs = [subprocess.Popen([sys.executable, "-c", COUNTER, path]) for _ in range(3)]
    assert [process.wait() for process in runs] == [0, 0, 0]
    assert path.read_text() == "120"
    assert [file.name for file in tmp_path.iterdir()] == ["count"]


def test_workers_do_not_hold_it(tmp_path):
    """A forked process that outlives its parent keeps nothing."""
    script = (
        "import os, sys, time\nfrom pathlib import Path\nfrom aiida_dmi.engine.files.lock import Lock\n"
        "lock = Lock('output', Path(sys.argv[1]))\nlock.__enter__()\n"
        "child = os.fork()\nif not child:\n    time.sleep(60)\nprint(child, flush=True)\nos._exit(0)\n"
    )
    done = subprocess.Popen([sys.executable, "-c", script, tmp_path / "a"], stdout=subprocess.PIPE, text=True)
    child = int(done.stdout.readline())
    try:
        assert done.wait() == 0
        with Lock("output", tmp_path / "a"):
            assert lock_of(tmp_path / "a").exists()
    finally:
        os.kill(child, signal.SIGKILL)
        done.stdout.close()
