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


def resumed(session, pk, expected):
    """The first job is broken off (exit 312), the second ends well from its checkpoint: what was said of the first."""
    state, whole = ended_well(session, pk, expected)
    assert [status for status, *_ in state["jobs"]] == [312, 0]
    assert "goes on from its checkpoint" in session.run("verdi", "process", "report", pk)
    return state["jobs"][0][1], whole


def daemon_pids(session):
    """The daemon, its workers and its broker: by their command lines, among the session's own processes."""
    found = {"worker": [], "start-circus": [], "broker": []}
    for pid in own_processes(session):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().decode().split("\0")
            kind = words[words.index("daemon") + 1] if "daemon" in words else None
            if kind in found:
                found[kind].append(pid)
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
    assert all(pids.values()), pids
    # start-circus first: it would start the others again.
    signal_all([pid for kind in ("start-circus", "broker", "worker") for pid in pids[kind]], signal.SIGKILL)
    status = session.run("verdi", "status", check=False)
    said = next(line for line in status.splitlines() if "daemon:" in line).partition("daemon:")[2].strip()
    assert "could not be reached" in said or "not running" in said
    session.start_daemon()
    state, whole = ended_well(session, pk, expected)
    assert len(state["jobs"]) == 1
    note(
        "kill -9 of the whole daemon",
        f"`verdi status`: `{said}`",
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
    # The dead daemon's PID file is still there, and so is the broker's list of what is to be done.
    session.start_daemon()
    message, whole = resumed(session, pk, expected)
    note(
        "machine restart: every process killed",
        f"first job: exit 312, `{message}`",
        whole,
        "after `verdi daemon start` from the checkpoint, the same bits",
    )


def test_two_daemons(session, running, expected, note):
    """A second daemon of a profile ends by itself; a second worker, started past it, does no work twice."""
    pk, _ = running
    before = daemon_pids(session)
    said = session.run("verdi", "daemon", "start", "1", check=False)
    wait_until(lambda: daemon_pids(session) == before, 60, "only the first daemon is left")
    worker = ["verdi", "daemon", "worker"]
    with subprocess.Popen(
        worker, env=session.environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    ) as other:
        try:
            state, whole = ended_well(session, pk, expected)
            assert other.poll() is None
        finally:
            other.kill()
    assert len(state["jobs"]) == 1
    assert set(before["worker"]) <= set(daemon_pids(session)["worker"])
    note(
        "two daemons, two workers on one profile",
        f"`{said.strip().splitlines()[-1]}`: it is the first one that runs",
        whole,
        "one job, one result",
    )


def test_killed_engine(session, running, expected, note):
    pk, _ = running
    signal_all(session.engines(), signal.SIGKILL)
    message, whole = resumed(session, pk, expected)
    note("kill -9 of dmi-engine", f"exit 312, `{message}`", whole, "from the checkpoint, the same bits")


def test_no_memory_in_the_sums(session, eager, model_file, expected, note):
    """After the first batch there is no memory for the next; the second job has it again."""
    no_memory = eager.with_name("no-memory")
    no_memory.touch()
    try:
        message, whole = resumed(session, session.respond(eager, model_file.absolute()), expected)
        assert not no_memory.exists()
    finally:
        no_memory.unlink(missing_ok=True)
    assert "it said last: dmi-engine stopped: memory: " in message
    note("out of memory in the sums", f"exit 312, `{message}`", whole, "from the checkpoint, the same bits")


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


@contextlib.contextmanager
def mounted(folder, *options):
    """A mount for as long as the block lasts."""
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def read_only(folder, _):
    """What nobody may write to, root neither; and the way back."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    return lambda: subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)


def full(folder, content):
    """Half of the content fits; and the way back."""
    disk, filler = os.statvfs(folder), folder / "filler"
    filler.write_bytes(bytes(disk.f_bavail * disk.f_frsize - content // 2))
    return filler.unlink


@pytest.mark.parametrize(("spoil", "fault"), [(read_only, "permission denied"), (full, "disk full")])
def test_unusable_scratch(spoil, fault, session, eager, model_file, expected, note):
    """The job's files cannot be put there: it waits, paused, until they can."""
    session.scratch.mkdir(exist_ok=True)
    with mounted(session.scratch, "-t", "tmpfs", "-o", "size=20m", "tmpfs"):
        mend = spoil(session.scratch, model_file.stat().st_size)
        pk = session.respond(eager, model_file.absolute())
        waiting = wait_until(lambda: session.paused(pk), LONG, "the job is paused")
        assert "Pausing after failed transport task" in waiting["status"]
        assert session.state(pk)["D"] is None
        report = session.run("verdi", "process", "report", waiting["pk"])
        assert "OSError" in report
        mend()
        session.run("verdi", "process", "play", waiting["pk"])
        state, whole = ended_well(session, pk, expected)
        assert len(state["jobs"]) == 1
    said = next(line for line in report.splitlines() if "Error: " in line).strip("| ")
    note(
        f"{fault} in scratch, under the daemon",
        f"the job is paused, `{waiting['status']}`; its report: `{said.strip('| ')}`",
        whole,
        "`verdi process play`: the same job, the same bits",
    )


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
    session = FaultSession(folder)
    with mounted(folder, "-t", "tmpfs", "-o", "size=12m", "tmpfs"):
        session.run("verdi", "presto")
        yield session


def test_full_repository(small_profile, model_file, note):
    """Nothing of a node that could not be stored whole is there, and with room it is stored."""
    mend = full(small_profile.folder, model_file.stat().st_size)
    script = small_profile.folder.parent / "store.py"
    script.write_text(STORE)
    command = ["verdi", "run", str(script), str(model_file.absolute())]
    done = subprocess.run(command, env=small_profile.environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "No space left on device" in done.stderr or "disk is full" in done.stderr
    mend()
    assert small_profile.consistent() == "0 nodes and their files are whole"
    pk = small_profile.run(*command).strip().splitlines()[-1]
    assert int(pk) > 0
    note("disk full in the repository", f"`{done.stderr.strip().splitlines()[-1]}`", "no node", "with room, stored")
