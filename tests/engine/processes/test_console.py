"""Streams that are full or closed, and signals: the result is written, the message says what happened."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from aiida_dmi.engine import load_result
from aiida_dmi.engine.run.cli import COMPLETE

ENGINE = f"{sys.executable} -m aiida_dmi.engine.run.cli"
pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")


@pytest.fixture
def folder(small_model, tmp_path):
    small_model.save(tmp_path / "model.h5")
    (tmp_path / "spec.yaml").write_text("model: model.h5\nmesh: 4\n")
    return tmp_path


def shell(folder, command):
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


FULL, CLOSED, PIPE = "No space left on device", "it is closed", "Broken pipe"


@pytest.mark.parametrize(("where", "reason"), [("> /dev/full", FULL), (">&-", CLOSED), ("| true", PIPE)])
def test_standard_output_that_takes_nothing(folder, where, reason):
    """Not a traceback and no lost result; the status says that whoever waits for the last line gets none."""
    # The pipe's reader has ended before anything is written: loading the engine takes longer.
    done = shell(folder, f"set -o pipefail; {ENGINE} run spec.yaml {where}")
    assert done.returncode == 1, done.stderr
    line = done.stderr.splitlines()[-1]
    assert line == f"dmi-engine stopped: standard output could not be written ({reason}); wrote result.nc"
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert load_result(folder / "result.nc").D.size
    assert sorted(os.listdir(folder)) == ["model.h5", "result.nc", "spec.yaml"]


@pytest.mark.parametrize(("where", "reason"), [("2> /dev/full", FULL), ("2>&-", CLOSED), ("2> >(true)", PIPE)])
def test_standard_error_that_takes_nothing(folder, where, reason):
    """Progress is lost, and the run goes on to its end."""
    done = shell(folder, f"{ENGINE} run spec.yaml {where}")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[-1] == COMPLETE
    assert f"standard error could not be written ({reason})" in lines
    assert load_result(folder / "result.nc").D.size


@pytest.mark.parametrize("where", ["> /dev/full 2> /dev/full", ">&- 2>&-", ">&- 2>&- <&-"])
def test_both(folder, where):
    done = shell(folder, f"{ENGINE} run spec.yaml {where}")
    assert done.returncode == 1
    assert load_result(folder / "result.nc").D.size


@pytest.mark.parametrize("arguments", ["run spec.yaml", "inspect other.h5", "build spec.yaml"])
def test_refusals_keep_their_status(folder, arguments):
    (folder / "spec.yaml").write_text("mesh: 0\n")
    for where in ("2> /dev/full", "2>&-", "> /dev/full"):
        done = shell(folder, f"{ENGINE} {arguments} {where}")
        assert done.returncode == 2
        assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("arguments", ["--version", "--help", "inspect model.h5"])
def test_what_is_only_said(folder, arguments):
    done = shell(folder, f"{ENGINE} {arguments} > /dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith(f"dmi-engine stopped: standard output could not be written ({FULL})")
    assert len(done.stderr.splitlines()) == 1


def test_name_of_a_file_that_is_no_text(folder):
    """A byte that is no UTF-8, and a stream that knows ASCII only."""
    (folder / "spec.yaml").write_text('model: model.h5\nmesh: 4\noutput: "a\\udcff\\u00e9.nc"\n')
    for encoding in ("utf-8", "ascii"):
        done = shell(folder, f"PYTHONIOENCODING={encoding} {ENGINE} run spec.yaml")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == COMPLETE
    assert os.fsencode("a\udcffé.nc") in os.listdir(os.fsencode(folder))


# -- signals ---------------------------------------------------------------------------------------------

LONG = "model: model.h5\nmesh: 600\nsoi_scales: [0.5, 1.0]\nfermi_level: dft\nprocesses: {processes}\n"
EAGER = """
import functools, sys
from importlib import import_module
from aiida_dmi.engine.run.cli import program

driver = import_module("aiida_dmi.engine.run.compute")
driver.Checkpoint = functools.partial(driver.Checkpoint, interval=0.0)
sys.exit(program())
"""


def heard():
    """Who starts these tests may ignore signals: a shell SIGINT for what runs in the background, nohup SIGHUP."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def long_run(data, tmp_path):
    """start(processes): a run of minutes that has written its first checkpoint."""
    shutil.copy(data / "copt11.h5", tmp_path / "model.h5")
    started = []

    def start(processes, before=""):
        (tmp_path / "spec.yaml").write_text(LONG.format(processes=processes))
        process = subprocess.Popen(
            ["bash", "-c", f'{before} exec "$@"', "bash", sys.executable, "-c", EAGER, "run", "spec.yaml"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=heard,  # noqa: PLW1509
        )
        started.append(process)
        while not (tmp_path / "result.nc.checkpoint").exists():
            assert process.poll() is None
            time.sleep(0.01)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def group_of(pid):
    """Processes of a session that have not ended."""
    found = subprocess.run(["ps", "-o", "stat=", "-s", str(pid)], capture_output=True, text=True, check=False)
    return [state for state in found.stdout.split() if not state.startswith("Z")]


@pytest.mark.parametrize(
    ("number", "processes"), [(signal.SIGHUP, 2), (signal.SIGTERM, 2), (signal.SIGTERM, 1), (signal.SIGINT, 2)]
)
def test_ended_by_a_signal(long_run, tmp_path, number, processes):
    """One line, the checkpoint, and nothing else: no worker, no lock, no half a file."""
    process = long_run(processes)
    assert len(group_of(process.pid)) == (1 if processes == 1 else 3)
    # As from a terminal that is closed, or Ctrl-C: all of the group get it.
    os.killpg(process.pid, number)
    _, errors = process.communicate()
    assert process.returncode == 128 + number
    last = errors.splitlines()[-1]
    assert last.startswith(f"dmi-engine stopped: ended by {number.name}; the same command goes on from the checkpoint")
    assert "Traceback" not in errors
    assert group_of(process.pid) == []
    assert sorted(os.listdir(tmp_path)) == ["model.h5", "result.nc.checkpoint", "spec.yaml"]
    assert shell(tmp_path, f"{ENGINE} inspect model.h5").returncode == 0


def test_hangup_that_is_ignored(long_run):
    """nohup."""
    process = long_run(2, "trap '' HUP;")
    os.killpg(process.pid, signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    assert len(group_of(process.pid)) == 3


def test_it_goes_on_from_there(data, tmp_path):
    """Ended by a hangup in mid-run, and given again: the bits of a run that nobody disturbed."""
    shutil.copy(data / "copt11.h5", tmp_path / "model.h5")
    (tmp_path / "spec.yaml").write_text("model: model.h5\nmesh: 18\nmemory_limit: 4194304\n")
    process = subprocess.Popen(
        [sys.executable, "-c", EAGER, "run", "spec.yaml"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=heard,  # noqa: PLW1509
    )
    while process.poll() is None and not (tmp_path / "result.nc.checkpoint").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGHUP)
    process.wait()
    for name in ("result.nc", "whole.nc"):
        assert shell(tmp_path, f"{ENGINE} run spec.yaml --output {name}").returncode == 0
    assert load_result(tmp_path / "result.nc").identical(load_result(tmp_path / "whole.nc"))
