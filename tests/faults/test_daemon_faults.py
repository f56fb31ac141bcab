"""Killed workers, daemons and machines, two daemons, a full repository: the response of a real model in mid-run."""

import contextlib
import os
import signal
import subprocess

import numpy as np
import pytest

from aiida_dmi.engine import WannierModel, compute

from ..workflows.conftest import wait_until
from ..workflows.test_daemon import LONG, own_processes, signal_all
from .conftest import PARAMETERS, FaultSession


@pytest.fixture(scope="module")
def expected(model_file):
    """D of a run that nobody disturbs."""
    return compute(WannierModel.load(model_file), **PARAMETERS).D.values


@pytest.fixture
def running(session, eager, model_file):
    """A response that has written a checkpoint and goes on: its pk and its folder."""
    before = set(session.scratch.rglob("result.nc.checkpoint"))
    pk = session.respond(eager, model_file.absolute())
    found = wait_until(lambda: set(session.scratch.rglob("result.nc.checkpoint")) - before, LONG, "a checkpoint")
    return pk, found.pop().parent


def ended_well(session, pk, expected):
    """The process ends with the numbers of an undisturbed run, and everything stored is whole; its state."""
    state = session.state(pk, wait=LONG)
    assert state["exit_status"] == 0, state
    np.testing.assert_array_equal(state["D"], expected)
    return state, session.consistent()


def daemon_pids(session):
    """The daemon and its workers: by their command lines, among the session's own processes."""
    found = {"worker": [], "daemon": []}
    for pid in own_processes(session):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
            if b"worker" in words and b"daemon" in words:
                found["worker"].append(pid)
            elif b"start-circus" in words:
                found["daemon"].append(pid)
    return found


def test_killed_worker(session, running, expected, note):
    pk, _ = running
    workers = daemon_pids(session)["worker"]
    assert workers
    signal_all(workers, signal.SIGKILL)
    state, whole = ended_well(session, pk, expected)
    assert len(state["jobs"]) == 1
    assert set(daemon_pids(session)["worker"]).isdisjoint(workers)
    note(
        "kill -9 of the daemon's worker", "nothing: the daemon starts another one", whole, "the same job, the same bits"
    )


def test_killed_daemon(session, running, expected, note):
    pk, _ = running
    pids = daemon_pids(session)
    assert pids["daemon"]
    signal_all([*pids["daemon"], *pids["worker"]], signal.SIGKILL)
    said = session.run("verdi", "status", check=False)
    assert "daemon" in said
    session.start_daemon()
    state, whole = ended_well(session, pk, expected)
    assert len(state["jobs"]) == 1
    note(
        "kill -9 of the whole daemon",
        "`verdi status`: daemon is not running",
        whole,
        "after `verdi daemon start` the same job, the same bits",
    )


def test_restarted_machine(session, running, expected, note):
    """Everything is killed, the job too; the profile is opened by new processes."""
    pk, folder = running
    signal_all(own_processes(session), signal.SIGKILL)
    signal_all(session.engines(), signal.SIGKILL)
    wait_until(lambda: not session.engines(), 60, "the engine is gone")
    assert not (folder / "result.nc").exists()
    assert session.state(pk)["D"] is None
    # The dead daemon's PID file is still there, and the broker's list of what is to be done is not.
    session.run("verdi", "daemon", "stop", "--timeout", 60, check=False)
    session.run("verdi", "process", "repair", "--force")
    session.start_daemon()
    state, whole = ended_well(session, pk, expected)
    assert [status for status, *_ in state["jobs"]] == [312, 0]
    note(
        "machine restart: every process killed",
        f"first job: exit 312, `{state['jobs'][0][1]}`",
        whole,
        "`verdi daemon stop`, `verdi process repair`, `verdi daemon start`: from the checkpoint, the same bits",
    )


def test_two_daemons(session, running, expected, note):
    """A second daemon of a profile is refused; a second worker does no work twice."""
    pk, _ = running
    said = session.run("verdi", "daemon", "start", "1", check=False)
    assert len(daemon_pids(session)["daemon"]) == 1
    command = ["verdi", "daemon", "worker"]
    with subprocess.Popen(
        command, env=session.environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    ) as other:
        try:
            state, whole = ended_well(session, pk, expected)
        finally:
            other.kill()
    assert len(state["jobs"]) == 1
    note("two daemons on one profile", f"`{said.strip().splitlines()[-1]}`", whole, "one job, one result")


def test_killed_engine(session, running, expected, note):
    pk, _ = running
    signal_all(session.engines(), signal.SIGKILL)
    state, whole = ended_well(session, pk, expected)
    assert [status for status, *_ in state["jobs"]] == [312, 0]
    note("kill -9 of dmi-engine", f"exit 312, `{state['jobs'][0][1]}`", whole, "from the checkpoint, the same bits")


def test_result_that_was_damaged_on_the_way(session, eager, model_file, tmp_path, note):
    """A complete job whose file is not whole gives no node."""
    script = tmp_path / "cutting-engine"
    script.write_text(f'#!/bin/bash\n"{eager}" "$@" || exit\ntruncate -s 20000 result.nc\n')
    script.chmod(0o755)
    state = session.state(session.respond(script, model_file.absolute()), wait=LONG)
    assert state["D"] is None
    assert state["exit_status"] == 410
    whole = session.consistent()
    note("result truncated on its way", f"exit 410, `{state['exit_message']}`", whole, "no output node")


STORE = """
import sys
from aiida import orm
from aiida_dmi.data.model import WannierModelData

print(WannierModelData(sys.argv[1]).store().pk)
"""


@pytest.fixture
def small_profile(tmp_path):
    """A profile on a disk of its own, of 12 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a disk to fill cannot be mounted: {mounted.stderr.strip()}")
    session = FaultSession(folder)
    try:
        session.run("verdi", "presto")
        yield session
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_full_repository(small_profile, model_file, note):
    """Nothing of a node that could not be stored whole is there, and with room it is stored."""
    free = os.statvfs(small_profile.folder)
    filler = small_profile.folder / "filler"
    filler.write_bytes(bytes(free.f_bavail * free.f_frsize - model_file.stat().st_size // 2))
    script = small_profile.folder.parent / "store.py"
    script.write_text(STORE)
    command = ["verdi", "run", str(script), str(model_file.absolute())]
    done = subprocess.run(command, env=small_profile.environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "No space left on device" in done.stderr or "disk is full" in done.stderr
    filler.unlink()
    assert small_profile.consistent() == "0 nodes and their files are whole"
    pk = small_profile.run(*command).strip().splitlines()[-1]
    assert int(pk) > 0
    note("disk full in the repository", f"`{done.stderr.strip().splitlines()[-1]}`", "no node", "with room, stored")
